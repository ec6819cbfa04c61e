"""Resizing against OpenCV, and against sums over the areas and kernels themselves."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.imaging.resize import resize_area, resize_cubic, resize_linear, shrink_or_grow

SIZES = [((7, 5), (3, 2)), ((8, 12), (4, 4)), ((9, 9), (9, 4)), ((1, 6), (1, 1)), ((31, 17), (30, 5)), ((5, 3), (5, 3))]
ENLARGED = [((3, 2), (7, 5)), ((4, 4), (8, 12)), ((1, 1), (3, 4)), ((9, 7), (10, 7)), ((2, 5), (33, 11))]
KINDS = [np.uint8, np.float32, np.float64]


def picture(size: tuple[int, int], kind: type, channels: int = 0) -> np.ndarray:
    rng = np.random.default_rng(size[0])
    values = rng.uniform(0, 255, (*size, channels) if channels else size)
    return values.astype(kind)


def area_mean(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """By a grid so fine that every border falls onto one of its lines."""
    fine = np.repeat(np.repeat(image.astype(np.float64), height, axis=0), width, axis=1)
    return fine.reshape(height, image.shape[0], width, image.shape[1], *image.shape[2:]).mean((1, 3))


@pytest.mark.parametrize(("source", "target"), SIZES)
@pytest.mark.parametrize("channels", [0, 3])
def test_area_means_are_those_of_a_finer_grid(source, target, channels):
    image = picture(source, np.float64, channels)
    np.testing.assert_allclose(resize_area(image, *target), area_mean(image, *target), rtol=1e-6)


@pytest.mark.parametrize(("source", "target"), ENLARGED)
def test_bilinear_values_lie_between_their_neighbours(source, target):
    image = picture(source, np.float64)
    result = resize_linear(image, *target)
    for row in range(target[0]):
        for column in range(target[1]):
            y = np.clip((row + 0.5) * source[0] / target[0] - 0.5, 0, source[0] - 1)
            x = np.clip((column + 0.5) * source[1] / target[1] - 0.5, 0, source[1] - 1)
            near = image[int(y) : int(y) + 2, int(x) : int(x) + 2]
            weights = np.outer([1 - y % 1, y % 1][: near.shape[0]], [1 - x % 1, x % 1][: near.shape[1]])
            assert result[row, column] == pytest.approx((weights * near).sum(), abs=1e-4)


def test_cubic_goes_through_the_pixels_and_keeps_what_is_even():
    image = picture((5, 6), np.float64)
    np.testing.assert_allclose(resize_cubic(image, 15, 18)[1::3, 1::3], image, atol=1e-4)
    np.testing.assert_allclose(resize_cubic(np.full((3, 4), 7.0), 11, 9), 7, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [0, 3, 4])
@pytest.mark.parametrize("grows", [False, True])
def test_they_are_opencvs(kind, channels, grows):
    cv2 = pytest.importorskip("cv2", reason="no OpenCV here")
    methods = (
        {resize_linear: cv2.INTER_LINEAR, resize_cubic: cv2.INTER_CUBIC} if grows else {resize_area: cv2.INTER_AREA}
    )
    for source, target in ENLARGED if grows else SIZES:
        image = picture(source, kind, channels)
        for function, method in methods.items():
            expected = cv2.resize(image, target[::-1], interpolation=method)
            result = function(image, *target)
            assert result.dtype == kind and result.shape == (*target, *image.shape[2:])
            # OpenCV computes bytes in whole numbers.
            tolerance = 1 if kind == np.uint8 else 1e-3
            assert np.abs(result.astype(float) - expected.reshape(result.shape)).max() <= tolerance


def test_shrinking_takes_means_and_growing_interpolates():
    image = picture((12, 10), np.uint8, 3)
    np.testing.assert_array_equal(shrink_or_grow(image, 6, 10), resize_area(image, 6, 10))
    np.testing.assert_array_equal(shrink_or_grow(image, 15, 15), resize_cubic(image, 15, 15))
    unchanged = shrink_or_grow(image, 12, 10)
    np.testing.assert_array_equal(unchanged, image)
    assert not np.shares_memory(unchanged, image)


def test_what_cannot_be_done_is_refused():
    with pytest.raises(ValueError, match="shrink"):
        resize_area(np.zeros((4, 4)), 5, 4)
    for empty, target in (((0, 4), (0, 2)), ((4, 4), (0, 2))):
        with pytest.raises(ValueError, match="empty"):
            resize_area(np.zeros(empty), *target)
    with pytest.raises(ValueError, match="empty"):
        resize_linear(np.zeros((0, 3)), 2, 2)
