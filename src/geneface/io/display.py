"""How a decoded picture is to be shown: which way up, mirrored or not, with which shape of pixels.

Turns are counterclockwise quarter turns.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame as DecodedFrame
from av.video.stream import VideoStream

from geneface.types import ByteArray

_TOLERANCE_DEGREES = 1.0
"""Angles this near to an axis are that axis, as FFmpeg takes them."""


@dataclass(frozen=True)
class Orientation:
    """What to do with a stored picture: swap its axes first, then reverse its rows and columns."""

    swaps_axes: bool = False
    reverses_rows: bool = False
    reverses_columns: bool = False

    @property
    def is_mirrored(self) -> bool:
        """Whether left and right of the scene are exchanged, apart from the turns."""
        return self.swaps_axes ^ self.reverses_rows ^ self.reverses_columns

    @property
    def quarter_turns(self) -> int:
        """Turns that are applied, after a mirror image from left to right if there is one."""
        if self.swaps_axes:
            return 1 if self.reverses_rows != self.is_mirrored else 3
        return 2 if self.reverses_rows else 0

    def apply(self, image: ByteArray) -> ByteArray:
        """A picture [H, W, 3] as it is to be shown."""
        shown = image.swapaxes(0, 1) if self.swaps_axes else image
        shown = shown[:: -1 if self.reverses_rows else 1, :: -1 if self.reverses_columns else 1]
        return np.ascontiguousarray(shown)


def display_size(frame: DecodedFrame, aspect: float) -> tuple[int, int]:
    """Width and height with square pixels, before turning; `aspect` is width over height of one pixel."""
    return max(1, round(frame.width * aspect)), frame.height


def pixel_aspect(stream: VideoStream) -> float:
    """Width over height of one pixel, 1 where it is not stated or absurd."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return aspect if 0.25 <= aspect <= 4 else 1.0


def orientation(frame: DecodedFrame, stream: VideoStream) -> Orientation:
    """How a picture is to be turned: by its display matrix, else by the tag "rotate" of older Matroska files.

    Raises:
        ValueError: by an angle between the axes; it says by which.
    """
    matrix = _display_matrix(frame)
    if matrix is None:
        tags = {key.lower(): value for key, value in stream.metadata.items()}
        try:
            angle = math.radians(float(tags.get("rotate", 0)))  # clockwise
        except ValueError:
            angle = 0.0
        if not math.isfinite(angle):
            angle = 0.0
        a, b, c, d = math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)
    else:
        # [[a, b, u], [c, d, v], [x, y, w]] of ISO 14496-12: a stored point (x, y) is shown at (ax + cy, bx + dy).
        a, b, _, c, d, *_ = matrix
    across, down = _axis(a, b), _axis(c, d)
    if across == "none" or down == "none":
        return Orientation()  # a matrix that would shrink the picture to a line says nothing
    if "" in (across, down) or across[1] == down[1]:
        raise ValueError("slanted" if across else f"turned by {math.degrees(math.atan2(-b, a)):.1f} degrees")
    swaps = across[1] == "y"
    along_x, along_y = (down, across) if swaps else (across, down)
    return Orientation(swaps, reverses_rows=along_y[0] == "-", reverses_columns=along_x[0] == "-")


def _display_matrix(frame: DecodedFrame) -> tuple[float, ...] | None:
    try:
        # The types that PyAV declares are not those that it takes and returns.
        # `frame.side_data` would be kept by the picture that it keeps: hundreds of pictures lay in memory between two
        # runs of the garbage collector.
        side_data: Any = SideDataContainer
        matrix: Any = side_data(frame).get("DISPLAYMATRIX")
    except ValueError:
        # PyAV gives none of a picture's side data if it does not know the kind of one.
        angle = -math.radians(frame.rotation)
        return (math.cos(angle), math.sin(angle), 0, -math.sin(angle), math.cos(angle)) if angle else None
    return None if matrix is None else struct.unpack("=9i", bytes(matrix)[:36])


def _axis(x: float, y: float) -> str:
    """Name of the axis that a direction is: "+x", "-y"; "" between the axes, "none" for no direction."""
    if not x and not y:
        return "none"
    name, along, aside = ("x", x, y) if abs(x) > abs(y) else ("y", y, x)
    if abs(aside) > abs(along) * math.tan(math.radians(_TOLERANCE_DEGREES)):
        return ""
    return ("-" if along < 0 else "+") + name
