"""Cuts between shots, from small pictures of consecutive frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geneface.types import ByteArray

_THUMBNAIL = 48
"""Longest side of the pictures that cuts are looked for in."""
_CUT_LEVELS = 2.5
"""A cut changes the thumbnail by at least this `picture_change`: talking heads stay below 1.7."""
_CUT_RATIO = 2.2
"""... and by this factor more than the frames around it."""
_MOTION_PX = 2
"""Motion of so many thumbnail pixels (4 % of the picture) from frame to frame is no change."""
_CUT_WINDOW = 12


def picture_change(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """How much of a small picture [h, w, 3] is new, in levels of 255: each pixel is compared with the most similar
    one near its place before, so that motion does not count.
    """
    reach = _MOTION_PX
    height, width = after.shape[0] - 2 * reach, after.shape[1] - 2 * reach
    if min(height, width) <= 0:
        return float(np.abs(after - before).mean())
    center = after[reach : reach + height, reach : reach + width]
    least = np.full((height, width), np.inf, np.float32)
    for down in range(2 * reach + 1):
        for right in range(2 * reach + 1):
            moved = before[down : down + height, right : right + width]
            np.minimum(least, np.abs(center - moved).sum(-1), out=least)
    return float(least.mean()) / 3


def find_cuts(differences: ArrayLike) -> list[int]:
    """Frames that begin a new shot.

    Args:
        differences: [F] `picture_change` of each frame from the one before; the first is 0.
    """
    values = np.asarray(differences, np.float64)
    cuts = []
    for index in np.flatnonzero(values >= _CUT_LEVELS):
        around = values[max(1, index - _CUT_WINDOW) : index + _CUT_WINDOW + 1]
        # The median of the neighbours is the motion that is usual here; a cut stands out from it.
        others = np.delete(around, index - max(1, index - _CUT_WINDOW))
        usual = float(np.median(others)) if len(others) else 0.0
        if values[index] >= max(_CUT_LEVELS, _CUT_RATIO * usual) and values[index] >= around.max():
            cuts.append(int(index))
    return cuts


def thumbnail(image: ByteArray) -> NDArray[np.float32]:
    """Box-filtered small picture [h, w, 3]."""
    step = max(1, max(image.shape[:2]) // _THUMBNAIL)
    height, width = image.shape[0] // step * step, image.shape[1] // step * step
    # Half of the rows and columns of each box are enough for its mean.
    fine = image[:height, :width].reshape(height // step, step, width // step, step, 3)
    return fine[:, :: max(1, step // 4), :, :: max(1, step // 4)].mean((1, 3), dtype=np.float32)
