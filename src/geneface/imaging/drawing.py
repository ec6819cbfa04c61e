"""Drawing on images uint8 [H, W, 3]: text, frames and dots, with soft edges. What lies outside is cut off."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from geneface.imaging.font import BASELINE, CAPITAL, GAP, glyph
from geneface.types import ByteArray, FloatArray

Color = tuple[int, int, int]

_STROKE = 0.1
"""Width of a stroke, of the height of capitals; a pixel at least."""


def text_width(text: str, height: int) -> int:
    """Pixels that a line of text takes; `height`: of its capitals."""
    return sum(_advance(letter, height) for letter in text)


def draw_text(image: ByteArray, text: str, place: tuple[int, int], color: Color, height: int) -> None:
    """Write a line of ASCII letters.

    Args:
        place: where it starts, and the row that its letters stand on.
        height: of capitals, pixels.
    """
    x, line = place
    for letter in text:
        shape, above = _shape(letter, height)
        _blend(image, shape, x - 1, line - above, color)
        x += _advance(letter, height)


def _advance(letter: str, height: int) -> int:
    return max(1, round((glyph(letter)[1] + GAP) * height / CAPITAL))


@lru_cache(maxsize=1024)
def _shape(letter: str, height: int) -> tuple[FloatArray, int]:
    """Coverage [h, w] of a letter with a pixel to its left, and the rows above the line that it stands on."""
    lines, width = glyph(letter)
    stroke = max(1.0, _STROKE * height)
    # From the middle of a stroke to that of another.
    unit = (height - stroke) / CAPITAL
    above, below = height + 2, round(BASELINE * unit) + 2
    x = np.arange(round(width * unit + stroke) + 2) - 0.5
    y = above - 0.5 - np.arange(above + below)[:, None]
    distance = np.full((above + below, len(x)), np.inf)
    for (x0, y0), (x1, y1) in unit * lines + stroke / 2:
        length = (x1 - x0) ** 2 + (y1 - y0) ** 2
        along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1)
        distance = np.minimum(distance, np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)))
    return np.clip(stroke / 2 + 0.5 - distance, 0, 1).astype(np.float32), above


def draw_frame(image: ByteArray, corners: tuple[float, float, float, float], color: Color, width: int = 2) -> None:
    """Outline of the rectangle x0, y0, x1, y1, so many pixels wide, inwards; a side outside is moved to the edge."""
    rows, columns = image.shape[:2]
    x0, x1 = (int(np.clip(round(value), 0, columns)) for value in (corners[0], corners[2]))
    y0, y1 = (int(np.clip(round(value), 0, rows)) for value in (corners[1], corners[3]))
    part = image[y0:y1, x0:x1]
    for side in (part[:width], part[-width:], part[:, :width], part[:, -width:]):
        side[:] = color


def draw_dots(image: ByteArray, points: NDArray[np.floating], color: Color, radius: float) -> None:
    """Discs about points [N, 2]."""
    reach = int(np.ceil(radius)) + 1
    offsets = np.arange(-reach, reach + 1)
    for x, y in points:
        left, top = int(np.floor(x)), int(np.floor(y))
        across, down = left + offsets + 0.5 - x, (top + offsets + 0.5 - y)[:, None]
        shape = np.clip(radius + 0.5 - np.hypot(across, down), 0, 1).astype(np.float32)
        _blend(image, shape, left - reach, top - reach, color)


def _blend(image: ByteArray, shape: FloatArray, x: int, y: int, color: Color) -> None:
    """Lay a colour over the image where a shape [h, w] covers it, the shape's corner at x, y."""
    rows = slice(max(y, 0), max(min(y + shape.shape[0], image.shape[0]), 0))
    columns = slice(max(x, 0), max(min(x + shape.shape[1], image.shape[1]), 0))
    part = image[rows, columns]
    if part.size:
        share = shape[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x, None]
        part[:] = np.rint(part + share * (np.array(color, np.float32) - part)).astype(np.uint8)
