"""Video files to pictures on an exact grid in time. Writing is in `io.encode`, single images in `io.image`.

Pictures are RGB uint8 [H, W, 3], upright, progressive, with square pixels, full range, for a BT.709 display
(`io.colour`). Times are seconds on the media clock of `io.media`: zero is the first picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.filter import Graph
from av.video.frame import VideoFrame as DecodedFrame
from av.video.stream import VideoStream

from geneface.errors import InputError
from geneface.io.colour import to_rgb, unknown_colours
from geneface.io.display import display_size, pixel_aspect
from geneface.io.encode import SYNTHETIC_METADATA, write_video, write_webm_alpha
from geneface.io.image import read_image, read_png, write_png, write_png_sequence
from geneface.io.media import (
    MAX_DURATION_SECONDS,
    check_complete,
    decode,
    find_video,
    frame_seconds,
    open_media,
    stream_clock,
    upright,
)
from geneface.types import VIDEO_RATE_HZ, ByteArray

__all__ = [
    "SYNTHETIC_METADATA",
    "VideoFrame",
    "read_frames",
    "read_image",
    "read_png",
    "write_png",
    "write_png_sequence",
    "write_video",
    "write_webm_alpha",
]

_GAP_SECONDS = 1.0
"""Where no picture comes for longer, time was lost: a cut."""
_ROUNDING_SECONDS = 0.003
"""Of the coarsest clocks, Matroska's and Flash's."""


@dataclass(frozen=True)
class VideoFrame:
    """One picture of the regular grid."""

    time_seconds: float
    """i / rate_hz for picture i."""
    image: ByteArray
    """[H, W, 3] RGB."""
    is_repeat: bool
    """The file has no new picture for this time; it is the one before."""
    is_cut: bool = False
    """Time was lost before this picture: the clock jumped, or there was none for more than a second. The pictures
    that repeat the last one in such a gap begin with a cut too."""


def read_frames(path: Path | str, rate_hz: float = VIDEO_RATE_HZ) -> Iterator[VideoFrame]:
    """Yield a video's pictures at exactly `rate_hz`, whatever its own rate, chosen by their timestamps.

    Each time gets the nearest picture, except that none is shown more than half a step before its own time: a
    constant rate is resampled without bias, and in a stream with long pauses the picture before stands.

    Raises:
        InputError: no pictures, damaged or cut-off file, changing picture size, and all of `open_media`.
    """
    path = Path(path)
    index = 0
    image: ByteArray | None = None
    with open_media(path) as container:
        stream = find_video(container)
        if stream is None:
            raise _no_pictures(path)
        is_cut = False
        for interval in _intervals(path, container, stream, 0.5 / rate_hz):
            if interval.stop > MAX_DURATION_SECONDS:
                raise InputError(f"{path} is longer than {MAX_DURATION_SECONDS // 3600} hours", "cut it first")
            is_cut |= interval.is_cut
            shown: ByteArray | None = None
            while index / rate_hz < interval.stop - 1e-6:
                seconds = index / rate_hz
                is_repeat = shown is not None
                if shown is None:
                    shown = image = _to_image(path, stream, interval.picture, seconds, image)
                elif seconds >= interval.freezes and (index - 1) / rate_hz < interval.freezes:
                    is_cut = True
                yield VideoFrame(seconds, shown, is_repeat, is_cut)
                is_cut = False
                index += 1
    if image is None:
        raise _no_pictures(path)


def _no_pictures(path: Path) -> InputError:
    return InputError(f"{path} has no pictures", "give a video that shows a face")


@dataclass(frozen=True)
class _Interval:
    """A decoded picture and when it is shown, seconds from the first one."""

    picture: DecodedFrame
    stop: float
    """It is the choice for grid times before this."""
    is_cut: bool = False
    """Time was lost before it."""
    freezes: float = math.inf
    """From here on it stands only because the next one is missing."""


def _intervals(path: Path, container: InputContainer, stream: VideoStream, half_step: float) -> Iterator[_Interval]:
    """Yield pictures with the intervals in which they are shown.

    A picture takes over half-way between its predecessor and itself, at most `half_step` seconds early. The last one
    stands until the nearest grid time to its end, so that n seconds give n rate_hz pictures.
    """
    stream.thread_type = "AUTO"
    clock = stream_clock(path, container, stream)
    period = 1 / float(stream.average_rate or stream.guessed_rate or VIDEO_RATE_HZ)
    # The header's rate is an average, which a jump of the clock spoils: what is usual is seen on the way.
    usual = before = period
    zero = begin = 0.0
    picture: DecodedFrame | None = None
    is_cut, jumps = False, 0
    for frame in _progressive(decode(path, container, stream, clock)):
        if picture is None:
            zero = frame_seconds(frame) or 0.0
            picture = frame
            continue
        stated = frame_seconds(frame)
        seconds = stated - zero if stated is not None else begin + period
        if seconds <= begin:
            continue  # a clock that steps back: the picture has no time of its own
        step = seconds - begin
        is_lost = step > max(_GAP_SECONDS, 1.5 * usual)
        yield _Interval(
            picture, seconds - min(step / 2, half_step), is_cut, begin + usual - 1e-6 if is_lost else math.inf
        )
        usual, before = min(step, before), step
        picture, begin, is_cut = frame, seconds, is_lost
        while jumps < len(clock.jumps) and zero + seconds > clock.jumps[jumps] - _ROUNDING_SECONDS:
            is_cut, jumps = True, jumps + 1
    if picture is not None:
        end = begin + (_duration(picture) or period)
        if not clock.jumps:
            check_complete(path, container, stream, zero + end)
        yield _Interval(picture, max(end - half_step, 1e-3), is_cut)


def _duration(frame: DecodedFrame) -> float:
    """Seconds that the picture is shown, 0 if not stated."""
    return float((getattr(frame, "duration", 0) or 0) * (frame.time_base or 0))


def _to_image(
    path: Path, stream: VideoStream, frame: DecodedFrame, seconds: float, before: ByteArray | None
) -> ByteArray:
    """RGB pixels of a decoded picture: right colours, square pixels, upright."""
    unknown = unknown_colours(frame)
    if unknown:
        raise InputError(f"the colours of {path} are {unknown}, which can't be read", "convert it first, to BT.709")
    image = to_rgb(frame, *display_size(frame, pixel_aspect(stream)))
    image = upright(path, frame, stream).apply(image)
    if before is not None and image.shape != before.shape:
        raise InputError(f"the picture size of {path} changes", "convert it to one size first", f"at {seconds:.2f} s")
    return image


def _progressive(frames: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
    """Pictures whose two fields were taken at different times become those of the first field's time.

    By FFmpeg's `bwdif`, from the first picture on that says it is interlaced; before that nothing is touched.
    """
    graph: Graph | None = None
    made_for = None
    for frame in frames:
        kind = (frame.width, frame.height, frame.format.name)
        if graph is not None and kind != made_for:
            yield from _rest(graph)
            graph = None
        if graph is None and frame.interlaced_frame:
            graph, made_for = _deinterlacer(frame), kind
        if graph is None:
            yield frame
            continue
        graph.push(frame)
        yield from _ready(graph)
    if graph is not None:
        yield from _rest(graph)


def _deinterlacer(frame: DecodedFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 25)
    )
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph


def _ready(graph: Graph) -> Iterator[DecodedFrame]:
    with suppress(BlockingIOError, EOFError):
        while True:
            yield graph.vpull()


def _rest(graph: Graph) -> Iterator[DecodedFrame]:
    graph.push(None)
    yield from _ready(graph)
