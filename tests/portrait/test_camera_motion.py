"""A camera that is moved on purpose, over drawn backgrounds: the path is the truth that drew it."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.imaging.resize import resize_linear
from geneface.imaging.warp import warp_affine
from geneface.portrait.camera_motion import CameraPath, camera_path, follow_on, usual_place

SIZE, VIEWS = 192, 24


def wall(seed: int = 0) -> np.ndarray:
    """A wall with a pattern, three times as large as the picture."""
    rng = np.random.default_rng(seed)
    rough = resize_linear(rng.uniform(0, 255, (60, 60, 3)).astype(np.float32), 3 * SIZE, 3 * SIZE)
    return rough.clip(0, 255).astype(np.uint8)


def film(background: np.ndarray, place: np.ndarray, walker: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and mattes [v, SIZE, SIZE, ...] for shifts (in sides) and log sizes [v, 3]; a person stands before."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    images, mattes = [], []
    for index, (right, down, size) in enumerate(place):
        scale = np.exp(size)
        move = np.array([[scale, 0, 0], [0, scale, 0]])
        move[:, 2] = SIZE / 2 + SIZE * np.array([right, down]) - scale * 1.5 * SIZE
        image = np.rint(warp_affine(background, move, SIZE, SIZE))
        sway = 6 * np.sin(index / 2)
        person = ((x - SIZE / 2 - sway) / 40) ** 2 + ((y - SIZE / 2) / 55) ** 2 < 1
        person |= (y > 0.8 * SIZE) & (np.abs(x - SIZE / 2 - sway) < 70)
        image[person] = (190, 150, 130)
        image[person & (((x - sway).astype(int) // 9 + y // 9) % 2 == 0)] = (90, 60, 50)
        if walker:
            image[SIZE // 3 :, 6 * index % SIZE : 6 * index % SIZE + 20] = rng.integers(0, 255, 3)
        images.append((image + rng.normal(scale=2, size=image.shape)).clip(0, 255).astype(np.uint8))
        mattes.append(255 * person.astype(np.uint8))
    return np.stack(images), np.stack(mattes)


def ramp(right: float = 0.0, down: float = 0.0, size: float = 0.0) -> np.ndarray:
    return np.linspace(0, 1, VIEWS)[:, None] * [right, down, size]


@pytest.mark.slow
@pytest.mark.parametrize("end", [(0.4, 0, 0), (0, -0.25, 0), (0.1, 0.1, 0.5)])
def test_a_pan_a_tilt_and_a_zoom_are_found(end):
    path = camera_path(*film(wall(), ramp(*end)))
    assert path.known.all()
    # Shifts are added up as if nothing grew between them.
    np.testing.assert_allclose(path.place, ramp(*end), atol=0.03)


@pytest.mark.slow
def test_a_still_camera_is_still_whoever_walks_behind():
    for walker in (False, True):
        path = camera_path(*film(wall(), np.zeros((VIEWS, 3)), walker))
        assert path.known.mean() > 0.8
        assert np.abs(path.place).max() < 0.01


def test_a_bare_wall_says_nothing():
    bare = np.full((3 * SIZE, 3 * SIZE, 3), 120, np.uint8)
    path = camera_path(*film(bare, ramp(0.4)))
    assert not path.known.any()
    assert (follow_on(path) == 0).all()


def test_motion_out_of_sight_is_taken_from_its_neighbours():
    place, known = ramp(0.46), np.ones(VIEWS, bool)
    known[8:14] = False
    steps = np.where(known[1:, None], np.diff(place, axis=0), 0.0)
    lost = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    np.testing.assert_allclose(follow_on(CameraPath(lost, known)), place, atol=1e-9)
    # One sure step in a long shot says nothing.
    rare = np.zeros(VIEWS, bool)
    rare[3] = True
    assert (follow_on(CameraPath(place, rare)) == 0).all()
    assert follow_on(CameraPath(np.zeros((1, 3)), np.zeros(1, bool))).shape == (1, 3)


def test_the_usual_place_is_where_most_of_it_is():
    values = np.concatenate([np.full(10, 0.0), np.linspace(0, 1, 20), np.full(30, 1.0)])[:, None]
    usual = usual_place(values, np.array([0.1]))
    assert usual[-30:].all() and not usual[:25].any()
    weight = np.where(np.arange(60) < 10, 10.0, 1.0)
    usual = usual_place(values, np.array([0.1]), weight)
    assert usual[:10].all() and not usual[-30:].any()
    assert usual_place(np.zeros((0, 1)), np.array([0.1])).shape == (0,)
