"""Several lights or clothes in one portrait: they are told apart, each has frames held out, an avatar shows one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from faces import moving_face, murmur

import geneface
from geneface.errors import InputError
from geneface.portrait.check import check_videos
from geneface.portrait.portrait import Portrait
from geneface.portrait.prepare import PrepareConfig, prepare_portrait

pytestmark = pytest.mark.slow

CONFIG = PrepareConfig(size=64, workers=1)
YELLOW = np.array([1.0, 0.8, 0.45])


def clip(make_media, name: str, frames: int, light: np.ndarray | float = 1.0) -> Path:
    images = [np.rint(image * light).astype(np.uint8) for image in moving_face(frames, size=160)]
    return make_media(name, images=images, samples=murmur(frames / 25), options={"crf": "14"})


@pytest.fixture
def videos(make_media) -> list[Path]:
    """4.4 s and 2 s in one light, 4.8 s in another, in this order."""
    return [
        clip(make_media, "a.mp4", 110),
        clip(make_media, "b.mp4", 120, YELLOW),
        clip(make_media, "c.mp4", 50),
    ]


def test_scenes_are_kept_apart_and_one_is_trained(videos: list[Path], tmp_path: Path) -> None:
    manifest = prepare_portrait(videos, tmp_path / "out", CONFIG)
    assert [(segment.name, segment.scene) for segment in manifest.segments] == [("a", 1), ("b", 2), ("c", 1)]
    assert manifest.scenes == (1, 2) and manifest.main_scene == 1
    told = " ".join(manifest.notes)
    assert "scene 1, trained by default: 6.4 s (a.mp4 0.00-4.40 s, c.mp4 0.00-2.00 s)" in told
    assert "scene 2, trained with --scene 2: 4.8 s (b.mp4 0.00-4.80 s)" in told
    checked = " ".join(finding.cause for finding in check_videos(videos, workers=1))
    assert all(note in checked for note in manifest.notes if "scene" in note)

    portrait = Portrait.load(tmp_path / "out")
    assert portrait.scene.tolist() == [1] * 110 + [2] * 120 + [1] * 50
    first, second = portrait.of_scene(), portrait.of_scene(2)
    assert first.segment.tolist() == [0] * 110 + [1] * 50 and second.segment.tolist() == [0] * 120
    for part, numbers in ((first, [*range(110), *range(230, 280)]), (second, [*range(110, 230)])):
        assert len(part) == len(numbers) and part.heldout.any() and not part.heldout.all()
        np.testing.assert_array_equal(part.landmarks, portrait.landmarks[numbers])
        np.testing.assert_array_equal(part.pose.rotation, portrait.pose.rotation[numbers])
        np.testing.assert_array_equal(part.heldout, portrait.heldout[numbers])
        for index in (0, len(numbers) // 2, len(numbers) - 1):
            np.testing.assert_array_equal(part.frame(index)[0], portrait.frame(numbers[index])[0])
        last = len(part.segments) - 1
        sound = portrait.audio(int(portrait.segment[numbers[-1]])).samples
        np.testing.assert_array_equal(part.audio(last).samples, sound)
        source = part.source(last)
        assert source is not None and source.frames == part.segments[last].frames
    # Each has its own wall: nothing of the other light is in it.
    wall = [part.background.reshape(-1, 3).mean(0) for part in (first, second)]
    np.testing.assert_allclose(wall[1], wall[0] * YELLOW, rtol=0.06)
    np.testing.assert_array_equal(first.background, portrait.background)
    assert first.of_scene(1) is first
    for scene in (0, 3):
        with pytest.raises(InputError, match=f"no scene {scene}"):
            portrait.of_scene(scene)

    trained = geneface.train(tmp_path / "out", tmp_path / "avatar", consent="me", preset="tiny", scene=2)
    assert trained.facts["scene"] == 2 and trained.facts["training_frames"] == int((~second.heldout).sum())
    # Lips learn from all that was said.
    adapted = str(trained.facts["motion_adaptation"])
    assert f"to {(~portrait.heldout).sum() / 25:.1f} s" in adapted
    plate = trained.avatar.files.plate.reshape(-1, 3).mean(0)
    np.testing.assert_allclose(plate, wall[1] / 255, atol=0.01)
    measured = geneface.evaluate(trained.avatar, tmp_path / "out", max_frames=10, driven=False)
    # On frames of the other scene this would be 12 dB.
    assert _head_psnr(measured) > 17


def _head_psnr(metrics: dict[str, Any]) -> float:
    """Of the avatar driven by the tracked landmarks."""
    rows = metrics["tables"]["image_head"]["rows"]
    row = next(row for row in rows if row["name"].endswith("from tracked landmarks"))
    return row["figures"]["head_psnr"]["value"]


def test_too_little_of_each_scene_is_refused(make_media, tmp_path: Path) -> None:
    pair = [clip(make_media, "a.mp4", 70), clip(make_media, "b.mp4", 60, YELLOW)]
    with pytest.raises(InputError, match="the light or the clothes are others"):
        prepare_portrait(pair, tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()
    causes = [finding.cause for finding in check_videos(pair, workers=1) if finding.severity == "error"]
    assert causes == ["only 2.8 s are usable in one light and one set of clothes, at least 3 s are needed"]
