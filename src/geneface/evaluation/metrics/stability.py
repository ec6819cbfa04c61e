"""Stability: how much trembles that should move smoothly, in landmarks and in pixels. F frames at 25 Hz.

A second difference x[t + 1] - 2 x[t] + x[t - 1] is blind to position and steady motion; of it only the band
`JITTER_BAND_HZ` counts. Measured on faces tracked anew in every frame (a president's speech, a reader of GRID): the
spectrum of brows, head rotation and head position falls by a factor of 10 from 1 Hz to 5-6 Hz and is flat beyond, and
what the same frames give after re-encoding differs by 10 % of the power below 4 Hz and by 20-50 % above 6 Hz. Speech,
nods and raised brows therefore lie below 4 Hz, and a person who moves more is not called unstable.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.metrics.image import luminance
from geneface.evaluation.metrics.registry import JITTER_KEYS, JITTER_RATIO_KEYS
from geneface.evaluation.schema import Figure, figure, missing
from geneface.geometry.landmarks import BROWS
from geneface.types import VIDEO_RATE_HZ, ByteArray, FloatArray, MotionTrack

JITTER_BAND_HZ = (4.0, VIDEO_RATE_HZ / 2)
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
