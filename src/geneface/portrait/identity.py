"""Whether spans of video show one person: compared by the shape of the face and by the pattern of its skin.

No network is asked. The shape is the tracked mesh without pose and size; the pattern is the flat face (`unwrap`),
without what light does: its level, its slow changes over the face, and its contrast. Distances are 1 at the border of
what one person shows in several recordings; measured on seven people, windows of three seconds (see docs/decisions.md).

Symbols: f frames, N spans, M = 478 mesh points, T texels a side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import MESH_SURFACE_SIZE
from geneface.geometry.rotation import rotation_vector, umeyama
from geneface.imaging.filters import gaussian_blur
from geneface.io.face_mesh import mean_face
from geneface.portrait.unwrap import face_texels
from geneface.signal.spans import spread_indices
from geneface.types import ByteArray, FloatArray

Array = NDArray[np.float64]

_SHAPE_UNIT, _PATTERN_UNIT, _UNIT = 0.0055, 0.07, 3.75
"""Distances of shapes (head units) and of patterns (1 - correlation) that weigh the same; the unit of their sum."""
_LIMIT, _SHORT_LIMIT, _LONG_SECONDS = 0.88, 0.53, 4.0
"""The farthest that one person is from itself: 0.88 + 0.53 / s for s seconds, no longer than 4."""
_MAX_TURN = np.radians(30)
"""A face turned further than this shows too little to be compared."""
_FINE, _COARSE = 1.0, 3.0
"""The pattern's scale: between Gaussians of these deviations, texels."""
_CORE = 0.68
"""Spans this near, of the limit, surely show one person: that person's face is their mean."""
_MAX_CENTERS = 400
_LEAST_PATTERN = 1e-6
"""Of the pattern's length: with less there is none, but rounding."""
_ROUNDS = 3


@dataclass(frozen=True)
class Signature:
    """What tells a face from others, over one span."""

    shape: Array
    """[468, 3] without pose and size, less the mean face, head units."""
    pattern: Array
    """[n] texels, zero mean, unit length."""
    seconds: float


def signature(faces: ByteArray, mesh_px: FloatArray, seconds: float) -> Signature | None:
    """What a span says about who it shows; None where the face is turned too far away, or all white or black.

    Args:
        faces: [f, T, T, 3] flat faces (`unwrap`).
        mesh_px: [f, M, 3] their meshes, in any pixels.
        seconds: how long the span is.
    """
    if not len(faces):
        return None
    shapes, turn = _without_pose(mesh_px)
    order = np.argsort(turn, kind="stable")
    front = order[: max(1, len(order) // 2)]
    if np.median(turn[front]) > _MAX_TURN:
        return None
    pattern = _pattern(faces[front])
    # A face that is all white, or black, is nobody's.
    return Signature(np.median(shapes[front], axis=0), pattern, seconds) if pattern.any() else None


def distance(signatures: list[Signature], others: list[Signature]) -> Array:
    """[N, n] distances between spans; beyond `limit` two people are seen."""
    shape = np.stack([one.shape.ravel() for one in signatures]), np.stack([one.shape.ravel() for one in others])
    squared = (shape[0] ** 2).sum(1)[:, None] + (shape[1] ** 2).sum(1) - 2 * np.einsum("id,jd->ij", *shape)
    shapes = np.sqrt(np.maximum(squared, 0) / MESH_SURFACE_SIZE)
    pattern = np.stack([one.pattern for one in signatures]), np.stack([one.pattern for one in others])
    patterns = 1 - np.einsum("id,jd->ij", *pattern)
    return (shapes / _SHAPE_UNIT + patterns / _PATTERN_UNIT) / _UNIT


def limit(seconds: NDArray[np.floating] | float) -> Array:
    """The largest distance at which spans count as one person; `seconds`: of the shorter one."""
    return _LIMIT + _SHORT_LIMIT / np.clip(np.asarray(seconds, np.float64), 1.0, _LONG_SECONDS)


def one_person(signatures: list[Signature]) -> Array:
    """How far each span [N] is from the person who is seen longest, in units of the limit: above 1 is another."""
    seconds = np.array([one.seconds for one in signatures])
    centers = spread_indices(len(signatures), _MAX_CENTERS)
    apart = distance([signatures[center] for center in centers], signatures)
    core = apart <= _CORE * limit(np.minimum(seconds[centers][:, None], seconds))
    near = core[int((core * seconds).sum(1).argmax())]
    share = np.zeros(len(signatures))
    # The mean of all that is near is a better centre than any one span.
    for _ in range(_ROUNDS):
        person = _mean([one for one, is_near in zip(signatures, near, strict=True) if is_near])
        share = distance([person], signatures)[0] / limit(seconds)
        if not (share <= _CORE).any() or np.array_equal(share <= _CORE, near):
            break
        near = share <= _CORE
    return share


def _mean(signatures: list[Signature]) -> Signature:
    seconds = np.array([one.seconds for one in signatures])
    weight = seconds / seconds.sum()
    pattern = np.einsum("n,nd->d", weight, np.stack([one.pattern for one in signatures]))
    shape = np.einsum("n,nkd->kd", weight, np.stack([one.shape for one in signatures]))
    return Signature(shape, pattern / np.linalg.norm(pattern), float(seconds.sum()))


def _without_pose(mesh_px: FloatArray) -> tuple[Array, Array]:
    """Meshes laid on the mean face, less it [f, 468, 3], and how far the head is turned [f], radians."""
    upright = np.asarray(mesh_px, np.float64)[:, :MESH_SURFACE_SIZE] * [1.0, -1.0, -1.0]
    mean = mean_face()[:MESH_SURFACE_SIZE].astype(np.float64)
    scale, rotation, shift = umeyama(upright, np.broadcast_to(mean, upright.shape))
    laid = scale[:, None, None] * upright @ np.swapaxes(rotation, -1, -2) + shift[:, None]
    # A roll of the head hides nothing.
    return laid - mean, np.linalg.norm(rotation_vector(rotation)[:, :2], axis=-1)


def _pattern(faces: ByteArray) -> Array:
    """Skin, brows and features [n] of the mean of flat faces, without the light."""
    on = face_texels()
    weight = on.astype(np.float64)
    # The logarithm makes light a sum, which the coarse mean takes out.
    level = np.log1p(np.einsum("fyxc,c->fyx", faces.astype(np.float64), [0.3, 0.59, 0.11])).mean(0)

    def smooth(values: Array, deviation: float) -> Array:
        covered = np.maximum(gaussian_blur(weight, deviation), 1e-3)
        return gaussian_blur(values * weight, deviation) / covered

    pattern = smooth(level - smooth(level, _COARSE), _FINE)[on]
    pattern -= pattern.mean()
    length = float(np.linalg.norm(pattern))
    return pattern / length if length > _LEAST_PATTERN else np.zeros_like(pattern)
