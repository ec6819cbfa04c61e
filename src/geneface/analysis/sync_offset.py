"""By how much sound and picture of a recording are apart, from lips as they are seen and as the sound asks for.

If the sound is late by d frames, the lips of frame i match the sound at frame i + d. At each lag, seen and asked-for
lips are compared by the speed of a few curves, and by embeddings of both; the offset is where they agree best.
Agreement is counted in deviations of what other speech and music reach by chance, whatever the length.

Symbols: n, f frames at 25 Hz, K named landmarks, C curves, E embedding width, L = 31 lags of -15 .. 15 frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import JAW, lip_opening, lip_protrusion, lip_width
from geneface.types import VIDEO_RATE_HZ, FloatArray

MAX_LAG_FRAMES = 15
LAGS = np.arange(-MAX_LAG_FRAMES, MAX_LAG_FRAMES + 1)
CURVES = ("opening", "width", "protrusion", "jaw")
MIN_CONFIDENCE = 0.97
"""Sounds are moved from here on: of 528 wrong ones, none."""
MIN_SPEECH_FRAMES = 2 * VIDEO_RATE_HZ
"""With less that sounds nothing is told."""
LEAST_FRAMES = 0.3
"""Offsets below this are within the error of what is measured: left as they are."""
_CURVE_WEIGHTS, _EMBEDDING_WEIGHT = (0.19, 0.20, 0.10, 0.20), 0.81
"""Each curve's correlation counts 1 (protrusion half), the embeddings' cosine 2, in deviations under wrong sounds;
together they have a deviation of one over the root of the frames."""
_CONFIDENCE_SLOPE, _CONFIDENCE_MIDDLE = 1.5, 5.4
"""Logistic in best agreement plus its margin, fitted to pieces of 2 to 8 s under right and wrong sounds."""
_NEIGHBOURS = 3
"""The margin is over lags more than so many frames away."""
_WINDOW_FRAMES = 4 * VIDEO_RATE_HZ
_MIN_OVERLAP = 10
_FINE = 8
"""Steps a frame in which curves over the lags are laid over each other."""
_MIN_DRIFT_FRAMES, _MIN_DRIFT_GAIN, _MIN_DRIFT_SPAN = 0.5, 0.75, 10 * VIDEO_RATE_HZ
"""A drift is believed that moves the sound by so much from the first window to the last, and raises the agreement by
so much, by chance .36 at most; it is looked for in windows that are so far apart."""
_MAX_DRIFT_PPM = 2500
"""Clocks differ by a hundred or two, rates taken for each other (30 and 29.97) by a thousand: more is a jump."""
_APART_FRAMES, _SHORT_APART_FRAMES, _APART_GAIN = 1.5, 3.0, 2.0
"""Stretches that are sure of an offset by themselves keep it if it is so far from that of all, and so much better.
Single clips of 3 s that were recorded alike lie up to 2 frames apart: those under 4 s must differ by more."""
_SPREAD_FRAMES = 0.4
"""Deviation of short files' own offsets about that which they share: .41 frames in 892 clips of one speaker, where both
halves of a clip tell the same; .1 in 21 of two others."""
_TELLING_FRAMES, _BORNE_OUT = 3 * VIDEO_RATE_HZ, 2.5
"""In pieces of 3 s, lips agree with their sound by 3.8 deviations or more, 9 frames off by at most 2.2."""
_APART_COST = 1.0
"""Each must raise the agreement of all by so much."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LipTrack:
    """Lips of consecutive frames, measured, or predicted from a sound."""

    curves: Array
    """[n, C] see `CURVES`, any units."""
    embedding: Array
    """[E, W] of windows that begin at frames 0 .. W - 1, W < n."""

    @classmethod
    def of(cls, points: NDArray[np.floating], embedding: FloatArray) -> LipTrack:
        """Landmarks [n, K, 3] in the head frame and the embeddings [E, W] that go with them."""
        jaw = points[:, JAW, 1].mean(1)
        curves = [lip_opening(points), lip_width(points), lip_protrusion(points), jaw]  # as `CURVES` says
        return cls(np.stack(curves, axis=-1).astype(np.float64), embedding.astype(np.float64))


@dataclass(frozen=True)
class Agreement:
    """How well the lips of a few seconds agree with their sound at each lag."""

    middle: float
    """Frame of the source in the middle."""
    values: Array
    """[L] weighted correlations: by chance of deviation 1 / sqrt(frames)."""
    frames: Array
    """[L] how many frames are compared."""
    speech_frames: int
    """How many of them sound at all."""


@dataclass(frozen=True)
class SoundOffset:
    """By how much a sound is late, and how sure that is."""

    frames: float
    """At the source's first picture; negative: early. 0 where not confident."""
    drift_ppm: float
    """How much later the sound becomes, in millionths of the time that passes."""
    confidence: float
    """Probability of being within a frame, 0..1."""
    best_frames: float
    """Where lips and sound agree best, confident or not."""
    agreement: float
    """There, in deviations of what is reached by chance."""
    margin: float
    """By how much that beats the lags that are not neighbours."""

    @property
    def confident(self) -> bool:
        """Whether it may be acted on."""
        return self.confidence >= MIN_CONFIDENCE

    @property
    def is_applied(self) -> bool:
        """Whether the sound is to be moved: it is known, and not too small to matter."""
        return self.confident and (self.drift_ppm != 0 or abs(self.frames) >= LEAST_FRAMES)

    @property
    def shift_ppm(self) -> float:
        """The drift that is to be taken back."""
        return self.drift_ppm if self.is_applied else 0.0

    def shift(self, frame: float) -> float:
        """Frames by which sound is to be moved at a frame of the source; 0 where it stays."""
        return self.late_at(frame) if self.is_applied else 0.0

    def late_at(self, frame: float) -> float:
        """Frames by which the sound is late at a frame of the source."""
        return self.frames + 1e-6 * self.drift_ppm * frame

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "frames": self.frames,
            "drift_ppm": self.drift_ppm,
            "confidence": self.confidence,
            "confident": self.confident,
            "best_frames": self.best_frames,
            "agreement": self.agreement,
            "margin": self.margin,
        }


UNKNOWN = SoundOffset(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def compare(seen: LipTrack, asked: LipTrack, lead: int, sounding: NDArray[np.bool_], start: int = 0) -> list[Agreement]:
    """Compare lips of f frames with what their sound asks for, in windows of some seconds.

    Args:
        seen: of f frames.
        asked: of all n frames of the sound that were recorded thereabouts.
        lead: frames by which the sound begins before the lips (negative: after them).
        sounding: [n] frames of the sound that are not silent.
        start: frame of the source at which the lips begin.
    """
    frames, heard = len(seen.curves), len(asked.curves)
    lips, sound = np.gradient(seen.curves, axis=0), np.gradient(asked.curves, axis=0)
    # Less their means: what all moments have in common says nothing about the lag.
    looks, hears = (track.embedding - track.embedding.mean(1, keepdims=True) for track in (seen, asked))
    found = []
    for first, last in pairwise(np.linspace(0, frames, max(1, round(frames / _WINDOW_FRAMES)) + 1).astype(int)):
        values, counts = np.zeros(len(LAGS)), np.zeros(len(LAGS))
        for place, shift in enumerate(lead + LAGS):
            low, high = max(first, -shift), min(last, heard - shift)
            if high - low < _MIN_OVERLAP:
                continue
            counts[place] = high - low
            values[place] = _CURVE_WEIGHTS @ _correlations(lips[low:high], sound[low + shift : high + shift])
            high = min(high, looks.shape[1], hears.shape[1] - shift)
            if high > low:
                cosines = (looks[:, low:high] * hears[:, low + shift : high + shift]).sum(0)
                values[place] += _EMBEDDING_WEIGHT * float(cosines.mean())
        speech = int(sounding[max(0, first + lead) : max(0, last + lead)].sum())
        found.append(Agreement(start + (first + last) / 2, values, counts, speech))
    return found


def _correlations(a: Array, b: Array) -> Array:
    """[C] of speeds [n, C]: about no speed, which is what lips have on average."""
    power = (a * a).sum(0) * (b * b).sum(0)
    return (a * b).sum(0) / np.sqrt(np.where(power > 0, power, 1.0))


def fit_spans(spans: Sequence[Sequence[Agreement]], *, may_drift: bool) -> list[SoundOffset]:
    """One offset for spans that were recorded alike; those that are sure of another by themselves have their own.

    Args:
        spans: windows of each span.
        may_drift: the spans are of one file.

    Returns:
        for each span that of all, or its own.
    """
    own = [fit_offset(span) for span in spans]
    everything = [window for span in spans for window in span]
    # What all have in common may lie between two offsets that they have: each of them is tried, too.
    seeds = {offset.frames: offset for offset in own if offset.confident}
    tried = [fit_offset(everything), *seeds.values()]
    if may_drift:
        tried.append(fit_offset(everything, may_drift=True))
    best, best_score = [UNKNOWN] * len(spans), -np.inf
    for seed in tried:
        apart = {index for index, span in enumerate(spans) if _is_apart(span, own[index], seed)}
        together = [window for index, span in enumerate(spans) if index not in apart for window in span]
        common = fit_offset(together, may_drift=may_drift and bool(seed.drift_ppm))
        offsets = [own[index] if index in apart else common for index in range(len(spans))]
        score = _agreement_at(spans, offsets) - _APART_COST * len(apart)
        if score > best_score:
            best, best_score = offsets, score
    return best


def _agreement_at(spans: Sequence[Sequence[Agreement]], offsets: Sequence[SoundOffset]) -> float:
    """Of all spans, in deviations, if each has its offset."""
    pairs = [(window, offset) for span, offset in zip(spans, offsets, strict=True) for window in span]
    if not pairs:
        return 0.0
    windows = [window for window, _ in pairs]
    slope = [1e-6 * offset.drift_ppm * window.middle for window, offset in pairs]
    late = np.array([offset.best_frames for _, offset in pairs]) + slope
    # Each moved by its own lateness: what counts stands at lag 0.
    return float(np.interp(0.0, _fine_lags(), _pooled(windows, late)))


def _is_apart(span: Sequence[Agreement], own: SoundOffset, common: SoundOffset) -> bool:
    if not own.confident or not span:
        return False
    if not common.confident:
        return True
    there = common.late_at(float(np.mean([window.middle for window in span])))
    gain = own.agreement - float(np.interp(there, _fine_lags(), _pooled(span)))
    is_short = np.max(sum(window.frames for window in span)) < _WINDOW_FRAMES
    needed = _SHORT_APART_FRAMES if is_short else _APART_FRAMES
    return abs(own.frames - there) > needed and gain > _APART_GAIN


def bears_out(windows: Sequence[Agreement], offset: SoundOffset) -> bool:
    """Whether lips agree with their sound at an offset that was found with others; false only where they could tell."""
    if not windows or sum(window.speech_frames for window in windows) < _TELLING_FRAMES:
        return True
    late = 1e-6 * offset.drift_ppm * np.array([window.middle for window in windows])
    return float(np.interp(offset.best_frames, _fine_lags(), _pooled(windows, late))) >= _BORNE_OUT


def fit_offset(windows: Sequence[Agreement], *, may_drift: bool = False) -> SoundOffset:
    """The offset at which all windows together agree best, with a drift if that explains them clearly better."""
    if not windows:
        return UNKNOWN
    middles = np.array([window.middle for window in windows])
    middle, span = float(middles.mean()), float(np.ptp(middles))
    # Frames that the sound becomes later from the first window to the last.
    change = _drift(windows, (middles - middle) / span, span) if may_drift and span >= _MIN_DRIFT_SPAN else 0.0
    slope = change / span if change else 0.0
    curve = _pooled(windows, slope * (middles - middle))
    return _answer(curve, slope, middle, sum(window.speech_frames for window in windows))


def _answer(curve: Array, slope: float, middle: float, speech_frames: int) -> SoundOffset:
    lags = _fine_lags()
    best = int(curve.argmax())
    strength = float(curve[best])
    margin = strength - float(curve[np.abs(lags - lags[best]) > _NEIGHBOURS].max())
    confidence = 1 / (1 + np.exp(-_CONFIDENCE_SLOPE * (strength + margin - _CONFIDENCE_MIDDLE)))
    # A peak at the end of the range may be the slope of one beyond it.
    if abs(lags[best]) > MAX_LAG_FRAMES - 1 or speech_frames < MIN_SPEECH_FRAMES:
        confidence = 0.0
    confidence = round(float(confidence), 3)
    frames = round(float(lags[best]) - slope * middle, 1) + 0.0
    known = confidence >= MIN_CONFIDENCE
    drift = round(1e6 * slope) if known else 0
    at_start = frames if known else 0.0
    return SoundOffset(at_start, float(drift), confidence, frames, round(strength, 2), round(margin, 2))


def fit_near(windows: Sequence[Agreement], common: SoundOffset) -> SoundOffset:
    """The offset of one of several short files, of which it is known what they have in common.

    Recorders start sound and pictures of each file anew, a fraction of a frame apart. The less a file's lips tell, the
    nearer it stays to the others: most probable under a normal prior. In deviations of chance, the agreement times its
    peak is the logarithm of the likelihood, as of a matched filter.

    Args:
        windows: of the file.
        common: confident, without drift.
    """
    lags = _fine_lags()
    curve = _pooled(windows)
    near = np.abs(lags - common.frames) <= _NEIGHBOURS
    evidence = max(float(curve[near].max()), 0.0) * curve - ((lags - common.frames) / _SPREAD_FRAMES) ** 2 / 2
    best = int(np.where(near, evidence, -np.inf).argmax())
    frames = round(float(lags[best]), 1) + 0.0
    return replace(common, frames=frames, best_frames=frames, agreement=round(float(curve[best]), 2))


def _drift(windows: Sequence[Agreement], places: Array, span: float) -> float:
    """By how many frames the sound becomes later from the first to the last window, 0 if that is not clear.

    Args:
        places: [w] of the windows in time, one unit from first to last, mean 0.
        span: frames from first to last.
    """
    sums = _sums(windows)
    steps = int(min(MAX_LAG_FRAMES, 1e-6 * _MAX_DRIFT_PPM * span) * _FINE)
    changes = np.arange(-steps, steps + 1) / _FINE
    heights = np.array([_together(*sums, change * places).max() for change in changes])
    best = int(heights.argmax())
    gain = heights[best] - heights[len(heights) // 2]
    is_clear = abs(changes[best]) >= _MIN_DRIFT_FRAMES and gain >= _MIN_DRIFT_GAIN
    return float(changes[best]) if is_clear else 0.0


def _pooled(windows: Sequence[Agreement], late: Array | None = None) -> Array:
    """[fine lags] agreement of all windows in deviations, if window i is later than the offset by late[i] frames."""
    return _together(*_sums(windows), np.zeros(len(windows)) if late is None else late)


def _sums(windows: Sequence[Agreement]) -> tuple[Array, Array]:
    """[w, fine lags] agreements times frames, and frames."""
    sums = np.stack([window.values * window.frames for window in windows]) @ _finer().T
    counts = np.stack([np.interp(_fine_lags(), LAGS, window.frames) for window in windows])
    return sums, counts


def _together(sums: Array, counts: Array, late: Array) -> Array:
    # Moved by whole steps, which are so fine that this is exact enough.
    total, frames = np.zeros(sums.shape[1]), np.zeros(sums.shape[1])
    for own, count, steps in zip(sums, counts, np.round(late * _FINE).astype(int), strict=True):
        low, high = max(0, -steps), min(len(own), len(own) - steps)
        total[low:high] += own[low + steps : high + steps]
        frames[low:high] += count[low + steps : high + steps]
    return total / np.sqrt(np.maximum(frames, 1))


@cache
def _fine_lags() -> Array:
    return np.linspace(LAGS[0], LAGS[-1], (len(LAGS) - 1) * _FINE + 1)


@cache
def _finer() -> Array:
    """[fine lags, L] interpolation by a windowed sinc over four lags to each side."""
    apart = _fine_lags()[:, None] - LAGS
    weights = np.sinc(apart) * np.where(np.abs(apart) < 4, np.cos(np.pi * apart / 8) ** 2, 0.0)
    return weights / weights.sum(1, keepdims=True)
