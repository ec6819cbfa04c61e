"""How well predicted lips follow measured ones. F frames, K named landmarks, one pair of [F, K, 3] a clip.

Curves are scored clip by clip and averaged, so that the mean of a clip earns nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import LIPS, lip_opening, lip_width

_MAX_LAG = 6


@dataclass(frozen=True)
class LipScore:
    """Means over clips."""

    opening_correlation: float
    width_correlation: float
    amplitude_ratio: float
    """Standard deviation of the opening, predicted over measured."""
    lip_error: float
    """Mean distance of lip landmarks over the mean width of the mouth."""
    best_lag_frames: int
    """Where the mean correlation of the opening peaks; positive: predicted lips are late."""

    def as_dict(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Pearson's; 0 where a curve does not move."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 1e-12 else 0.0


def _lagged(predicted: NDArray[np.floating], measured: NDArray[np.floating], lag: int) -> float:
    if lag < 0:
        return correlation(predicted[:lag], measured[-lag:])
    return correlation(predicted[lag:], measured[: len(measured) - lag])


def score_lips(predicted: Sequence[NDArray[np.floating]], measured: Sequence[NDArray[np.floating]]) -> LipScore:
    """Score landmarks (not displacements) of several clips."""
    pairs = list(zip(predicted, measured, strict=True))
    openings = [(lip_opening(p), lip_opening(m)) for p, m in pairs]
    lags = range(-_MAX_LAG, _MAX_LAG + 1)
    by_lag = [np.mean([_lagged(p, m, lag) for p, m in openings]) for lag in lags]
    errors = [np.linalg.norm(p[:, LIPS] - m[:, LIPS], axis=-1).mean() / lip_width(m).mean() for p, m in pairs]
    return LipScore(
        opening_correlation=float(by_lag[_MAX_LAG]),
        width_correlation=float(np.mean([correlation(lip_width(p), lip_width(m)) for p, m in pairs])),
        amplitude_ratio=float(np.mean([p.std() for p, _ in openings]) / np.mean([m.std() for _, m in openings])),
        lip_error=float(np.mean(errors)),
        best_lag_frames=int(np.argmax(by_lag)) - _MAX_LAG,
    )
