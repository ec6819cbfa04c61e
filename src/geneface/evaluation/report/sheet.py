"""Contact sheet: ground truth next to rendering. Images are uint8 [H, W, 3] RGB; boxes are x0, y0, x1, y1 in pixels.

One entry a frame: ground truth, rendering and error as whole frames, and the mouth of each enlarged below. The labels
are drawn with a built-in alphabet of 3 x 5 dots, so that a sheet needs no font and no drawing library. Errors are mean
absolute differences of the channels, in levels of 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.render.composite import resize
from geneface.types import ByteArray

ERROR_GAIN = 4
"""The error map of one frame turns white at 255 levels divided by this."""
MEAN_ERROR_GAIN = 8
"""The same for the mean over many frames, where extremes average out."""
PANEL_PX = 256
_COLUMNS = 2
_GAP_PX = 4
_LABEL_DOT_PX = 2
_LABEL_HEIGHT_PX = 7 * _LABEL_DOT_PX
_MOUTH_MARGIN = 0.5
_PAPER = 24

# One octal digit a row, most significant bit left: three dots wide, five high.
_DOTS = {
    "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644", "G": "34553", "H": "55755",
    "I": "72227", "J": "11152", "K": "55655", "L": "44447", "M": "57755", "N": "65555", "O": "25552", "P": "65644",
    "Q": "25563", "R": "65655", "S": "34216", "T": "72222", "U": "55557", "V": "55552", "W": "55775", "X": "55255",
    "Y": "55222", "Z": "71247", "0": "75557", "1": "26227", "2": "61247", "3": "61216", "4": "55711", "5": "74616",
    "6": "34757", "7": "71222", "8": "75757", "9": "75716", ".": "00002", "-": "00700", "+": "02720", " ": "00000",
    "_": "00007", ":": "02020", "/": "11244", "(": "24442", ")": "21112", "%": "51245", ",": "00024",
}  # fmt: skip


@dataclass(frozen=True)
class SheetEntry:
    """One frame of the sheet."""

    reference: ByteArray
    other: ByteArray
    mouth_box: NDArray[np.integer] | None
    """None where the mouth is not known: the entry then shows no enlarged mouths."""
    label: str


def contact_sheet(
    entries: Sequence[SheetEntry],
    panel_px: int = PANEL_PX,
    names: tuple[str, str] = ("GROUND TRUTH", "RENDERED"),
) -> ByteArray:
    """Lay the entries out in two columns on dark paper.

    Args:
        entries: at least one; all frames of one size.
        panel_px: width of a whole-frame panel.
        names: what stands over the two pictures; see `draw_text`.

    Returns:
        uint8 [H, W, 3].
    """
    if not entries:
        raise ValueError("a contact sheet needs at least one frame")
    mouth_half = _mouth_half_width(entries)
    blocks = [_block(entry, panel_px, mouth_half, names) for entry in entries]
    height, width = max(block.shape[0] for block in blocks), blocks[0].shape[1]
    columns = min(_COLUMNS, len(blocks))
    rows = -(-len(blocks) // columns)
    sheet = np.full(
        (rows * (height + _GAP_PX) - _GAP_PX, columns * (width + 2 * _GAP_PX) - 2 * _GAP_PX, 3), _PAPER, np.uint8
    )
    for i, block in enumerate(blocks):
        top, left = i // columns * (height + _GAP_PX), i % columns * (width + 2 * _GAP_PX)
        sheet[top : top + block.shape[0], left : left + width] = block
    return sheet


def error_map(reference: ByteArray, other: ByteArray, gain: float = ERROR_GAIN) -> ByteArray:
    """Mean absolute difference of the channels as colours, see `heat`."""
    return heat(np.abs(reference.astype(np.float32) - other.astype(np.float32)).mean(-1), gain)


def mean_error_map(levels: NDArray[np.floating[Any]]) -> ByteArray:
    """Mean errors [H, W] over many frames, in levels of 255, as the colours that the report's scale explains."""
    return heat(levels, MEAN_ERROR_GAIN)


def heat(levels: NDArray[np.floating[Any]], gain: float) -> ByteArray:
    """[H, W] levels of 255 -> [H, W, 3]: black is 0, then red, yellow, and white from 255 / `gain` on."""
    ramp = 3 * np.clip(gain * np.asarray(levels, np.float32) / 255, 0, 1)[..., None] - np.arange(3, dtype=np.float32)
    return np.round(np.clip(ramp, 0, 1) * 255).astype(np.uint8)


def label_bar(text: str, width: int) -> ByteArray:
    """[14, width, 3] bar with the text, in smaller letters or cut where it is too long."""
    bar = np.full((_LABEL_HEIGHT_PX, width, 3), _PAPER, np.uint8)
    room = width - 2 * _LABEL_DOT_PX
    dot = _LABEL_DOT_PX if 4 * len(text) * _LABEL_DOT_PX <= room else 1
    mask = draw_text(text, dot)[:, :room]
    bar[_LABEL_DOT_PX : _LABEL_DOT_PX + mask.shape[0], _LABEL_DOT_PX : _LABEL_DOT_PX + mask.shape[1]][mask] = 230
    return bar


def resize_image(image: ByteArray, height: int, width: int) -> ByteArray:
    """Resample [H, W, 3] bytes to [height, width, 3]."""
    return np.round(resize((image / 255).astype(np.float32), height, width) * 255).astype(np.uint8)


def draw_text(text: str, dot_px: int = _LABEL_DOT_PX) -> NDArray[np.bool_]:
    """[5 dot_px, 4 dot_px * len(text)] mask of the text in capitals.

    Letters, digits and . - + _ : / ( ) % , have a shape; any other character is left blank.
    """
    glyphs = [[[int(row) >> bit & 1 for bit in (2, 1, 0)] + [0] for row in _DOTS.get(c, "00000")] for c in text.upper()]
    dots = (
        np.concatenate([np.array(glyph, dtype=bool) for glyph in glyphs], axis=1) if glyphs else np.zeros((5, 0), bool)
    )
    return np.kron(dots, np.ones((dot_px, dot_px), dtype=bool)).astype(bool)


def _block(entry: SheetEntry, panel_px: int, mouth_half: int, names: tuple[str, str]) -> ByteArray:
    """Label bar, three whole frames, three mouths."""
    images = (entry.reference, entry.other, error_map(entry.reference, entry.other))
    titles = (f"{names[0]} {entry.label}", names[1], f"ERROR X{ERROR_GAIN}")
    frame_height = round(panel_px * entry.reference.shape[0] / entry.reference.shape[1])
    columns = []
    for image, name in zip(images, titles, strict=True):
        parts = [label_bar(name, panel_px), resize_image(image, frame_height, panel_px)]
        if entry.mouth_box is not None:
            parts.append(resize_image(_mouth(image, entry.mouth_box, mouth_half), panel_px // 2, panel_px))
        columns.append(np.concatenate(parts, axis=0))
    return np.concatenate(columns, axis=1)


def _mouth_half_width(entries: Sequence[SheetEntry]) -> int:
    """Half the width of the windows on the mouths: one for the whole sheet, so that openings can be compared."""
    boxes = np.array([entry.mouth_box for entry in entries if entry.mouth_box is not None], np.float64).reshape(-1, 4)
    if not len(boxes):
        return 0
    largest = max((boxes[:, 2] - boxes[:, 0]).max(), 2 * (boxes[:, 3] - boxes[:, 1]).max())
    height, width = entries[0].reference.shape[:2]
    return int(np.clip(round((1 + _MOUTH_MARGIN) * largest / 2), 4, min(width, 2 * height) / 2))


def _mouth(image: ByteArray, box: NDArray[np.integer], half: int) -> ByteArray:
    """[half, 2 half] window around the box, shifted so that it lies inside the image."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = (float(value) for value in box)
    left = int(np.clip(round((x0 + x1) / 2) - half, 0, width - 2 * half))
    top = int(np.clip(round((y0 + y1) / 2) - half // 2, 0, height - half))
    return image[top : top + half, left : left + 2 * half]
