"""Whether a sound holds speech, or only a tone, hum, noise or music. Pure functions.

Speech changes: its level two to eight times a second in every band, its spectrum from sound to sound, its pitch all
the time. What changes in none of these ways, or only by steady lines, is not speech. It errs towards speech: calibrated
on 24 clean recordings in four languages, the same under noise of their own level, under hum, music and reverberation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.types import SPEECH_RATE_HZ, FloatArray

Array = NDArray[np.float64]

_PIECE_SECONDS, _MIN_SECONDS = 20, 0.5
_HOP, _WINDOW = 160, 512
_EDGES_HZ = (100, 300, 600, 1000, 1600, 2500, 4000, 7000)
_SMOOTH_ROWS, _SLOW_ROWS, _SHAPE_ROWS = 5, 50, 10
_FLOOR, _ACTIVE_DB, _LOUD_DB = 1e-5, 30.0, 15.0
_MIN_SWELL_DB, _MIN_CHANGE_DB = 1.8, 1.4
"""Speech under white noise of its own level: 2.5 and 1.8; the noise alone: 1.1 and .9."""
_MAX_LASTING, _MAX_PURE = 0.65, 0.93
"""Speech under hum of its own level: .60; clean speech: .8. Tones: .75 and more; beeps: .94 and more."""
_LINE_WINDOW, _LINE_HOP, _LINE_LAG = 2048, 512, 4
_LINE_HZ = 150, 4000
_PURE_WINDOW, _PURE_REACH, _PURE_LINES = 1024, 3, 2


def holds_speech(samples: FloatArray) -> bool:
    """Whether speech is heard anywhere in samples [T] at 16 kHz."""
    size = _PIECE_SECONDS * SPEECH_RATE_HZ
    pieces = [samples[start : start + size] for start in range(0, max(len(samples), 1), size)]
    if len(pieces) > 1 and len(pieces[-1]) < size // 4:
        pieces[-2:] = [np.concatenate(pieces[-2:])]
    return any(_is_speech(np.asarray(piece, np.float64)) for piece in pieces)


def _is_speech(samples: Array) -> bool:
    if len(samples) < max(_MIN_SECONDS * SPEECH_RATE_HZ, _LINE_WINDOW + _LINE_LAG * _LINE_HOP) or not samples.any():
        return False
    bands = _bands(samples)
    total = bands.sum(1)
    floor = _FLOOR * np.quantile(total, 0.95) + 1e-9
    level, loudness = 10 * np.log10(bands + floor), 10 * np.log10(total + floor)
    swell = level - _box(level, _SLOW_ROWS)
    swell = np.sqrt((swell[loudness > loudness.max() - _ACTIVE_DB] ** 2).mean(0))
    if np.sort(swell)[-3:].mean() < _MIN_SWELL_DB:
        return False
    loud = loudness > np.quantile(loudness, 0.95) - _LOUD_DB
    shape = (level - level.mean(1, keepdims=True))[loud][::_SHAPE_ROWS]
    if len(shape) < 2 or np.sqrt((np.diff(shape, axis=0) ** 2).mean() / 2) < _MIN_CHANGE_DB:
        return False
    return _lasting_lines(samples) < _MAX_LASTING and _pure_lines(samples) < _MAX_PURE


def _bands(samples: Array) -> Array:
    """[rows, 7] power in bands, a hundred rows a second, averaged over a twentieth."""
    power = np.abs(np.fft.rfft(_windows(samples, _WINDOW, _HOP), axis=-1)) ** 2
    hertz = np.fft.rfftfreq(_WINDOW, 1 / SPEECH_RATE_HZ)
    low, high = np.array(_EDGES_HZ[:-1])[:, None], np.array(_EDGES_HZ[1:])[:, None]
    bands = np.einsum("rf,bf->rb", power, ((hertz >= low) & (hertz < high)).astype(np.float64))
    return _box(bands, _SMOOTH_ROWS)


def _lasting_lines(samples: Array) -> float:
    """Median correlation of spectra 128 ms apart, each less its own smooth course: 1 for lines that stay."""
    spectra = np.abs(np.fft.rfft(_windows(samples, _LINE_WINDOW, _LINE_HOP), axis=-1))
    hertz = np.fft.rfftfreq(_LINE_WINDOW, 1 / SPEECH_RATE_HZ)
    root = np.sqrt(spectra[:, (hertz > _LINE_HZ[0]) & (hertz < _LINE_HZ[1])])
    # Along the frequency: what stands out from the course is a line.
    lines = root / (_box(root.T, 25).T + 1e-6) - 1
    first, second = lines[:-_LINE_LAG], lines[_LINE_LAG:]
    alike = (first * second).sum(1) / np.sqrt((first**2).sum(1) * (second**2).sum(1) + 1e-12)
    power = (spectra**2).sum(1)
    return float(np.median(alike[_loud(np.minimum(power[:-_LINE_LAG], power[_LINE_LAG:]))]))


def _pure_lines(samples: Array) -> float:
    """Share of the power in the two strongest lines; that of the tenth that has least."""
    power = np.abs(np.fft.rfft(_windows(samples, _PURE_WINDOW, _PURE_WINDOW // 2), axis=-1))[:, 6:] ** 2
    power = power[_loud(power.sum(1))]
    left, found = power.copy(), np.zeros(len(power))
    columns = np.arange(power.shape[1])
    for _ in range(_PURE_LINES):
        line = np.abs(columns - left.argmax(1)[:, None]) <= _PURE_REACH
        found += np.where(line, left, 0).sum(1)
        left[line] = 0
    return float(np.quantile(found / power.sum(1), 0.1))


def _loud(power: Array) -> NDArray[np.bool_]:
    """Rows within 15 dB of the loud ones."""
    return power >= 10 ** (-_LOUD_DB / 10) * np.quantile(power, 0.95)


def _windows(samples: Array, length: int, hop: int) -> Array:
    return np.lib.stride_tricks.sliding_window_view(samples, length)[::hop] * np.hanning(length + 1)[:-1]


def _box(values: Array, rows: int) -> Array:
    """Running mean over rows of [n, d], of what there is at the ends."""
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    first = np.maximum(np.arange(len(values)) - rows // 2, 0)
    last = np.minimum(np.arange(len(values)) - rows // 2 + rows, len(values))
    return (sums[last] - sums[first]) / (last - first)[:, None]
