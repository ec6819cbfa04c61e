"""Images sampled at other places, by bilinear interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.types import FloatArray

Image = NDArray[Any]


def sample(image: Image, x: NDArray[np.floating], y: NDArray[np.floating], beyond: float | None = None) -> FloatArray:
    """Values of an image [H, W] or [H, W, C] at places x, y [...].

    Args:
        beyond: what lies outside the image; None: its edge is repeated.

    Returns:
        float32 [...] or [..., C].
    """
    height, width = image.shape[:2]
    x, y = np.asarray(x, np.float32) - np.float32(0.5), np.asarray(y, np.float32) - np.float32(0.5)
    if beyond is not None:
        channels = [(0, 0)] * (image.ndim - 2)
        image = np.pad(image, [(1, 1), (1, 1), *channels], constant_values=beyond)
        height, width = height + 2, width + 2
        x, y = x + 1, y + 1
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = x.astype(np.intp), y.astype(np.intp)
    right = np.minimum(left + 1, width - 1) - left
    below = (np.minimum(top + 1, height - 1) - top) * width
    # Whole numbers taken from float32 would make it double.
    across, down = x - left.astype(np.float32), y - top.astype(np.float32)
    place = top * width + left
    flat = image.reshape(height * width, *image.shape[2:])
    if image.ndim > 2:
        across, down = across[..., None], down[..., None]

    def row(at: NDArray[np.intp]) -> FloatArray:
        first = flat.take(at, 0, mode="clip").astype(np.float32, copy=False)
        step = flat.take(at + right, 0, mode="clip") - first
        step *= across
        return np.add(first, step, out=first)

    upper, lower = row(place), row(place + below)
    lower -= upper
    lower *= down
    return np.add(upper, lower, out=upper)


def warp_affine(image: Image, move: NDArray[np.floating], height: int, width: int) -> FloatArray:
    """The image [H, W] or [H, W, C] moved; its edge is repeated beyond the edge.

    Args:
        move: [2, 3] affine map of a place in the image to its place in the result: `move[:, :2] p + move[:, 2]`.
        height, width: of the result.
    """
    turn = np.linalg.inv(np.asarray(move[:, :2], np.float64))
    shift = -turn @ move[:, 2]
    x, y = np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None]
    return sample(
        image, *((turn[axis, 0] * x + (turn[axis, 1] * y + shift[axis])).astype(np.float32) for axis in (0, 1))
    )
