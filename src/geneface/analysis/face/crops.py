"""Turned rectangles of a picture, brought to the size that a network takes, and points brought back.

The crop is that of MediaPipe's CPU graphs, OpenCV's `warpPerspective`, to the bit: places are rounded to 1/32 pixel,
and pixels are mixed with whole-numbered weights. A corner of the rectangle is taken for the centre of the pixel there,
which moves crops by half the difference of a crop's pixel and a picture's; kept, so that meshes are MediaPipe's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geneface.types import ByteArray, FloatArray

_STEPS = 32
"""Places between two pixels, along each axis."""


@dataclass(frozen=True)
class Region:
    """A rectangle in pixels of a picture, turned by `angle` radians from x towards y about its middle."""

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0

    @classmethod
    def whole(cls, image: ByteArray) -> Region:
        """All of a picture [H, W, 3]."""
        height, width = image.shape[:2]
        return cls(0.5 * width, 0.5 * height, width, height)

    def scaled(self, factor: float) -> Region:
        """The same place in a picture that is `factor` times as large."""
        return Region(self.x * factor, self.y * factor, self.width * factor, self.height * factor, self.angle)

    def squared(self, growth: float = 1.0) -> Region:
        """A square with the longer side, `growth` times as large."""
        side = growth * max(self.width, self.height)
        return replace(self, width=side, height=side)

    def matrix(self) -> NDArray[np.float64]:
        """[2, 3]: takes points of the crop, in shares of its sides, to pixels of the picture."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        axes = np.array([[self.width * cosine, -self.height * sine], [self.width * sine, self.height * cosine]])
        middle = np.array([self.x, self.y])
        return np.column_stack([axes, middle - axes.sum(1) / 2])


def cut_out(image: ByteArray, region: Region, side: int, *, canvas: int | None = None) -> ByteArray:
    """A region of an RGB picture [H, W, 3] as planes [3, side, side], by bilinear interpolation.

    Args:
        canvas: the picture lies in the upper left corner of a black square of this size, whose edge is continued
            outwards; None: black without an end.
    """
    height, width = image.shape[:2]
    move = region.matrix() * _STEPS
    steps = np.arange(side) / side
    x, y = (
        np.rint((row[0] * steps)[None] + (row[1] * steps + row[2])[:, None]).astype(np.int32)  # to 1/32 pixel
        for row in move
    )
    (left, right, x_weights), (top, bottom, y_weights) = (
        _neighbours(places, size, canvas) for places, size in ((x, width), (y, height))
    )
    pixels = np.ascontiguousarray(image).reshape(-1)
    taps = [
        (3 * (row.astype(np.intp) * width + column), y_weight * x_weight)
        for row, y_weight in zip((top, bottom), y_weights, strict=True)
        for column, x_weight in zip((left, right), x_weights, strict=True)
    ]
    planes = np.empty((3, side, side), np.uint8)
    for channel in range(3):
        total = np.full((side, side), _STEPS**2 // 2, np.int32)
        for places, weight in taps:
            total += pixels[channel:].take(places) * weight
        planes[channel] = total >> 10
    return planes


def _neighbours(
    places: NDArray[np.int32], size: int, canvas: int | None
) -> tuple[NDArray[np.int32], NDArray[np.int32], tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """The pixels before and after places given in 1/32 pixel, and the weights [2] of both, in 1/32.

    Pixels are kept within the picture's `size`; one that is black has no weight.
    """
    second_weight = places & (_STEPS - 1)
    first_weight = _STEPS - second_weight
    first = places >> 5
    second = first + 1
    if first.min() >= 0 and second.max() < size:
        return first, second, (first_weight, second_weight)
    if canvas is not None:
        first, second = first.clip(0, canvas - 1), second.clip(0, canvas - 1)
    weights = (
        np.where((first >= 0) & (first < size), first_weight, 0),
        np.where((second >= 0) & (second < size), second_weight, 0),
    )
    return first.clip(0, size - 1), second.clip(0, size - 1), weights


def to_picture(points: NDArray[np.floating], region: Region) -> FloatArray:
    """Points [N, 2 or 3] of a crop, in shares of its width, in pixels of the picture; depth grows with the width."""
    move = region.matrix()
    plane = points[:, :2] @ move[:, :2].T + move[:, 2]
    return np.concatenate([plane, points[:, 2:] * region.width], axis=1).astype(np.float32)
