"""What the public functions refuse, and that they work from a script that guards nothing."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import geneface
from geneface.avatar.folder import METRICS_FILE
from geneface.avatar.inputs import motion_values
from geneface.workers import run_tasks

from .avatar.avatar_fixtures import make_avatar


@pytest.mark.parametrize(
    "call",
    [
        lambda: geneface.prepare(None, "out"),  # type: ignore[arg-type]
        lambda: geneface.prepare([None], "out"),  # type: ignore[list-item]
        lambda: geneface.prepare(b"x", "out"),  # type: ignore[arg-type]
        lambda: geneface.prepare(__file__, 3),  # type: ignore[arg-type]
        lambda: geneface.prepare(__file__, "out", progress=None),  # type: ignore[arg-type]
        lambda: geneface.train(".", "out", consent=None),  # type: ignore[arg-type]
        lambda: geneface.train(".", "out", consent=" "),
        lambda: geneface.train(".", "out", consent="me", licence=None),  # type: ignore[arg-type]
        lambda: geneface.train(".", "out", consent="me", seed=-1),
        lambda: geneface.train(".", None, consent="me"),  # type: ignore[arg-type]
        lambda: geneface.train(None, "out", consent="me"),  # type: ignore[arg-type]
        lambda: geneface.train(".", "out", consent="me", progress=3),  # type: ignore[arg-type]
        lambda: geneface.evaluate("grid-s1", max_frames=0),
        lambda: geneface.evaluate("grid-s1", max_frames="x"),  # type: ignore[arg-type]
        lambda: geneface.evaluate("grid-s1", 3),  # type: ignore[arg-type]
        lambda: geneface.evaluate("grid-s1", lpips=3),  # type: ignore[arg-type]
        lambda: geneface.evaluate("grid-s1", out=""),
    ],
)
def test_wrong_values_are_refused_before_anything_is_made(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(geneface.InputError):
        call()
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_not_written_into_the_avatar(avatar_folder: Path) -> None:
    before = sorted(path.name for path in avatar_folder.iterdir())
    with pytest.raises(geneface.InputError, match="lies in the avatar's folder"):
        geneface.evaluate(avatar_folder, out=avatar_folder)
    assert sorted(path.name for path in avatar_folder.iterdir()) == before


@pytest.fixture
def avatar_folder(tmp_path: Path) -> Path:
    return make_avatar(tmp_path / "avatar", tmp_path / "work")


def test_resume_does_not_take_over_another_avatar(avatar_folder: Path, tmp_path: Path) -> None:
    """Without figures it looks like one that was killed at its end."""
    (avatar_folder / METRICS_FILE).unlink(missing_ok=True)
    before = (avatar_folder / "config.json").read_bytes()
    portrait = tmp_path / "portrait"
    with zipfile.ZipFile(Path(__file__).parent / "portrait" / "kept" / "portrait-format-1.zip") as archive:
        archive.extractall(portrait)
    with pytest.raises(geneface.InputError, match="was trained with another"):
        geneface.train(portrait, avatar_folder, consent="somebody else", resume=True)
    assert (avatar_folder / "config.json").read_bytes() == before
    assert not (avatar_folder / METRICS_FILE).exists()


def test_a_pickled_avatar_is_found_from_another_folder(
    avatar_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(avatar_folder.parent)
    avatar = geneface.Avatar.load(avatar_folder.name)
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    assert pickle.loads(pickle.dumps(avatar)).name == avatar.name


def test_motion_of_other_kinds_is_refused() -> None:
    points, pose = np.zeros((2, 190, 3), np.float32), np.zeros((2, 3), np.float32)
    good = geneface.MotionTrack(points, geneface.HeadPose(pose, pose))
    assert len(motion_values(good)) == 2
    for wrong in (
        None,
        geneface.MotionTrack(points, None),  # type: ignore[arg-type]
        geneface.MotionTrack(None, geneface.HeadPose(pose, pose)),  # type: ignore[arg-type]
        geneface.MotionTrack(points.astype(complex), geneface.HeadPose(pose, pose)),  # type: ignore[arg-type]
        geneface.MotionTrack(points, geneface.HeadPose(pose[:1], pose)),
        geneface.MotionTrack(points, geneface.HeadPose(pose, pose + np.nan)),
    ):
        with pytest.raises(geneface.InputError):
            motion_values(wrong)


def test_a_script_that_guards_nothing_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import math\nfrom geneface.workers import run_tasks\n"
        "print('begun')\nprint(run_tasks(math.sqrt, [4.0, 9.0, 16.0], 2))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines() == ["begun", "[2.0, 3.0, 4.0]"], done.stderr
    assert run_tasks(abs, [-1, -2], 1) == [1, 2]
