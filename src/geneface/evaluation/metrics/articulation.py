"""Articulation: do the lips close where they must, keep up with fast speech, and rest in silence?

F frames at 25 Hz, K named landmarks, D = 2 or 3 coordinates, in the caller's unit (face widths). A mouth is *closed*,
*clearly open* or between the two by levels of the ground truth's own lip opening; all clips share the levels, and
counts are pooled over clips, because single clips hold few closures.

The constants were set on ground truth: a reader of GRID (170 clips, 253 words that begin with b, p or m) and a speech
of a president (20 s).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.idle import voice_activity
from geneface.evaluation.metrics.lips import Curve, LipClip, averaged_correlation, correlation
from geneface.evaluation.schema import Figure, MetricDefinition, figure, missing
from geneface.geometry.landmarks import LIPS, lip_opening
from geneface.io.words import Words
from geneface.signal.spans import true_spans
from geneface.types import VIDEO_RATE_HZ, FloatArray

DEFINITIONS = {
    "fast_offset_frames": MetricDefinition(
        title="Lag on fast articulation",
        unit="frames of 40 ms",
        direction="zero",
        description="The same, from -6 to 6, over the quarter of all frames in which the ground truth's opening "
        "changes fastest: a parabola through the peak, less that of the ground truth with itself; positive: late. Our "
        "definition.",
        must_see=["late", "still"],
    ),
    "closure_rate": MetricDefinition(
        title="Closures hit",
        unit="share",
        direction="higher",
        description="Share of the ground truth's lip closures inside which the evaluated lips close, without being "
        "closed from 6 frames before to 6 after. Word times known: closures within a frame of the start of words "
        "spelled with an initial b, p or m (not ph, ps, pn, pt, mn; of the letter m: its end), only those that the "
        "ground truth shows; else all closed runs of at most 7 frames between open lips. Closed: below 15 % of the way "
        "from the 5th to the 95th percentile of the ground truth's opening; a closure of the ground truth goes below "
        "10 %. Our definition.",
        must_see=["late", "still"],
    ),
    "closure_count": MetricDefinition(
        title="Closures counted",
        unit="closures",
        direction="count",
        description="How many closures of the ground truth the share of closures hit is over; below ten it is a matter "
        "of chance.",
    ),
    "false_closure_rate": MetricDefinition(
        title="False closures",
        unit="share",
        direction="lower",
        description="Share of the ground truth's clearly open frames (above 35 % of that way, not within two frames of "
        "a closed one) in which the evaluated lips are closed. A mouth that never closes scores 0: read it with the "
        "closures hit.",
    ),
    "silence_motion_ratio": MetricDefinition(
        title="Motion in silence",
        unit="ratio",
        direction="lower",
        description="Root mean square speed of the lip landmarks, mouth centres aligned, in silence (word times, else "
        "the sound's level), 8 frames before and 2 after speech left out: evaluated / ground truth. In video most of "
        "it is the tracker's noise: above 1 is twitching, below 1 says little; a still face scores 0. Our definition.",
    ),
}

CLOSED_SHARE = 0.15
"""Closed: below this share of the way from the 5th to the 95th percentile of the opening. Both persons' histograms
have their valley there: lips that touch read 0 to .12, lips that nearly touch (f, v, w) .2 and more."""
CLOSURE_SHARE = 0.10
"""A closure of the ground truth must be this deep: shallower dips cross the level by the tracker's noise alone (with
.15 for both, re-encoding lost 12 % of the closures)."""
OPEN_SHARE = 0.35
"""Clearly open: above this share."""
ONSET_FRAMES = 1
"""The ground truth's lips are closed within one frame of the start of 98.4 % of the words (90 % at the very frame)."""
RELEASE_FRAMES = 6
"""Lips that are closed all along, from so many frames before a closure to so many after it, do not articulate it."""
_MAX_CLOSURE_FRAMES = 7
"""Longer runs are pauses: closures inside GRID's sentences last 1 to 6 frames."""
_FLANK_FRAMES = 3
_NEAR_CLOSURE_FRAMES = 2
"""Frames so near to a closed one can't be false closures: the video may be a little late."""

LEAD_FRAMES, TAIL_FRAMES = 8, 2
"""Silence begins so many frames after a sound and ends so many before the next: in the third of a second before they
speak people open the mouth, three to six times as fast as they move at rest."""
MIN_SILENCE_SECONDS = 0.5
FAST_SHARE = 0.25
NO_LAG = "no lag within 6 frames stands out"
FAST_LAG_FRAMES = 6
"""Lags of fast articulation are searched from -6 to 6: a quarter of a clip's frames matches more distant ones by
chance (on 4 s of speech, at -10)."""
_MIN_FAST_FRAMES = 6

_SILENCE_WORDS = frozenset({"", "sil", "sp"})
_MUTE_INITIALS = ("ph", "ps", "pn", "pt", "mn")
_BILABIALS = ("b", "p", "m")

Frames = NDArray[np.bool_]


@dataclass(frozen=True)
class OpeningLevels:
    """Lip openings that separate closed from open, in the curves' unit."""

    closure: float
    """A closure of the ground truth goes below this."""
    closed: float
    open: float


def articulation_figures(clips: Sequence[LipClip]) -> dict[str, Figure]:
    """All figures of this file, pooled over clips.

    Raises:
        ValueError: tracks of different shapes.
    """
    if not clips:
        return missing(tuple(DEFINITIONS), "no held-out frames")
    for clip in clips:
        if clip.reference.shape != clip.other.shape:
            raise ValueError(f"tracks of different shapes: {clip.reference.shape} and {clip.other.shape}")
    references = [lip_opening(clip.reference) for clip in clips]
    others = [lip_opening(clip.other) for clip in clips]
    words = [clip.words for clip in clips]
    return {
        "fast_offset_frames": figure(fast_offset(references, others), NO_LAG),
        **_closing_figures(references, others, words),
        "silence_motion_ratio": figure(
            silence_motion_ratio(clips), f"less than {MIN_SILENCE_SECONDS:g} s of silence, or the truth is still there"
        ),
    }


# ---- closures


def opening_levels(references: Sequence[Curve]) -> OpeningLevels | None:
    """Levels of the ground truth's openings [F] over all clips; None if its lips do not move."""
    joined = np.concatenate([np.asarray(curve, np.float64) for curve in references]) if references else np.zeros(0)
    if not joined.size:
        return None
    low, high = np.percentile(joined, [5, 95])
    if high - low <= 1e-6 * abs(high):
        return None
    closure, closed, is_open = low + np.array([CLOSURE_SHARE, CLOSED_SHARE, OPEN_SHARE]) * (high - low)
    return OpeningLevels(float(closure), float(closed), float(is_open))


def closing_frame(start: float, end: float, word: str) -> int | None:
    """The frame near which the lips close for the first sound of a word, None for other words.

    Taken are words that are spelled with an initial b, p or m, except ph-, ps-, pn-, pt- and mn-, and no others: the
    spelling of an initial is a safe sign in many languages, that of the middle of a word is not. The letter m alone is
    spoken "em": its lips close at its end.
    """
    spelled = word.strip("'\" ").casefold()
    if not spelled.startswith(_BILABIALS) or spelled.startswith(_MUTE_INITIALS):
        return None
    return int(np.floor((end if spelled == "m" else start) * VIDEO_RATE_HZ + 0.5))


def closures(reference: Curve, levels: OpeningLevels, words: Words | None) -> list[tuple[int, int]]:
    """Frames [start, stop) of the closures that the ground truth shows.

    With words: where it is closed within `ONSET_FRAMES` of a word's bilabial. Words where it does not close are left
    out (1.6 % of GRID's: the fault of the word's time or of the speaker). Without: all its short runs of closed frames
    between open ones.
    """
    if words is None:
        return _closed_runs(reference, levels)
    found = []
    for start, end, word in words:
        frame = closing_frame(start, end, word)
        if frame is None or frame < ONSET_FRAMES or frame + ONSET_FRAMES >= len(reference):
            continue
        near = reference[frame - ONSET_FRAMES : frame + ONSET_FRAMES + 1]
        if near.min() < levels.closure:
            rows = np.flatnonzero(near < levels.closed) + frame - ONSET_FRAMES
            found.append((int(rows[0]), int(rows[-1]) + 1))
    return found


def _closed_runs(reference: Curve, levels: OpeningLevels) -> list[tuple[int, int]]:
    is_open = reference > levels.open
    return [
        (start, stop)
        for start, stop in true_spans(reference < levels.closed)
        if stop - start <= _MAX_CLOSURE_FRAMES
        and reference[start:stop].min() < levels.closure
        and is_open[max(start - _FLANK_FRAMES, 0) : start].any()
        and is_open[stop : stop + _FLANK_FRAMES].any()
    ]


def closes(closed: Frames, start: int, stop: int) -> bool:
    """Whether lips with these closed frames [F] close inside [start, stop) and are not closed all around it.

    A closure lasts two to three frames, so lips that are a frame late still close inside it (96 % on GRID), two frames
    late three in four, three frames one in two, which is chance.
    """
    around = closed[max(start - RELEASE_FRAMES, 0) : stop + RELEASE_FRAMES]
    return bool(closed[start:stop].any() and not around.all())


def clearly_open(reference: Curve, levels: OpeningLevels) -> Frames:
    """[F] frames in which the ground truth is open and not within two frames of a closed one."""
    near = np.zeros(len(reference), bool)
    for start, stop in true_spans(reference < levels.closed):
        near[max(start - _NEAR_CLOSURE_FRAMES, 0) : stop + _NEAR_CLOSURE_FRAMES] = True
    return (reference > levels.open) & ~near


def _closing_figures(
    references: Sequence[Curve], others: Sequence[Curve], words: Sequence[Words | None]
) -> dict[str, Figure]:
    levels = opening_levels(references)
    if levels is None:
        return missing(("closure_rate", "closure_count", "false_closure_rate"), "the ground truth's lips do not move")
    hits: list[bool] = []
    falsely: list[Frames] = []
    for reference, other, spoken in zip(references, others, words, strict=True):
        closed = other < levels.closed
        hits += [closes(closed, start, stop) for start, stop in closures(reference, levels, spoken)]
        falsely.append(closed[clearly_open(reference, levels)])
    false = np.concatenate(falsely)
    return {
        "closure_rate": figure(float(np.mean(hits)) if hits else float("nan"), "the ground truth shows no closure"),
        "closure_count": Figure(value=len(hits)),
        "false_closure_rate": figure(float(false.mean()) if false.size else float("nan"), "no clearly open frame"),
    }


# ---- timing of fast motion


def fast_offset(references: Sequence[Curve], others: Sequence[Curve]) -> float:
    """Frames by which the lips are late where the ground truth's lips move fastest, to a fraction of a frame.

    The correlation of reference[t] with other[t + lag] over the frames t of the fastest quarter (of |d opening / dt|,
    all clips), averaged over clips; its peak by a parabola through three lags. The flanks of a peak are not alike,
    which moves the parabola by some hundredths: the ground truth's own peak is subtracted.

    Returns:
        Positive: late; nan where there is no peak inside -6 .. 6.
    """
    speeds = [np.abs(np.gradient(curve)) if len(curve) > 1 else np.zeros(len(curve)) for curve in references]
    threshold = float(np.quantile(np.concatenate(speeds), 1 - FAST_SHARE)) if speeds else 0.0
    fast = [np.flatnonzero((speed >= threshold) & (speed > 0)) for speed in speeds]
    own = [_correlations_at(a, a, frames) for a, frames in zip(references, fast, strict=True)]
    rows = [_correlations_at(a, b, frames) for a, b, frames in zip(references, others, fast, strict=True)]
    return _peak(averaged_correlation(rows)) - _peak(averaged_correlation(own))


def _correlations_at(reference: Curve, other: Curve, frames: NDArray[np.intp]) -> NDArray[np.float64]:
    """Correlation of reference[t] with other[t + lag] over some frames t, for every lag; nan where few are left."""
    out = np.full(2 * FAST_LAG_FRAMES + 1, np.nan)
    for lag in range(-FAST_LAG_FRAMES, FAST_LAG_FRAMES + 1):
        kept = frames[(frames + lag >= 0) & (frames + lag < len(other))]
        if len(kept) >= max(_MIN_FAST_FRAMES, len(frames) / 2):
            out[lag + FAST_LAG_FRAMES] = correlation(reference[kept], other[kept + lag])
    return out


def _peak(correlation: NDArray[np.float64]) -> float:
    """Lag of the highest of correlations [2 L + 1] (-inf: unknown), by a parabola; nan where it has no two sides."""
    top = int(np.argmax(correlation)) if correlation.size else 0
    if not 0 < top < len(correlation) - 1 or not np.isfinite(correlation[top - 1 : top + 2]).all():
        return float("nan")
    before, peak, after = correlation[top - 1 : top + 2]
    bend = before - 2 * peak + after
    return top - len(correlation) // 2 + (0.5 * (before - after) / bend if bend < 0 else 0.0)


# ---- silence


def silent_frames(frames: int, words: Words | None, samples: FloatArray | None) -> Frames:
    """[F] silent frames, `LEAD_FRAMES` and `TAIL_FRAMES` away from speech; none if neither words nor sound are known.

    Words go before the sound: they know a breath from a word.
    """
    silent = np.zeros(frames, bool)
    if words is not None:
        middle = (np.arange(frames) + 0.5) / VIDEO_RATE_HZ
        silent[:] = True
        for start, end, word in words:
            if word.strip().casefold() not in _SILENCE_WORDS:
                silent &= (middle < start) | (middle >= end)
    elif samples is not None:
        known = ~voice_activity(samples)[:frames]
        silent[: len(known)] = known
    for start, stop in true_spans(silent):
        if start > 0:
            silent[start : min(start + TAIL_FRAMES, stop)] = False
        if stop < frames:
            silent[max(stop - LEAD_FRAMES, start) : stop] = False
    return silent


def silence_motion_ratio(clips: Sequence[LipClip]) -> float:
    """Root mean square speed of the lip landmarks in silence, mouth centres aligned: evaluated / ground truth.

    nan if there is less than `MIN_SILENCE_SECONDS` of silence in all clips, or the ground truth does not move in it.
    """
    squares, seconds = np.zeros(2), 0.0
    for clip in clips:
        silent = silent_frames(len(clip.reference), clip.words, clip.samples)
        seconds += float(silent.sum()) / VIDEO_RATE_HZ
        steps = silent[1:] & silent[:-1]
        squares += [_squared_speed(points, steps) for points in (clip.reference, clip.other)]
    if seconds < MIN_SILENCE_SECONDS or squares[0] <= 0:
        return float("nan")
    return float(np.sqrt(squares[1] / squares[0]))


def _squared_speed(points: NDArray[np.floating[Any]], steps: Frames) -> float:
    """Sum of the squared steps [F - 1] of the lips that are taken."""
    lips = np.asarray(points[:, LIPS], np.float64)
    centred = lips - lips.mean(1, keepdims=True)
    return float(np.square(np.diff(centred, axis=0)[steps]).sum())
