"""A torso followed in pictures whose every pixel follows from a closed form."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.geometry.camera import project
from geneface.portrait.torso import Followed, follow_torso, hats, lattice, stiffness
from geneface.types import Camera, FloatArray, HeadPose

SIZE, FRAMES = 96, 12
CAMERA = Camera(3.0, SIZE, SIZE)
TRUSTED = np.arange(FRAMES) < 9
TOP = 66
"""First row of the torso."""


def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    waves = np.sin(0.5 * x + 3) + np.sin(0.45 * y - 1) + np.sin(0.3 * (x + y)) + np.sin(0.37 * (x - y) + 2)
    return 128 + 20 * waves


def torso_motion(frame: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels to the right and down: it leans, and one shoulder rises."""
    across = 2 * np.sin(0.9 * frame) + 0 * x
    return across, 1.5 * np.sin(0.6 * frame) * (x / SIZE - 0.5) + np.cos(0.5 * frame) - 1


@pytest.fixture(scope="module")
def pose() -> HeadPose:
    time = np.arange(FRAMES)
    shift = np.stack([0.02 * np.sin(time), 0.02 * np.cos(2 * time), np.full(FRAMES, -3.0)], 1)
    return HeadPose(np.zeros((FRAMES, 3), np.float32), shift.astype(np.float32))


@pytest.fixture(scope="module")
def pictures(pose: HeadPose) -> list[tuple[FloatArray, FloatArray]]:
    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    made = []
    for frame in range(FRAMES):
        middle = project(np.zeros((1, 3)), pose.rotation[frame], pose.translation[frame], CAMERA)[0]
        head = ((x - middle[0]) / 26) ** 2 + ((y - middle[1]) / 30) ** 2 < 1
        across, down = torso_motion(frame, x)
        torso = (y - down > TOP) & ~head
        shirt, hair = texture(x - across, y - down), texture(x - middle[0], y - middle[1])
        brightness = np.where(head, hair, np.where(torso, shirt, 60.0))
        made.append((brightness.astype(np.float32), np.stack([head, torso], -1).astype(np.float32)))
    return made


def follow(pose: HeadPose, read) -> Followed | None:
    return follow_torso(read, pose, TRUSTED, np.zeros(FRAMES, int))


def test_a_leaning_torso_is_followed_where_it_goes(pose, pictures):
    part = follow(pose, pictures.__getitem__)
    assert part is not None
    x = part.points[:, 0] * SIZE
    wanted = np.stack([np.stack(torso_motion(frame, x), -1) for frame in range(FRAMES)])
    error = SIZE * part.moved - wanted
    # A displacement that all frames share is the choice of the usual place.
    error -= error.mean(0)
    moved = wanted - wanted.mean(0)
    assert np.sqrt(np.square(error).mean()) < 0.15 * np.sqrt(np.square(moved).mean())


def test_a_picture_without_a_torso_has_none(pose, pictures):
    def read(frame: int) -> tuple[FloatArray, FloatArray]:
        brightness, masks = pictures[frame]
        return brightness, masks * np.array([1, 0], np.float32)

    assert follow(pose, read) is None


@pytest.mark.slow
def test_frames_that_are_not_trusted_do_not_change_the_others(pose, pictures):
    def read(frame: int) -> tuple[FloatArray, FloatArray]:
        brightness, masks = pictures[frame]
        return (brightness if TRUSTED[frame] else 255 - brightness), masks

    one, other = follow(pose, pictures.__getitem__), follow(pose, read)
    assert one is not None and other is not None
    np.testing.assert_array_equal(one.moved[TRUSTED], other.moved[TRUSTED])
    assert not np.array_equal(one.moved, other.moved)


def test_a_lattice_carries_planes_exactly_and_is_stiff_against_nothing_but_bending():
    rng = np.random.default_rng(0)
    plane = rng.uniform([0, 0], [1, 0.7], (200, 2))
    points, shape = lattice(plane)
    weights = hats(plane, points, shape)
    np.testing.assert_allclose(weights.sum(1), 1)
    # Bilinear interpolation reproduces what is linear: the places themselves.
    np.testing.assert_allclose(weights @ points, plane, atol=1e-12)
    matrix, values = stiffness(shape), rng.normal(size=shape)
    squares = np.square(np.diff(values, axis=0)).sum() + np.square(np.diff(values, axis=1)).sum()
    assert values.ravel() @ matrix @ values.ravel() == pytest.approx(squares)
