"""Many channels to one or two: the gains of ITU-R BS.775, and what to do where the sum of the channels cancels.

Symbols: T samples, C channels, K = 1 or 2 channels of the result. Channel names are FFmpeg's ("FL", "FC", "LFE").
Source: ITU-R BS.775-4, table 2: centre and surrounds at -3 dB in each of two channels, one channel is their sum, the
channel of low-frequency effects is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Names = tuple[str, ...]
"""The channels of a frame in their order; any other name than those below is a channel of unknown place."""

_HALF_POWER = 0.5**0.5
_FRONT = {"FL", "FLC", "WL", "DL", "BIL", "FR", "FRC", "WR", "DR", "BIR"}
_BEHIND_OR_ABOVE = {f"{place}{side}" for place in ("B", "S", "TF", "TB", "TS", "BF", "SD", "SS", "TT") for side in "LR"}
_MIDDLE = {"BC", "TC", "TFC", "TBC", "BFC"}
_EFFECTS = {"LFE", "LFE2"}
_WHOLE_SPHERE = "AMBI0"
"""The first channel of ambisonics is the sound from everywhere; the others are differences of directions."""

_WINDOWS_A_SECOND = 20
_MEASURE_HZ = 16_000
_LOST_OF_ALL = 0.2
_LOST_OF_A_SECOND = 0.5
_LOUD = 0.01
"""Seconds with less than this part of the loudest one's energy are pauses."""
_UNHEARD = 1e-3
"""A sum with less than this part of a channel's energy is not that channel's sound."""


@dataclass(frozen=True)
class Gains:
    """How one arrangement of channels is brought to one channel, [C], and to two, [C, 2]."""

    mono: NDArray[np.float64]
    stereo: NDArray[np.float64]

    def mix(self, samples: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
        """Samples [T, C] as [T, channels]; as they are if there are as many."""
        if samples.shape[1] == channels:
            return samples
        return samples @ (self.mono[:, None] if channels == 1 else self.stereo)


@lru_cache(maxsize=64)
def standard_gains(names: Names) -> Gains:
    """The gains for channels of these names.

    Speech from the centre, or the same from left and right, has the level in one channel that it has in its own. Two
    channels of any names and channels of unknown places are averaged.
    """
    count = len(names)
    if count == 2:
        return Gains(np.full(2, 0.5), np.eye(2))
    if _WHOLE_SPHERE in names:
        return _alike(np.array([float(name == _WHOLE_SPHERE) for name in names]))
    sides = np.array([_sides(name) for name in names])
    if count == 1 or np.isnan(sides).any() or not sides.any():
        return _alike(np.full(count, 1 / count))
    mono = _HALF_POWER * sides.sum(axis=1)
    if "FC" not in names:
        # Speech comes from left and right alike, and adds up to more than one of them.
        mono /= max(mono[[name in _FRONT for name in names]].max(initial=0) * 2, mono.max())
    return Gains(mono, sides)


def _alike(mono: NDArray[np.float64]) -> Gains:
    return Gains(mono, np.stack([mono, mono], axis=1))


def _sides(name: str) -> tuple[float, float]:
    """Gain of a channel in the left and the right of two; NaN for an unknown place."""
    if name == "FC":
        return _HALF_POWER, _HALF_POWER
    if name in _MIDDLE:
        return 0.5, 0.5
    if name in _EFFECTS:
        return 0.0, 0.0
    if name in _FRONT | _BEHIND_OR_ABOVE:
        gain = 1.0 if name in _FRONT else _HALF_POWER
        return (gain, 0.0) if "L" in name else (0.0, gain)
    return np.nan, np.nan


@dataclass(frozen=True)
class Mixdown:
    """The gains that one file is mixed with; standard ones for arrangements that nothing is known of."""

    special: Mapping[Names, Gains] = field(default_factory=dict)

    def gains(self, names: Names) -> Gains:
        """The gains for channels of these names."""
        return self.special.get(names) or standard_gains(names)


class Balance:
    """Listens to all the sound of a file, arrangement by arrangement, and says how it is best mixed.

    Where channels are opposite in phase (a microphone wired the wrong way round, an effect of width), their sum is
    silent or lacks the voice; then the loudest channel is taken instead of the sum, for the whole file. And the sum of
    more than two channels is scaled down to the peak of the loudest of them, so that it does not clip.

    The measure is the energy that the sum lacks against independent channels of the same energies, in windows of 50 ms:
    0 for those, 1 for channels that cancel. One voice that reaches two microphones 0.1 to 5 ms apart lost at most .15
    of all and .53 of a second; a voice in opposite phases under music as loud that is not, .20 and .48.
    """

    def __init__(self) -> None:
        self._heard: dict[Names, _Energies] = {}

    def add(self, names: Names, samples: NDArray[np.float64], rate: int) -> None:
        """Count samples [T, C] at their own rate."""
        if len(names) < 2:
            return
        if names not in self._heard:
            self._heard[names] = _Energies(standard_gains(names))
        self._heard[names].add(samples, rate)

    def settle(self) -> Mixdown:
        """What fits all that was heard."""
        gains = {names: energies.settle() for names, energies in self._heard.items()}
        return Mixdown({names: special for names, special in gains.items() if special is not None})


class _Energies:
    """Energies of one arrangement of channels and of its sum; high tones are raised, so that rumble counts little."""

    def __init__(self, standard: Gains) -> None:
        self._standard = standard
        self._own = np.zeros(len(standard.mono))
        self._mixed = 0.0
        self._own_peak = 0.0
        self._peaks = np.zeros(2)
        self._held = np.zeros((0, len(standard.mono)))
        self._windows = 0
        self._seconds: list[tuple[float, float]] = []

    def add(self, samples: NDArray[np.float64], rate: int) -> None:
        if len(self._own) > 2:
            peaks = [np.abs(self._standard.mix(samples, channels)).max(initial=0) for channels in (1, 2)]
            self._peaks = np.maximum(self._peaks, peaks)
            own = np.abs(samples[:, self._standard.mono > 0]).max(initial=0)
            self._own_peak = max(self._own_peak, float(own))
        # Of some samples the mean: speech is in what is left.
        step = max(1, rate // _MEASURE_HZ)
        whole = len(samples) // step * step
        count = samples.shape[1]
        # As a product: numpy's mean over a short axis takes twenty times as long.
        means = samples[:whole].reshape(-1, step * count) @ np.tile(np.eye(count) / step, (step, 1))
        self._held = np.concatenate([self._held, means])
        size = max(2, rate // step // _WINDOWS_A_SECOND)
        start = 0
        while len(self._held) - start >= size:
            self._add_window(self._held[start : start + size])
            start += size
        self._held = self._held[start:]

    def _add_window(self, samples: NDArray[np.float64]) -> None:
        # Not the rumble and offsets below speech, nor the noise above it.
        sharp = np.diff(samples, axis=0)
        products = sharp.T @ sharp
        own = products.diagonal()
        mixed = float(self._standard.mono @ products @ self._standard.mono)
        expected = float(np.square(self._standard.mono) @ own)
        self._own += own
        self._mixed += mixed
        if self._windows % _WINDOWS_A_SECOND == 0:
            self._seconds.append((0.0, 0.0))
        self._windows += 1
        lost, total = self._seconds[-1]
        self._seconds[-1] = lost + max(0.0, expected - mixed), total + expected

    def settle(self) -> Gains | None:
        """None where the standard gains do."""
        self._add_window(self._held)  # what is left, or all of a short sound
        excess = np.maximum(1, self._peaks / self._own_peak) if self._own_peak else np.ones(2)
        if self._is_cancelled():
            audible = np.square(self._standard.mono) * self._own
            # The voice may be where only rumble is expected.
            energies = audible if audible.max() > _UNHEARD * self._own.max() else self._own
            one = np.eye(len(energies))[int(energies.argmax())]
            has_sides = np.ptp(self._standard.stereo, axis=1).any()
            return Gains(one, self._standard.stereo / excess[1]) if has_sides else _alike(one)
        if (excess < 1.001).all():
            return None
        return Gains(self._standard.mono / excess[0], self._standard.stereo / excess[1])

    def _is_cancelled(self) -> bool:
        lost, expected = np.array(self._seconds).reshape(-1, 2).T
        if self._mixed < _UNHEARD * self._own.max():
            return True
        loud = expected > _LOUD * expected.max(initial=0)
        return bool(
            lost.sum() > _LOST_OF_ALL * expected.sum() or (lost[loud] > _LOST_OF_A_SECOND * expected[loud]).any()
        )
