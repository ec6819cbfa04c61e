"""Where the camera's square lies in what is shown, by a naive mapping of points."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.avatar.view import View, source_view
from geneface.errors import InputError
from geneface.geometry.camera import project
from geneface.types import Camera

FOCAL = 2.2


def seen_at(view: View, points: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Output pixels of head-frame points."""
    pixels = project(points, np.zeros(3), view.shifted(translation), view.camera)
    return pixels + np.array((view.left, view.top))


@pytest.mark.parametrize(("size", "frame"), [(None, "crop"), ("source", "source"), (256, "crop"), (720, "source")])
@pytest.mark.parametrize("crop", [(420.0, 60.0, 640.0), (13.0, 7.0, 333.0), (101.3, 20.7, 450.0)])
def test_points_lie_where_the_recorded_picture_has_them(crop, size, frame) -> None:
    view = source_view(1280, 720, np.array(crop, np.float32), FOCAL, size, frame)
    translation = np.array([0.05, -0.03, -2.4], np.float32)
    points = np.random.default_rng(0).uniform(-0.2, 0.2, (40, 3))
    x, y, side = crop
    # In the recorded picture: the square's own camera, at the square's place.
    exact = project(points, np.zeros(3), translation, Camera(FOCAL, 1, 1)) * side + (x, y)
    expected = (exact - (view.region.left, view.region.top)) * view.scale
    # The camera's whole number of pixels is off by half a pixel in its width at most.
    np.testing.assert_allclose(seen_at(view, points, translation), expected, atol=0.6)
    assert all(value % 2 == 0 for value in (view.left, view.top, view.width, view.height))
    assert all(value % 2 == 0 for value in (view.region.left, view.region.top, view.region.width, view.region.height))
    assert view.region.left + view.region.width <= 1280 and view.region.top + view.region.height <= 720


def test_sizes() -> None:
    crop = np.array([420, 60, 600], np.float32)
    assert (lambda v: (v.width, v.height))(source_view(1920, 1080, crop, FOCAL, "source", "source")) == (1920, 1080)
    assert (lambda v: (v.width, v.height))(source_view(1080, 1920, crop, FOCAL, 540, "source")) == (540, 960)
    assert (lambda v: (v.width, v.height))(source_view(1920, 1080, crop, FOCAL, "source", "crop")) == (600, 600)
    assert (lambda v: (v.width, v.height))(source_view(1920, 1080, crop, FOCAL, 256, "crop")) == (256, 256)


def test_a_square_that_sticks_out_stays_inside() -> None:
    view = source_view(450, 450, np.array([-0.4, 0.4, 451], np.float32), FOCAL, None, "crop")
    assert (view.region.left, view.region.top, view.region.width, view.region.height) == (0, 0, 450, 450)


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="size"):
        source_view(450, 450, np.array([0, 0, 450], np.float32), FOCAL, 255, "crop")


def test_squares_of_a_pixel_and_pictures_like_ribbons() -> None:
    view = source_view(450, 450, np.array([0, 0, 1], np.float32), FOCAL, 64, "crop")
    assert (view.region.width, view.width, view.height) == (2, 64, 64)
    with pytest.raises(InputError, match="32768x256 pixels: give a smaller size"):
        source_view(2048, 16, np.array([0, 0, 16], np.float32), FOCAL, 256, "source")
