"""Sound files to samples and back.

Symbols: T samples, C channels. Times are seconds on the media clock of `io.media`: zero is the file's first picture,
so that sample i of a `Waveform` sounds while the picture of time start_seconds + i / 16000 is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from geneface.errors import InputError
from geneface.io.media import (
    MAX_DURATION_SECONDS,
    check_complete,
    clock_zero,
    damaged_media,
    decode,
    frame_seconds,
    open_media,
)
from geneface.io.store import atomic_path
from geneface.types import SPEECH_RATE_HZ, FloatArray, Waveform

_GAP_SECONDS = 0.02
"""Timestamps are believed beyond this; below, they jitter (Matroska and FLV round to 1 ms, broadcasts more)."""
LOUDEST = 8.0
"""Floats beyond this are not sound in [-1, 1]: integers stored as floats, or garbage."""


@dataclass(frozen=True)
class SoundFile:
    """Sound that is copied from a file while a video is written: full quality, flat memory."""

    path: Path
    start_seconds: float = 0.0
    """When the file's first sample sounds, counted from the first picture of the video."""


def read_audio(path: Path | str) -> Waveform:
    """Read the sound of any media file as 16 kHz mono.

    Channels are averaged; holes in the stream become silence; values beyond [-1, 1] are clipped.

    Raises:
        InputError: no sound, no samples, NaN or infinite samples, damaged or cut-off file, and all of `open_media`.
    """
    reader = SoundReader(path)
    # One growing buffer: a list of blocks and their concatenation would hold an hour of sound twice.
    buffer = bytearray()
    for block in reader.blocks(SPEECH_RATE_HZ, channels=1):
        buffer += np.clip(block, -1, 1).tobytes()
    samples = np.frombuffer(buffer, np.float32)
    if not len(samples):
        raise InputError(f"the sound of {path} is empty", "give a file with at least some sound")
    return Waveform(samples, reader.start_seconds)


def write_wav(path: Path | str, audio: Waveform) -> None:
    """Write 16-bit PCM at 16 kHz, atomically. The start time is not kept: WAV has no clock."""
    with atomic_path(path) as temporary:
        soundfile.write(temporary, audio.samples, SPEECH_RATE_HZ, subtype="PCM_16", format="WAV")


def resample(samples: FloatArray, from_hz: float, to_hz: float) -> FloatArray:
    """Band-limited resampling of [T] or [T, C]; sample 0 keeps its time, the length becomes T to_hz / from_hz."""
    return soxr.resample(np.asarray(samples, np.float32), from_hz, to_hz, quality="HQ")


class SoundReader:
    """One pass over the sound of a media file, in flat memory. `start_seconds` is known once the first block came."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.start_seconds = 0.0
        self._zero = clock_zero(self.path)

    def channels(self) -> int:
        """Number of channels in the file."""
        with open_media(self.path) as container:
            return self._stream(container).channels

    def blocks(self, rate_hz: int, channels: int) -> Iterator[FloatArray]:
        """Yield the sound as [T, C] float32 blocks at `rate_hz`.

        `channels` 1 gives the mean of all; more gives the file's own if it has as many, else copies of the mean.

        Raises:
            InputError: see `read_audio`; an empty stream yields nothing.
        """
        with open_media(self.path) as container:
            resampler = None
            rate = 0
            for frame_rate, block in self._timed_blocks(container, channels):
                if resampler is None:
                    rate = frame_rate
                    resampler = soxr.ResampleStream(rate, rate_hz, channels, dtype="float32", quality="HQ")
                if frame_rate != rate:
                    raise InputError(f"the sample rate of {self.path} changes on the way", "convert it to WAV first")
                yield resampler.resample_chunk(block)
            if resampler is not None:
                yield resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True)

    def _stream(self, container: InputContainer) -> AudioStream:
        streams = container.streams.audio
        if not streams:
            raise InputError(f"{self.path} has no sound", "give a file with a sound track")
        return streams[0]

    def _timed_blocks(self, container: InputContainer, channels: int) -> Iterator[tuple[int, FloatArray]]:
        """Yield (rate, [T, C]) at the file's own rate without holes: block by block the samples follow each other."""
        stream = self._stream(container)
        first_seconds: float | None = None
        count = 0
        for frame in decode(self.path, container, stream):
            rate = frame.sample_rate
            block = _mix(_to_float(frame), channels)
            seconds = frame_seconds(frame)
            if first_seconds is None:
                first_seconds = seconds or 0.0
                self.start_seconds = first_seconds - self._zero if self._zero is not None else 0.0
            self._check_values(block, count, rate)
            if seconds is not None:
                block = self._close_gap(block, round((seconds - first_seconds) * rate) - count, rate, count)
            count += len(block)
            if count > MAX_DURATION_SECONDS * rate:
                raise InputError(f"{self.path} is longer than {MAX_DURATION_SECONDS // 3600} hours", "cut it first")
            if len(block):
                yield rate, block
        if first_seconds is not None:
            check_complete(self.path, container, stream, first_seconds + count / rate)

    def _check_values(self, block: FloatArray, count: int, rate: int) -> None:
        finite = np.isfinite(block)
        if not finite.all():
            where = f"at {(count + int(np.argmin(finite.all(axis=1)))) / rate:.2f} s"
            raise InputError(f"the sound of {self.path} holds NaN or infinite samples", "export it again", where)
        if np.abs(block).max(initial=0) > LOUDEST:
            where = f"at {count / rate:.2f} s"
            raise InputError(f"the samples of {self.path} are far beyond -1..1", "scale them to -1..1", where)

    def _close_gap(self, block: FloatArray, gap: int, rate: int, count: int) -> FloatArray:
        """Bring a block to its own time: silence before it, or without the samples that were played already."""
        if gap > MAX_DURATION_SECONDS * rate:
            raise damaged_media(self.path, count / rate)
        if gap > _GAP_SECONDS * rate:
            return np.concatenate([np.zeros((gap, block.shape[1]), np.float32), block])
        return block[-gap:] if gap < -_GAP_SECONDS * rate else block


def _to_float(frame: AudioFrame) -> NDArray[np.float64]:
    """Samples of a decoded frame as [T, C], integers scaled to [-1, 1)."""
    samples = frame.to_ndarray()
    channels = frame.layout.nb_channels
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, channels)
    if samples.dtype.kind == "f":
        return samples.astype(np.float64)
    half = float(2 ** (8 * samples.dtype.itemsize - 1))
    return samples / half - (1 if samples.dtype.kind == "u" else 0)


def _mix(samples: NDArray[np.float64], channels: int) -> FloatArray:
    if samples.shape[1] != channels:
        # Channel by channel in memory: the mean over the short axis of interleaved samples takes five times as long.
        mean = np.ascontiguousarray(samples.T).mean(axis=0)
        samples = mean[:, None].repeat(channels, axis=1)
    return np.ascontiguousarray(samples, np.float32)
