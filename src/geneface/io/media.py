"""The one door for untrusted media files, and what a file says about itself.

Times are seconds on the media clock: zero is the file's first picture. A file without pictures counts from its own
zero if its container has a timeline (MP4, Matroska), else from its first sample.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.frame import Frame
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame as DecodedFrame
from av.video.stream import VideoStream

from geneface.errors import InputError
from geneface.io.clock import Clock
from geneface.io.colour import colour_name
from geneface.io.display import Orientation, display_size, orientation, pixel_aspect
from geneface.io.tracks import find_sound, find_video, is_moving

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,"
    "wav,w64,flac,mp3,ogg,aac,caf,aiff,au,amr,ac3,eac3"
)
"""Containers that hold their media themselves. Playlists, concat scripts, image sequences and devices are not here:
they would let a file make us open others."""
MAX_PIXELS = 4096 * 2304
"""Pixels of one picture."""
MAX_DURATION_SECONDS = 4 * 3600
MAX_STREAMS = 32

_TIMELINE_FORMATS = ("mov", "matroska")
_PROMISING_FORMATS = ("mov", "matroska", "flac", "wav", "avi")
_MISSING_SECONDS = 0.3
_UNKNOWN_RIFF_SIZE = 0x7FFFF000
_VARIABLE_RATE_PACKETS = 500


@dataclass(frozen=True)
class VideoInfo:
    """The picture stream, as displayed: after rotation and with square pixels."""

    width: int
    height: int
    frame_rate: float
    """Average pictures per second."""
    is_variable: bool
    rotation: int
    """Degrees counterclockwise that the reader applies: 0, 90, 180 or 270."""
    frame_count: int
    """Exact where the container states it, otherwise duration times rate; 0 where neither is known."""
    codec: str
    changes: tuple[str, ...] = ()
    """What the reader does to pictures that are not ordinary, in words."""


@dataclass(frozen=True)
class AudioInfo:
    """The sound stream, before resampling."""

    rate: int
    """Samples per second."""
    channels: int
    codec: str
    start_seconds: float
    """Stated time of the first sample on the media clock; `read_audio` measures it exactly."""


@dataclass(frozen=True)
class MediaInfo:
    """What a media file holds."""

    duration_seconds: float
    """As the container states it; 0 where it does not."""
    video: VideoInfo | None
    audio: AudioInfo | None


@contextmanager
def open_media(path: Path | str) -> Iterator[InputContainer]:
    """Open an untrusted media file: a regular file, a whitelisted container, within the caps of this module.

    Raises:
        InputError: the file is missing, empty, no media file, damaged, or beyond a cap.
    """
    path = Path(path)
    check_regular_file(path)
    _check_riff_size(path)
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}
    try:
        # "file:" and the absolute path keep names such as "concat:a" from being read as a protocol.
        container = av.open(f"file:{path.absolute()}", mode="r", options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(path) from error
    with container:
        _check_caps(path, container)
        yield container


def check_regular_file(path: Path) -> None:
    """Raise `InputError` unless the path is an ordinary file with something in it."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"the file {path} does not exist or can't be reached", "check the path") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder", "give a media file")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is not a regular file", "give a media file")
    if status.st_size == 0:
        raise InputError(f"the file {path} is empty", "give a media file that plays")


def _check_riff_size(path: Path) -> None:
    """WAV and AVI state their size, which the demuxers don't compare with the file's."""
    head, size = _first_bytes(path, 8), path.stat().st_size
    if head[:4] != b"RIFF":
        return
    stated = int.from_bytes(head[4:], "little") + 8
    # Programs that write to a pipe can't know the size and state the largest.
    if stated < _UNKNOWN_RIFF_SIZE and stated > size + max(4096, size // 100):
        raise InputError(
            f"{path} is cut off",
            "copy or download it again, or convert what there is",
            f"after {size} of {stated} bytes",
        )


def _first_bytes(path: Path, count: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError as error:
        raise InputError(f"the file {path} may not be read", "change its permissions") from error


def _unreadable(path: Path) -> InputError:
    """Say why a file did not open, from its first bytes."""
    head = _first_bytes(path, 1024)
    remedy = "give a video or sound file, e.g. MP4, MKV, MOV, WAV or MP3"
    if head.lstrip().startswith((b"#EXTM3U", b"ffconcat", b"[playlist]")) or b"<MPD" in head:
        return InputError(f"{path} is a playlist, not a media file", remedy)
    if not any(byte < 9 or 13 < byte < 32 for byte in head):
        return InputError(f"{path} is a text file, not a media file", remedy)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free") or head.startswith((b"\x1aE\xdf\xa3", b"RIFF")):
        return InputError(f"{path} is damaged or cut off", "copy or download it again")
    return InputError(f"{path} is not a media file that can be read", remedy)


def _check_caps(path: Path, container: InputContainer) -> None:
    remedy = "cut or convert it first, e.g. with ffmpeg"
    if len(container.streams) > MAX_STREAMS:
        raise InputError(f"{path} has {len(container.streams)} streams, at most {MAX_STREAMS} are read", remedy)
    # Broadcasts state no duration: what stands for it is wrong where the clock jumps, and the readers count.
    is_stated = not container.format.name.startswith("mpeg")
    if is_stated and container.duration is not None and container.duration / av.time_base > MAX_DURATION_SECONDS:
        raise InputError(f"{path} is longer than {MAX_DURATION_SECONDS // 3600} hours", remedy)
    for video in container.streams.video:
        if not is_moving(video):
            continue
        if not video.width or not video.height:
            # The probing decoder refuses pictures beyond the limit it was given, and then knows no size.
            raise InputError(
                f"{path} has pictures larger than the limit of 4096x2304 pixels, or damaged ones",
                "scale it down or convert it first, e.g. with ffmpeg",
            )
        if video.width * video.height > MAX_PIXELS:
            raise InputError(
                f"{path} has pictures of {video.width}x{video.height} pixels, more than the limit of 4096x2304",
                "scale it down first, e.g. with ffmpeg",
            )
        # The header may lie, so the decoder itself is told the limit too.
        video.codec_context.options = {"max_pixels": str(MAX_PIXELS)}


def frame_seconds(frame: Frame) -> float | None:
    """Container time of a decoded frame, None where the container does not tell."""
    # Not pts * time_base: to make these fractions was a fifth of the time of reading sound.
    seconds = frame.time
    return None if seconds is None or math.isnan(seconds) else seconds


def stream_clock(path: Path, container: InputContainer, stream: Stream) -> Clock:
    """The clock of one stream of an open file, to give to `decode` and to ask about jumps."""

    def all_packets() -> Iterator[Packet]:
        with open_media(path) as again:
            yield from again.demux(*again.streams.video, *again.streams.audio)

    return Clock(stream, container.format.name == "avi", all_packets)


def decode(path: Path, container: InputContainer, stream: Stream, clock: Clock | None = None) -> Iterator[Any]:
    """Decode the frames of one stream in order of presentation; single damaged packets are passed over.

    Times go on where the file's clock jumps or restarts (`io.clock`), the same way in all streams.

    Raises:
        InputError: too much of the stream is damaged.
    """
    packets = damaged = 0
    seconds = 0.0
    clock = clock or stream_clock(path, container, stream)
    try:
        for packet in container.demux(stream):
            packets += 1
            clock.mend(packet)
            try:
                frames: list[Any] = packet.decode()
            except av.error.InvalidDataError:
                damaged += 1
                if damaged > 10 + packets // 10:
                    raise
                continue
            for frame in frames:
                clock.place(frame)
                seconds = frame_seconds(frame) or seconds
                yield frame
    except (av.error.FFmpegError, OSError) as error:
        raise damaged_media(path, seconds) from error


def damaged_media(path: Path, seconds: float) -> InputError:
    """The error for media that can't be decoded from some second on."""
    return InputError(
        f"{path} is damaged or cut off", "copy or download it again, or cut it before that", f"at {seconds:.2f} s"
    )


def check_complete(path: Path, container: InputContainer, stream: Stream, end_seconds: float) -> None:
    """Compare the end of what was decoded (container time) with what the file promises.

    Raises:
        InputError: the file is cut off. Broadcast formats promise nothing and can't be judged.
    """
    promised = _promised_end(container, stream)
    if promised is None:
        return
    if end_seconds < promised - max(_MISSING_SECONDS, 0.01 * promised):
        raise InputError(
            f"{path} is cut off, its header promises {promised:.2f} s",
            "copy or download it again, or convert what there is with ffmpeg",
            f"at {end_seconds:.2f} s",
        )


def _promised_end(container: InputContainer, stream: Stream) -> float | None:
    """Container time at which the header says a stream ends, None where it can't be relied on."""
    if not container.format.name.startswith(_PROMISING_FORMATS):
        return None
    start = (stream.start_time or 0) * (stream.time_base or Fraction(0))
    if stream.duration is not None:
        return float(start + stream.duration * (stream.time_base or Fraction(0)))
    # Matroska: a tag of each stream, "00:00:02.008000000".
    parts = stream.metadata.get("DURATION", "").split(":")
    if len(parts) != 3 or not all(part.replace(".", "", 1).isdigit() for part in parts):
        return None
    return 3600 * float(parts[0]) + 60 * float(parts[1]) + float(parts[2])


def first_picture(path: Path) -> DecodedFrame | None:
    """Decode the first picture, or None if the file has none."""
    with open_media(path) as container:
        stream = find_video(container)
        return None if stream is None else next(decode(path, container, stream), None)


def clock_zero(path: Path) -> float | None:
    """Container time of the media clock's zero; None if the first sample of the sound is zero."""
    picture = first_picture(path)
    if picture is not None:
        return frame_seconds(picture) or 0.0
    with open_media(path) as container:
        return 0.0 if container.format.name.startswith(_TIMELINE_FORMATS) else None


def probe(path: Path | str) -> MediaInfo:
    """Say what a media file holds, without decoding more than one picture.

    Raises:
        InputError: see `open_media`.
    """
    path = Path(path)
    zero = clock_zero(path)
    with open_media(path) as container:
        duration = (container.duration or 0) / av.time_base
        audio = None
        track = find_sound(path, container)
        if track is not None:
            stream = track.stream
            start = float((stream.start_time or 0) * (stream.time_base or Fraction(0)))
            audio = AudioInfo(
                rate=stream.rate or 0,
                channels=len(track.names),
                codec=stream.codec_context.name,
                start_seconds=start - zero if zero is not None else 0.0,
            )
    return MediaInfo(duration, _probe_video(path, duration), audio)


def _probe_video(path: Path, duration_seconds: float) -> VideoInfo | None:
    picture = first_picture(path)
    with open_media(path) as container:
        stream = find_video(container)
        if stream is None or picture is None:
            return None
        width, height = display_size(picture, pixel_aspect(stream))
        turned = upright(path, picture, stream)
        turns = turned.quarter_turns
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        return VideoInfo(
            width=height if turns % 2 else width,
            height=width if turns % 2 else height,
            frame_rate=rate,
            is_variable=_is_variable(path, container, stream),
            rotation=90 * turns,
            frame_count=stream.frames or round(duration_seconds * rate),
            codec=stream.codec_context.name,
            changes=_changes(picture, turned),
        )


def upright(path: Path, picture: DecodedFrame, stream: VideoStream) -> Orientation:
    """`orientation` of a picture.

    Raises:
        InputError: it is to be shown turned by an angle that is no quarter turn.
    """
    try:
        return orientation(picture, stream)
    except ValueError as error:
        raise InputError(
            f"the pictures of {path} are to be shown {error}, only quarter turns are read",
            "turn them upright first, e.g. with ffmpeg",
        ) from error


def _changes(picture: DecodedFrame, turned: Orientation) -> tuple[str, ...]:
    colours = colour_name(picture)
    changes = [
        f"colours in {colours}, mapped to BT.709" if colours else "",
        "interlaced, made progressive" if picture.interlaced_frame else "",
        "mirrored, as the file asks" if turned.is_mirrored else "",
        f"turned by {90 * turned.quarter_turns} degrees counterclockwise" if turned.quarter_turns else "",
    ]
    return tuple(change for change in changes if change)


def _is_variable(path: Path, container: InputContainer, stream: VideoStream) -> bool:
    """Whether the steps between pictures differ by more than the rounding of a container's clock (Matroska: 1 ms)."""
    clock = stream_clock(path, container, stream)
    times = []
    try:
        for packet in islice(container.demux(stream), _VARIABLE_RATE_PACKETS):
            clock.mend(packet)
            if packet.pts is not None and packet.time_base is not None:
                times.append(float(packet.pts * packet.time_base))
    except (av.error.FFmpegError, OSError):
        return False
    times.sort()
    # The last steps may miss pictures that are stored later than they are shown.
    steps = np.diff(times[: max(2, len(times) - 8)])
    return bool(len(steps) > 1 and np.ptp(steps) > max(0.003, 0.1 * float(np.median(steps))))
