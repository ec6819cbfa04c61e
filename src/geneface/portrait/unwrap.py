"""The face of each picture laid flat: the same spot of skin under the same texel in every frame.

Texels are those of the mean face seen from the front, `TEXELS` a side, row 0 at the hairline. Symbols: f frames, S
picture size, M = 478 mesh points, T = `TEXELS`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from geneface.imaging.warp import sample
from geneface.io.face_mesh import mean_face, mesh_triangles
from geneface.types import ByteArray, FloatArray

TEXELS = 48
"""A face of a hundred pixels has some two of them under each texel."""
_FINE = 2
"""Samples along each side of a texel: their mean is the texel, so that fine patterns don't alias."""
_MARGIN = 0.02
"""Of the square's side, around the face."""


def unwrap(images: ByteArray, mesh_px: FloatArray) -> ByteArray:
    """Lay faces flat.

    Args:
        images: [f, S, S, 3].
        mesh_px: [f, M, 3] their meshes, pixels.

    Returns:
        [f, T, T, 3]; texels off the face are 0 (`face_texels`), and so is what lies beyond the picture.
    """
    triangles, weights, rows = _lattice()
    flat = np.zeros((len(images), (TEXELS * _FINE) ** 2, 3), np.uint8)
    for index, (image, mesh) in enumerate(zip(images, mesh_px, strict=True)):
        at = np.einsum("pk,pkd->pd", weights, mesh[triangles][..., :2])
        flat[index, rows] = np.rint(sample(image, at[:, 0], at[:, 1], beyond=0.0))
    fine = flat.reshape(len(images), TEXELS, _FINE, TEXELS, _FINE, 3)
    return fine.mean((2, 4), dtype=np.float32).astype(np.uint8)


@cache
def face_texels() -> NDArray[np.bool_]:
    """[T, T] True where a texel lies wholly on the face."""
    on = np.zeros((TEXELS * _FINE) ** 2, bool)
    on[_lattice()[2]] = True
    return on.reshape(TEXELS, _FINE, TEXELS, _FINE).all((1, 3))


def texel_of(mesh_index: int) -> tuple[float, float]:
    """(row, column) of a mesh point on the flat face, in texels."""
    column, row = _positions()[mesh_index]
    return float(row), float(column)


@cache
def _positions() -> NDArray[np.float64]:
    """[M, 2] column and row of each mesh point of the mean face, in texels."""
    points = mean_face()[:, :2].astype(np.float64) * [1, -1]
    low, high = points.min(0), points.max(0)
    scale = TEXELS * (1 - 2 * _MARGIN) / (high - low).max()
    return (points - (low + high) / 2) * scale + TEXELS / 2


@cache
def _lattice() -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """For each sample on the face: its triangle's points [P, 3], their weights [P, 3], and its index in the square."""
    side = TEXELS * _FINE
    corners = _positions() * _FINE
    triangle = np.full(side * side, -1)
    weights = np.zeros((side * side, 3))
    for points in mesh_triangles():
        a, b, c = corners[points]
        x0, y0 = np.maximum(np.floor(np.min([a, b, c], axis=0) - 0.5), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(np.max([a, b, c], axis=0) + 0.5), side).astype(int)
        x, y = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
        edges = np.column_stack([b - a, c - a])
        if abs(np.linalg.det(edges)) < 1e-9:
            continue
        shares = np.linalg.solve(edges, np.stack([x.ravel() + 0.5, y.ravel() + 0.5]) - a[:, None])
        share = np.stack([1 - shares.sum(0), shares[0], shares[1]], axis=-1)
        inside = (share >= -1e-9).all(-1)
        index = (y.ravel() * side + x.ravel())[inside]
        # Folds of the lips overlap: the first triangle keeps the sample, so the layout never depends on rounding.
        fresh = triangle[index] < 0
        weights[index[fresh]] = share[inside][fresh]
        triangle[index[fresh]] = np.flatnonzero((mesh_triangles() == points).all(1))[0]
    rows = np.flatnonzero(triangle >= 0)
    return mesh_triangles()[triangle[rows]], weights[rows], rows
