"""Whether spans of video were recorded in one sitting: same light on the face, same clothes below it.

One avatar has one light and one set of clothes. What differs from clip to clip would be explained by the head's pose,
which differs too, and every other pose would show a mixture: a yellow face, patches of another collar.

Symbols: v pictures of a span, N spans. Colours are natural logarithms, so that a change of light adds to them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import MESH_CHIN, MESH_HAIRLINE
from geneface.types import ByteArray, FloatArray

Array = NDArray[np.float64]

LIMIT = 0.25
"""A colour that differs by more than this (a quarter) in any channel is another light, or other clothes. Clips of one
sitting differ by .1 at most, those of another light or shirt by .4 and more (GRID speakers 1, 26 and 31)."""
_DARKEST = 8.0
"""Added to levels of 255: the colour of black cloth is noise."""
_CHEEKS = (117, 346, 50, 280, 205, 425)
"""Mesh points in the middle of the cheeks, left and right: skin that neither hair nor beard covers."""
_CLOTHES = (0.3, 0.75), 0.45
"""Where clothes are: below the chin from and to, and to each side of it, in heights of the face."""


def colours(pictures: ByteArray, mesh_px: FloatArray) -> Array:
    """Colour of the face and of the clothes [2, 3]; nan where there is nothing to see.

    Args:
        pictures: [v, H, W, 3] of one span.
        mesh_px: [v, 478, 3] in their pixels.
    """
    found = np.full((len(pictures), 2, 3), np.nan)
    for row, (picture, mesh) in enumerate(zip(pictures, np.asarray(mesh_px, np.float64)[..., :2], strict=True)):
        face = float(np.linalg.norm(mesh[MESH_CHIN] - mesh[MESH_HAIRLINE]))
        half = 0.04 * face
        cheeks = [_mean(picture, *(mesh[i] - half), *(mesh[i] + half)) for i in _CHEEKS]
        found[row, 0] = np.nanmedian(cheeks, axis=0) if np.isfinite(cheeks).any() else np.nan
        (near, far), aside = _CLOTHES
        x, y = mesh[MESH_CHIN]
        found[row, 1] = _mean(picture, x - aside * face, y + near * face, x + aside * face, y + far * face)
    known = np.isfinite(found).all(-1)
    result = np.full((2, 3), np.nan)
    for part in range(2):
        if known[:, part].any():
            result[part] = np.median(np.log(found[known[:, part], part] + _DARKEST), axis=0)
    return result


def _mean(picture: ByteArray, x0: float, y0: float, x1: float, y1: float) -> Array:
    """Median colour [3] of a box, as far as it lies in the picture; nan where that is too little."""
    height, width = picture.shape[:2]
    left, right = (int(np.clip(round(value), 0, width)) for value in (x0, x1))
    top, bottom = (int(np.clip(round(value), 0, height)) for value in (y0, y1))
    if right - left < 2 or bottom - top < 2:
        return np.full(3, np.nan)
    return np.median(picture[top:bottom, left:right].reshape(-1, 3), axis=0).astype(np.float64)


def sittings(spans: Array, seconds: NDArray[np.floating], file: NDArray[np.integer] | None = None) -> NDArray[np.intp]:
    """Which spans were recorded together.

    Args:
        spans: [N, 2, 3] `colours`; what is nan is like everything else.
        seconds: [N].
        file: [N] which file each is from: a cut inside one changes what is seen of the clothes, so those may differ
            by twice as much. By default each is from its own.

    Returns:
        [N] numbers from 1: the sitting that lasts longest first.
    """
    files = np.arange(len(spans)) if file is None else np.asarray(file)
    differences = np.nan_to_num(np.abs(spans[:, None] - spans[None]), nan=0.0).max(-1, initial=0.0)
    clothes = np.where(files[:, None] == files, 2 * LIMIT, LIMIT)
    same = (differences[..., 0] <= LIMIT) & (differences[..., 1] <= clothes)
    known = np.isfinite(spans).all(-1).sum(1)
    number = np.zeros(len(spans), np.intp)
    while (rest := np.flatnonzero(number == 0)).size:
        longest = _longest(same[np.ix_(rest, rest)], known[rest], np.asarray(seconds, np.float64)[rest])
        number[rest[longest]] = number.max() + 1
    return number


def _longest(same: NDArray[np.bool_], known: NDArray[np.integer], seconds: Array) -> NDArray[np.bool_]:
    """[N] which spans belong to the sitting that lasts longest; `same` [N, N] says which are alike."""
    # The span that is like most of the time stands for the sitting: no chain of small steps leads out of it. One of
    # which less is known is like more, so it stands for none if there are others.
    alike = np.where(known == known.max(), same @ seconds, -1.0)
    return same[int(np.argmax(alike))]
