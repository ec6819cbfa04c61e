"""Neighbourhoods: means, Gaussian blur, erosion and dilation of images [H, W] or [H, W, C], each channel by itself.

Beyond the edge an image is mirrored about its outermost pixels, which stand there once (cv2.BORDER_REFLECT_101);
erosion and dilation know nothing beyond the edge. Results are those of OpenCV's functions of these names, to rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
Floats = NDArray[np.floating[Any]]
Element = tuple[int, ...]
"""A structuring element, symmetric in both directions: half the width of each of its rows, from the first to the
last; (1, 1, 1) is a square of 3 x 3."""

_GAUSSIAN_REACH = 4
"""Deviations to each side after which a Gaussian is cut off."""


def box_blur(values: Floats, span: int) -> Floats:
    """Mean over a square of `span` pixels, an odd number."""
    if span < 1 or span % 2 == 0:
        raise ValueError(f"the span must be odd, not {span}")
    for axis in (0, 1):
        values = _window_sums(mirrored(values, span // 2, axis), span, axis)
        np.multiply(values, 1 / span, out=values)
    return values


def _window_sums(values: Floats, span: int, axis: int) -> Floats:
    """Sums of `span` neighbours, fewer by span - 1: put together from sums of 1, 2, 4 ... neighbours, which are exact
    where the differences of long running sums would not be.
    """
    length = values.shape[axis] - span + 1
    total = np.zeros_like(_slice(values, 0, length, axis))
    covered = 0
    for bit in range(span.bit_length()):
        if bit:
            half = 1 << (bit - 1)
            rest = values.shape[axis] - half
            values = np.add(_slice(values, 0, rest, axis), _slice(values, half, rest, axis))
        if span >> bit & 1:
            total += _slice(values, covered, length, axis)
            covered += 1 << bit
    return total


def gaussian_blur(values: Floats, deviation: float) -> Floats:
    """Convolve with a Gaussian of this standard deviation in pixels, more than 0."""
    if not deviation > 0:
        raise ValueError(f"the deviation must be positive, not {deviation}")
    reach = max(1, round(_GAUSSIAN_REACH * deviation))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    for axis in (0, 1):
        values = correlate(values, taps / taps.sum(), axis)
    return values


def laplacian(values: Floats) -> Floats:
    """The four neighbours less four times the middle, [H, W] -> [H - 2, W - 2]."""
    return values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * values[1:-1, 1:-1]


def correlate(values: Floats, taps: NDArray[np.floating[Any]], axis: int) -> Floats:
    """Weighted sum over 2 r + 1 neighbours along an axis, weights from the first neighbour to the last."""
    length, reach = values.shape[axis], len(taps) // 2
    padded = mirrored(values, reach, axis)
    total, part = np.zeros_like(values), np.empty_like(values)
    for offset, weight in enumerate(taps.astype(values.dtype)):
        if weight != 0:
            near = _slice(padded, offset, length, axis)
            total += near if weight == 1 else np.multiply(near, weight, out=part)
    return total


def mirrored(values: Image, reach: int, axis: int) -> Image:
    """The image with `reach` more pixels at both ends of an axis."""
    length = values.shape[axis]
    place = np.abs(np.arange(-reach, length + reach))
    period = max(1, 2 * (length - 1))
    place %= period
    place = np.minimum(place, period - place)
    if reach >= length:
        return values.take(place, axis)
    ends = values.take(place[:reach], axis), values.take(place[length + reach :], axis)
    return np.concatenate([ends[0], values, ends[1]], axis)


def disc(radius: int) -> Element:
    """The element of cv2.MORPH_ELLIPSE with 2 radius + 1 pixels a side."""
    rows = np.arange(-radius, radius + 1)
    return tuple(np.rint(np.sqrt(radius**2 - rows**2)).astype(int).tolist())


def square(radius: int) -> Element:
    """A square of 2 radius + 1 pixels a side."""
    return (radius,) * (2 * radius + 1)


def dilate(values: Image, element: Element) -> Image:
    """Largest value under the element around each pixel of [H, W]; bool, bytes or floats."""
    return _extreme(values, element, np.maximum, _least(values.dtype))


def erode(values: Image, element: Element) -> Image:
    """Smallest value under the element around each pixel of [H, W]; bool, bytes or floats."""
    return _extreme(values, element, np.minimum, _largest(values.dtype))


def _least(kind: np.dtype[Any]) -> Any:
    return False if kind.kind == "b" else -np.inf if kind.kind == "f" else np.iinfo(kind).min


def _largest(kind: np.dtype[Any]) -> Any:
    return True if kind.kind == "b" else np.inf if kind.kind == "f" else np.iinfo(kind).max


def _extreme(values: Image, element: Element, better: np.ufunc, beyond: Any) -> Image:
    """The best value under the element; `beyond` never wins."""
    height, width = values.shape
    tall, wide = len(element) // 2, max(element)
    padded = np.full((height + 2 * tall, width + 2 * wide), beyond, values.dtype)
    padded[tall : tall + height, wide : wide + width] = values
    out = np.full_like(values, beyond)
    # Rows of one width share their running extreme; it grows by a pixel to each side from one width to the next.
    row = padded[:, wide : wide + width].copy()
    for half in range(wide + 1):
        if half:
            better(row, padded[:, wide - half : wide - half + width], out=row)
            better(row, padded[:, wide + half : wide + half + width], out=row)
        for offset, wanted in enumerate(element):
            if wanted == half:
                better(out, row[offset : offset + height], out=out)
    return out


def _slice(values: Image, start: int, length: int, axis: int) -> Image:
    return values[start : start + length] if axis == 0 else values[:, start : start + length]
