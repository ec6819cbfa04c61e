"""Video files to pictures on an exact grid in time. Writing is in `io.encode`, single images in `io.image`.

Pictures are RGB uint8 [H, W, 3], upright, with square pixels, full range, in the primaries of the file. Times are
seconds on the media clock of `io.media`: zero is the first picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame as DecodedFrame
from av.video.reformatter import ColorRange

from geneface.errors import InputError
from geneface.io.encode import SYNTHETIC_METADATA, write_video, write_webm_alpha
from geneface.io.image import read_image, read_png, write_png, write_png_sequence
from geneface.io.media import (
    MAX_DURATION_SECONDS,
    check_complete,
    decode,
    display_size,
    find_video,
    frame_seconds,
    open_media,
    pixel_aspect,
    quarter_turns,
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

_BT709, _FCC, _BT601, _SMPTE240, _BT2020 = 1, 4, 5, 7, 9
"""Matrices by libswscale's numbers (SWS_CS_*); older releases of PyAV don't name all of them."""
_MATRICES = {1: _BT709, 4: _FCC, 5: _BT601, 6: _BT601, 7: _SMPTE240, 9: _BT2020, 10: _BT2020}
"""H.273 matrix coefficients, as decoders report them, to libswscale's."""
_FULL_RANGE = 2

# Flags of libswscale (swscale.h). Without accurate rounding every picture gets darker by 1.2/255, and without full
# chroma by 2/255. Where the size stays, chroma is still enlarged: bilinear, as players do. Nearest chroma would ignore
# where the file says its samples lie, which costs 3 dB of a picture (4 dB before a blue screen).
_BILINEAR, _BICUBIC, _FULL_CHROMA, _ACCURATE, _BITEXACT = 0x2, 0x4, 0x2000, 0x40000, 0x80000
_KEEP_SIZE = _BILINEAR | _FULL_CHROMA | _ACCURATE | _BITEXACT
_SCALE = _BICUBIC | _FULL_CHROMA | _ACCURATE | _BITEXACT


@dataclass(frozen=True)
class VideoFrame:
    """One picture of the regular grid."""

    time_seconds: float
    """i / rate_hz for picture i."""
    image: ByteArray
    """[H, W, 3] RGB."""
    is_repeat: bool
    """The file has no new picture for this time; it is the one before."""


def read_frames(path: Path | str, rate_hz: float = VIDEO_RATE_HZ) -> Iterator[VideoFrame]:
    """Yield a video's pictures at exactly `rate_hz`, whatever its own rate, chosen by their timestamps.

    Each time gets the nearest picture, except that none is shown more than half a step before its own time: a
    constant rate is resampled without bias, and in a stream with long pauses the picture before stands.

    Raises:
        InputError: no pictures, damaged or cut-off file, changing picture size, and all of `open_media`.
    """
    path = Path(path)
    index = 0
    shown = None
    image = None
    for frame, aspect, stop in _intervals(path, 0.5 / rate_hz):
        if stop > MAX_DURATION_SECONDS:
            raise InputError(f"{path} is longer than {MAX_DURATION_SECONDS // 3600} hours", "cut it first")
        while index / rate_hz < stop - 1e-6:
            if image is None or shown is not frame:
                image = _to_image(path, frame, aspect, index / rate_hz, image)
                yield VideoFrame(index / rate_hz, image, False)
                shown = frame
            else:
                yield VideoFrame(index / rate_hz, image, True)
            index += 1
    if image is None:
        raise InputError(f"{path} has no pictures", "give a video that shows a face")


def _intervals(path: Path, half_step: float) -> Iterator[tuple[DecodedFrame, float, float]]:
    """Yield (picture, pixel aspect, stop): it is the choice for grid times before `stop`, seconds from the first one.

    A picture takes over half-way between its predecessor and itself, at most `half_step` seconds early. The last one
    stands until the nearest grid time to its end, so that n seconds give n rate_hz pictures.
    """
    with open_media(path) as container:
        stream = find_video(container)
        if stream is None:
            return
        stream.thread_type = "AUTO"
        period = 1 / float(stream.average_rate or stream.guessed_rate or VIDEO_RATE_HZ)
        zero = previous_seconds = 0.0
        previous: DecodedFrame | None = None
        aspect = pixel_aspect(stream)
        for frame in decode(path, container, stream):
            if previous is None:
                zero = frame_seconds(frame) or 0.0
                previous = frame
                continue
            stated = frame_seconds(frame)
            seconds = stated - zero if stated is not None else previous_seconds + period
            if seconds <= previous_seconds:
                continue  # a clock that steps back: the picture has no time of its own
            stop = seconds - min((seconds - previous_seconds) / 2, half_step)
            yield previous, aspect, stop
            previous, previous_seconds = frame, seconds
        if previous is not None:
            duration = _duration(previous) or period
            check_complete(path, container, stream, zero + previous_seconds + duration)
            yield previous, aspect, max(previous_seconds + duration - half_step, 1e-3)


def _duration(frame: DecodedFrame) -> float:
    """Seconds that the picture is shown, 0 if not stated."""
    return float((getattr(frame, "duration", 0) or 0) * (frame.time_base or 0))


def _to_image(path: Path, frame: DecodedFrame, aspect: float, seconds: float, before: ByteArray | None) -> ByteArray:
    """RGB pixels of a decoded picture: right matrix and range, square pixels, upright."""
    width, height = display_size(frame, aspect)
    rgb = frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=_matrix(frame),
        src_color_range=ColorRange.JPEG if _is_full_range(frame) else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_SCALE if (width, height) != (frame.width, frame.height) else _KEEP_SIZE,
    )
    image = np.ascontiguousarray(np.rot90(rgb.to_ndarray(), quarter_turns(frame)), np.uint8)
    if before is not None and image.shape != before.shape:
        raise InputError(f"the picture size of {path} changes", "convert it to one size first", f"at {seconds:.2f} s")
    return image


def _matrix(frame: DecodedFrame) -> int:
    """The file's matrix; untagged video is BT.709 from HD up and BT.601 below, as players assume."""
    is_hd = frame.width >= 1280 or frame.height > 576
    return _MATRICES.get(int(frame.colorspace), _BT709 if is_hd else _BT601)


def _is_full_range(frame: DecodedFrame) -> bool:
    name = frame.format.name
    return int(frame.color_range) == _FULL_RANGE or name.startswith(
        ("yuvj", "rgb", "bgr", "gbr", "argb", "abgr", "pal")
    )
