"""Lip metrics on landmark tracks. F frames at 25 Hz, K named landmarks, D = 2 or 3 coordinates.

Points are in units of the face's width, so that distances read as fractions of it. Each clip is scored alone, then
clips are averaged: a correlation over concatenated clips would also reward the right mean of each clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.schema import Figure, MetricDefinition, figure
from geneface.geometry.landmarks import FACE_SIDES, LIPS, lip_opening, lip_width
from geneface.io.words import Words
from geneface.types import FloatArray

MAX_LAG_FRAMES = 15
"""Offsets are searched from -15 to 15 frames (0.6 s): beyond it speech matches itself by chance."""

CONSTANT = "the lips do not move"
_FLAT = 1e-9

Points = NDArray[np.floating[Any]]
Curve = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LipClip:
    """One clip, ground truth and evaluated: what every lip metric is given."""

    reference: Points
    """[F, K, D]."""
    other: Points
    """[F, K, D], same unit."""
    samples: FloatArray | None = None
    """[T] sound at 16 kHz from the first frame on, if known."""
    words: Words | None = None
    """(start, end, word) in seconds from the first frame, if known; "sil" and "sp" are silence."""


def face_width(points: Points) -> NDArray[np.floating[Any]]:
    """Distance between the face's left and right edge (mesh 234 and 454). [..., K, D] -> [...], same unit."""
    return np.linalg.norm(points[..., FACE_SIDES[0], :] - points[..., FACE_SIDES[1], :], axis=-1)


def pearson(a: Curve, b: Curve) -> float:
    """Pearson correlation of two curves [F]; nan if one is constant (to a millionth of its size) or too short."""
    if len(a) < 2:
        return float("nan")
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    a_centred, b_centred = a - a.mean(), b - b.mean()
    norms = np.linalg.norm(a_centred), np.linalg.norm(b_centred)
    if norms[0] <= 1e-6 * np.linalg.norm(a) or norms[1] <= 1e-6 * np.linalg.norm(b):
        return float("nan")
    return float(a_centred @ b_centred / (norms[0] * norms[1]))


def correlation(reference: Curve, other: Curve) -> float:
    """`pearson`, but 0 where the reference moves and `other` does not: lips that hold still follow nothing."""
    value = pearson(reference, other)
    return 0.0 if np.isnan(value) and np.isfinite(pearson(reference, reference)) else value


def lagged_correlations(reference: Curve, other: Curve, max_lag: int = MAX_LAG_FRAMES) -> NDArray[np.float64]:
    """Correlation of reference[t] with other[t + lag] for lag = -max_lag .. max_lag, over the frames both have.

    A peak at a positive lag means that `other` is late. Lags that leave less than half of the clip are nan.
    """
    frames = len(reference)
    out = np.full(2 * max_lag + 1, np.nan)
    for lag in range(-max_lag, max_lag + 1):
        first, last = max(0, -lag), min(frames, frames - lag)
        if last - first >= max(2, frames / 2):
            out[lag + max_lag] = correlation(reference[first:last], other[first + lag : last + lag])
    return out


def averaged_correlation(correlations: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean over clips of correlations [2 L + 1] by lag; -inf where some clip has none, empty if no clip has any.

    Averaging before the maximum keeps single clips' chance matches out.
    """
    known = [row for row in correlations if np.isfinite(row).any()]
    if not known:
        return np.empty(0)
    stacked = np.stack(known)
    # A lag that some clip is too short for would be averaged over other clips than its neighbours.
    return np.where(np.isfinite(stacked).all(0), np.nan_to_num(stacked).mean(0), -np.inf)


def best_offset(correlations: Sequence[NDArray[np.float64]]) -> float:
    """The lag whose correlation, averaged over clips, is largest; nan if none stands out.

    The nearest to 0 wins a tie.
    """
    mean = averaged_correlation(correlations)
    known = mean[np.isfinite(mean)]
    if not known.size or (known.size > 1 and np.ptp(known) < _FLAT):
        return float("nan")
    lags = np.arange(len(mean)) - len(mean) // 2
    order = np.argsort(np.abs(lags), kind="stable")
    return float(lags[order][np.argmax(mean[order])])


def lip_landmark_distance(reference: Points, other: Points) -> float:
    """Mean distance of the lip landmarks, mouth centres aligned in each frame (Chen et al. 2018). [F, K, D] each."""
    a, b = reference[:, LIPS], other[:, LIPS]
    difference = (a - a.mean(1, keepdims=True)) - (b - b.mean(1, keepdims=True))
    return float(np.linalg.norm(difference, axis=-1).mean())


def lip_figures(clips: Sequence[LipClip]) -> dict[str, Figure]:
    """All figures of this file but those in pixels; each clip is scored alone, then clips are averaged.

    Raises:
        ValueError: tracks of different shapes.
    """
    opening, width, amplitude, lagged, distance = [], [], [], [], []
    for clip in clips:
        reference, other = clip.reference, clip.other
        if reference.shape != other.shape:
            raise ValueError(f"tracks of different shapes: {reference.shape} and {other.shape}")
        curves = lip_opening(reference), lip_opening(other)
        opening.append(correlation(*curves))
        width.append(correlation(lip_width(reference), lip_width(other)))
        lagged.append(lagged_correlations(*curves))
        distance.append(lip_landmark_distance(reference, other))
        deviation = float(curves[0].std())
        amplitude.append(float(curves[1].std()) / deviation if deviation > 0 else float("nan"))
    nothing = "no held-out frames" if not clips else None
    return {
        "opening_correlation": figure(_mean(opening), nothing or CONSTANT),
        "width_correlation": figure(_mean(width), nothing or CONSTANT),
        "opening_amplitude_ratio": figure(_mean(amplitude), nothing or "the ground truth's lips do not move"),
        "offset_frames": figure(best_offset(lagged), nothing or CONSTANT),
        "lip_landmark_distance": figure(_mean(distance), nothing or "no landmarks"),
    }


def _mean(values: Sequence[float]) -> float:
    """Mean of the finite values; nan if there is none."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


DEFINITIONS = {
    "lip_landmark_distance": MetricDefinition(
        title="Lip landmark distance",
        unit="face widths",
        direction="lower",
        description="LMD (Chen et al. 2018): mean distance of the lip landmarks after the centres of the mouths are "
        "laid on each other, as a fraction of the face's width.",
        must_see=["late", "still"],
    ),
    "lip_landmark_distance_px": MetricDefinition(
        title="Lip landmark distance",
        unit="px",
        direction="lower",
        description="The same in pixels of the frame.",
        must_see=["late", "still"],
    ),
    "opening_correlation": MetricDefinition(
        title="Lip-opening correlation",
        unit="1",
        direction="higher",
        description="Pearson correlation of the distance between the inner lips over time, per clip, then averaged.",
        must_see=["late", "still"],
    ),
    "width_correlation": MetricDefinition(
        title="Lip-width correlation",
        unit="1",
        direction="higher",
        description="The same for the distance between the corners of the mouth.",
        must_see=["late", "still"],
    ),
    "opening_amplitude_ratio": MetricDefinition(
        title="Opening amplitude",
        unit="ratio",
        direction="one",
        description="Standard deviation of the lip opening, evaluated / ground truth, per clip, then averaged.",
        must_see=["still"],
    ),
    "offset_frames": MetricDefinition(
        title="Audio-video offset",
        unit="frames of 40 ms",
        direction="zero",
        description="Delay at which the correlation of the lip opening, averaged over clips, is largest, from -15 to "
        "15; positive: the evaluated lips are late.",
        must_see=["late", "still"],
    ),
}
