"""Recorded pictures kept as H.264: written in pieces, joined without coding them again, read from any picture on.

Each piece is an MP4 of `io.encode.write_video` at 25 pictures a second with groups of `GROUP_FRAMES` that need nothing
outside (closed), the first picture of each group being coded by itself: to reach a picture at most a group is decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.error

from geneface.errors import InputError
from geneface.io.atomic import atomic_path
from geneface.io.colour import to_rgb
from geneface.io.encode import GROUP_FRAMES, write_video
from geneface.io.media import damaged_media, find_video, open_media
from geneface.types import VIDEO_RATE_HZ, ByteArray

CRF = 14
"""Quality of x264: 45 to 48 dB to what was read."""


def write_recorded(path: Path, pictures: Iterable[ByteArray]) -> int:
    """Write one piece, whole or not at all; returns the number of pictures.

    Args:
        pictures: uint8 [H, W, 3] RGB, all of one size; an odd side gets a copy of its last row or column.

    Raises:
        InputError: as `write_video`.
    """
    return write_video(path, pictures, None, crf=CRF, gop=GROUP_FRAMES, is_synthetic=False)


def join_recorded(path: Path, pieces: Sequence[Path]) -> None:
    """Put pieces of one size behind each other in one file, whole or not at all.

    Raises:
        InputError: a piece is damaged, or the file can't be written.
    """
    with (
        atomic_path(path) as temporary,
        av.open(str(temporary), "w", format="mp4", container_options={"movflags": "+faststart"}) as out,
    ):
        stream, start = None, 0
        for piece in pieces:
            with open_media(piece) as source:
                video = find_video(source)
                if video is None or not video.frames:
                    raise damaged_media(piece, 0.0)
                if stream is None:
                    stream = out.add_stream_from_template(video)
                tick = Fraction(1, VIDEO_RATE_HZ) / (video.time_base or Fraction(1))
                for packet in source.demux(video):
                    # The last one only says that there are no more.
                    if packet.pts is None or packet.dts is None:
                        continue
                    packet.pts += round(start * tick)
                    packet.dts += round(start * tick)
                    packet.stream = stream
                    out.mux(packet)
                start += video.frames


def read_recorded(path: Path, width: int, height: int, start: int, stop: int) -> Iterator[ByteArray]:
    """Yield pictures [start, stop) of a file of this size, uint8 [H, W, 3] RGB.

    Raises:
        InputError: the file is missing or damaged, or does not hold these pictures.
    """
    expected = start
    with open_media(path) as container:
        stream = find_video(container)
        if stream is None:
            raise damaged_media(path, 0.0)
        try:
            container.seek(round(start / VIDEO_RATE_HZ / (stream.time_base or 1)), stream=stream)
            for frame in container.decode(stream):
                index = round((frame.time or 0.0) * VIDEO_RATE_HZ)
                if expected == stop:
                    return
                if index < expected:
                    continue
                if index > expected or (frame.width, frame.height) != (width, height):
                    break
                yield to_rgb(frame, width, height)
                expected += 1
        except (av.error.FFmpegError, OSError) as error:
            raise damaged_media(path, expected / VIDEO_RATE_HZ) from error
    if expected < stop:
        raise InputError(
            f"{path} does not hold picture {expected} of {width}x{height} pixels", "prepare the portrait again"
        )
