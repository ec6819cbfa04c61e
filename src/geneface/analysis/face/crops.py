"""Turned rectangles of a picture, brought to the size that a network takes, and points brought back.

Regions and what is cut out of them are those of MediaPipe's CPU graphs, crops to the bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geneface import ops
from geneface.types import ByteArray, FloatArray


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
    """A region of an RGB picture [H, W, 3] as planes [3, side, side]; for `canvas` see `ops.cut_out`.

    A corner of the rectangle is taken for the centre of the pixel there, which moves crops by half the difference of a
    crop's pixel and a picture's; kept, so that meshes are MediaPipe's.
    """
    move = region.matrix()
    move[:, :2] /= side
    return ops.cut_out(np.ascontiguousarray(image), move, side, canvas)


def to_picture(points: FloatArray, region: Region) -> FloatArray:
    """Points [N, 2 or 3] of a crop, in shares of its width, in pixels of the picture; depth grows with the width."""
    move = region.matrix()
    axes, middle = np.zeros((3, 3), np.float32), np.zeros(3, np.float32)
    axes[:2, :2], axes[2, 2] = move[:, :2].T, region.width
    middle[:2] = move[:, 2]
    size = points.shape[1]
    return points @ axes[:size, :size] + middle[:size]
