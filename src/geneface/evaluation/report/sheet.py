"""Contact sheet: ground truth next to rendering. Images are uint8 [H, W, 3] RGB; boxes are x0, y0, x1, y1 in pixels.

One entry a frame: ground truth, rendering, where there is one the rendering pasted into the recording, and the error of
the last as whole frames, and the mouth of each enlarged below. Errors are mean absolute differences of the channels, in
levels of 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.imaging.drawing import draw_text, text_width
from geneface.render.composite import resize
from geneface.types import ByteArray

ERROR_GAIN = 4
"""The error map of one frame turns white at 255 levels divided by this."""
MEAN_ERROR_GAIN = 8
"""The same for the mean over many frames, where extremes average out."""
PANEL_PX = 256
_COLUMNS = 2
_GAP_PX = 4
LABEL_HEIGHT_PX = 14
_LETTERS_PX = (9, 7)
"""Heights of capitals, the one that is tried first before the other."""
_LABEL_MARGIN_PX = 2
_MOUTH_MARGIN = 0.5
_PAPER, _INK = 24, (230, 230, 230)


@dataclass(frozen=True)
class SheetEntry:
    """One frame of the sheet."""

    reference: ByteArray
    other: ByteArray
    mouth_box: NDArray[np.integer] | None
    """None where the mouth is not known: the entry then shows no enlarged mouths."""
    label: str
    pasted: ByteArray | None = None
    """The lower face alone, in the recorded picture."""

    @property
    def shown(self) -> tuple[ByteArray, ...]:
        """The pictures, the ground truth first."""
        return (self.reference, self.other) if self.pasted is None else (self.reference, self.other, self.pasted)


def contact_sheet(
    entries: Sequence[SheetEntry],
    panel_px: int = PANEL_PX,
    names: Sequence[str] = ("GROUND TRUTH", "RENDERED"),
) -> ByteArray:
    """Lay the entries out in two columns on dark paper.

    Args:
        entries: at least one; all frames of one size.
        panel_px: width of a whole-frame panel.
        names: what stands over the pictures; one for each.

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
    bar = np.full((LABEL_HEIGHT_PX, width, 3), _PAPER, np.uint8)
    room = bar[:, _LABEL_MARGIN_PX : width - _LABEL_MARGIN_PX]
    fitting = (size for size in _LETTERS_PX if text_width(text, size) <= room.shape[1])
    size = next(fitting, _LETTERS_PX[-1])
    draw_text(room, text, (0, (LABEL_HEIGHT_PX + size) // 2), _INK, size)
    return bar


def resize_image(image: ByteArray, height: int, width: int) -> ByteArray:
    """Resample [H, W, 3] bytes to [height, width, 3]."""
    return np.round(resize((image / 255).astype(np.float32), height, width) * 255).astype(np.uint8)


def _block(entry: SheetEntry, panel_px: int, mouth_half: int, names: Sequence[str]) -> ByteArray:
    """Label bars, whole frames, mouths."""
    images = (*entry.shown, error_map(entry.reference, entry.shown[-1]))
    titles = (f"{names[0]} {entry.label}", *names[1:], f"ERROR X{ERROR_GAIN}")
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
