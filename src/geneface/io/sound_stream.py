"""Sound to the bytes of a sound file, while it is made: what a server sends piece by piece. Mono."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Literal, get_args

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.error import FFmpegError

from geneface.errors import InputError
from geneface.types import FloatArray, to_int16

SoundFormat = Literal["wav", "pcm", "flac", "mp3", "opus", "aac"]
SOUND_FORMATS: tuple[SoundFormat, ...] = get_args(SoundFormat)
MEDIA_TYPES: dict[SoundFormat, str] = {
    "wav": "audio/wav", "pcm": "audio/pcm", "flac": "audio/flac", "mp3": "audio/mpeg", "opus": "audio/ogg",
    "aac": "audio/aac",
}  # fmt: skip
"""PCM is 16 bit, little-endian, without a header; Opus is in Ogg, AAC in ADTS."""
_MUXERS = {"flac": ("flac", "flac"), "mp3": ("mp3", "libmp3lame"), "opus": ("ogg", "libopus"), "aac": ("adts", "aac")}
_BITS_A_SECOND = {"mp3": 64_000, "opus": 32_000, "aac": 64_000}


def wav_header(samples: int, rate_hz: int) -> bytes:
    """Of so many samples of 16-bit PCM, which follow."""
    size = 2 * samples
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", size + 36, b"WAVE", b"fmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16, b"data", size
    )


class SoundStream:
    """One sound file that grows. WAV states its length first, so that it is not one of them: see `wav_header`.

    Raises:
        InputError: this machine's PyAV can't write the format.
    """

    def __init__(self, format: SoundFormat, rate_hz: int) -> None:
        self._rate_hz, self._written = rate_hz, bytearray()
        self._time = 0
        if format == "pcm":
            self._container = self._stream = None
            return
        muxer, codec = _MUXERS[format]
        try:
            self._container = av.open(_Sink(self._written), "w", format=muxer)
            stream = self._container.add_stream(codec, rate=rate_hz, layout="mono")
        except (FFmpegError, ValueError) as error:
            raise InputError(f"sound can't be written as {format} here ({error})", "ask for wav") from error
        assert isinstance(stream, AudioStream)
        if format in _BITS_A_SECOND:
            stream.bit_rate = _BITS_A_SECOND[format]
        self._stream = stream

    def push(self, samples: FloatArray) -> bytes:
        """The bytes that so many samples [T] more give; often none."""
        if self._container is None or self._stream is None:
            return to_int16(samples).tobytes()
        if len(samples):
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32)[None], "flt", "mono")
            frame.sample_rate, frame.time_base, frame.pts = self._rate_hz, Fraction(1, self._rate_hz), self._time
            self._time += len(samples)
            self._container.mux(self._stream.encode(frame))
        return self._taken()

    def finish(self) -> bytes:
        """The rest. Nothing may be pushed after that."""
        if self._container is not None and self._stream is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        return self._taken()

    def _taken(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken


class _Sink:
    """A file that can't go back."""

    def __init__(self, written: bytearray) -> None:
        self._written = written

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)
