"""Rotations and rigid alignment.

Rotation vectors are axis times angle in radians; matrices act on column vectors from the left. All functions
accept any number of leading axes, compute in float64 and are exact to rounding also at angles near 0 and pi.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def skew(vectors: ArrayLike) -> Array:
    """Cross-product matrices: skew(a) @ b == cross(a, b). [..., 3] -> [..., 3, 3]."""
    vectors = np.asarray(vectors, dtype=np.float64)
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    zero = np.zeros_like(x)
    rows = [np.stack(row, axis=-1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return np.stack(rows, axis=-2)


def rotation_matrix(rotation: ArrayLike) -> Array:
    """Rotation vectors [..., 3] to matrices [..., 3, 3] (Rodrigues' formula)."""
    rotation = np.asarray(rotation, dtype=np.float64)
    angle = np.linalg.norm(rotation, axis=-1)[..., None, None]
    cross = skew(rotation)
    # sinc avoids 0/0: sin(a)/a, and (1 - cos a)/a^2 = sinc(a/2)^2 / 2. numpy's sinc is of pi times its argument.
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.eye(3) + first * cross + second * (cross @ cross)


def quaternion(matrix: ArrayLike) -> Array:
    """Unit quaternions [..., 4], w first and not negative, of rotation matrices [..., 3, 3]."""
    m = np.asarray(matrix, dtype=np.float64)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    # Four columns, each the quaternion times four times one of its components: the longest is the most exact.
    columns = np.stack(
        [
            np.stack([1 + xx + yy + zz, wx, wy, wz], axis=-1),
            np.stack([wx, 1 + xx - yy - zz, xy, xz], axis=-1),
            np.stack([wy, xy, 1 - xx + yy - zz, yz], axis=-1),
            np.stack([wz, xz, yz, 1 - xx - yy + zz], axis=-1),
        ],
        axis=-2,
    )
    longest = np.linalg.norm(columns, axis=-1).argmax(-1)
    best = np.take_along_axis(columns, longest[..., None, None], axis=-2)[..., 0, :]
    best = best / np.linalg.norm(best, axis=-1, keepdims=True)
    return np.where(best[..., :1] < 0, -best, best)


def rotation_vector(matrix: ArrayLike) -> Array:
    """Rotation matrices [..., 3, 3] to vectors [..., 3] with angles in [0, pi]."""
    parts = quaternion(matrix)
    sine = np.linalg.norm(parts[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, parts[..., :1])
    # angle / sin(angle / 2) tends to 2 at angle 0.
    scale = np.divide(angle, sine, out=np.full_like(angle, 2.0), where=sine > 1e-12)
    return parts[..., 1:] * scale


def compose(outer: ArrayLike, inner: ArrayLike) -> Array:
    """Rotation vector of "first `inner`, then `outer`". [..., 3] each."""
    return rotation_vector(rotation_matrix(outer) @ rotation_matrix(inner))


def mean_rotation(rotations: ArrayLike, steps: int = 5) -> Array:
    """Mean on the rotation group of rotation vectors [N, 3] -> [3] (iterated tangent-space mean)."""
    rotations = np.asarray(rotations, dtype=np.float64)
    mean = rotations[len(rotations) // 2]
    for _ in range(steps):
        mean = compose(compose(rotations, np.broadcast_to(-mean, rotations.shape)).mean(0), mean)
    return mean


def umeyama(
    source: ArrayLike, target: ArrayLike, weights: ArrayLike | None = None
) -> tuple[NDArray[np.float64], Array, Array]:
    """Least-squares similarity: target ~ scale R source + translation (Umeyama 1991).

    Args:
        source, target: [..., N, D], N >= D.
        weights: [..., N] non-negative, or None for equal weights.

    Returns:
        scale [...], R [..., D, D] proper rotations, translation [..., D].
    """
    source, target = np.broadcast_arrays(np.asarray(source, np.float64), np.asarray(target, np.float64))
    weight = np.ones(source.shape[:-1]) if weights is None else np.asarray(weights, np.float64)
    weight = (weight / weight.sum(-1, keepdims=True))[..., None]
    source_mean, target_mean = (source * weight).sum(-2), (target * weight).sum(-2)
    a, b = source - source_mean[..., None, :], target - target_mean[..., None, :]
    u, values, vt = np.linalg.svd(np.swapaxes(b * weight, -1, -2) @ a)
    sign = np.ones(values.shape)
    # A reflection fits better only where the data is mirrored: flip the weakest axis instead.
    sign[..., -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[..., None, :]) @ vt
    scale = (values * sign).sum(-1) / (a * a * weight).sum((-1, -2))
    translation = target_mean - scale[..., None] * (rotation @ source_mean[..., None])[..., 0]
    return scale, rotation, translation
