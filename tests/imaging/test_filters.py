"""Filters against OpenCV, and against loops over every pixel's neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.imaging.filters import Element, box_blur, dilate, disc, erode, gaussian_blur, mirrored, square

SIZES = [(1, 1), (1, 9), (6, 1), (5, 8), (31, 20)]


def picture(size: tuple[int, int], kind: type = np.float32, channels: int = 0) -> np.ndarray:
    rng = np.random.default_rng(sum(size))
    return rng.uniform(0, 255, (*size, channels) if channels else size).astype(kind)


def extreme(values: np.ndarray, element: Element, best) -> np.ndarray:
    """By asking every pixel under the element."""
    radius, out = len(element) // 2, values.copy()
    for y, x in np.ndindex(values.shape):
        seen = [
            values[y + step, x + side]
            for step, half in zip(range(-radius, radius + 1), element, strict=True)
            for side in range(-half, half + 1)
            if 0 <= y + step < values.shape[0] and 0 <= x + side < values.shape[1]
        ]
        out[y, x] = best(seen)
    return out


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.float32])
@pytest.mark.parametrize("element", [square(0), square(2), disc(1), disc(4)])
def test_extremes_are_those_of_a_loop(size, kind, element):
    values = picture(size) > 100 if kind == np.bool_ else picture(size, kind)
    np.testing.assert_array_equal(dilate(values, element), extreme(values, element, max))
    np.testing.assert_array_equal(erode(values, element), extreme(values, element, min))


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 7, 15])
def test_extremes_are_opencvs(radius):
    cv2 = pytest.importorskip("cv2", reason="no OpenCV here")
    side = (2 * radius + 1, 2 * radius + 1)
    shapes = ((cv2.MORPH_ELLIPSE, disc(radius)), (cv2.MORPH_RECT, square(radius)))
    for (kind, element), values in ((s, picture(z, k)) for s in shapes for z in SIZES for k in (np.uint8, np.float32)):
        kernel = cv2.getStructuringElement(kind, side)
        np.testing.assert_array_equal(dilate(values, element), cv2.dilate(values, kernel))
        np.testing.assert_array_equal(erode(values, element), cv2.erode(values, kernel))


def test_beyond_the_edge_it_is_mirrored():
    row = np.array([[1, 2, 3]])
    np.testing.assert_array_equal(mirrored(row, 5, 1)[0], [2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2])
    np.testing.assert_array_equal(mirrored(row, 2, 0), np.repeat(row, 5, axis=0))
    np.testing.assert_array_equal(mirrored(row, 5, 1)[0], np.pad(row[0], 5, mode="reflect"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [0, 3])
def test_a_box_is_a_mean(size, channels):
    image = picture(size, np.float64, channels)
    padded = mirrored(mirrored(image, 2, 0), 2, 1)
    expected = [[padded[y : y + 5, x : x + 5].mean((0, 1)) for x in range(size[1])] for y in range(size[0])]
    np.testing.assert_allclose(box_blur(image, 5), expected, rtol=1e-9)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [0, 3])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_blurs_are_opencvs(size, channels, kind):
    cv2 = pytest.importorskip("cv2", reason="no OpenCV here")
    image = picture(size, kind, channels)
    # OpenCV drops a last axis of one.
    for result, expected in (
        (box_blur(image, 3), cv2.blur(image, (3, 3))),
        (box_blur(image, 15), cv2.blur(image, (15, 15))),
        (gaussian_blur(image, 1.0), cv2.GaussianBlur(image, (0, 0), 1.0)),
        (gaussian_blur(image, 3.0), cv2.GaussianBlur(image, (0, 0), 3.0)),
    ):
        assert result.dtype == kind
        np.testing.assert_allclose(result, expected.reshape(image.shape), rtol=1e-4, atol=1e-3)


def test_a_gaussian_spreads_a_point_by_its_deviation():
    point = np.zeros((41, 41))
    point[20, 20] = 1
    blurred = gaussian_blur(point, 2.5)
    away = np.arange(41) - 20
    assert blurred.sum() == pytest.approx(1)
    assert (blurred.sum(0) * away**2).sum() == pytest.approx(2.5**2, rel=0.01)
    np.testing.assert_allclose(blurred, blurred.T, atol=1e-15)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="odd"):
        box_blur(np.zeros((3, 3)), 4)
    with pytest.raises(ValueError, match="positive"):
        gaussian_blur(np.zeros((3, 3)), 0.0)
