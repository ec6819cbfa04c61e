"""Growth is told apart from no growth and from too much; a shortened portrait is one; the script runs to its JSON."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geneface.io.image import write_png
from geneface.io.tensors import save_tensors
from geneface.portrait.manifest import PortraitManifest, SegmentInfo
from geneface.portrait.portrait import Portrait

from ..render.synthetic import painted_portrait

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load(name: str) -> Any:
    """A module of benchmarks/, which is no package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


report, training, scaling = (load(name) for name in ("scaling_report", "scaling_train", "scaling"))
X = np.array([1.0, 2, 4, 8, 16])


def curve(values: np.ndarray) -> Any:
    return report.Curve("c", X.tolist(), [{"median": y, "min": 0.95 * y, "max": 1.05 * y} for y in values.tolist()])


def test_a_fixed_cost_hides_in_the_power_but_not_in_the_increments() -> None:
    linear = report.growth(curve(10 + X))
    assert linear.power < 0.4 and linear.increment_power == pytest.approx(1)
    assert linear.verdict == "linear or better"
    square = report.growth(curve(100 + X**2))
    assert square.power < 1 < square.increment_power and "steeper" in square.verdict
    assert report.growth(curve(X**1.5)).verdict == "steeper than linear"
    assert report.growth(curve(X)).power == pytest.approx(1)


def test_what_lies_within_the_spread_does_not_grow() -> None:
    flat = report.growth(curve(np.array([10, 10.3, 9.8, 10.1, 10.2])))
    assert flat.verdict == "does not grow" and flat.increment_power is None
    assert report.growth(curve(10 / X)).verdict == "does not grow"
    # Two cases have a power, but nothing that their increments could be compared with.
    two = report.Curve("c", [1.0, 2.0], curve(X).y[:2])
    assert report.growth(two).power == pytest.approx(1) and report.growth(two).increment_power is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A portrait of two segments, 18 and 12 frames, as `prepare` would write what training reads."""
    painted, out = painted_portrait(30), tmp_path / "portrait"
    write = {"x": slice(0, 18), "y": slice(18, 30)}
    for name, rows in write.items():
        (out / "segments").mkdir(parents=True, exist_ok=True)
        save_tensors(
            out / "segments" / f"{name}.safetensors", {"frames": painted.images[rows], "masks": painted.masks[rows]}
        )
    segments = tuple(
        SegmentInfo(name, f"{name}.mp4", 0.0, rows.stop - rows.start, None, 0, (0, 0, painted.size))
        for name, rows in write.items()
    )
    PortraitManifest(painted.size, painted.camera.focal, "whisper-2-streaming", segments, (), {}).write(out)
    write_png(out / "background.png", painted.background)
    save_tensors(out / "features.safetensors", {"x": np.zeros((36, 4), np.float16)})
    tracks = {
        "mesh": painted.mesh,
        "landmarks": painted.landmarks,
        "rotation": painted.pose.rotation,
        "translation": painted.pose.translation,
        "segment": np.repeat(np.array([0, 1], np.int32), (18, 12)),
        "heldout": painted.heldout.astype(np.uint8),
        "neutral": painted.neutral.astype(np.float32),
        "mouth_box": np.zeros((30, 4), np.int32),
    }
    save_tensors(out / "tracks.safetensors", tracks)
    return out


def test_a_shortened_portrait_has_the_first_frames_of_the_whole(folder: Path, tmp_path: Path) -> None:
    whole = Portrait.load(folder)
    for share, frames, segments in ((0.3, 9, [9]), (0.8, 24, [18, 6]), (1.0, 30, [18, 12])):
        out = tmp_path / str(frames)
        assert training.cut(folder, share, out) == frames
        part = Portrait.load(out)
        assert len(part) == frames and [segment.frames for segment in part.segments] == segments
        assert np.array_equal(part.mesh, whole.mesh[:frames]) and np.array_equal(part.neutral, whole.neutral)
        assert all(np.array_equal(a, b) for a, b in zip(part.frame(frames - 1), whole.frame(frames - 1), strict=True))


@pytest.mark.slow
def test_quick_run_writes_every_figure(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    scaling.main(["--out", str(out), "--portrait", str(folder), "--quick", "--repeats", "1"])
    result = json.loads((out / "scaling.json").read_text())
    assert set(result["figures"]) == set(scaling.FIGURES)
    for figure in result["figures"].values():
        assert set(figure["load_average"]) == {"before", "after"}
        for panel in figure["panels"]:
            for found in panel["curves"]:
                assert len(found["x"]) == len(found["y"]) == len(panel["x_names"]) == 2
                assert all(0 < y["min"] <= y["median"] <= y["max"] for y in found["y"])
    renderers = [found["name"] for found in result["figures"]["portrait"]["panels"][0]["curves"]]
    assert renderers == ["gaussian", "nerf"]
    assert "Training, start and 9 steps" in capsys.readouterr().out
    if importlib.util.find_spec("matplotlib"):
        assert {path.stem for path in out.glob("*.png")} == {*scaling.FIGURES, "scaling"}


def test_too_few_repeats_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scaling.parse(["--out", "x", "--repeats", "3"])
    assert "a median needs 5 repeats" in capsys.readouterr().err
