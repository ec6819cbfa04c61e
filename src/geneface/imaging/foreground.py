"""The person's own colours where a matte is partly clear: without the old background, before a new one goes behind."""

from __future__ import annotations

import numpy as np

from geneface.imaging.filters import box_blur
from geneface.imaging.resize import resize_area
from geneface.types import FloatArray

_COARSE = 4
"""Colours of person and background are looked for at a quarter of the size."""
_REACHES = 3, 15
"""Half the spans, in coarse pixels, in which they are looked for: the near one counts where it sees any."""
_PLATE_DOUBT = 0.1
"""How much a known background is doubted, against one that is guessed from around."""


def foreground(picture: FloatArray, matte: FloatArray, plate: FloatArray | None = None) -> FloatArray:
    """Estimate the person's colours F of a picture I = a F + (1 - a) B, where 0 < a < 1; elsewhere they are I.

    F and B are first the means around, weighted by a and by 1 - a, and are then moved together to fit the pixel
    (Forte 2021, "Approximate fast foreground colour estimation"). Where the background is known, B is.

    Args:
        picture: [H, W, 3] in 0..1.
        matte: [H, W] opacity a in 0..1.
        plate: [H, W, 3] the background B, where it is known.

    Returns:
        [H, W, 3] in 0..1, straight colours: `matte * foreground + (1 - matte) * new` shows the person before `new`.
    """
    edge = np.flatnonzero((matte > 0.004) & (matte < 0.996))
    result = np.array(picture, np.float32)
    if not len(edge):
        return result
    height, width = matte.shape
    rows, columns = max(1, height // _COARSE), max(1, width // _COARSE)
    small = resize_area(np.concatenate([picture, matte[..., None]], axis=2).astype(np.float32), rows, columns)
    a = matte.reshape(-1)[edge][:, None]
    at = np.minimum(edge // width * rows // height, rows - 1) * columns + edge % width * columns // width
    inner = _mean_around(small[..., :3], np.square(small[..., 3]), at)
    outer = _mean_around(small[..., :3], np.square(1 - small[..., 3]), at)
    if plate is not None:
        outer = plate.reshape(-1, 3)[edge]
    pixels = picture.reshape(-1, 3)[edge]
    rest = pixels - a * inner - (1 - a) * outer
    # The rest is shared so that the changes of both colours are the least; a plate is seldom wrong.
    doubt = 1.0 if plate is None else _PLATE_DOUBT
    share = a / (a**2 + doubt * (1 - a) ** 2 + 1e-3)
    result.reshape(-1, 3)[edge] = np.clip(inner + share * rest, 0, 1)
    return result


def _mean_around(colours: FloatArray, weight: FloatArray, at: np.ndarray) -> FloatArray:
    """[n, 3] weighted means around the coarse pixels `at` [n]."""
    weighted = np.concatenate([colours * weight[..., None], weight[..., None]], axis=2)
    total = np.zeros((len(at), 4), np.float32)
    # The near colours count a hundred times as much as the far ones.
    for reach, importance in zip(_REACHES, (1.0, 0.01), strict=True):
        span = 2 * min(reach, (min(weight.shape) - 1) // 2) + 1
        total += importance * box_blur(weighted, span).reshape(-1, 4)[at]
    return total[:, :3] / np.maximum(total[:, 3:], 1e-6)
