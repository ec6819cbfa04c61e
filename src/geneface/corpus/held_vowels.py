"""Held vowels: one moment of a clip is drawn out, and so are the lips.

Read sentences have no vowel longer than a fraction of a second. A model of those alone closes the lips on a sung note
and on words that are spoken slowly. Symbols: T samples at 16 kHz, F frames at 25 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.corpus.augmentation import WARP_STEP, warped
from geneface.types import SPEECH_RATE_HZ, VIDEO_RATE_HZ, FloatArray

_HALF_SECONDS = 0.03
"""To both sides of the moment: that part is held, a few periods of the voice."""
_SHORTEST, _LONGEST = 0.2, 4.0
"""Seconds, as spoken slowly and as sung: the longest fills all that the motion model remembers."""
_HOP = SPEECH_RATE_HZ // 100
_PERIODS = (SPEECH_RATE_HZ // 400, SPEECH_RATE_HZ // 70)
"""Samples of a voice's period, at least and at most."""
_VOICED = 0.6
"""A period later the sound is at least as like itself as this."""
_LOUD_DB = 9.0
"""A vowel's moment is not further below the loudest one."""


@dataclass(frozen=True)
class HeldVowel:
    """Which moment is held, and how much longer; both in seconds."""

    moment: float
    seconds: float


def draw_held_vowel(samples: FloatArray, rng: np.random.Generator) -> HeldVowel | None:
    """Draw a moment of a vowel in [T]; None where there is none: loud, and with a period."""
    moments = vowel_moments(samples)
    seconds = float(np.exp(rng.uniform(np.log(_SHORTEST), np.log(_LONGEST))))
    return HeldVowel(float(rng.choice(moments)), seconds) if len(moments) else None


def vowel_moments(samples: FloatArray) -> NDArray[np.float64]:
    """[*] seconds at which the sound [T] is loud and has a period."""
    longest = _PERIODS[1]
    starts = np.arange(0, len(samples) - 3 * longest, _HOP)
    if not len(starts):
        return np.zeros(0)
    pieces = samples[starts[:, None] + np.arange(3 * longest)].astype(np.float64)
    powers = np.mean(np.square(pieces), axis=1)
    loud = powers > powers.max() * 10.0 ** (-_LOUD_DB / 10.0)
    # Silence has no vowel, however loud it is for itself.
    chosen = np.flatnonzero(loud & (powers > 1e-8))
    heads = pieces[chosen, :longest]
    likeness = np.zeros(len(chosen))
    for period in range(*_PERIODS):
        later = pieces[chosen, period : period + longest]
        norms = np.sqrt(np.sum(heads**2, axis=1) * np.sum(later**2, axis=1))
        likeness = np.maximum(likeness, np.sum(heads * later, axis=1) / np.maximum(norms, 1e-12))
    return (starts[chosen[likeness > _VOICED]] + 1.5 * longest) / SPEECH_RATE_HZ


def hold_vowel(samples: FloatArray, held: HeldVowel) -> FloatArray:
    """[T] -> [T'], longer by the held vowel, at the same pitch."""
    length = len(samples) + round(held.seconds * SPEECH_RATE_HZ)
    times = np.arange(-(-length // WARP_STEP) + 2) * WARP_STEP / SPEECH_RATE_HZ
    return warped(samples, _original(times, held) * SPEECH_RATE_HZ, length)


def held_frames(times: FloatArray, held: HeldVowel) -> FloatArray:
    """Fractional frames [F] of the longer clip -> those of the clip itself."""
    return (_original(times / VIDEO_RATE_HZ, held) * VIDEO_RATE_HZ).astype(np.float32)


def _original(seconds: NDArray[np.floating], held: HeldVowel) -> NDArray[np.floating]:
    """Which second of the clip is heard at each of the longer one."""
    begin, end = held.moment - _HALF_SECONDS, held.moment + _HALF_SECONDS
    inside = np.interp(seconds, [begin, end + held.seconds], [begin, end])
    after = np.where(seconds > end + held.seconds, seconds - held.seconds, inside)
    # A moment at the very start has less than half before it.
    return np.maximum(np.where(seconds < begin, seconds, after), 0.0)
