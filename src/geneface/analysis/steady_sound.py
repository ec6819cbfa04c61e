"""Where a voice holds a sound: a long or sung vowel, a hum. Nothing in it moves, so no lips do.

A frame is steady if it and its neighbours to both sides have a period, the same level and the same spectrum.
T samples at 16 kHz, F frames at 25 Hz.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from geneface.signal.timing import SAMPLES_PER_FRAME
from geneface.types import SPEECH_RATE_HZ, FloatArray

REACH_FRAMES = 3
"""To both sides of a frame: 0.28 s that sound alike are no syllable. Live speech has heard 4 frames ahead."""
_WINDOW, _BANDS = 1024, 20
_LOWEST_HZ, _HIGHEST_HZ = 150.0, 5500.0
_PERIODS = (SPEECH_RATE_HZ // 640, SPEECH_RATE_HZ // 70)
"""Samples of a voice's period, at least and at most."""
_VOICED = 0.5
"""A period later the sound is at least as like itself as this."""
_FLOOR_DB = -50.0
_LEVEL_DB, _SPECTRUM_DB, _STEADY_DB = 8.0, 6.0, 3.6
"""Furthest level and mean distance of the bands from a neighbour's; below the last a frame is steady altogether."""
_HEARD_DB = 35.0
"""Bands further below the loudest one count nothing."""
_BLOCK_FRAMES = 1500
_PAD = (_WINDOW - SAMPLES_PER_FRAME) // 2

Array = NDArray[np.float64]


class SteadySound:
    """Follows a sound that comes in pieces; pieces of any lengths give the same."""

    def __init__(self) -> None:
        # Before the sound is silence.
        self._samples = np.zeros(_PAD, np.float64)
        self._frames = _silence(REACH_FRAMES)

    def push(self, samples: FloatArray) -> FloatArray:
        """Sound [T] -> how steady the frames are that it completes, 0 to 1, [f]: 3 frames and 12 ms behind it."""
        self._samples = np.concatenate([self._samples, samples.astype(np.float64)])
        count = max((len(self._samples) - _WINDOW) // SAMPLES_PER_FRAME + 1, 0)
        starts = SAMPLES_PER_FRAME * np.arange(count)
        new = _analysed(self._samples[starts[:, None] + np.arange(_WINDOW)])
        self._samples = self._samples[SAMPLES_PER_FRAME * count :]
        self._frames = tuple(np.concatenate(pair) for pair in zip(self._frames, new, strict=True))
        found = _steady(*self._frames)
        self._frames = tuple(part[len(found) :] for part in self._frames)
        return found

    def finish(self) -> FloatArray:
        """Of the frames that are left: after the sound is silence."""
        frame = SAMPLES_PER_FRAME
        begun = len(self._samples) - _PAD
        return self.push(np.zeros(-begun % frame + _PAD + REACH_FRAMES * frame, np.float32))


def steadiness(samples: FloatArray) -> FloatArray:
    """[T] -> [ceil(T / 640)] how steady each frame is, 0 to 1."""
    follower, size = SteadySound(), _BLOCK_FRAMES * SAMPLES_PER_FRAME
    parts = [follower.push(samples[start : start + size]) for start in range(0, len(samples), size)]
    return np.concatenate([*parts, follower.finish()])[: -(-len(samples) // SAMPLES_PER_FRAME)]


def _silence(frames: int) -> tuple[Array, ...]:
    return np.zeros((frames, _BANDS)), np.zeros(frames), np.zeros(frames)


def _analysed(windows: Array) -> tuple[Array, ...]:
    """[f, 1024] -> bands in dB [f, B], level in dB [f], whether there is a period, 0 or 1 [f]."""
    if not len(windows):
        return _silence(0)
    taper = np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(windows * taper, 2 * _WINDOW, axis=1)) ** 2
    # Not "@", as in `motion.basis.MotionBasis`.
    bands = 10 * np.log10(np.einsum("fh,hb->fb", power, _mel_bands()) + 1e-7)
    level = 10 * np.log10(np.square(windows).mean(1) + 1e-10)
    alike = np.fft.irfft(power, axis=1)
    own = np.fft.irfft(np.abs(np.fft.rfft(taper, 2 * _WINDOW)) ** 2)
    # The taper makes later periods fainter.
    likeness = alike[:, slice(*_PERIODS)] / own[slice(*_PERIODS)] * own[0] / np.maximum(alike[:, :1], 1e-9)
    return bands, level, ((likeness.max(1) > _VOICED) & (level > _FLOOR_DB)).astype(np.float64)


def _steady(bands: Array, level: Array, voiced: Array) -> FloatArray:
    """Frames [f + 6, ...] -> [f] those in the middle."""
    reach = REACH_FRAMES
    count = max(len(level) - 2 * reach, 0)
    middle = slice(reach, reach + count)
    shapes = bands - level[:, None]
    heard = np.clip(1 - (bands.max(1, keepdims=True) - bands) / _HEARD_DB, 0, 1)
    furthest, alike = np.zeros(count), voiced[middle] > 0
    for start in range(2 * reach + 1):
        other = slice(start, start + count)
        weight = np.maximum(heard[middle], heard[other])
        distance = (weight * np.abs(shapes[other] - shapes[middle])).sum(1) / weight.sum(1)
        furthest = np.maximum(furthest, distance)
        alike &= (voiced[other] > 0) & (np.abs(level[other] - level[middle]) < _LEVEL_DB)
    share = (_SPECTRUM_DB - furthest) / (_SPECTRUM_DB - _STEADY_DB)
    return np.where(alike, np.clip(share, 0, 1), 0.0).astype(np.float32)


@cache
def _mel_bands() -> Array:
    """[1025, B] overlapping triangles, evenly spaced in mel."""

    hertz = np.concatenate([[_LOWEST_HZ, _HIGHEST_HZ], np.fft.rfftfreq(2 * _WINDOW, 1 / SPEECH_RATE_HZ)])
    mel = np.asarray(2595 * np.log10(1 + hertz / 700), np.float64)
    middles = np.linspace(mel[0], mel[1], _BANDS)
    apart = mel[2:, None] - middles
    return np.maximum(1 - np.abs(apart) / (1.5 * (middles[1] - middles[0])), 0)
