"""Lip sync by our own classifier: how well lips and speech keep time, for a network that no training used as a loss.

The definitions are SyncNet's (Chung and Zisserman 2016, "Out of time: automated lip sync in the wild", section 3),
on landmarks instead of pixels: lips and speech are embedded at each window of 9 frames (0.36 s), and the mean
Euclidean distance of the two is taken at each lag. The numbers are the classifier's own: embeddings are unit vectors,
so distances lie in 0..2, and they can't be compared with published LSE-C and LSE-D.

Symbols: F video frames at 25 Hz, 2F rows of features at 50 Hz, K named landmarks (canonical head frame, head units),
P of them seen by the classifier, W = F - 8 windows, E embedding width. A lag is in frames, positive where the lips are
late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.lip_sync import LipSyncTowers
from geneface.analysis.speech import SpeechEncoder, load_encoder
from geneface.evaluation.schema import Figure, MetricDefinition, figure
from geneface.signal.timing import ROWS_PER_FRAME
from geneface.types import FloatArray, SpeechFeatures

MAX_LAG_FRAMES = 15
"""Lags are searched from -15 to 15 frames, 0.6 s to either side, as SyncNet does."""
_TIE = 1e-6
"""Distances closer than this differ by rounding alone."""

Clip = tuple[NDArray[np.floating[Any]], SpeechFeatures | NDArray[np.floating[Any]]]
"""Landmarks [F, K, 3], and the speech of the same time: features [2F, D] of the classifier's encoder, or samples
[T]."""


@dataclass(frozen=True)
class LipSyncScore:
    """Score of some clips. All numbers are nan, and `clips` is 0, where every clip is too short."""

    distance: float
    """Least mean distance over the lags, 0..2; lower is better. The search forgives lips that are merely late."""
    distance_unshifted: float
    """Mean distance at lag 0, 0..2; lower is better. It does not forgive them."""
    confidence: float
    """Median over the lags minus the least; higher is better; forgives lateness, too. 0 for a still face."""
    offset_frames: float
    """The lag of the least distance; positive: the lips are late."""
    curve: NDArray[np.float64]
    """[31] mean distance at the lags -15 .. 15."""
    windows: int
    """Windows that each lag's mean is over."""
    clips: int
    """Clips that had any."""


class LipSyncClassifier(LipSyncTowers):
    """The towers of a folder, and the score of lips that they give."""

    def encode(self, samples: NDArray[np.floating[Any]], frames: int | None = None) -> SpeechFeatures:
        """Features [2 * frames, D] of sound [T] at 16 kHz; once for all rows with the same sound.

        The encoder is the classifier's own (whisper-2-streaming), whatever the avatar hears: rows then differ by their
        lips.
        """
        return self._encoder.encode(np.asarray(samples, np.float32), frames)

    def score(self, clips: Sequence[Clip], neutral: NDArray[np.floating[Any]], *, gain: float = 1.0) -> LipSyncScore:
        """Score clips of one person together.

        The towers see displacement from neutral, divided by `gain`. The gain is never taken from the lips that are
        scored: those of a mouth that moves too little would be blown up to the right amplitude and forgiven. Give the
        same for all rows: `gain_of` the ground truth, or 1.

        Args:
            clips: landmarks and speech of the same frames. Clips under 39 frames have fewer windows than there are
                lags; they are left out.
            neutral: [K, 3] the person's face at rest.
            gain: the person's amplitude, of the reference speaker's.
        """
        parts = []
        for points, speech in clips:
            features = speech if isinstance(speech, SpeechFeatures) else self.encode(speech, len(points))
            if len(features.values) != ROWS_PER_FRAME * len(points):
                raise ValueError(f"{len(features.values)} feature rows for {len(points)} frames of landmarks")
            if len(points) >= self.config.window + 2 * MAX_LAG_FRAMES:
                lips = self.embed_lips(points, neutral, gain)
                parts.append(lag_distances(lips, self.embed_speech(features)))
        return combine(parts)

    @cached_property
    def _encoder(self) -> SpeechEncoder:
        return load_encoder(self.config.encoder)


def lag_distances(lips: FloatArray, speech: FloatArray, max_lag: int = MAX_LAG_FRAMES) -> NDArray[np.float64]:
    """Distance of each window's lips to the speech at each lag: [E, W] each -> [windows, 2 max_lag + 1].

    Column max_lag + k compares lips[t] with speech[t - k]: k = 2 fits lips that are two frames late. Beyond its ends
    the speech goes on at the other end. So each lag is a mean over the same lips *and* the same speech, and constant
    lips have one distance at all lags; with a range cut off or padded, closed lips fit the lags that bring more
    silence, and a still face seemed to be 0.6 s late with a confidence of 0.16 (clips of 3 s). The price: of lips that
    are k frames late, k windows of W are compared with wrong speech. Windows whose landmarks are not finite are
    left out.
    """
    fixed, moved = lips.astype(np.float64), speech.astype(np.float64)
    columns = [np.roll(moved, lag, axis=1) for lag in range(-max_lag, max_lag + 1)]
    distances = np.stack([np.linalg.norm(fixed - column, axis=0) for column in columns], axis=1)
    return distances[np.isfinite(distances).all(axis=1)]


def combine(parts: Sequence[NDArray[np.float64]]) -> LipSyncScore:
    """Score of clips together, from the distances [windows, lags] of each.

    Every window counts the same, whichever clip it is from: a mean over clips would let a clip of a few windows,
    whose curve is mostly chance, weigh as much as a long one. The least lag is looked for after averaging: the least
    of each clip's own curve would be lower for short clips, by chance alone.
    """
    known = [part for part in parts if len(part)]
    if not known:
        curve = np.full(2 * MAX_LAG_FRAMES + 1, np.nan)
        return LipSyncScore(*[float("nan")] * 4, curve=curve, windows=0, clips=0)
    together = np.concatenate(known)
    curve = together.mean(axis=0)
    lags = np.arange(len(curve)) - len(curve) // 2
    # Of equal lags the nearest to 0: a still face is not "late".
    order = np.argsort(np.abs(lags), kind="stable")
    best = int(order[np.argmax(curve[order] <= curve.min() + _TIE)])
    return LipSyncScore(
        distance=float(curve[best]),
        distance_unshifted=float(curve[len(curve) // 2]),
        confidence=float(np.median(curve) - curve.min()),
        offset_frames=float(lags[best]),
        curve=curve,
        windows=len(together),
        clips=len(known),
    )


def lip_sync_figures(score: LipSyncScore) -> dict[str, Figure]:
    """The score under the keys of a report."""
    short = "no clip is as long as the lip-sync classifier's window"
    return {
        "lip_sync_confidence": figure(score.confidence, short),
        "lip_sync_distance": figure(score.distance, short),
        "lip_sync_distance_unshifted": figure(score.distance_unshifted, short),
        "lip_sync_offset_frames": figure(score.offset_frames, short),
    }


DEFINITIONS = {
    "lip_sync_confidence": MetricDefinition(
        title="Lip-sync confidence",
        unit="1",
        direction="higher",
        description="Of our own lip-sync classifier on landmarks, which no training used as a loss: median minus "
        "minimum over lags of the mean distance of lips and sound. Not comparable with LSE-C.",
        must_see=["still"],
        needs="lip_sync",
    ),
    "lip_sync_distance": MetricDefinition(
        title="Lip-sync distance",
        unit="1",
        direction="lower",
        description="Of the same: the minimum over lags of the mean distance. Not comparable with LSE-D.",
        must_see=["still"],
        needs="lip_sync",
    ),
    "lip_sync_distance_unshifted": MetricDefinition(
        title="Lip-sync distance at lag 0",
        unit="1",
        direction="lower",
        description="Of the same: the mean distance as lips and sound are, without looking for a better lag.",
        must_see=["late", "still"],
        needs="lip_sync",
    ),
    "lip_sync_offset_frames": MetricDefinition(
        title="Lip-sync offset",
        unit="frames of 40 ms",
        direction="zero",
        description="Of the same: the lag at which the distance is least; positive: late.",
        must_see=["late"],
        needs="lip_sync",
    ),
}
LIP_SYNC_KEYS = tuple(DEFINITIONS)
