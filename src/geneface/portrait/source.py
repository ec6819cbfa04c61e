"""The whole source pictures of a segment, kept in the portrait: what the person's own pixels are taken from.

Frame i of the file is frame i of the segment: as `io.video.read_frames` gives it at 25 Hz (upright, square pixels,
BT.709), shrunk only where it is larger than `MAX_LONG_PX` x `MAX_SHORT_PX`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geneface.imaging.resize import resize_area
from geneface.io.recorded import read_recorded
from geneface.portrait.crops import Square
from geneface.types import ByteArray

MAX_LONG_PX, MAX_SHORT_PX = 1920, 1080
_CHOICES = 40
"""Widths that are tried for one at which both sides are whole, even numbers of pixels at one scale."""


@dataclass(frozen=True)
class SourceSize:
    """Size at which the pictures of a source are kept, before odd sides are made even; and where the square lies."""

    width: int
    height: int
    crop: tuple[float, float, float]
    """x, y and side of the square that `Portrait.frame` shows, in these pixels."""

    @property
    def even(self) -> tuple[int, int]:
        """Width and height as they are in the file."""
        return self.width + self.width % 2, self.height + self.height % 2

    def fit(self, picture: ByteArray) -> ByteArray:
        """A picture of the source [H, W, 3] at this size."""
        is_whole = picture.shape[:2] == (self.height, self.width)
        return picture if is_whole else resize_area(picture, self.height, self.width)


def source_size(width: int, height: int, square: Square) -> SourceSize:
    """At which size pictures of width x height are kept."""
    scale = min(1.0, MAX_LONG_PX / max(width, height), MAX_SHORT_PX / min(width, height))
    if scale == 1.0:
        return SourceSize(width, height, (float(square.x), float(square.y), float(square.side)))
    # One scale for both directions, or the square would be none: to the next even numbers it is seldom exact.
    largest = int(width * scale) // 2 * 2
    widths = [large for large in range(largest, max(largest - 2 * _CHOICES, 1), -2)]
    ideal = {wide: height * wide / width for wide in widths}
    wide = min(widths, key=lambda value: (round(abs(ideal[value] - _even(ideal[value])), 3), -value))
    high = _even(ideal[wide])
    across, down = wide / width, high / height
    return SourceSize(wide, high, (square.x * across, square.y * down, square.side * (across + down) / 2))


def _even(value: float) -> int:
    return max(2, 2 * round(value / 2))


@dataclass(frozen=True)
class SourcePictures:
    """The source pictures of one segment; read when asked for."""

    path: Path
    width: int
    height: int
    """Both even."""
    frames: int
    crop: tuple[float, float, float]
    """x, y and side, in pixels of these pictures, of the square that `Portrait.frame` shows."""

    def pictures(self, start: int, stop: int) -> Iterator[ByteArray]:
        """Yield pictures [start, stop), uint8 [H, W, 3] RGB. Quick from any picture on; memory does not grow.

        Raises:
            ValueError: the segment has no such frames.
            InputError: the file is missing or damaged.
        """
        if not 0 <= start <= stop <= self.frames:
            raise ValueError(f"no frames {start} to {stop}: there are {self.frames}")
        return read_recorded(self.path, self.width, self.height, start, stop)
