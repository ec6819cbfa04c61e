"""Flicker: what trembles in the pixels, or moves differently from the ground truth. F frames at 25 Hz.

The torso's flicker is measured in the band in which `stability` measures jitter.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.metrics.pixels import luminance
from geneface.evaluation.metrics.stability import JITTER_BAND_HZ, MIN_BAND_FRAMES, band_operator
from geneface.evaluation.schema import MetricDefinition
from geneface.types import VIDEO_RATE_HZ, ByteArray, FloatArray

DEFINITIONS = {
    "torso_flicker_ratio": MetricDefinition(
        title="Torso flicker",
        unit="ratio",
        direction="lower",
        description="Root mean square of the second differences over time in the band from 4 Hz to 12.5 Hz of the luma "
        "of pixels that show the torso throughout a clip, evaluated / ground truth. The camera's noise is part of the "
        "ground truth's.",
    ),
    "temporal_difference_error": MetricDefinition(
        title="Temporal difference error",
        unit="levels of 255",
        direction="lower",
        description="Mean |(R[t+1] - R[t]) - (O[t+1] - O[t])| over RGB and pixels: what flickers, or moves "
        "differently.",
        must_see=["late", "still"],
    ),
}


def torso_flicker(frames: Sequence[ByteArray], torso: NDArray[np.bool_]) -> float:
    """Flicker of the pixels that show the torso: `band_jitter` of their BT.601 luma.

    Args:
        frames: F consecutive images [H, W, 3].
        torso: [H, W] pixels that are torso in all of them.

    Returns:
        Root mean square over pixels and time, levels of 255 per frame^2; nan if the mask is empty or there are
        fewer than `MIN_BAND_FRAMES` frames.
    """
    if len(frames) < MIN_BAND_FRAMES or not torso.any():
        return float("nan")
    levels: FloatArray = np.stack([luminance(frame[torso]) for frame in frames])
    levels -= levels[0].copy()
    filtered = band_operator(len(frames), *JITTER_BAND_HZ, VIDEO_RATE_HZ).astype(np.float32) @ levels
    return float(np.sqrt(np.einsum("rp,rp->", filtered, filtered, dtype=np.float64) / levels.shape[1]))


def temporal_difference_error(references: Sequence[ByteArray], others: Sequence[ByteArray]) -> float:
    """Mean |(R[t + 1] - R[t]) - (O[t + 1] - O[t])| over RGB, pixels and time: what flickers or moves differently.

    Args:
        references, others: F consecutive images [H, W, 3] each.

    Returns:
        Levels of 255; a constant difference between the videos counts nothing. nan for fewer than two frames.
    """
    # The difference of the changes is the change of the difference.
    errors = (a.astype(np.int16) - b for a, b in zip(references, others, strict=True))
    changes = [float(np.abs(after - before).mean(dtype=np.float32)) for before, after in pairwise(errors)]
    return float(np.mean(changes)) if changes else float("nan")
