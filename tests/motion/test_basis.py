"""The motion basis against its defining properties."""

import numpy as np
import pytest

from geneface.geometry.landmarks import EYES, KEYPOINT_COUNT, LIPS
from geneface.motion.basis import MotionBasis, fit_basis, landmark_weights


@pytest.fixture(scope="module")
def displacement() -> np.ndarray:
    """[400, K, 3] of rank 6, plus a mean."""
    rng = np.random.default_rng(0)
    modes = rng.standard_normal((6, KEYPOINT_COUNT, 3)) * 0.01
    sizes = rng.standard_normal((400, 6)) * np.array([5, 4, 3, 2, 1, 0.5])
    return (np.einsum("fc,ckd->fkd", sizes, modes) + rng.standard_normal((KEYPOINT_COUNT, 3)) * 0.02).astype(np.float32)


def test_full_rank_round_trip_is_exact_but_for_the_eyes(displacement):
    basis = fit_basis(displacement, 20)
    assert basis.width == 6
    again = basis.displacement(basis.coefficients(displacement))
    seen = np.setdiff1d(np.arange(KEYPOINT_COUNT), EYES)
    assert abs(again[:, seen] - displacement[:, seen]).max() < 1e-4 * abs(displacement).max() + 1e-6
    assert (again[:, EYES] == 0).all()


def test_squared_error_of_coefficients_is_weighted_landmark_error(displacement):
    basis = fit_basis(displacement, 6)
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 5, basis.width))
    coefficients = ((a - b) ** 2).sum(1)
    landmarks = (landmark_weights() * (basis.displacement(a) - basis.displacement(b)) ** 2).sum((1, 2))
    ratio = landmarks / coefficients
    assert np.allclose(ratio, ratio[0], rtol=1e-4)


def test_mean_variance_is_one_and_components_descend(displacement):
    basis = fit_basis(displacement, 6)
    variance = basis.coefficients(displacement).var(0)
    assert np.isclose(variance.mean(), 1, rtol=1e-3)
    assert (np.diff(variance) < 0).all()


def test_lips_keep_more_than_the_rest_when_components_are_few():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((600, KEYPOINT_COUNT, 3)).astype(np.float32)
    basis = fit_basis(noise, 60)
    kept = ((basis.displacement(basis.coefficients(noise))) ** 2).mean((0, 2))
    others = np.setdiff1d(np.arange(KEYPOINT_COUNT), np.concatenate([LIPS, EYES]))
    assert kept[LIPS].mean() > 3 * kept[others].mean()


def test_tensors_round_trip(displacement):
    basis = fit_basis(displacement, 6)
    again = MotionBasis.from_tensors(basis.tensors("x."), "x.")
    assert np.array_equal(again.synthesis, basis.synthesis) and np.array_equal(again.mean, basis.mean)
