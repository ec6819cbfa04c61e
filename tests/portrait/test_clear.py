"""Frames that can be shown again: what is smeared, turned away, hidden or not seen at all is none, the rest is."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from faces import moving_face, murmur

from geneface.portrait.clear import blurred, detail, face_boxes, near_views, turned_away
from geneface.portrait.portrait import Portrait
from geneface.portrait.prepare import PrepareConfig, prepare_portrait

WHOLE = np.array([0, 0, 64, 64])


def smeared(image: np.ndarray, length: int, axis: int) -> np.ndarray:
    """The mean of the picture's places during a motion of so many pixels."""
    places = [np.roll(image, step, axis).astype(np.float64) for step in range(-(length // 2), length - length // 2)]
    return np.rint(np.mean(places, axis=0)).astype(np.uint8)


def test_detail_is_that_of_differences_in_each_direction() -> None:
    across = np.tile(np.arange(0, 128, 2, dtype=np.uint8)[None, :, None], (64, 1, 3))
    assert detail(across, WHOLE) == pytest.approx([4, 0, 4, 4])
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    box = np.array([10, 20, 40, 60])
    level = image[20:60, 10:40].astype(np.float64).mean(-1)
    expected = [(np.diff(level, axis=1)[:-1] ** 2).mean(), (np.diff(level, axis=0)[:, :-1] ** 2).mean()]
    assert detail(image, box)[:2] == pytest.approx(expected, rel=1e-5)
    # A face of which nothing lies in the picture.
    assert not detail(image, np.array([64, 20, 64, 40])).any()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_frame_that_motion_smeared_is_found_and_a_mouth_that_speaks_is_not(axis: int) -> None:
    images = moving_face(60, size=160)
    images[30] = smeared(images[30], 10, axis)
    details = np.stack([detail(image, np.array([40, 20, 120, 120])) for image in images])
    assert np.flatnonzero(blurred(details)).tolist() == [30]


def test_turned_away_is_beyond_the_poses_of_training() -> None:
    rng = np.random.default_rng(0)
    rotation = np.radians(rng.uniform(-10, 10, (400, 3))).astype(np.float32)
    trained = np.arange(400) < 300
    assert not turned_away(rotation, trained).any()
    rotation[350] = np.radians([0, 17, 0])
    rotation[360] = np.radians([0, 0, -17])
    assert np.flatnonzero(turned_away(rotation, trained)).tolist() == [350, 360]
    # One wild training frame does not make wild ones usual.
    rotation[10] = np.radians([0, 40, 0])
    assert np.flatnonzero(turned_away(rotation, trained)).tolist() == [10, 350, 360]


def test_a_flagged_picture_stands_for_the_frames_up_to_its_neighbours() -> None:
    flags = np.zeros(6, bool)
    flags[[0, 3]] = True
    assert np.flatnonzero(near_views(flags, 28)).tolist() == [0, 1, 2, 3, 4, *range(11, 20)]


def test_boxes_hold_the_mesh_inside_the_picture() -> None:
    mesh = np.zeros((2, 478, 3), np.float32)
    mesh[:, :, :2] = (20.4, 30.6)
    mesh[0, 3, :2] = (-7.0, 70.0)
    assert face_boxes(mesh, 64).tolist() == [[0, 30, 21, 64], [20, 30, 21, 31]]


@pytest.mark.slow
def test_prepare_tells_clear_frames(make_media, tmp_path: Path) -> None:
    images = moving_face(140, size=200)
    images[83] = smeared(images[83], 14, 1)
    video = make_media("a.mp4", images=images, samples=murmur(5.6), options={"crf": "12"})
    prepare_portrait([video], tmp_path / "out", PrepareConfig(size=128, encoder="mel", workers=1))
    portrait = Portrait.load(tmp_path / "out")
    assert len(portrait) == 140 and portrait.clear.dtype == bool
    assert 83 in np.flatnonzero(~portrait.clear) and portrait.clear.mean() > 0.9
