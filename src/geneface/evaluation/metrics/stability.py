"""Jitter: how much of the face trembles that should move smoothly. F frames at 25 Hz; `flicker` does pixels.

A second difference x[t + 1] - 2 x[t] + x[t - 1] is blind to position and steady motion; of it only the band
`JITTER_BAND_HZ` counts. Measured on faces tracked frame by frame (a president's speech, a reader of GRID): the
spectrum of brows, head rotation and head position falls by a factor of 10 from 1 Hz to 5-6 Hz and is flat beyond, and
what the same frames give after re-encoding differs by 10 % of the power below 4 Hz and by 20-50 % above 6 Hz. Speech,
nods and raised brows therefore lie below 4 Hz, and a person who moves more is not called unstable.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.schema import Figure, MetricDefinition, figure, missing
from geneface.geometry.landmarks import BROWS
from geneface.types import VIDEO_RATE_HZ, MotionTrack

JITTER_BAND_HZ = (4.0, VIDEO_RATE_HZ / 2)
JITTER_RATIO_KEYS = ("brow_jitter_ratio", "rotation_jitter_ratio", "translation_jitter_ratio")
"""Against the ground truth."""
JITTER_KEYS = ("brow_jitter", "rotation_jitter", "translation_jitter")
"""Of motion that has no ground truth."""
MIN_BAND_FRAMES = 8
"""Shorter clips do not resolve the band."""
_TOO_SHORT = f"fewer than {MIN_BAND_FRAMES} frames in a row"


@lru_cache(maxsize=32)
def band_operator(frames: int, low_hz: float, high_hz: float, rate_hz: float) -> NDArray[np.float64]:
    """Matrix B [R, F] such that sum((B x)^2) is the mean square of x's second differences between low and high.

    Second differences are taken first, so that large slow motion does not leak into the band, then a Hann window and
    the periodogram (Welch 1967), normalised to the variance of white noise. Bins that lie across a border count by
    the part that is inside.
    """
    count = frames - 2
    difference: NDArray[np.float64] = np.diff(np.eye(frames), n=2, axis=0)
    phase = (np.arange(count) + 0.5) / count
    window = np.sin(np.pi * phase) ** 2
    bins = np.arange(count // 2 + 1)
    edges = np.clip(np.stack([bins - 0.5, bins + 0.5]) * rate_hz / count, 0, rate_hz / 2)
    inside = np.minimum(edges[1], high_hz) - np.maximum(edges[0], low_hz)
    share = np.clip(inside, 0, None) / (edges[1] - edges[0])
    # Every bin stands for its mirror image too, except the first and, of an even number, the last.
    doubled = np.where((bins == 0) | (2 * bins == count), 1.0, 2.0)
    scale = np.sqrt(share * doubled / (count * np.square(window).sum()))
    angle = 2 * np.pi * np.outer(bins, phase)
    rows = np.concatenate([scale[:, None] * np.cos(angle), scale[:, None] * np.sin(angle)])
    taken = np.concatenate([share, share]) > 0
    return (rows[taken] * window) @ difference


def band_jitter(
    clips: Sequence[NDArray[np.floating[Any]]],
    low_hz: float = JITTER_BAND_HZ[0],
    high_hz: float = JITTER_BAND_HZ[1],
    rate_hz: float = VIDEO_RATE_HZ,
) -> float:
    """Root mean square length of the second differences over all clips [F, ..., D], between two frequencies.

    White noise of variance s2 gives sqrt(D s2 / pi [6 w - 8 sin w + sin 2 w] between the band's ends), w = 2 pi f /
    rate; a sine of amplitude a inside the band gives a (2 - 2 cos w) / sqrt 2.

    Returns:
        In the clips' unit per frame^2; nan if no clip has `MIN_BAND_FRAMES` frames.
    """
    total, weight = 0.0, 0
    for clip in clips:
        if len(clip) < MIN_BAND_FRAMES:
            continue
        vectors = int(np.prod(clip.shape[1:-1], dtype=int))
        values = np.asarray(clip - clip[:1], np.float64).reshape(len(clip), -1)
        filtered = band_operator(len(clip), low_hz, high_hz, rate_hz) @ values
        total += (len(clip) - 2) * float(np.square(filtered).sum()) / vectors
        weight += len(clip) - 2
    return float(np.sqrt(total / weight)) if weight else float("nan")


def _components(clips: Sequence[MotionTrack]) -> tuple[float, float, float]:
    """Jitter of brows [head units], head rotation [degrees] and position [head units], all per frame^2.

    Rotation vectors are subtracted as vectors: heads in front of a camera stay far from the half turn where they wrap.
    """
    return (
        band_jitter([clip.points[:, BROWS] for clip in clips]),
        float(np.degrees(band_jitter([clip.pose.rotation for clip in clips]))),
        band_jitter([clip.pose.translation for clip in clips]),
    )


def stability_figures(clips: Sequence[MotionTrack]) -> dict[str, Figure]:
    """Absolute jitter of motion that has no ground truth."""
    return {key: figure(value, _TOO_SHORT) for key, value in zip(JITTER_KEYS, _components(clips), strict=True)}


def stability_ratio_figures(references: Sequence[MotionTrack], others: Sequence[MotionTrack]) -> dict[str, Figure]:
    """Jitter of the evaluated motion over the ground truth's."""
    if not references:
        return missing(JITTER_RATIO_KEYS, "no held-out frames")
    pairs = zip(JITTER_RATIO_KEYS, _components(references), _components(others), strict=True)
    return {
        key: figure(other / reference if reference > 0 else float("nan"), f"the ground truth is still, or {_TOO_SHORT}")
        for key, reference, other in pairs
    }


_BAND = "Root mean square of the second differences over time in the band from 4 Hz to 12.5 Hz of the brow landmarks"
DEFINITIONS = {
    "brow_jitter_ratio": MetricDefinition(
        title="Brow jitter",
        unit="ratio",
        direction="lower",
        description=f"{_BAND} in the head frame, evaluated / ground truth. The tracker's own noise is part of the "
        "ground truth's; a still face scores 0.",
    ),
    "rotation_jitter_ratio": MetricDefinition(
        title="Head rotation jitter",
        unit="ratio",
        direction="lower",
        description="The same for the head's rotation vector.",
    ),
    "translation_jitter_ratio": MetricDefinition(
        title="Head translation jitter",
        unit="ratio",
        direction="lower",
        description="The same for the head's position.",
    ),
    "brow_jitter": MetricDefinition(
        title="Brow jitter", unit="head units / frame^2", direction="lower", description=f"{_BAND}."
    ),
    "rotation_jitter": MetricDefinition(
        title="Head rotation jitter",
        unit="degrees / frame^2",
        direction="lower",
        description="The same for the head's rotation vector.",
    ),
    "translation_jitter": MetricDefinition(
        title="Head translation jitter",
        unit="head units / frame^2",
        direction="lower",
        description="The same for the head's position.",
    ),
}
