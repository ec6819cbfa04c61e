"""Sound on its way into a live face: at the rate of the models and, in step with it, at that of the listeners.

T samples at the rate of the models (16 kHz) stand beside 3 T at 48 kHz, always.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import soxr

from geneface.avatar.inputs import live_samples
from geneface.errors import InputError
from geneface.io.live import SOUND_RATE_HZ
from geneface.realtime.item import ITEM_SAMPLES
from geneface.types import SPEECH_RATE_HZ, FloatArray

MODEL_SAMPLES = SPEECH_RATE_HZ // 25
"""Of sound at the rate of the models, in one item."""
_RATIO = SOUND_RATE_HZ // SPEECH_RATE_HZ
_RATES = (8_000, 192_000)


def checked_sound(samples: object, rate_hz: object) -> FloatArray:
    """Samples [T] as float32.

    Raises:
        InputError: several channels, no numbers, values that are not finite or far too loud, a rate that no sound has.
    """
    if not isinstance(rate_hz, int) or isinstance(rate_hz, bool) or not _RATES[0] <= rate_hz <= _RATES[1]:
        raise InputError(f"the sound has {rate_hz!r} samples a second", f"give from {_RATES[0]} to {_RATES[1]}")
    return live_samples(samples)


def silence(frames: int) -> tuple[FloatArray, FloatArray]:
    """So many items of nothing, for the models and for the listeners."""
    return np.zeros(frames * MODEL_SAMPLES, np.float32), np.zeros(frames * ITEM_SAMPLES, np.float32)


class Source:
    """The sound of one utterance, or of a microphone. It is used under its session's lock."""

    def __init__(self, utterance: str) -> None:
        self.utterance = utterance
        self.is_begun = False
        """Some of it has gone into the models."""
        self.is_ended = False
        """No more sound will come."""
        self._rate_hz: int | None = None
        self._streams: list[soxr.ResampleStream | None] = []
        self._models: deque[FloatArray] = deque()
        self._listeners: deque[FloatArray] = deque()
        self._lengths = [0, 0]

    def push(self, samples: FloatArray, rate_hz: int, *, is_last: bool = False) -> None:
        """Add sound [T], whose rate may change between pieces; after the last piece the rest of an item is silence."""
        if rate_hz != self._rate_hz:
            if self._rate_hz is not None:
                self._convert(np.zeros(0, np.float32), is_last=True)
            self._rate_hz = rate_hz
            targets = (SPEECH_RATE_HZ, SOUND_RATE_HZ)
            self._streams = [
                None if rate_hz == target else soxr.ResampleStream(rate_hz, target, 1, dtype="float32", quality="MQ")
                for target in targets
            ]
        self._convert(samples, is_last=is_last)
        if is_last:
            self.end()

    def end(self) -> None:
        """No more sound will come."""
        if self.is_ended:
            return
        if self._rate_hz is not None:
            self._convert(np.zeros(0, np.float32), is_last=True)
        self.is_ended = True
        frames = max(-(-self._lengths[0] // MODEL_SAMPLES), -(-self._lengths[1] // ITEM_SAMPLES))
        for kind, whole in enumerate((frames * MODEL_SAMPLES, frames * ITEM_SAMPLES)):
            self._add(kind, np.zeros(whole - self._lengths[kind], np.float32))

    @property
    def ready(self) -> int:
        """Samples for the models that can be taken."""
        return min(self._lengths[0], self._lengths[1] // _RATIO)

    @property
    def ready_frames(self) -> int:
        """Whole items of it."""
        return self.ready // MODEL_SAMPLES

    def take(self, count: int) -> tuple[FloatArray, FloatArray]:
        """The next `count` samples for the models, [count], and those that the listeners hear with them, [3 count]."""
        return self._take(0, count), self._take(1, count * _RATIO)

    def _convert(self, samples: FloatArray, *, is_last: bool) -> None:
        for kind, stream in enumerate(self._streams):
            self._add(kind, samples if stream is None else stream.resample_chunk(samples, last=is_last))
        if is_last:
            self._streams, self._rate_hz = [], None

    def _add(self, kind: int, samples: FloatArray) -> None:
        if len(samples):
            (self._models, self._listeners)[kind].append(samples)
            self._lengths[kind] += len(samples)

    def _take(self, kind: int, count: int) -> FloatArray:
        buffer = (self._models, self._listeners)[kind]
        self._lengths[kind] -= count
        # Ten minutes may wait: only what is taken is copied.
        taken = [np.zeros(0, np.float32)]
        while count and buffer:
            first = buffer.popleft()
            if len(first) > count:
                buffer.appendleft(first[count:])
            taken.append(first[:count])
            count -= len(taken[-1])
        return np.concatenate(taken)
