"""Drawing for sheets of pictures and text: a column of rows, each a picture of the sheet's width.

Pictures are RGB uint8 [H, W, 3]; places are (x, y) in pixels, y down.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geneface.imaging import drawing
from geneface.imaging.drawing import Color
from geneface.imaging.resize import shrink_or_grow
from geneface.types import ByteArray

WIDTH = 1600
MARGIN = 24
PAPER, INK, PALE = (250, 250, 248), (32, 34, 38), (120, 124, 130)
TEXT, SMALL, HEADING, TITLE = 13, 11, 16, 20
"""Heights of capitals, pixels."""
_LINE = 26


def blank(height: int, width: int = WIDTH) -> ByteArray:
    """An empty row."""
    return np.full((height, width, 3), PAPER, np.uint8)


def plain(text: str) -> str:
    """The text in the letters that the font has: accents are taken off, other scripts become question marks."""
    bare = unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode()
    return "".join(letter for letter, was in zip(bare, unicodedata.normalize("NFKD", text), strict=True)
                   if not unicodedata.combining(was))  # fmt: skip


def text_width(text: str, size: int = TEXT) -> int:
    """Pixels that a text takes."""
    return drawing.text_width(plain(text), size)


def draw_text(image: ByteArray, text: str, place: tuple[int, int], color: Color = INK, size: int = TEXT) -> None:
    """Write a line whose letters stand on y."""
    drawing.draw_text(image, plain(text), place, color, size)


def shorten(text: str, width: int, size: int = TEXT) -> str:
    """The text, its middle left out where it is wider than so many pixels."""
    if text_width(text, size) <= width:
        return text
    for length in range(len(text) - 1, 1, -1):
        candidate = text[: (length + 1) // 2] + ".." + text[len(text) - length // 2 :]
        if text_width(candidate, size) <= width:
            return candidate
    return ""


def wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most so many pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return [shorten(line, width) for line in lines]


def paragraph(text: str, color: Color = INK, mark: Color | None = None) -> ByteArray:
    """A row with a text, broken into lines; `mark` is a square of that colour before it."""
    indent = MARGIN + (28 if mark else 0)
    lines = wrap(text, WIDTH - indent - MARGIN)
    row = blank(_LINE * len(lines))
    if mark:
        row[5:21, MARGIN : MARGIN + 16] = mark
    for number, line in enumerate(lines):
        draw_text(row, line, (indent, _LINE * number + 19), color)
    return row


def title(text: str, size: int = TITLE) -> ByteArray:
    """A row with large text."""
    row = blank(48)
    draw_text(row, shorten(text, WIDTH - 2 * MARGIN, size), (MARGIN, 34), INK, size)
    return row


def fit(image: ByteArray, width: int, height: int) -> tuple[ByteArray, float]:
    """The picture scaled to fit into a frame, and by which factor."""
    scale = min(width / image.shape[1], height / image.shape[0])
    return shrink_or_grow(image, *(max(1, round(side * scale)) for side in image.shape[:2])), scale


def tiles(images: Sequence[ByteArray], captions: Sequence[str], gap: int = 12) -> ByteArray:
    """A row of pictures side by side, as far as they fit, each with a caption below."""
    row = blank(max(image.shape[0] for image in images) + _LINE + 8)
    x = MARGIN
    for image, caption in zip(images, captions, strict=True):
        if x + image.shape[1] > WIDTH - MARGIN:
            break
        row[: image.shape[0], x : x + image.shape[1]] = image
        draw_text(row, shorten(caption, image.shape[1], SMALL), (x, image.shape[0] + 20), PALE, SMALL)
        x += image.shape[1] + gap
    return row


def draw_square(image: ByteArray, corners: tuple[float, float, float, float], color: Color) -> None:
    """Outline of x0, y0, x1, y1, two pixels wide and two of white within."""
    drawing.draw_frame(image, corners, (255, 255, 255), 4)
    drawing.draw_frame(image, corners, color, 2)


def draw_points(image: ByteArray, points: NDArray[np.floating], color: Color) -> None:
    """Dots at points [N, 2]."""
    drawing.draw_dots(image, points, color, 1.1)


def stack(rows: Sequence[ByteArray]) -> ByteArray:
    """The finished sheet: the rows one below the other."""
    return np.concatenate([blank(MARGIN // 2), *rows, blank(MARGIN)])
