"""Drawing for sheets of pictures and text: a column of rows, each a picture of the sheet's width. [prepare] extra.

Pictures are RGB uint8 [H, W, 3]; places are (x, y) in pixels, y down.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.tracker import opencv
from geneface.types import ByteArray

WIDTH = 1600
MARGIN = 24
PAPER, INK, PALE = (250, 250, 248), (32, 34, 38), (120, 124, 130)
_LINE = 26
_SCALE = 0.6
"""Of OpenCV's font for ordinary text: capitals are 13 pixels high."""

Color = tuple[int, int, int]


def blank(height: int, width: int = WIDTH) -> ByteArray:
    """An empty row."""
    return np.full((height, width, 3), PAPER, np.uint8)


def plain(text: str) -> str:
    """The text in the letters that the font has: accents are taken off, other scripts become question marks."""
    bare = unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode()
    return "".join(letter for letter, was in zip(bare, unicodedata.normalize("NFKD", text), strict=True)
                   if not unicodedata.combining(was))  # fmt: skip


def text_width(text: str, scale: float = _SCALE) -> int:
    """Pixels that a text takes."""
    cv2 = opencv()
    return int(cv2.getTextSize(plain(text), cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0])


def draw_text(image: ByteArray, text: str, place: tuple[int, int], color: Color = INK, scale: float = _SCALE) -> None:
    """Write a line whose letters stand on y."""
    cv2 = opencv()
    weight = 2 if scale > 0.8 else 1
    cv2.putText(image, plain(text), place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, weight, cv2.LINE_AA)


def shorten(text: str, width: int, scale: float = _SCALE) -> str:
    """The text, its middle left out where it is wider than so many pixels."""
    if text_width(text, scale) <= width:
        return text
    for length in range(len(text) - 1, 1, -1):
        candidate = text[: (length + 1) // 2] + ".." + text[len(text) - length // 2 :]
        if text_width(candidate, scale) <= width:
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


def title(text: str, scale: float = 0.9) -> ByteArray:
    """A row with large text."""
    row = blank(48)
    draw_text(row, shorten(text, WIDTH - 2 * MARGIN, scale), (MARGIN, 34), INK, scale)
    return row


def fit(image: ByteArray, width: int, height: int) -> tuple[ByteArray, float]:
    """The picture scaled to fit into a frame, and by which factor."""
    cv2 = opencv()
    scale = min(width / image.shape[1], height / image.shape[0])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=method), scale


def tiles(images: Sequence[ByteArray], captions: Sequence[str], gap: int = 12) -> ByteArray:
    """A row of pictures beside each other, as far as they fit, each with a caption below."""
    row = blank(max(image.shape[0] for image in images) + _LINE + 8)
    x = MARGIN
    for image, caption in zip(images, captions, strict=True):
        if x + image.shape[1] > WIDTH - MARGIN:
            break
        row[: image.shape[0], x : x + image.shape[1]] = image
        draw_text(row, shorten(caption, image.shape[1], 0.5), (x, image.shape[0] + 20), PALE, 0.5)
        x += image.shape[1] + gap
    return row


def draw_square(image: ByteArray, corners: tuple[float, float, float, float], color: Color) -> None:
    """Outline of x0, y0, x1, y1, two pixels wide."""
    cv2 = opencv()
    x0, y0, x1, y1 = (round(value) for value in corners)
    height, width = image.shape[:2]
    low, high = (max(x0, 1), max(y0, 1)), (min(x1, width - 2), min(y1, height - 2))
    cv2.rectangle(image, low, high, (255, 255, 255), 4)
    cv2.rectangle(image, low, high, color, 2)


def draw_points(image: ByteArray, points: NDArray[np.floating], color: Color) -> None:
    """Dots at points [N, 2]."""
    cv2 = opencv()
    for x, y in points:
        # 1/16ths of a pixel; OpenCV counts from the first pixel's centre.
        cv2.circle(image, (round((x - 0.5) * 16), round((y - 0.5) * 16)), 18, color, -1, cv2.LINE_AA, 4)


def stack(rows: Sequence[ByteArray]) -> ByteArray:
    """The finished sheet: the rows one below the other."""
    return np.concatenate([blank(MARGIN // 2), *rows, blank(MARGIN)])


def jpeg(image: ByteArray) -> bytes:
    """A JPEG file in memory."""
    cv2 = opencv()
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
    assert done
    return bytes(data)
