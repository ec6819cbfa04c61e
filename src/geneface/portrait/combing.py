"""Whether pictures are two fields woven together: lines that alternate where something moves. Pure functions.

A file that says it is interlaced is deinterlaced when it is read; many that are do not say so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from geneface.types import ByteArray

_MOVED_LEVELS, _COMB_LEVELS = 12, 12
_MIN_MOVED = 0.002
"""Of the picture: with less motion there is nothing to see."""
_COMB_SHARE = 0.01
"""Of what moves. Whole pictures of six people: .002 at most; woven ones of a talking head: .013 in the middle."""
_FRAMES_SHARE, _MIN_FRAMES = 0.25, 10


def comb_share(before: ByteArray, after: ByteArray) -> float | None:
    """Share of the moving pixels that differ alike from the lines above and below; None where little moves.

    Args:
        before, after: [H, W, 3] consecutive pictures as they are in the file: scaling would blur the lines.
    """
    first, second = before[..., 1].astype(np.int16), after[..., 1].astype(np.int16)
    moved = (np.abs(second - first) > _MOVED_LEVELS)[2:-2]
    if moved.size == 0 or moved.mean() < _MIN_MOVED:
        return None
    up, down = second[2:-2] - second[1:-3], second[2:-2] - second[3:-1]
    # Both neighbours lie on the same side and far, while the next line of the same field is near.
    alternates = (up * down > 0) & (np.minimum(np.abs(up), np.abs(down)) > _COMB_LEVELS)
    same = np.maximum(np.abs(second[2:-2] - second[:-4]), np.abs(second[2:-2] - second[4:]))
    comb = alternates & (2 * same < np.minimum(np.abs(up), np.abs(down)))
    in_rest = float(comb[~moved].mean()) if not moved.all() else 0.0
    # A pattern of fine lines is there whether it moves or not.
    return max(0.0, float(comb[moved].mean()) - in_rest)


COMBED = "the pictures are interlaced, though the file does not say so: moving edges are combs"
COMBED_REMEDY = "deinterlace the video first, for example with ffmpeg -vf bwdif"


def is_combed(shares: ArrayLike) -> bool:
    """Whether a video is interlaced, by the `comb_share` of its frames in which something moves."""
    values = np.asarray(shares, np.float64)
    return len(values) >= _MIN_FRAMES and float((values > _COMB_SHARE).mean()) > _FRAMES_SHARE
