"""Stability: root mean square second differences of what should move smoothly. F frames at 25 Hz.

A second difference x[t + 1] - 2 x[t] + x[t - 1] is blind to position and steady motion and weighs what changes from
frame to frame most, which is what the eye sees as trembling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.schema import STABILITY_KEYS, STABILITY_RATIO_KEYS, Figure, figure, missing
from geneface.geometry.landmarks import BROWS
from geneface.types import MotionTrack

_TOO_SHORT = "fewer than 3 frames in a row"


def jitter(clips: Sequence[NDArray[np.floating[Any]]]) -> float:
    """Root mean square length of the second differences over all clips [F, ..., D]; nan if none has 3 frames."""
    squared = [np.square(np.diff(clip.astype(np.float64), n=2, axis=0)).sum(-1).ravel() for clip in clips]
    joined = np.concatenate(squared) if squared else np.empty(0)
    return float(np.sqrt(joined.mean())) if joined.size else float("nan")


def _components(clips: Sequence[MotionTrack]) -> tuple[float, float, float]:
    """Jitter of brows [head units], head rotation [degrees] and position [head units], all per frame^2.

    Rotation vectors are subtracted as vectors: heads in front of a camera stay far from the half turn where they wrap.
    """
    return (
        jitter([clip.landmarks.points[:, BROWS] for clip in clips]),
        float(np.degrees(jitter([clip.pose.rotation for clip in clips]))),
        jitter([clip.pose.translation for clip in clips]),
    )


def stability_figures(clips: Sequence[MotionTrack]) -> dict[str, Figure]:
    """Absolute jitter of motion that has no ground truth."""
    return {key: figure(value, _TOO_SHORT) for key, value in zip(STABILITY_KEYS, _components(clips), strict=True)}


def stability_ratio_figures(references: Sequence[MotionTrack], others: Sequence[MotionTrack]) -> dict[str, Figure]:
    """Jitter of the evaluated motion over the ground truth's."""
    if not references:
        return missing(STABILITY_RATIO_KEYS, "no held-out frames")
    pairs = zip(STABILITY_RATIO_KEYS, _components(references), _components(others), strict=True)
    return {
        key: figure(other / reference if reference > 0 else float("nan"), f"the ground truth is still, or {_TOO_SHORT}")
        for key, reference, other in pairs
    }
