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
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from numpy.typing import NDArray

from geneface.errors import InputError
from geneface.io.atomic import atomic_path
from geneface.io.downmix import Balance, Mixdown, Names
from geneface.io.media import (
    MAX_DURATION_SECONDS,
    check_complete,
    clock_zero,
    damaged_media,
    decode,
    frame_seconds,
    open_media,
    stream_clock,
)
from geneface.io.tracks import SoundTrack, find_sound
from geneface.types import SPEECH_RATE_HZ, FloatArray, Waveform

_GAP_SECONDS = 0.02
"""Timestamps are believed beyond this; below, they jitter (Matroska and FLV round to 1 ms, broadcasts more)."""
SOUNDTRACK_RATE_HZ = 48_000
"""Samples per second of the sound in a video that is written."""
KEPT_BYTES = 24 << 20
"""Of a sound track: two minutes of one channel, one of two."""
LOUDEST = 8.0
"""Floats beyond this are not sound in [-1, 1]: integers stored as floats, or garbage."""
_COUNTED_FORMATS = ("aac", "mp3", "ac3", "eac3", "amr")
"""Bare streams: FFmpeg counts their times from the first frame's rate, which is wrong where the rate changes."""
_REMEMBERED = 64
_SAFE_PLANES = 2
_PLAIN_FORMATS = ("u8", "s16", "s32", "flt", "dbl")
"""Sample formats that numpy knows."""


@dataclass(frozen=True)
class SourceSound:
    """Sound that is copied from a file while a video is written, in full quality."""

    path: Path
    start_seconds: float = 0.0
    """When the file's first sample sounds, counted from the first picture of the video."""
    kept: FloatArray | None = None
    """[T, C] all of it at `SOUNDTRACK_RATE_HZ`, C at most 2, where it was decoded already; else the file is read while
    the video is written, in flat memory."""


def read_audio(path: Path | str) -> Waveform:
    """Read the sound of any media file as 16 kHz mono.

    Channels are mixed as `io.downmix` says; holes in the stream become silence; values beyond [-1, 1] are clipped.

    Raises:
        InputError: no sound, no samples, NaN or infinite samples, damaged or cut-off file, and all of `open_media`.
    """
    reader = SoundReader(path)
    samples = reader.read_mono(SPEECH_RATE_HZ)
    if not len(samples):
        raise InputError(f"the sound of {path} is empty", "give a file with at least some sound")
    return Waveform(samples, reader.start_seconds)


def read_speech(path: Path | str) -> tuple[Waveform, SourceSound]:
    """`read_audio`, and the same sound for a video that shows its speaker: from one pass over the file.

    Up to `KEPT_BYTES` of the sound track are kept; a longer one will be decoded a second time.
    """
    reader = SoundReader(path)
    samples, kept = reader.read(SPEECH_RATE_HZ, soundtrack=True)
    if not len(samples):
        raise InputError(f"the sound of {path} is empty", "give a file with at least some sound")
    return Waveform(samples, reader.start_seconds), SourceSound(reader.path, kept=kept)


def write_wav(path: Path | str, audio: Waveform) -> None:
    """Write 16-bit PCM at 16 kHz, atomically. The start time is not kept: WAV has no clock."""
    with atomic_path(path) as temporary:
        soundfile.write(temporary, audio.samples, SPEECH_RATE_HZ, subtype="PCM_16", format="WAV")


class SoundReader:
    """One pass over the sound of a media file, in flat memory. `start_seconds` is known once the first block came."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.start_seconds = 0.0
        self._zero = clock_zero(self.path)

    def channels(self) -> int:
        """Number of channels in the file."""
        with open_media(self.path) as container:
            return len(self._track(container).names)

    def read_mono(self, rate_hz: int) -> FloatArray:
        """All the sound as one channel [T] at `rate_hz`, clipped to [-1, 1]."""
        return self.read(rate_hz)[0]

    def read(self, rate_hz: int, *, soundtrack: bool = False) -> tuple[FloatArray, FloatArray | None]:
        """`read_mono`, and of the same pass what `blocks` gives at `SOUNDTRACK_RATE_HZ`, one channel or two.

        Returns:
            [T], and [T', C] or None where that was not asked for or would be more than `KEPT_BYTES`.
        """
        mixdown = _MIXDOWNS.recall(self.path)
        if mixdown is not None:
            return self._gather(rate_hz, mixdown, None, soundtrack)
        # How it is to be mixed is known at the end. Nearly always it is as was assumed, and one pass is enough.
        balance = Balance()
        found = self._gather(rate_hz, Mixdown(), balance, soundtrack)
        mixdown = _MIXDOWNS.keep(self.path, balance.settle())
        return self._gather(rate_hz, mixdown, None, soundtrack) if mixdown.special else found

    def blocks(self, rate_hz: int, channels: int) -> Iterator[FloatArray]:
        """Yield the sound as [T, channels] float32 blocks at `rate_hz`, `channels` 1 or 2.

        One channel is what `read_mono` gives. Two are the file's own if it has two, else a mix. The first time that a
        file's channels have to be mixed there is a pass over all of it before the first block.

        Raises:
            InputError: see `read_audio`; an empty stream yields nothing.
        """
        mixdown = _MIXDOWNS.recall(self.path)
        if mixdown is None and self.channels() not in (1, channels):
            balance = Balance()
            with open_media(self.path) as container:
                for _ in self._timed_blocks(container, (1,), Mixdown(), balance):
                    pass
            mixdown = _MIXDOWNS.keep(self.path, balance.settle())
        resampled = _Resampled(rate_hz, channels)
        with open_media(self.path) as container:
            for rate, block in self._timed_blocks(container, (channels,), mixdown or Mixdown(), None):
                yield from resampled.push(rate, block)
            yield from resampled.finish()

    def _gather(
        self, rate_hz: int, mixdown: Mixdown, balance: Balance | None, soundtrack: bool
    ) -> tuple[FloatArray, FloatArray | None]:
        # One growing buffer: a list of blocks and their concatenation would hold an hour of sound twice.
        buffer = bytearray()
        speech = _Resampled(rate_hz, 1)
        with open_media(self.path) as container:
            copy = _Resampled(SOUNDTRACK_RATE_HZ, min(2, len(self._track(container).names))) if soundtrack else None
            kept: list[FloatArray] = []
            size = 0
            channels = (1,) if copy is None else (1, copy.channels)
            for rate, block in self._timed_blocks(container, channels, mixdown, balance):
                for piece in speech.push(rate, np.ascontiguousarray(block[:, :1])):
                    buffer += np.clip(piece, -1, 1).tobytes()
                if copy is not None:
                    pieces = copy.push(rate, np.ascontiguousarray(block[:, 1:]))
                    kept += pieces
                    size += sum(piece.nbytes for piece in pieces)
                    if size > KEPT_BYTES:
                        copy, kept = None, []
            for piece in speech.finish():
                buffer += np.clip(piece, -1, 1).tobytes()
            if copy is not None:
                nothing = np.zeros((0, copy.channels), np.float32)
                return np.frombuffer(buffer, np.float32), np.concatenate([nothing, *kept, *copy.finish()])
        return np.frombuffer(buffer, np.float32), None

    def _track(self, container: InputContainer) -> SoundTrack:
        track = find_sound(self.path, container)
        if track is not None:
            return track
        if container.streams.audio:
            raise InputError(f"the sound of {self.path} is in a format that can't be decoded", "convert it to WAV")
        raise InputError(f"{self.path} has no sound", "give a file with a sound track")

    def _timed_blocks(
        self, container: InputContainer, channels: tuple[int, ...], mixdown: Mixdown, balance: Balance | None
    ) -> Iterator[tuple[int, FloatArray]]:
        """Yield (rate, [T, C]) at the file's own rate without holes: block by block the samples follow each other.

        Args:
            channels: of each mix; the mixes stand side by side, so that C is their sum.
        """
        track = self._track(container)
        unpack = _Unpacker(track.names)
        first_seconds: float | None = None
        rate = count = 0
        begin = 0.0  # where the sound of this rate begins, after first_seconds
        is_timed = container.format.name not in _COUNTED_FORMATS
        clock = stream_clock(self.path, container, track.stream)
        for frame in decode(self.path, container, track.stream, clock):
            if frame.sample_rate <= 0:
                raise damaged_media(self.path, begin + count / rate if rate else 0.0)
            if frame.sample_rate != rate:
                begin += count / rate if rate else 0.0
                rate, count = frame.sample_rate, 0
            names, samples = unpack(frame)
            seconds = frame_seconds(frame)
            if first_seconds is None:
                first_seconds = seconds or 0.0
                self.start_seconds = first_seconds - self._zero if self._zero is not None else 0.0
            self._check_values(samples, begin + count / rate, rate)
            if balance is not None:
                balance.add(names, samples, rate)
            gains = mixdown.gains(names)
            block = np.concatenate([gains.mix(samples, wanted) for wanted in channels], axis=1, dtype=np.float32)
            if seconds is not None and is_timed:
                gap = round((seconds - first_seconds - begin) * rate) - count
                if gap > _GAP_SECONDS * rate:
                    yield from self._silence(gap, rate, sum(channels), begin + count / rate)
                    count += gap
                elif gap < -_GAP_SECONDS * rate:
                    block = block[-gap:]  # the rest was played already
            count += len(block)
            if begin + count / rate > MAX_DURATION_SECONDS:
                raise InputError(f"{self.path} is longer than {MAX_DURATION_SECONDS // 3600} hours", "cut it first")
            if len(block):
                yield rate, block
        if first_seconds is not None and not clock.jumps:
            check_complete(self.path, container, track.stream, first_seconds + begin + count / rate)

    def _silence(self, count: int, rate: int, channels: int, seconds: float) -> Iterator[tuple[int, FloatArray]]:
        """Blocks of a second at most: a gap may be hours long."""
        if count > MAX_DURATION_SECONDS * rate:
            raise damaged_media(self.path, seconds)
        for start in range(0, count, rate):
            yield rate, np.zeros((min(rate, count - start), channels), np.float32)

    def _check_values(self, samples: NDArray[np.float64], begin_seconds: float, rate: int) -> None:
        if np.abs(samples).max(initial=0) <= LOUDEST:
            return
        finite = np.isfinite(samples).all(axis=1)
        if not finite.all():
            where = f"at {begin_seconds + int(np.argmin(finite)) / rate:.2f} s"
            raise InputError(f"the sound of {self.path} holds NaN or infinite samples", "export it again", where)
        where = f"at {begin_seconds:.2f} s"
        raise InputError(f"the samples of {self.path} are far beyond -1..1", "scale them to -1..1", where)


class _Resampled:
    """Sound [T, C] of rates that may change, at one rate."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self.channels = channels
        self._rate_hz = rate_hz
        self._rate = 0
        self._stream: soxr.ResampleStream | None = None

    def push(self, rate: int, block: FloatArray) -> list[FloatArray]:
        """The next block [T, C], and what is ready of it and of those before."""
        ready = []
        if self._stream is None or rate != self._rate:
            ready = self.finish()
            self._rate = rate
            self._stream = soxr.ResampleStream(rate, self._rate_hz, self.channels, dtype="float32", quality="HQ")
        return [*ready, self._stream.resample_chunk(block)]

    def finish(self) -> list[FloatArray]:
        """What was still waiting for more."""
        end = np.zeros((0, self.channels), np.float32)
        return [] if self._stream is None else [self._stream.resample_chunk(end, last=True)]


class _Unpacker:
    """Decoded frames of any layout and sample format to channel names and samples [T, C] in [-1, 1)."""

    def __init__(self, stated: Names) -> None:
        self._stated = stated
        self._names: dict[str, Names] = {}
        self._packer: AudioResampler | None = None
        self._packed = ""

    def __call__(self, frame: AudioFrame) -> tuple[Names, NDArray[np.float64]]:
        layout = frame.layout.name
        if layout not in self._names:
            names = tuple(channel.name for channel in frame.layout.channels)
            # `find_sound` takes the names from layouts that PyAV can't hold.
            is_nameless = set(names) == {"NONE"} and len(names) == len(self._stated)
            self._names[layout] = self._stated if is_nameless else names
        return self._names[layout], _to_float(self._pack(frame, layout))

    def _pack(self, frame: AudioFrame, layout: str) -> AudioFrame:
        """The frame in a format that numpy knows; PyAV's own access to 8 planes and more reads beyond their list."""
        kind = frame.format.name
        is_planar = frame.format.is_planar
        if kind.removesuffix("p") in _PLAIN_FORMATS and not (is_planar and frame.layout.nb_channels > _SAFE_PLANES):
            return frame
        parameters = f"{kind} {layout} {frame.sample_rate}"
        if self._packer is None or parameters != self._packed:
            self._packer, self._packed = AudioResampler(format="flt"), parameters
        return self._packer.resample(frame)[0]


def _to_float(frame: AudioFrame) -> NDArray[np.float64]:
    """Samples of a decoded frame as [T, C], integers scaled to [-1, 1)."""
    samples = frame.to_ndarray()
    channels = frame.layout.nb_channels
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, channels)
    if samples.dtype.kind == "f":
        return samples.astype(np.float64)
    half = float(2 ** (8 * samples.dtype.itemsize - 1))
    return samples / half - (1 if samples.dtype.kind == "u" else 0)


class _Memory:
    """How the files read last are mixed, so that one that was listened to once is not again."""

    def __init__(self) -> None:
        self._mixdowns: dict[tuple[int, ...], Mixdown] = {}

    def recall(self, path: Path) -> Mixdown | None:
        return self._mixdowns.get(self._identity(path))

    def keep(self, path: Path, mixdown: Mixdown) -> Mixdown:
        while len(self._mixdowns) >= _REMEMBERED:
            self._mixdowns.pop(next(iter(self._mixdowns)), None)
        self._mixdowns[self._identity(path)] = mixdown
        return mixdown

    @staticmethod
    def _identity(path: Path) -> tuple[int, ...]:
        status = path.stat()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


_MIXDOWNS = _Memory()
