"""Sampling against a loop over pixels, and against OpenCV, whose places are rounded to 1/32 of a pixel."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.imaging.warp import sample, warp_affine


def value(image: np.ndarray, x: float, y: float, beyond: float | None):
    """Bilinear interpolation between the four centres around a place."""
    left, top = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
    total = 0.0
    for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
        weight = (1 - abs(x - 0.5 - column)) * (1 - abs(y - 0.5 - row))
        if beyond is None:
            pixel = image[np.clip(row, 0, image.shape[0] - 1), np.clip(column, 0, image.shape[1] - 1)]
        else:
            inside = 0 <= row < image.shape[0] and 0 <= column < image.shape[1]
            pixel = image[row, column] if inside else np.full(image.shape[2:], beyond)
        total = total + weight * np.asarray(pixel, np.float64)
    return total


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (7, 9), (6, 5, 3)])
@pytest.mark.parametrize("beyond", [None, 0.0, 100.0])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_samples_are_those_of_a_loop(size, beyond, kind):
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, size).astype(kind)
    places = rng.uniform(-3, max(size) + 3, (200, 2))
    places[:4] = [(0.5, 0.5), (0, 0), (size[1] - 0.5, size[0] - 0.5), (size[1], size[0])]
    result = sample(image, places[:, 0], places[:, 1], beyond)
    expected = [value(image, x, y, beyond) for x, y in places]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_a_shift_by_whole_pixels_copies():
    image = np.random.default_rng(1).random((6, 8)).astype(np.float32)
    moved = warp_affine(image, np.array([[1, 0, 2], [0, 1, 1]]), 6, 8)
    np.testing.assert_allclose(moved[1:, 2:], image[:-1, :-2], atol=1e-6)
    np.testing.assert_allclose(moved[0, 2:], image[0, :-2], atol=1e-6)
    np.testing.assert_allclose(moved[1:, 0], image[:-1, 0], atol=1e-6)


def test_a_turn_about_the_middle_turns():
    image = np.random.default_rng(2).random((5, 5)).astype(np.float32)
    quarter = np.array([[0, -1, 5], [1, 0, 0]])
    np.testing.assert_allclose(warp_affine(image, quarter, 5, 5), np.rot90(image, -1), atol=1e-6)


def test_warps_are_opencvs():
    cv2 = pytest.importorskip("cv2", reason="no OpenCV here")
    rng = np.random.default_rng(3)
    image = cv2.GaussianBlur(rng.random((40, 50)).astype(np.float32), (0, 0), 2)
    move = np.array([[1.1, -0.2, 3.3], [0.15, 0.95, -2.6]])
    # OpenCV counts from the first centre.
    half = move.copy()
    half[:, 2] += move[:, :2] @ [0.5, 0.5] - 0.5
    expected = cv2.warpAffine(image, half, (45, 38), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(warp_affine(image, move, 38, 45), expected, atol=0.01)
    x, y = rng.uniform(-2, 52, (2, 30, 30)).astype(np.float32)
    expected = cv2.remap(image, x - 0.5, y - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    assert np.abs(sample(image, x, y, 0.0) - expected).max() < 0.03
