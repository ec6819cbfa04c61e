"""Decoded pictures to RGB as BT.709 displays show it: uint8 [H, W, 3], full range.

Symbols: Y, Cb, Cr planes; R'G'B' signals in [0, 1]; linear light, 1 is white. Code points are those of ITU-T H.273. The
formulas are those of H.273, BT.1886 (display gamma), BT.2100 (PQ and HLG) and BT.2407 (primaries); libzimg, FFmpeg's
`zscale`, uses the same, and tests compare with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from av.video.frame import VideoFrame as DecodedFrame
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from geneface.types import ByteArray, FloatArray

HDR_WHITE_NITS = 1000.0
"""Luminance of PQ and HLG pictures, cd/m2, that becomes white: the peak of the display that BT.2100 describes. What is
brighter is clipped, as `zscale=npl=1000:p=bt709:t=bt709:m=bt709` does."""

_UNKNOWN, _YCGCO, _CHROMA_DERIVED = 2, 8, 12
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""H.273 matrix coefficients to libswscale's numbers (SWS_CS_*); older releases of PyAV don't name all of them."""
_UNSUPPORTED_MATRICES = {
    10: "BT.2020 with constant luminance",
    11: "YDzDx",
    13: "chroma-derived constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
_FULL_RANGE = 2
_BT2020, _P3_DCI, _P3 = 9, 11, 12
_WIDE = {
    _BT2020: ("BT.2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), (0.3127, 0.3290)),
    _P3_DCI: ("DCI-P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), (0.314, 0.351)),
    _P3: ("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), (0.3127, 0.3290)),
}
"""Primaries beyond BT.709: name, x and y of red, green and blue, and of white. Those of BT.470 and SMPTE 170M differ
from BT.709 by less than cameras do, and players show them as they are."""
_BT709_PRIMARIES = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)), (0.3127, 0.3290)
_LINEAR, _LOG100, _LOG316, _PQ, _SMPTE428, _HLG = 8, 9, 10, 16, 17, 18
_TRANSFERS = {
    _LINEAR: "linear light",
    _LOG100: "logarithmic light",
    _LOG316: "logarithmic light",
    _PQ: "PQ",
    _SMPTE428: "SMPTE 428",
    _HLG: "HLG",
}
"""Transfer characteristics that a BT.709 display would show wrongly."""

# Flags of libswscale (swscale.h). Without accurate rounding every picture gets darker by 1.2/255, and without full
# chroma by 2/255. Where the size stays, chroma is still enlarged: bilinear, as players do. Nearest chroma would ignore
# where the file says its samples lie, which costs 3 dB of a picture (4 dB before a blue screen).
_BILINEAR, _BICUBIC, _FULL_CHROMA, _ACCURATE, _BITEXACT = 0x2, 0x4, 0x2000, 0x40000, 0x80000
_KEEP_SIZE = _BILINEAR | _FULL_CHROMA | _ACCURATE | _BITEXACT
_SCALE = _BICUBIC | _FULL_CHROMA | _ACCURATE | _BITEXACT
_BLOCK_PIXELS = 1 << 15
"""So many pixels are mapped at once: what lies between stays in the processor's cache."""
_CODES = 1 << 16
_DISPLAY_GAMMA = 2.4


def colour_name(frame: DecodedFrame) -> str:
    """What is not BT.709 in a picture's colours, e.g. "HLG in BT.2020"; "" for ordinary video."""
    primaries, transfer = _tags(frame)
    names = [_TRANSFERS.get(transfer, ""), _WIDE[primaries][0] if primaries in _WIDE else ""]
    return " in ".join(name for name in names if name)


def to_rgb(frame: DecodedFrame, width: int, height: int) -> ByteArray:
    """A decoded picture at another size, as stored (not turned), with its own matrix, range, transfer and primaries.

    BT.709 and BT.601 pictures keep their numbers. HDR and wide colours are shown on a BT.709 display whose white is
    `HDR_WHITE_NITS`: within 2 levels of what libzimg gives.
    """
    primaries, transfer = _tags(frame)
    is_ordinary = not colour_name(frame)
    white = _CODES - 1
    if int(frame.colorspace) in (_YCGCO, _CHROMA_DERIVED) and not _is_rgb(frame):
        codes = _decode_planes(frame, width, height)
    elif is_ordinary:
        return _convert(frame, width, height, "rgb24").astype(np.uint8, copy=False)
    else:
        codes, white = _convert(frame, width, height, "gbrp16le"), _white_code(frame)
    if is_ordinary:
        return ((codes.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return _show(codes, _display(primaries, transfer, white))


def unknown_colours(frame: DecodedFrame) -> str:
    """The name of a picture's colour system if `to_rgb` can't read it, else ""."""
    return "" if _is_rgb(frame) else _UNSUPPORTED_MATRICES.get(int(frame.colorspace), "")


def _tags(frame: DecodedFrame) -> tuple[int, int]:
    """Primaries and transfer as they matter: HDR without primaries is BT.2020."""
    primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
    if transfer in (_PQ, _HLG) and primaries == _UNKNOWN:
        primaries = _BT2020
    return primaries, transfer


def _is_rgb(frame: DecodedFrame) -> bool:
    return frame.format.name.startswith(("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "x2", "pal"))


def _convert(frame: DecodedFrame, width: int, height: int, pixel_format: str) -> NDArray[np.integer]:
    """Resize and convert by libswscale. Of its 16-bit formats only planar ones come out right with these flags."""
    keeps_size = (width, height) == (frame.width, frame.height)
    # One thread: libswscale starts new threads for every picture, and they live as long as it.
    picture = frame.reformat(
        width=width,
        height=height,
        format=pixel_format,
        src_colorspace=_matrix(frame),
        src_color_range=ColorRange.JPEG if _is_full_range(frame) else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_KEEP_SIZE if keeps_size else _SCALE,
        threads=1,
    )
    return np.asarray(picture.to_ndarray(), np.uint8 if pixel_format == "rgb24" else np.uint16)


def _white_code(frame: DecodedFrame) -> int:
    """What libswscale makes of white in 16 bits: it shifts numbers, and does not repeat their bits."""
    bits = frame.format.components[0].bits if _is_full_range(frame) else 8
    return (_CODES - 1) >> (16 - bits) << (16 - bits)


def _matrix(frame: DecodedFrame) -> int:
    """The file's matrix; untagged video is BT.709 from HD up and BT.601 below, as players assume."""
    is_hd = frame.width >= 1280 or frame.height > 576
    return _MATRICES.get(int(frame.colorspace), 1 if is_hd else 5)


def _is_full_range(frame: DecodedFrame) -> bool:
    return int(frame.color_range) == _FULL_RANGE or _is_rgb(frame) or frame.format.name.startswith("yuvj")


def _decode_planes(frame: DecodedFrame, width: int, height: int) -> NDArray[np.uint16]:
    """R'G'B' in 16 bits by a matrix that libswscale does not know: YCgCo, or what follows from the primaries."""
    keeps_size = (width, height) == (frame.width, frame.height)
    same = ColorRange.JPEG if _is_full_range(frame) else ColorRange.MPEG
    planes = frame.reformat(
        width=width,
        height=height,
        format="yuv444p16le",
        # The same on both sides, so that the numbers are only moved to 16 bits.
        src_colorspace=_MATRICES[1],
        dst_colorspace=_MATRICES[1],
        src_color_range=same,
        dst_color_range=same,
        interpolation=_KEEP_SIZE if keeps_size else _SCALE,
        threads=1,
    ).to_ndarray()
    y, cb, cr = np.moveaxis(planes, -1, 0).astype(np.float32)
    middle, white = np.float32(_CODES // 2), np.float32(_white_code(frame))
    if _is_full_range(frame):
        y, cb, cr = y / white, (cb - middle) / white, (cr - middle) / white
    else:
        # YCgCo is made of limited numbers, the others of signals.
        chroma = 219 if int(frame.colorspace) == _YCGCO else 224
        y, cb, cr = (y / 256 - 16) / 219, (cb - middle) / 256 / chroma, (cr - middle) / 256 / chroma
    if int(frame.colorspace) == _YCGCO:  # Cg lies where Cb does, Co where Cr does
        signal = np.stack([y - cb + cr, y + cb, y - cb - cr], axis=-1)
    else:
        kr, kg, kb = _to_xyz(*_primaries(_tags(frame)[0]))[1]
        red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
        signal = np.stack([red, (y - kr * red - kb * blue) / kg, blue], axis=-1)
    return np.round(np.clip(signal, 0, 1) * (_CODES - 1)).astype(np.uint16)


@dataclass(frozen=True)
class _Display:
    """What turns R'G'B' of a file into that of a BT.709 display."""

    light: FloatArray
    """[65536] light of each code."""
    mix: FloatArray
    """[3, 3] light in the file's primaries to BT.709."""
    codes: ByteArray
    """[65536] level of the square root of light."""


@lru_cache(maxsize=8)
def _display(primaries: int, transfer: int, white: int) -> _Display:
    """`white` is the code of white in the pictures that are to be shown."""
    signal = np.arange(_CODES) / (_CODES - 1)
    mix = np.linalg.solve(_to_xyz(*_BT709_PRIMARIES), _adapted(*_primaries(primaries)))
    return _Display(
        light=_EOTFS.get(transfer, _bt1886)(np.minimum(np.arange(_CODES) / white, 1)).astype(np.float32),
        mix=mix.astype(np.float32),
        # The square root spends its steps nearly as the eye does.
        codes=np.round(255 * signal ** (2 / _DISPLAY_GAMMA)).astype(np.uint8),
    )


def _show(signal: NDArray[np.integer], display: _Display) -> ByteArray:
    """R'G'B' codes of 16 bits [H, W, 3] to levels of a BT.709 display."""
    flat = signal.reshape(-1, 3)
    shown = np.empty(flat.shape, np.uint8)
    for start in range(0, len(flat), _BLOCK_PIXELS):
        block = flat[start : start + _BLOCK_PIXELS]
        light = [display.light[block[:, k]] for k in range(3)]
        for k in range(3):
            mixed = display.mix[k, 0] * light[0] + display.mix[k, 1] * light[1] + display.mix[k, 2] * light[2]
            np.clip(mixed, 0, 1, out=mixed)
            np.sqrt(mixed, out=mixed)
            mixed *= _CODES - 1
            shown[start : start + _BLOCK_PIXELS, k] = display.codes[(mixed + np.float32(0.5)).astype(np.uint16)]
    return shown.reshape(signal.shape)


def _bt1886(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    return signal**_DISPLAY_GAMMA


def _srgb(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def _pq(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.2100 table 4, as parts of `HDR_WHITE_NITS`."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    root = signal ** (1 / m2)
    return 10_000 / HDR_WHITE_NITS * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def _hlg(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.2100 table 5: light of the scene, to the power of 1.2 (OOTF of a display of 1000 cd/m2).

    Each component for itself, as libzimg does: BT.2100 scales all three by their luminance, which differs by 2 levels
    in a face.
    """
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12) ** 1.2


_EOTFS: dict[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    4: lambda signal: signal**2.2,
    5: lambda signal: signal**2.8,
    _LINEAR: lambda signal: signal,
    _LOG100: lambda signal: np.where(signal > 0, 10 ** (2 * (signal - 1)), 0),
    _LOG316: lambda signal: np.where(signal > 0, 10 ** (2.5 * (signal - 1)), 0),
    13: _srgb,
    _PQ: _pq,
    _SMPTE428: lambda signal: 52.37 / 48 * signal**2.6,
    _HLG: _hlg,
}


def _primaries(number: int) -> tuple[tuple[tuple[float, float], ...], tuple[float, float]]:
    return _WIDE[number][1:] if number in _WIDE else _BT709_PRIMARIES


def _white(white: tuple[float, float]) -> NDArray[np.float64]:
    return np.array([white[0] / white[1], 1, (1 - white[0] - white[1]) / white[1]])


def _to_xyz(primaries: tuple[tuple[float, float], ...], white: tuple[float, float]) -> NDArray[np.float64]:
    """[3, 3] linear RGB to CIE XYZ; its second row holds the luminances."""
    columns = np.stack([_white(primary) for primary in primaries], axis=1)
    return columns * np.linalg.solve(columns, _white(white))


def _adapted(primaries: tuple[tuple[float, float], ...], white: tuple[float, float]) -> NDArray[np.float64]:
    """`_to_xyz`, with white brought to that of BT.709 (Bradford)."""
    cone = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    gain = (cone @ _white(_BT709_PRIMARIES[1])) / (cone @ _white(white))
    return np.linalg.inv(cone) @ (gain[:, None] * cone) @ _to_xyz(primaries, white)
