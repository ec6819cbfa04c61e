"""Pieces of sound, its level and its rate. Symbols: T samples at 16 kHz, [T] in [-1, 1]."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from geneface.signal.timing import SAMPLES_PER_FRAME, SAMPLES_PER_ROW
from geneface.types import SPEECH_RATE_HZ, VIDEO_RATE_HZ, FloatArray, Waveform

LEVEL_DB = -20.0
"""Level of speech, in dB of full scale, that `speech_gain` brings a sound to."""
MAX_GAIN_DB = 30.0
"""A whisper is amplified by no more than this: the noise of a silent recording must stay noise."""
_KNOCK, _WORD_BLOCKS = 4.0, 10
"""No block of speech has so many times the power of the tenth loudest one: 0.2 s."""
_FILTER_SAMPLES = 512
"""Sound before and after a piece that resampling looks at."""


def resample(samples: FloatArray, from_hz: float, to_hz: float) -> FloatArray:
    """Band-limited resampling of [T] or [T, C]; sample 0 keeps its time, the length becomes T to_hz / from_hz."""
    return soxr.resample(np.asarray(samples, np.float32), from_hz, to_hz, quality="HQ")


def cut(samples: FloatArray, begin: int, length: int) -> FloatArray:
    """`samples[begin : begin + length]`, with silence wherever that reaches beyond the sound."""
    inside = samples[max(begin, 0) : max(begin + length, 0)]
    before = min(max(-begin, 0), length)
    # Not `np.pad`, which takes ten times as long, and live sound is cut for every frame.
    result = np.zeros(length, samples.dtype)
    result[before : before + len(inside)] = inside
    return result


def cut_frames(sound: Waveform, start_frame: float, frames: int, drift_ppm: float = 0.0) -> FloatArray:
    """The samples [640 F] of F video frames, silence where the recording has none.

    Args:
        start_frame: counted from time zero of the media's clock, its first picture.
        drift_ppm: how much later the sound becomes with time, in millionths: so much more of it is taken, and
            resampled to the length of the frames.
    """
    first = round(start_frame * SAMPLES_PER_FRAME) - round(sound.start_seconds * SPEECH_RATE_HZ)
    count = frames * SAMPLES_PER_FRAME
    if not drift_ppm:
        return cut(sound.samples, first, count)
    pace = 1 + 1e-6 * drift_ppm
    taken = cut(sound.samples, first - _FILTER_SAMPLES, round(count * pace) + 3 * _FILTER_SAMPLES)
    paced = resample(taken, SPEECH_RATE_HZ * pace, SPEECH_RATE_HZ)
    lead = round(_FILTER_SAMPLES / pace)
    return np.ascontiguousarray(paced[lead : lead + count], np.float32)


def speech_gain(samples: FloatArray) -> float:
    """Factor that brings the speech of a sound to `LEVEL_DB` (`gain_of` the 20 ms blocks' mean squares)."""
    power = _block_power(samples)
    return gain_of(power) if len(power) and power.max() > 0.0 else 1.0


def gain_of(power: NDArray[np.float64]) -> float:
    """The same of mean squares [*], some above 0.

    The level is that of the blocks within 30 dB of the loud ones (95th percentile): pauses don't count. Neither does
    a knock on the microphone, for more than a loud vowel: it is shorter than a word.
    """
    active = power[power >= max(percentile(power, 95) * 1e-3, np.finfo(np.float64).tiny)]
    rank = min(len(active), _WORD_BLOCKS)
    level_db = 10.0 * np.log10(np.minimum(active, _KNOCK * np.partition(active, -rank)[-rank]).mean())
    return float(10.0 ** (min(LEVEL_DB - level_db, MAX_GAIN_DB) / 20.0))


def percentile(values: NDArray[np.float64], percent: float) -> float:
    """`np.percentile` of [*], at least one, to the bit, in a tenth of its time: live sound asks for every block."""
    place = percent / 100 * (len(values) - 1)
    below = int(place)
    share = place - below
    parted = np.partition(values, (below, min(below + 1, len(values) - 1)))
    low, high = parted[below], parted[min(below + 1, len(values) - 1)]
    return float(high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share)


def levelled(samples: FloatArray) -> FloatArray:
    """[T] samples at the reference level."""
    return samples * np.float32(speech_gain(samples))


def _block_power(samples: FloatArray) -> NDArray[np.float64]:
    """Mean square of every whole 20 ms block (of all samples, if they are fewer)."""
    count = len(samples) // SAMPLES_PER_ROW
    if not count:
        return np.array([np.mean(np.square(samples, dtype=np.float64))]) if len(samples) else np.empty(0)
    blocks = samples[: count * SAMPLES_PER_ROW].reshape(count, SAMPLES_PER_ROW)
    return np.einsum("ij,ij->i", blocks, blocks, dtype=np.float64) / SAMPLES_PER_ROW


def covered_frames(sound: Waveform) -> tuple[int, int]:
    """Frames [start, stop) that a recording covers, those it covers by more than half included."""
    start = sound.start_seconds * VIDEO_RATE_HZ
    return round(start), round(start + len(sound.samples) / SAMPLES_PER_FRAME)
