"""The lip score on curves whose score is known."""

import numpy as np
import pytest

from geneface.geometry.landmarks import KEYPOINT_COUNT, positions
from geneface.motion.score import correlation, score_lips

UPPER = positions((82, 13, 312))
NEUTRAL = np.zeros((KEYPOINT_COUNT, 3))
NEUTRAL[positions((61, 291)), 0] = -0.05, 0.05


def lips(opening: np.ndarray) -> np.ndarray:
    points = np.repeat(NEUTRAL[None], len(opening), axis=0)
    points[:, UPPER, 1] += opening[:, None]
    return points


def test_correlation_is_pearsons():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 50))
    assert correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert correlation(a, np.ones(50)) == 0


def test_lag_amplitude_and_error():
    rng = np.random.default_rng(1)
    curve = 0.02 + 0.004 * rng.standard_normal(80)
    measured, late = lips(curve[2:]), lips(0.01 + 0.5 * curve[:-2])
    score = score_lips([late], [measured])
    assert score.best_lag_frames == 2
    assert score.opening_correlation < 0.5
    assert score.amplitude_ratio == pytest.approx(0.5, abs=0.02)
    assert score_lips([measured], [measured]).opening_correlation == pytest.approx(1)
    assert score_lips([measured], [measured]).lip_error == 0
    shifted = measured + np.array([0.01, 0, 0])
    assert score_lips([shifted], [measured]).lip_error == pytest.approx(0.1)
