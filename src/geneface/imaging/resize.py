"""Resizing of images [H, W] or [H, W, C]: area means, bilinear and bicubic interpolation.

The result has the type of the image; bytes are rounded to the nearest and clipped. Pixel centres lie at halves in both
images, and the edge is repeated beyond the edge. All three are separable: a table of source rows and weights for each
axis, as `cv2.resize` computes them (INTER_AREA, INTER_LINEAR, INTER_CUBIC), to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.types import FloatArray

Image = NDArray[Any]
Taps = tuple[tuple[NDArray[np.intp], FloatArray], ...]
"""For each tap the source row of every target row, and its weight [target]."""

_CUBIC = -0.75
"""Slope of the cubic kernel (Keys 1981) at 1."""
_ROWS = 32
"""Target rows computed at a time."""


def resize_area(image: Image, height: int, width: int) -> Image:
    """Shrink an image: each target pixel is the mean of the area that it covers.

    Raises:
        ValueError: the target is larger than the image in either direction, or either of them is empty.
    """
    if height > image.shape[0] or width > image.shape[1]:
        raise ValueError(f"area means shrink: not {image.shape[1]}x{image.shape[0]} to {width}x{height}")
    return _resize(image, height, width, _area_taps)


def resize_linear(image: Image, height: int, width: int) -> Image:
    """Resize by bilinear interpolation; for enlarging, since shrinking so would alias.

    Raises:
        ValueError: image or target are empty.
    """
    return _resize(image, height, width, _linear_taps)


def resize_cubic(image: Image, height: int, width: int) -> Image:
    """Resize by bicubic interpolation over 4 x 4 pixels; for enlarging, since shrinking so would alias.

    Raises:
        ValueError: image or target are empty.
    """
    return _resize(image, height, width, _cubic_taps)


def shrink_or_grow(image: Image, height: int, width: int) -> Image:
    """Area means where neither side grows, bicubic interpolation otherwise."""
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return resize_area(image, height, width) if shrinks else resize_cubic(image, height, width)


def _resize(image: Image, height: int, width: int, taps: Callable[[int, int], Taps]) -> Image:
    if min(height, width, *image.shape[:2]) < 1:
        raise ValueError(f"an empty image: {image.shape[1]}x{image.shape[0]} to {width}x{height}")
    if image.shape[:2] == (height, width):
        return np.array(image)
    kind = np.float64 if image.dtype == np.float64 else np.float32
    down, across = taps(image.shape[0], height), taps(image.shape[1], width)
    out = np.empty((height, width, *image.shape[2:]), image.dtype)
    # Columns are the slower to gather: they come when there are fewest rows.
    grows = height > len(image)
    if grows:
        image = _weigh_columns(image, across, kind)
    # Some rows at a time, whose intermediate values stay in the processor's cache.
    for start in range(0, height, _ROWS):
        stop = min(start + _ROWS, height)
        values = _weigh_rows(image, down, start, stop, kind)
        if not grows:
            values = _weigh_columns(values, across, kind)
        out[start:stop] = np.clip(np.rint(values, out=values), 0, 255, out=values) if out.dtype == np.uint8 else values
    return out


def _weigh_rows(image: Image, taps: Taps, start: int, stop: int, kind: type) -> Image:
    """Target rows [start, stop), still as wide as the image."""
    total = np.zeros((stop - start, image[0].size), kind)
    for source, weight in taps:
        rows = image[source[start:stop]].reshape(stop - start, -1)
        total += rows * weight[start:stop, None]
    return total.reshape(stop - start, *image.shape[1:])


def _weigh_columns(rows: Image, taps: Taps, kind: type) -> Image:
    """[n, target, ...] of rows [n, source, ...]."""
    # As rows of numbers, whatever the channels: numpy is slow over a last axis of three.
    channels = math.prod(rows.shape[2:])
    total = np.zeros((len(rows), len(taps[0][0]) * channels), kind)
    for source, weight in taps:
        total += np.take(rows, source, 1, mode="clip").reshape(len(rows), -1) * np.repeat(weight, channels)
    return total.reshape(len(rows), -1, *rows.shape[2:])


@lru_cache(maxsize=64)
def _area_taps(source: int, target: int) -> Taps:
    ratio = source / target
    low = np.arange(target) * ratio
    high = np.minimum(low + ratio, source)
    # Edges that rounding puts a hair beyond a border of pixels must not touch the next one.
    first = np.floor(low + 1e-9).astype(np.intp)
    last = np.ceil(high - 1e-9).astype(np.intp)
    taps = []
    for step in range(int((last - first).max())):
        row = first + step
        covered = np.clip(np.minimum(high, row + 1) - np.maximum(low, row), 0, 1)
        taps.append((np.minimum(row, source - 1), (covered / (high - low)).astype(np.float32)))
    return tuple(taps)


def _centres(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Source row left of each target row's centre, and how far beyond it the centre lies."""
    centre = (np.arange(target) + 0.5) * (source / target) - 0.5
    base = np.floor(centre)
    return base.astype(np.intp), centre - base


def _taps(first: NDArray[np.intp], weights: Sequence[NDArray[np.float64]], source: int) -> Taps:
    """Taps on consecutive rows from the first on; beyond the edge it is repeated."""
    return tuple(
        (np.clip(first + step, 0, source - 1), weight.astype(np.float32)) for step, weight in enumerate(weights)
    )


@lru_cache(maxsize=64)
def _linear_taps(source: int, target: int) -> Taps:
    base, beyond = _centres(source, target)
    weights = (1 - beyond, beyond)
    return _taps(base, weights, source)


@lru_cache(maxsize=64)
def _cubic_taps(source: int, target: int) -> Taps:
    base, beyond = _centres(source, target)

    def near(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1

    def far(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((_CUBIC * x - 5 * _CUBIC) * x + 8 * _CUBIC) * x - 4 * _CUBIC

    weights = (far(beyond + 1), near(beyond), near(1 - beyond), far(2 - beyond))
    return _taps(base - 1, weights, source)
