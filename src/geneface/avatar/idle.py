"""What a face does when it does not speak: lips closed in silence, blinks. F frames at 25 Hz, K named landmarks.

Everything is a function of the sound, the person's statistics and a seed: the same inputs give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import KEYPOINT_COUNT, LEFT_EYE, LOWER_FACE, RIGHT_EYE, eye_openness
from geneface.signal.spans import true_spans
from geneface.signal.timing import SAMPLES_PER_FRAME, whole_frames
from geneface.types import VIDEO_RATE_HZ, FloatArray

_FLOOR_DB = -60.0
"""Below this, relative to full scale, nothing counts as speech."""
_BELOW_PEAK_DB = 32.0
_MIN_SILENCE_FRAMES = 8
"""A stop consonant is silent for up to 0.2 s: shorter pauses are speech."""
_LEAD_FRAMES = 15
"""People open the mouth and breathe in up to 0.6 s before they speak, and the motion model hears it; closing must be
over by then. Measured on GRID: a lead of 4 frames cost .12 of the lip correlation, this one nothing."""
_HANGOVER_FRAMES = 2
_RAMP_FRAMES = 6

REFRACTORY_SECONDS = 1.0
DEFAULT_BLINKS_PER_MINUTE = 15.0
DEFAULT_BLINK_FRAMES = 5.0
_EARLY_FRAMES, _LATE_FRAMES = 30, 45
"""How much earlier and later than it is due a blink comes, for the end of a phrase."""
_PLAUSIBLE_RATES = (4, 30)
"""Blinks a minute; people who read prompts aloud blink after each, which would look odd in a speech."""
_LONGEST_BLINK_FRAMES = 14
"""Eyes that are down for longer look down or are shut on purpose."""


@dataclass(frozen=True)
class BlinkStatistics:
    """How a person blinks."""

    per_minute: float
    duration_frames: float
    """At half depth."""
    closing: FloatArray
    """[K, 3] displacement of the landmarks from open to closed eyes, head units; zero outside the lids."""


# ---- silence


def frame_energy_db(samples: FloatArray) -> FloatArray:
    """Mean power of each video frame's 40 ms in dB of full scale. [T] -> [ceil(T / 640)]."""
    whole = whole_frames(len(samples))
    rows = samples[: whole * SAMPLES_PER_FRAME].reshape(whole, SAMPLES_PER_FRAME)
    power = np.einsum("ij,ij->i", rows, rows) / SAMPLES_PER_FRAME
    rest = samples[whole * SAMPLES_PER_FRAME :]
    if len(rest):
        power = np.append(power, np.dot(rest, rest) / len(rest))
    return (10 * np.log10(np.maximum(power, 1e-12))).astype(np.float32)


def voice_activity(samples: FloatArray) -> NDArray[np.bool_]:
    """Frames that sound, against a threshold set by the recording's own noise floor and speech level.

    Pauses shorter than a third of a second count as speech. Returns [ceil(T / 640)].
    """
    energy = frame_energy_db(samples)
    if len(energy) == 0:
        return np.zeros(0, bool)
    noise, speech = np.percentile(energy, [5, 95])
    threshold = max(_FLOOR_DB, speech - _BELOW_PEAK_DB, noise + 0.35 * (speech - noise))
    voiced = energy > min(threshold, max(speech - 6.0, _FLOOR_DB))
    for start, stop in true_spans(~voiced):
        if stop - start < _MIN_SILENCE_FRAMES and start > 0 and stop < len(voiced):
            voiced[start:stop] = True
    return voiced


def closing_weight(voiced: NDArray[np.bool_]) -> FloatArray:
    """How much the lips are closed: 0 while the person speaks, 1 in silence, raised-cosine ramps between. [F].

    The ramps lie inside the silence: a ramp begins after the sound has ended, and has ended before the next
    sound begins, so that neither the last nor the first phoneme is touched.
    """
    weight = np.zeros(len(voiced), np.float32)
    for start, stop in true_spans(~voiced):
        frames = np.arange(start, stop)
        since_end = frames - (start + _HANGOVER_FRAMES) + 1 if start > 0 else np.full(len(frames), _RAMP_FRAMES)
        to_onset = (stop - _LEAD_FRAMES) - frames if stop < len(voiced) else np.full(len(frames), _RAMP_FRAMES)
        nearness = np.clip(np.minimum(since_end, to_onset) / _RAMP_FRAMES, 0, 1)
        weight[start:stop] = 0.5 - 0.5 * np.cos(np.pi * nearness)
    return weight


def close_mouth(points: FloatArray, rest: FloatArray, weight: FloatArray) -> FloatArray:
    """Blend the mouth to the person's closed mouth. points [F, K, 3], rest [K, 3], weight [F] -> [F, K, 3]."""
    result = points.copy()
    share = weight[:, None, None]
    result[:, LOWER_FACE] = (1 - share) * points[:, LOWER_FACE] + share * rest[LOWER_FACE]
    return result


def scale_mouth(points: FloatArray, rest: FloatArray, gain: float | FloatArray) -> FloatArray:
    """Move the mouth `gain` times as far from the closed mouth. points [F, K, 3], rest [K, 3] -> [F, K, 3].

    Args:
        gain: of all frames, or [F] of each.
    """
    result = points.copy()
    share = np.asarray(gain, np.float32).reshape(-1, 1, 1)
    result[:, LOWER_FACE] = rest[LOWER_FACE] + share * (points[:, LOWER_FACE] - rest[LOWER_FACE])
    return result


# ---- blinks


class Blinker:
    """When a person blinks: a Poisson process with a refractory second, its blinks moved to ends of phrases nearby.

    People blink where they pause (Nakano and Kitazawa 2010). How often does not depend on what is said: a blink that
    is due soon comes at the end of a phrase, one that is due waits for it, but not for long. Pieces of any lengths
    give the same.
    """

    def __init__(self, statistics: BlinkStatistics, seed: int, rate: float = 1.0) -> None:
        """`rate`: so many times as often as the person."""
        self._statistics = statistics
        self._rng = np.random.default_rng([seed, 0xB11])
        self._gap = REFRACTORY_SECONDS * VIDEO_RATE_HZ
        self._wait = max(60.0 * VIDEO_RATE_HZ / (rate * statistics.per_minute) - self._gap, 1.0)
        self._due = [self._rng.exponential(self._wait)]
        self._onsets: list[float] = []
        self._frame = 0

    def closure(self, pauses: NDArray[np.bool_], ends: NDArray[np.bool_]) -> FloatArray:
        """How far the lids of the next frames are closed, 0 to 1.

        Args:
            pauses, ends: [F] see `avatar.stress.Acting`.
        """
        onset = np.empty(len(pauses))
        for number, (pause, end) in enumerate(zip(pauses.tolist(), ends.tolist(), strict=True)):
            frame = self._frame + number
            last = self._onsets[-1] if self._onsets else -1e9
            due = self._due[len(self._onsets)]
            wanted = due - _EARLY_FRAMES if end else due if pause else due + _LATE_FRAMES
            if frame >= wanted and frame >= last + self._gap:
                # Between two frames, as far as it is not this frame that made it begin.
                last = due if frame - 1 < due <= frame else float(frame)
                self._onsets.append(last)
                if len(self._due) == len(self._onsets):
                    self._due.append(self._due[-1] + self._gap + self._rng.exponential(self._wait))
            onset[number] = last
        time = np.arange(self._frame, self._frame + len(pauses)) - onset
        self._frame += len(pauses)
        return _blink_shape(time, self._statistics)

    def step_back(self, frames: int) -> None:
        """The last `frames` were never seen."""
        self._frame -= frames
        while self._onsets and self._onsets[-1] > self._frame - 1:
            self._onsets.pop()


def _blink_shape(time: NDArray[np.floating], statistics: BlinkStatistics) -> FloatArray:
    """Closure at times in frames after the onset: lids fall twice as fast as they rise (Bentivoglio et al. 1997)."""
    hold = 1.0
    # Half depth is reached in the middle of each slope, so the two slopes and the hold add up to the duration.
    slopes = 2 * max(statistics.duration_frames - hold, 1.0)
    fall, rise = slopes / 3, 2 * slopes / 3
    down = np.clip(time / fall, 0, 1)
    up = np.clip((time - fall - hold) / rise, 0, 1)
    return ((1 - np.cos(np.pi * down)) / 2 * (1 + np.cos(np.pi * up)) / 2).astype(np.float32)


def blink(points: FloatArray, closing: FloatArray, closure: FloatArray) -> FloatArray:
    """Close the eyes. points [F, K, 3], closing [K, 3], closure [F] -> [F, K, 3]."""
    return np.asarray(points + closure[:, None, None] * closing, np.float32)


def measure_blinks(landmarks: FloatArray, runs: list[slice], begun: NDArray[np.bool_] | None = None) -> BlinkStatistics:
    """A person's blinks from tracked frames: dips of the eye openness. landmarks [F, K, 3].

    Where fewer than two blinks are seen the rates of the literature are taken, and the upper lids are moved
    onto the lower ones.

    Args:
        begun: [F] becomes true where a blink begins.
    """
    frames = np.concatenate([np.arange(run.start, run.stop) for run in runs]) if runs else np.arange(len(landmarks))
    openness = eye_openness(landmarks).mean(-1)
    open_level = float(np.percentile(openness[frames], 65))
    depths, lengths = [], []
    for run in runs:
        track = openness[run]
        for start, stop in true_spans(track < 0.72 * open_level):
            if stop - start <= _LONGEST_BLINK_FRAMES and track[start:stop].min() < 0.6 * open_level:
                depths.append(float(track[start:stop].min()))
                lengths.append(stop - start)
                if begun is not None:
                    begun[run.start + start] = True
    middle = np.median(landmarks[frames], axis=0).astype(np.float32)
    if len(depths) < 2:
        return BlinkStatistics(DEFAULT_BLINKS_PER_MINUTE, DEFAULT_BLINK_FRAMES, _geometric_closing(middle))
    minutes = len(frames) / VIDEO_RATE_HZ / 60
    closing = _measured_closing(landmarks[frames], openness[frames], float(np.median(depths)) - open_level)
    closed = eye_openness(middle + closing).mean()
    if not closed < 0.6 * eye_openness(middle).mean():
        closing = _geometric_closing(middle)
    return BlinkStatistics(
        per_minute=float(np.clip(len(depths) / minutes, *_PLAUSIBLE_RATES)),
        duration_frames=float(np.clip(np.median(lengths), 3, 10)),
        closing=closing,
    )


def _measured_closing(landmarks: FloatArray, openness: FloatArray, change: float) -> FloatArray:
    """Least-squares movement of the lids for a change of the eye openness. -> [K, 3]."""
    centred = openness - openness.mean()
    slope = np.einsum("f,fkc->kc", centred, landmarks - landmarks.mean(0)) / max(float(centred @ centred), 1e-12)
    closing = np.zeros((KEYPOINT_COUNT, 3), np.float32)
    lids = np.concatenate([LEFT_EYE, RIGHT_EYE])
    closing[lids] = slope[lids] * change
    return closing


def _geometric_closing(points: FloatArray) -> FloatArray:
    """Upper lids nine tenths of the way to the lower lids. points [K, 3] -> [K, 3]."""
    closing = np.zeros((KEYPOINT_COUNT, 3), np.float32)
    for eye in (LEFT_EYE, RIGHT_EYE):
        # The outline runs corner, seven of the lower lid, corner, seven of the upper lid back.
        lower, upper = eye[1:8], eye[15:8:-1]
        closing[upper] = 0.9 * (points[lower] - points[upper])
    return closing
