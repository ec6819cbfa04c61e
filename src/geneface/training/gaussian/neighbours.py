"""Gaussians held by their neighbours: what few frames ask of single ones is shared with those around them.

An offset that only rare poses teach is fitted to those few pictures, Gaussian by Gaussian, and every other rare pose
shows the result as beads. Drawing each basis a little towards the mean of its neighbours now and then leaves what all
of a neighbourhood learns, and lets fade what one of them learns alone: one step of a diffusion on their graph.

Symbols: N Gaussians of a layer, Q neighbours each, C condition values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.types import FloatArray

NEIGHBOURS = 6
_ROWS_AT_ONCE = 512


def nearest_neighbours(points: FloatArray, count: int = NEIGHBOURS) -> NDArray[np.intp]:
    """The nearest other points of each. [N, 3] -> [N, min(count, N - 1)], in no order."""
    total = len(points)
    count = min(count, total - 1)
    if count < 1:
        return np.zeros((total, 0), np.intp)
    found = np.empty((total, count), np.intp)
    squares = np.einsum("nd,nd->n", points, points)
    for start in range(0, total, _ROWS_AT_ONCE):
        rows = slice(start, min(start + _ROWS_AT_ONCE, total))
        # |a - b|^2 without |a|^2, which is the same for all candidates.
        distance = squares - 2 * np.einsum("nd,md->nm", points[rows], points)
        distance[np.arange(rows.stop - start), np.arange(start, rows.stop)] = np.inf
        found[rows] = np.argpartition(distance, count - 1, axis=1)[:, :count]
    return found


def diffuse(basis: FloatArray, neighbours: NDArray[np.intp], share: FloatArray, bound: FloatArray) -> None:
    """Move what a basis [C, 7, N] has learnt, in place, towards the mean of what its neighbours have.

    Args:
        neighbours: [N, Q].
        share: [7] part of the way that each row goes.
        bound: [C, 7, N] the basis before it learnt anything: the mesh's motion, which neighbours needn't share.
    """
    if not neighbours.shape[1] or not share.any():
        return
    for rows, start in zip(basis, bound, strict=True):
        learnt = rows - start
        around = learnt[:, neighbours[:, 0]].copy()
        for column in range(1, neighbours.shape[1]):
            around += learnt[:, neighbours[:, column]]
        around /= neighbours.shape[1]
        around -= learnt
        rows += share[:, None] * around
