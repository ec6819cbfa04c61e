"""Sound of a portrait: the piece that belongs to each stretch of frames.

Frames count at 25 Hz from the first picture of a source, which is time zero of its media clock.
"""

from __future__ import annotations

import numpy as np
import soxr

from geneface.types import SPEECH_RATE_HZ, VIDEO_RATE_HZ, FloatArray, Waveform

FRAME_SAMPLES = SPEECH_RATE_HZ // VIDEO_RATE_HZ
_FILTER_SAMPLES = 512
"""Sound before and after a piece that resampling looks at."""


def cut_sound(sound: Waveform, start_frame: float, frames: int, drift_ppm: float = 0.0) -> FloatArray:
    """Exactly `frames` frames of sound from `start_frame` on, to the sample; silence where the recording has none.

    Args:
        drift_ppm: how much later the sound becomes with time, in millionths: so much more of it is taken, and
            resampled to the length of the frames.
    """
    first = round(start_frame * FRAME_SAMPLES) - round(sound.start_seconds * SPEECH_RATE_HZ)
    count = frames * FRAME_SAMPLES
    if not drift_ppm:
        return _samples(sound.samples, first, count)
    pace = 1 + 1e-6 * drift_ppm
    taken = _samples(sound.samples, first - _FILTER_SAMPLES, round(count * pace) + 3 * _FILTER_SAMPLES)
    paced = soxr.resample(taken, SPEECH_RATE_HZ * pace, SPEECH_RATE_HZ)
    lead = round(_FILTER_SAMPLES / pace)
    return np.ascontiguousarray(paced[lead : lead + count], np.float32)


def _samples(samples: FloatArray, first: int, count: int) -> FloatArray:
    """Samples [count] from `first` on, zero beyond the ends."""
    wanted = np.arange(first, first + count)
    inside = (wanted >= 0) & (wanted < len(samples))
    piece = np.zeros(count, np.float32)
    piece[inside] = samples[wanted[inside]]
    return piece


def sound_frames(sound: Waveform) -> tuple[int, int]:
    """Frames [start, stop) that a recording covers, those it covers by more than half included."""
    start = sound.start_seconds * VIDEO_RATE_HZ
    return round(start), round(start + len(sound.samples) / FRAME_SAMPLES)
