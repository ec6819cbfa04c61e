"""The planes of a video picture: uint8 [3 H / 2, W], H rows of luma, then the two differences of colour, H / 2 x W / 2.

BT.709, limited range, 4:2:0: what `ops.to_yuv420` makes and an encoder takes. H and W are even. A part of a picture is
a `Window` of even numbers.
"""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from geneface.render.renderer import Window
from geneface.types import ByteArray, FloatArray

_RED, _GREEN, _BLUE = 0.2126, 0.7152, 0.0722
LUMA = np.array([_RED, _GREEN, _BLUE], np.float32)
"""Weights of red, green and blue in luma."""
_LUMA_RANGE, _LUMA_ZERO, _CHROMA_RANGE, _CHROMA_ZERO = 219.0, 16.0, 224.0, 128.0
_TO_YUV = np.array(
    [
        np.array([_RED, _GREEN, _BLUE]) * _LUMA_RANGE,
        np.array([-_RED, -_GREEN, 1 - _BLUE]) * (_CHROMA_RANGE / 2 / (1 - _BLUE)),
        np.array([1 - _RED, -_GREEN, -_BLUE]) * (_CHROMA_RANGE / 2 / (1 - _RED)),
    ]
)
"""[3, 3] levels of Y, U, V for one unit of red, green, blue, without the levels of black."""
_FROM_YUV = np.linalg.inv(_TO_YUV)
_THREAD = threading.local()


def split(planes: ByteArray) -> tuple[ByteArray, ByteArray, ByteArray]:
    """Views of luma [H, W] and of both differences of colour [H / 2, W / 2]."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    quarter = height * width // 4
    flat = planes.reshape(-1)
    blue, red = (flat[4 * quarter + i * quarter : 4 * quarter + (i + 1) * quarter] for i in (0, 1))
    shape = (height // 2, width // 2)
    return planes[:height], blue.reshape(shape), red.reshape(shape)


def cut(planes: ByteArray, window: Window) -> ByteArray:
    """The part of a picture in a window, a fresh array."""
    height, width = window.height, window.width
    out = np.empty((height * 3 // 2, width), np.uint8)
    half = _half(window)
    for target, source, part in zip(split(out), split(planes), (window, half, half), strict=True):
        target[:] = source[part.rows, part.columns]
    return out


def to_rgb(planes: ByteArray, window: Window) -> FloatArray:
    """The part of a picture in a window, float32 [h, w, 3] RGB; four pixels share their difference of colour."""
    luma, blue, red = split(planes)
    half = _half(window)
    matrix = _FROM_YUV.astype(np.float32)
    chroma = np.stack([part[half.rows, half.columns] for part in (blue, red)], axis=-1).astype(np.float32)
    colour = (chroma - np.float32(_CHROMA_ZERO)) @ matrix[:, 1:].T
    grey = (luma[window.rows, window.columns].astype(np.float32) - np.float32(_LUMA_ZERO)) * matrix[0, 0]
    return grey[..., None] + colour.repeat(2, axis=0).repeat(2, axis=1)


def add(planes: ByteArray, window: Window, change: FloatArray) -> None:
    """Add a change of colours [h, w, 3], in 0..1, to a picture in a window; where it is 0, no bit of luma changes."""
    matrix = _TO_YUV.astype(np.float32)
    luma, blue, red = split(planes)
    half = _half(window)
    _add(luma[window.rows, window.columns], change @ matrix[0])
    rows = change[::2] + change[1::2]
    boxes = np.float32(0.25) * (rows[:, ::2] + rows[:, 1::2])
    for plane, row in ((blue, matrix[1]), (red, matrix[2])):
        _add(plane[half.rows, half.columns], boxes @ row)


def resized(planes: ByteArray, height: int, width: int) -> ByteArray:
    """A picture at another size, by the area that each pixel covers or bicubically."""
    have = planes.shape[0] * 2 // 3, planes.shape[1]
    if have == (height, width):
        return planes
    how = Interpolation.AREA if height * width < have[0] * have[1] else Interpolation.BICUBIC
    frame = _reformatter().reformat(_frame(planes), width=width, height=height, interpolation=how)
    return np.ascontiguousarray(frame.to_ndarray(), np.uint8)


def picture(planes: ByteArray) -> ByteArray:
    """A whole picture as RGB bytes [H, W, 3]."""
    frame = _reformatter().reformat(
        _frame(planes),
        format="rgb24",
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BICUBIC,
    )
    return np.ascontiguousarray(frame.to_ndarray(), np.uint8)


def _reformatter() -> VideoReformatter:
    """This thread's: it keeps what it prepared for the last sizes."""
    if not hasattr(_THREAD, "reformatter"):
        _THREAD.reformatter = VideoReformatter()
    return _THREAD.reformatter


def _frame(planes: ByteArray) -> VideoFrame:
    return VideoFrame.from_ndarray(np.ascontiguousarray(planes), format="yuv420p")


def _add(levels: ByteArray, change: FloatArray) -> None:
    np.copyto(levels, np.clip(np.rint(levels + change), 0, 255).astype(np.uint8))


@lru_cache(maxsize=64)
def _half(window: Window) -> Window:
    return Window(*(value // 2 for value in (window.left, window.top, window.width, window.height)))
