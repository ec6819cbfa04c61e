"""Rotations against scipy's, which shares no code with ours, and alignment against known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geneface.geometry.rotation import (
    compose,
    mean_rotation,
    rotation_matrix,
    rotation_vector,
    skew,
    umeyama,
)

RNG = np.random.default_rng(0)
VECTORS = np.concatenate(
    [
        RNG.normal(size=(50, 3)),
        RNG.normal(size=(5, 3)) * 1e-9,
        np.zeros((1, 3)),
        # Just below half a turn, where the trace is blind.
        [[np.pi - 1e-7, 0, 0], [0, np.pi - 1e-7, 0], [0, 0, np.pi - 1e-7]],
    ]
)


def test_matrices_equal_scipys():
    np.testing.assert_allclose(rotation_matrix(VECTORS), Rotation.from_rotvec(VECTORS).as_matrix(), atol=1e-12)


def test_vectors_come_back_also_at_the_ends_of_the_range():
    np.testing.assert_allclose(rotation_vector(rotation_matrix(VECTORS)), VECTORS, atol=1e-8)


def test_skew_is_the_cross_product():
    a, b = RNG.normal(size=(2, 7, 3))
    np.testing.assert_allclose((skew(a) @ b[..., None])[..., 0], np.cross(a, b))


def test_compose_applies_the_inner_rotation_first():
    outer, inner = VECTORS[:20], VECTORS[20:40]
    expected = (Rotation.from_rotvec(outer) * Rotation.from_rotvec(inner)).as_matrix()
    np.testing.assert_allclose(rotation_matrix(compose(outer, inner)), expected, atol=1e-12)


def test_mean_of_symmetric_rotations_is_their_middle():
    middle = np.array([0.4, 2.5, -0.3])
    offsets = RNG.normal(size=(20, 3)) * 0.2
    spread = compose(np.concatenate([offsets, -offsets]), np.tile(middle, (40, 1)))
    np.testing.assert_allclose(rotation_matrix(mean_rotation(spread)), rotation_matrix(middle), atol=1e-6)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_umeyama_recovers_a_similarity_batch(dimensions: int):
    source = RNG.normal(size=(4, 9, dimensions))
    scale = np.array([0.5, 1, 2, 3.0])
    turn = np.linalg.qr(RNG.normal(size=(4, dimensions, dimensions)))[0]
    turn[:, :, -1] *= np.linalg.det(turn)[:, None]
    shift = RNG.normal(size=(4, dimensions))
    target = scale[:, None, None] * source @ np.swapaxes(turn, -1, -2) + shift[:, None]
    found = umeyama(source, target)
    for value, expected in zip(found, (scale, turn, shift), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-10)


def test_umeyama_never_mirrors():
    source = RNG.normal(size=(9, 3))
    _, turn, _ = umeyama(source, source * [1, 1, -1])
    assert np.linalg.det(turn) == pytest.approx(1)


def test_umeyama_ignores_points_without_weight():
    source = RNG.normal(size=(9, 3))
    target = 2 * source + 1
    target[0] += 100
    weights = np.array([0.0] + [1.0] * 8)
    scale, turn, shift = umeyama(source, target, weights)
    assert scale == pytest.approx(2)
    np.testing.assert_allclose(turn, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(shift, 1, atol=1e-10)
