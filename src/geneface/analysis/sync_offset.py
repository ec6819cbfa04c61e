"""By how much sound and picture of a recording are apart, found from the picture's lips and the sound's features.

If the sound is late by d frames, the lips of frame i match the sound at frame i + d. For each lag a ridge
regression predicts the lip opening from the features there; the offset is the middle of the peak that held-out
correlation has over the lags. Symbols: F frames at 25 Hz, 2F feature rows at 50 Hz, D feature width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_LAG_FRAMES = 15
MIN_CORRELATION = 0.3
"""Below this even the best lag says nothing."""
_CHANCE = 8.0
"""Divided by the root of the number of frames: what the best of all lags reaches by chance. Openings of neighbouring
frames are alike, so four frames count as one."""
MIN_MARGIN = 0.1
"""By how much the best lag must beat all that are more than `_NEIGHBOURS` frames away."""
_HALF_SHARE, _HALF_FRAMES = 0.75, 1
"""In each half of the recording the lag, to within so many frames, must reach this share of that half's best: music
that happens to rise and fall with the lips does so for some seconds only."""
_NEIGHBOURS = 3
_COMPONENTS = 32
_FOLD_FRAMES = 50
_FOLDS = 5
_FRAME_ROWS = (0, 1)
"""Feature rows of one frame. A wider view would let the regression make up for a wrong lag and blur the peak."""
_PEAK_FRAMES, _PEAK_SHARE = 5, 0.6
"""The peak is what rises above this share of its height, at most so many frames to each side."""
_MIN_FRAMES = 60

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SoundOffset:
    """The answer of `estimate_offset`."""

    frames: int
    """By how many frames the sound is late (negative: early). 0 where not confident."""
    best_lag: int
    """The middle of the peak, whether confident or not."""
    correlation: float
    """Of predicted and measured lip opening at the best lag, held-out."""
    margin: float
    """By how much that beats the best lag that is not a neighbour."""
    confident: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        values = asdict(self)
        values["correlation"], values["margin"] = round(self.correlation, 3), round(self.margin, 3)
        return values


def estimate_offset(
    features: Sequence[ArrayLike], openings: Sequence[ArrayLike], max_lag: int = MAX_LAG_FRAMES
) -> SoundOffset:
    """Estimate one offset from segments that were recorded alike.

    Args:
        features: per segment [2F, D], of the sound as it stands in the file, from the segment's first frame.
        openings: per segment [F] lip opening, any unit.
        max_lag: frames searched to both sides.
    """
    rows = [np.asarray(part, np.float64) for part in features]
    lips = [_normalise(np.asarray(part, np.float64)) for part in openings]
    usable = _usable(lips, max_lag)
    if usable < _MIN_FRAMES:
        return SoundOffset(0, 0, 0.0, 0.0, False)
    reduced = _reduce(rows)
    lags = np.arange(-max_lag, max_lag + 1)
    scores = _scores(reduced, lips, max_lag)
    best = int(scores.argmax())
    far = np.abs(lags - lags[best]) > _NEIGHBOURS
    margin = float(scores[best] - scores[far].max())
    # A peak at the end of the range may be the slope of one beyond it.
    inside = 0 < best < len(lags) - 1
    needed = max(MIN_CORRELATION, _CHANCE / np.sqrt(usable))
    confident = bool(scores[best] >= needed and margin >= MIN_MARGIN and inside)
    lag = _peak_center(lags, scores, best)
    confident = confident and _halves_agree(reduced, lips, max_lag, lag)
    return SoundOffset(lag if confident else 0, lag, float(scores[best]), margin, confident)


def _usable(lips: Sequence[Array], max_lag: int) -> int:
    return sum(max(0, len(part) - 2 * max_lag) for part in lips)


def _scores(rows: Sequence[Array], lips: Sequence[Array], max_lag: int) -> Array:
    return np.array([_score(rows, lips, lag, max_lag) for lag in range(-max_lag, max_lag + 1)])


def _halves_agree(rows: Sequence[Array], lips: Sequence[Array], max_lag: int, lag: int) -> bool:
    """Whether this lag is among the best of each half of the recording by itself."""
    middle = _usable(lips, max_lag) / 2
    halves: list[tuple[list[Array], list[Array]]] = [([], []), ([], [])]
    done = 0
    for part, opening in zip(rows, lips, strict=True):
        # Frames of this segment that belong to the first half; the lags' reach is not used anyway.
        count = int(np.clip(middle - done, 0, max(0, len(opening) - 2 * max_lag)))
        for half, start, stop in ((0, 0, count + 2 * max_lag), (1, count, len(opening))):
            if stop - start > 2 * max_lag:
                halves[half][0].append(part[2 * start : 2 * stop])
                halves[half][1].append(opening[start:stop])
        done += max(0, len(opening) - 2 * max_lag)
    for inputs, targets in halves:
        if not inputs:
            return False
        scores = _scores(inputs, targets, max_lag)
        near = scores[max(0, lag + max_lag - _HALF_FRAMES) : lag + max_lag + _HALF_FRAMES + 1]
        if near.max() < _HALF_SHARE * scores.max():
            return False
    return True


def _peak_center(lags: NDArray[np.integer], scores: Array, best: int) -> int:
    """Centre of gravity of the peak around `best`: steadier than its highest point."""
    weight = np.clip(scores - _PEAK_SHARE * scores[best], 0, None) * (np.abs(lags - lags[best]) <= _PEAK_FRAMES)
    return round(float((weight * lags).sum() / weight.sum())) if weight.sum() > 0 else int(lags[best])


def _normalise(opening: Array) -> Array:
    spread = float(opening.std())
    return (opening - opening.mean()) / (spread if spread > 0 else 1.0)


def _reduce(rows: Sequence[Array]) -> list[Array]:
    """Main components of all features: enough to tell lips, few enough to regress on seconds of speech."""
    stacked = np.concatenate(rows)
    mean = stacked.mean(0)
    _, vectors = np.linalg.eigh((stacked - mean).T @ (stacked - mean))
    basis = vectors[:, ::-1][:, :_COMPONENTS]
    projected = [(part - mean) @ basis for part in rows]
    scale = np.concatenate(projected).std(0) + 1e-9
    # The square root keeps the order of importance without letting the first components rule.
    return [part / np.sqrt(scale * scale[0]) for part in projected]


def _score(rows: Sequence[Array], lips: Sequence[Array], lag: int, max_lag: int) -> float:
    """Held-out correlation at one lag. All lags are judged on the same frames."""
    inputs, targets, folds = [], [], []
    block = 0
    for part, opening in zip(rows, lips, strict=True):
        frames = np.arange(max_lag, len(opening) - max_lag)
        if len(frames) == 0:
            continue
        around = 2 * (frames + lag)[:, None] + np.array(_FRAME_ROWS)
        inputs.append(part[np.clip(around, 0, len(part) - 1)].reshape(len(frames), -1))
        targets.append(opening[frames])
        folds.append(block + np.arange(len(frames)) // _FOLD_FRAMES)
        block = int(folds[-1][-1]) + 1
    x, y, fold = np.concatenate(inputs), np.concatenate(targets), np.concatenate(folds)
    predicted = _cross_validate(x, y, fold % min(_FOLDS, max(2, block)))
    if predicted.std() == 0 or y.std() == 0:
        return 0.0
    return float(np.corrcoef(predicted, y)[0, 1])


def _cross_validate(x: Array, y: Array, fold: NDArray[np.integer]) -> Array:
    """Ridge predictions of each row of x [N, D] by a model that has not seen its fold."""
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    normal, right = x.T @ x, x.T @ y
    penalty = 0.02 * np.trace(normal) / x.shape[1] * np.sqrt(1000 / len(x)) * np.eye(x.shape[1])
    predicted = np.zeros(len(y))
    for number in np.unique(fold):
        held = fold == number
        weights = np.linalg.solve(normal - x[held].T @ x[held] + penalty, right - x[held].T @ y[held])
        predicted[held] = x[held] @ weights
    return predicted
