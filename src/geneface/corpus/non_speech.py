"""Sounds without speech: silence, noise, breath, drums. Lips must not follow them.

T samples at 16 kHz in [-1, 1]. A model trained on speech alone moves the lips to anything: a drum is a
consonant to it.
"""

from __future__ import annotations

import numpy as np

from geneface.types import SPEECH_RATE_HZ, FloatArray

KINDS = ("silence", "noise", "breath", "drums")
"""No notes: sung and slowly spoken vowels are too much like them."""


def non_speech_sound(seconds: float, rng: np.random.Generator, kind: str | None = None) -> FloatArray:
    """Make [T] samples of one of `KINDS`, by default any; all but silence at a random level with a faint noise."""
    count = round(seconds * SPEECH_RATE_HZ)
    kind = str(rng.choice(KINDS)) if kind is None else kind
    time = np.arange(count) / SPEECH_RATE_HZ
    if kind == "silence":
        return np.zeros(count, np.float32)
    if kind == "noise":
        sound = _coloured(count, rng.uniform(0.0, 1.2), rng)
    elif kind == "breath":
        # A breath every few seconds: noise through the mouth's resonance, swelling and fading.
        swell = np.sin(np.pi * (time / rng.uniform(1.2, 3.0) + rng.uniform())) ** 4
        sound = swell * _band(count, rng.uniform(300, 900), rng.uniform(2500, 6000), rng)
    elif kind == "drums":
        sound = _drums(time, rng.uniform(0.2, 0.5), rng)
    else:
        raise ValueError(f"no such kind of sound: {kind}")
    level = 10.0 ** (rng.uniform(-45.0, -12.0) / 20.0)
    sound = level * sound / max(float(np.sqrt(np.mean(np.square(sound)))), 1e-9)
    sound = sound + 10.0 ** (rng.uniform(-90.0, -60.0) / 20.0) * rng.standard_normal(count)
    return np.clip(sound, -1.0, 1.0).astype(np.float32)


def _coloured(count: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Noise [count] whose amplitude falls with frequency to the power `slope`."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.maximum(np.arange(len(spectrum)), 1) * SPEECH_RATE_HZ / max(count, 1)
    return np.fft.irfft(spectrum * (frequency / 100.0) ** -slope, count)


def _band(count: int, low_hz: float, high_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Noise [count] between two frequencies."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.arange(len(spectrum)) * SPEECH_RATE_HZ / max(count, 1)
    return np.fft.irfft(spectrum * ((frequency > low_hz) & (frequency < high_hz)), count)


def _drums(time: np.ndarray, beat: float, rng: np.random.Generator) -> np.ndarray:
    """Bass drum, snare or hi-hat on every beat."""
    sound = np.zeros(len(time))
    for start in np.arange(0.0, len(time) / SPEECH_RATE_HZ, beat):
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
