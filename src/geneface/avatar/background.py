"""What stands behind the person: the avatar's own plate, a colour, or a picture."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from geneface.errors import InputError
from geneface.io.image import read_image
from geneface.types import FloatArray

KEEP = "keep"
COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "gray": (128, 128, 128),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
}
_REMEDY = f"give 'keep', #rrggbb, one of {', '.join(COLOURS)}, or the path of a PNG or JPEG file"
_LARGEST_PX = 2048
_HEX = re.compile(r"#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})")


def background_plate(background: str | Path, plate: FloatArray, aspect: float = 1.0) -> FloatArray:
    """The plate that a `--background` option means.

    Args:
        background: "keep", a colour (a name or #rgb, #rrggbb), or the path of an image, of which the middle is used.
        plate: the avatar's own, [H, W, 3] in [0, 1].
        aspect: width to height of the picture that it is for: an image is cut to it.

    Returns:
        [h, w, 3] float32 in [0, 1]; but for an image, of the shape of `plate`.
    """
    if isinstance(background, os.PathLike):
        background = os.fspath(background)
    if not isinstance(background, str):
        raise InputError(f"the background is of the type {type(background).__name__}", _REMEDY)
    if background == KEEP:
        return plate
    colour = _colour(background)
    if colour is not None:
        return np.broadcast_to(np.divide(colour, 255, dtype=np.float32), plate.shape).copy()
    if not _is_file(background):
        raise InputError(
            f"the background {background!r} is neither a colour nor an image file",
            _REMEDY,
        )
    image = read_image(background)
    height = max(1, min(image.shape[0], round(image.shape[1] / aspect)))
    width = max(1, min(image.shape[1], round(height * aspect)))
    # A photograph has many more pixels than any picture that is drawn.
    step = max(1, min(height, width) // _LARGEST_PX)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    height, width = height // step * step, width // step * step
    part = image[top : top + height, left : left + width]
    if step > 1:
        part = part.reshape(height // step, step, width // step, step, 3).mean(axis=(1, 3), dtype=np.float32)
    return np.divide(part, 255, dtype=np.float32)


def is_colour(background: str) -> bool:
    """Whether a background is a colour: a name, #rgb or #rrggbb."""
    return _colour(background) is not None


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        # Too long for a path, or with a null character.
        return False


def _colour(text: str) -> tuple[int, ...] | None:
    if text.lower() in COLOURS:
        return COLOURS[text.lower()]
    if not _HEX.fullmatch(text):
        return None
    digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
    return tuple(int(digits[start : start + 2], 16) for start in (0, 2, 4))
