"""Sounds without speech of one's own: silence, noise, breath, drums, clicks, laughter, coughs; somebody far away.

Lips must not follow them.

T samples at 16 kHz in [-1, 1]. A model trained on speech alone moves the lips to anything: a drum is a
consonant to it, and a laugh a row of vowels. All but the voice are synthetic. Laughter has the form that
Bachorowski, Smoski and Owren measured ("The acoustic features of human laughter", JASA 110, 2001): bouts of some five
calls a second on a central vowel, with pitches far above those of speech, often unvoiced. A cough is a burst, a
stream of noise, and sometimes a voiced end (Korpas, Sadlonova and Vrabec, "Analysis of the cough sound", Pulm.
Pharmacol. 9, 1996).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from geneface.corpus.augmentation import Augmentation, augment
from geneface.types import SPEECH_RATE_HZ, FloatArray

_Array = np.ndarray
_BANDWIDTH_HZ = 120.0
"""Of a formant."""


def non_speech_sound(seconds: float, rng: np.random.Generator, kind: str | None = None) -> FloatArray:
    """Make [T] samples of one of `KINDS`, by default any; all but silence at a random level with a faint noise."""
    count = round(seconds * SPEECH_RATE_HZ)
    kind = str(rng.choice(KINDS, p=_SHARES)) if kind is None else kind
    if kind not in _MAKERS:
        raise ValueError(f"no such kind of sound: {kind}")
    if kind == "silence":
        return np.zeros(count, np.float32)
    sound = _MAKERS[kind](count, rng)
    level = 10.0 ** (rng.uniform(-45.0, -12.0) / 20.0)
    sound = level * sound / max(float(np.sqrt(np.mean(np.square(sound)))), 1e-9)
    sound = sound + 10.0 ** (rng.uniform(-90.0, -60.0) / 20.0) * rng.standard_normal(count)
    return np.clip(sound, -1.0, 1.0).astype(np.float32)


def far_voice(speech: FloatArray, rng: np.random.Generator) -> FloatArray:
    """[T] of somebody's speech as a microphone hears it from afar: in the room, and 28 to 50 dB below the speech."""
    change = Augmentation(
        pitch=float(np.exp(rng.uniform(np.log(0.75), np.log(1.9)))),
        formant=float(rng.uniform(0.9, 1.2)),
        room_seconds=float(rng.uniform(0.3, 1.0)),
        room_share=float(rng.uniform(0.3, 0.9)),
    )
    far = augment(speech, change, rng)
    below = 10.0 ** (-rng.uniform(28.0, 50.0) / 20.0)
    return (below * _size(speech) / _size(far) * far).astype(np.float32)


# ---- things


def _noise(count: int, rng: np.random.Generator) -> _Array:
    """Steady noise [count] whose amplitude falls with frequency to a random power."""
    slope, lowest = rng.uniform(0.0, 1.2), SPEECH_RATE_HZ / max(count, 1)
    return _shaped(rng.standard_normal(count), lambda hz: (np.maximum(hz, lowest) / 100.0) ** -slope)


def _drums(count: int, rng: np.random.Generator) -> _Array:
    """Bass drum, snare or hi-hat on every beat."""
    time = np.arange(count) / SPEECH_RATE_HZ
    beat = rng.uniform(0.2, 0.5)
    sound = np.zeros(count)
    for start in np.arange(0.0, count / SPEECH_RATE_HZ, beat):
        inside = np.flatnonzero(time >= start)
        since = time[inside] - start
        kind = rng.integers(3)
        if kind == 0:
            sound[inside] += (
                3.0 * np.exp(-since / 0.08) * np.sin(2 * np.pi * (50.0 * since + 4.0 * np.exp(-since / 0.03)))
            )
        else:
            noise = rng.standard_normal(len(since))
            bright = np.diff(noise, prepend=0.0) if kind == 2 else noise
            sound[inside] += np.exp(-since / (0.12 if kind == 1 else 0.04)) * bright
    return sound


def _clicks(count: int, rng: np.random.Generator) -> _Array:
    """Keys, a mouse, a pen put down: short resonances at random moments."""
    sound = np.zeros(count)
    resonance = rng.uniform(1200, 4500)
    for start in _moments(count, rng, 0.06, 0.5):
        time = _times(rng.uniform(0.02, 0.06))
        pitch = resonance * rng.uniform(0.8, 1.25)
        strike = np.sin(2 * np.pi * pitch * time) + rng.standard_normal(len(time))
        _add(sound, start, rng.uniform(0.4, 1.0) * np.exp(-time / rng.uniform(0.002, 0.008)) * strike)
    return sound


# ---- people


def _breath(count: int, rng: np.random.Generator) -> _Array:
    """A breath every few seconds: noise through the mouth's resonance, swelling and fading."""
    time = np.arange(count) / SPEECH_RATE_HZ
    swell = np.sin(np.pi * (time / rng.uniform(1.2, 3.0) + rng.uniform())) ** 4
    low, high = rng.uniform(300, 900), rng.uniform(2500, 6000)
    return swell * _shaped(rng.standard_normal(count), lambda hz: (hz > low) & (hz < high))


def _laughter(count: int, rng: np.random.Generator) -> _Array:
    """Bouts of calls, and the breath that is drawn between them."""
    sound = np.zeros(count)
    pitch, rate = np.exp(rng.uniform(np.log(150), np.log(550))), rng.uniform(3.8, 6.5)
    formants = (rng.uniform(500, 900), rng.uniform(1100, 1900), rng.uniform(2300, 3200))
    voiced = rng.choice((0.0, 0.6, 0.95), p=(0.2, 0.3, 0.5))
    for start in _moments(count, rng, 1.2, 3.0):
        calls = int(rng.integers(3, 11))
        for call in range(calls):
            seconds = rng.uniform(0.35, 0.65) / rate
            height = pitch * 0.97**call * np.exp(rng.normal(0.0, 0.06))
            own = _call(seconds, (height * rng.uniform(0.9, 1.15), height), formants, voiced, rng)
            _add(sound, start + round(call / rate * SPEECH_RATE_HZ), 0.88**call * own)
        drawn = _call(rng.uniform(0.25, 0.6), (height, height), (600, 1500, 2800), 0.0, rng)
        _add(sound, start + round((calls + 0.5) / rate * SPEECH_RATE_HZ), 0.25 * drawn)
    return sound


def _cough(count: int, rng: np.random.Generator) -> _Array:
    """Coughs, one to three in a row, or a throat that is cleared."""
    sound = np.zeros(count)
    formants = (rng.uniform(450, 800), rng.uniform(1000, 1700), rng.uniform(2300, 3400))
    pitch = rng.uniform(90, 260)
    for start in _moments(count, rng, 0.9, 3.0):
        if rng.random() < 0.3:
            growl = _call(rng.uniform(0.25, 0.6), (0.6 * pitch, 0.5 * pitch), formants, 0.6, rng)
            beat = rng.uniform(20, 40)
            _add(sound, start, growl * (1.2 + np.sin(2 * np.pi * beat * np.arange(len(growl)) / SPEECH_RATE_HZ)))
            continue
        for number in range(int(rng.integers(1, 4))):
            time = _times(rng.uniform(0.15, 0.35))
            stream = _resonant(rng.standard_normal(len(time)), formants, wide=4.0)
            burst = 2.0 * np.exp(-time / 0.012) * rng.standard_normal(len(time))
            own = burst + np.exp(-time / rng.uniform(0.05, 0.12)) * stream
            place = start + round(number * rng.uniform(0.3, 0.5) * SPEECH_RATE_HZ)
            _add(sound, place, own)
            if rng.random() < 0.5:
                ending = _call(rng.uniform(0.08, 0.2), (pitch, 0.8 * pitch), formants, 0.7, rng)
                _add(sound, place + len(time) - 800, 0.5 * ending)
    return sound


_MAKERS: dict[str, Callable[[int, np.random.Generator], _Array]] = {
    "silence": lambda count, rng: np.zeros(count),
    "noise": _noise,
    "breath": _breath,
    "drums": _drums,
    "clicks": _clicks,
    "laughter": _laughter,
    "cough": _cough,
}
_SHARES = (0.1, 0.15, 0.15, 0.1, 0.1, 0.25, 0.15)
"""How often each is made: what is most like speech most often."""
KINDS = tuple(_MAKERS)
"""No notes: sung and slowly spoken vowels are too much like them."""


# ---- their parts


def _call(
    seconds: float, pitch: tuple[float, float], formants: tuple[float, ...], voiced: float, rng: np.random.Generator
) -> _Array:
    """A short voice or breath through a mouth that doesn't move, from one pitch to another; mean power 1.

    Args:
        voiced: share of the voice, the rest is breath.
    """
    time = _times(seconds)
    rough = 0.01 * np.cumsum(rng.standard_normal(len(time))) / len(time) ** 0.5
    arch = rng.uniform(-0.05, 0.25) * np.sin(np.pi * time / seconds)
    height = np.linspace(*pitch, len(time)) * (1 + rough + arch)
    phase = 2 * np.pi * np.cumsum(height) / SPEECH_RATE_HZ
    harmonics = np.arange(1, int(7000 / height.max()) + 1)
    source = np.sum(np.sin(harmonics[:, None] * phase) / harmonics[:, None], axis=0)
    breath = rng.standard_normal(len(time))
    mixed = voiced * source / _size(source) + (1 - voiced) * breath
    shape = np.minimum(time / 0.02, 1.0) * np.cos(0.5 * np.pi * time / (seconds + 1e-3)) ** 0.7
    made = _resonant(mixed, formants) * shape
    return made / _size(made)


def _resonant(source: _Array, formants: tuple[float, ...], wide: float = 1.0) -> _Array:
    """[*] through a mouth with these formants, Hz; mean power 1."""

    width = wide * _BANDWIDTH_HZ

    def gain(hz: _Array) -> _Array:
        peaks = [0.7**number / (1 + ((hz - formant) / width) ** 2) for number, formant in enumerate(formants)]
        return 0.02 + np.sum(peaks, axis=0)

    made = _shaped(source, gain)
    return made / _size(made)


def _shaped(source: _Array, gain: Callable[[_Array], _Array]) -> _Array:
    """[*] filtered by a gain for each frequency, Hz."""
    spectrum = np.fft.rfft(source)
    return np.fft.irfft(spectrum * gain(np.fft.rfftfreq(len(source), 1 / SPEECH_RATE_HZ)), len(source))


def _moments(count: int, rng: np.random.Generator, least: float, most: float) -> list[int]:
    """Samples at which something begins, so many seconds apart; the first is near the start."""
    moments = [int(rng.uniform(0.0, 0.3) * SPEECH_RATE_HZ)]
    while moments[-1] < count:
        moments.append(moments[-1] + round(rng.uniform(least, most) * SPEECH_RATE_HZ))
    return moments[:-1]


def _times(seconds: float) -> _Array:
    return np.arange(max(round(seconds * SPEECH_RATE_HZ), 2)) / SPEECH_RATE_HZ


def _add(sound: _Array, start: int, part: _Array) -> None:
    """Mix a part into a sound, as far as it reaches."""
    stop = min(start + len(part), len(sound))
    if start < stop:
        sound[start:stop] += part[: stop - start]


def _size(sound: _Array) -> float:
    return max(float(np.sqrt(np.mean(np.square(sound)))), 1e-9)
