"""Single images: PNG and JPEG, through the codecs of PyAV. RGB uint8 [H, W, 3], upright."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av.error
import numpy as np
from av.codec import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from geneface.errors import InputError
from geneface.io.atomic import atomic_folder, atomic_path
from geneface.io.imageheader import read_header, without_remarks
from geneface.io.media import check_regular_file
from geneface.types import ByteArray

MAX_IMAGE_PIXELS = 1 << 26
"""Pixels of one image, 67 million: a photograph of any ordinary camera."""

_CODECS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "mjpeg"}
"""First bytes of the image files that are read."""
_MAX_FILE_BYTES = 1 << 28
_JPEG_QUANTISER = "3"
"""FFmpeg's scale, 2 to 31: no artefact of it is to be taken for one of the face."""
_CHANNEL_FORMATS = {3: "rgb24", 4: "rgba"}
# Flags of libswscale (swscale.h): without accurate rounding and full chroma it takes the nearest colour sample.
_BILINEAR_EXACT = 0x2 | 0x2000 | 0x40000 | 0x80000


def read_image(path: Path | str, *, alpha: bool = False) -> ByteArray:
    """Read a PNG or JPEG file as [H, W, 3], or [H, W, 4] with `alpha` (opaque where the file has none), upright.

    Raises:
        InputError: missing, neither PNG nor JPEG, damaged or cut off, or beyond a cap.
    """
    path = Path(path)
    check_regular_file(path)
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise InputError(f"{path} is larger than {_MAX_FILE_BYTES >> 20} MB", "scale it down first")
    data = path.read_bytes()
    codec = next((name for magic, name in _CODECS.items() if data.startswith(magic)), None)
    if codec is None:
        raise InputError(f"{path} is neither a PNG nor a JPEG image", "convert it first")
    header = read_header(data)
    if header.width * header.height > MAX_IMAGE_PIXELS:
        raise InputError(
            f"the image {path} has {header.width}x{header.height} pixels, more than 67 million",
            "scale it down first, e.g. to 4096x2304",
        )
    decoder = CodecContext.create(codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    # Without "explode" half a JPEG is a picture with a grey half.
    decoder.options = {"max_pixels": str(MAX_IMAGE_PIXELS), "err_detect": "explode"}
    try:
        frames = [*decoder.decode(Packet(without_remarks(data))), *decoder.decode(None)]
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"the image {path} is damaged or cut off", "copy it again or export it again") from error
    if not frames:
        raise InputError(f"the image {path} is damaged or cut off", "copy it again or export it again")
    layout = "rgba" if alpha else "rgb24"
    # One thread: libswscale starts new threads for every picture.
    pixels = frames[0].reformat(format=layout, interpolation=_BILINEAR_EXACT, threads=1).to_ndarray()
    return _turn_upright(np.asarray(pixels, np.uint8), header.orientation)


def _turn_upright(image: ByteArray, orientation: int) -> ByteArray:
    """Undo an orientation as EXIF numbers them: 1 is upright, even numbers up to 4 and odd ones from 5 are mirrored."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(image[::rows, ::columns])


def read_png(path: Path | str) -> ByteArray:
    """Read an image as [H, W, 3]; see `read_image`."""
    return read_image(path)


def write_png(path: Path | str, image: ByteArray) -> None:
    """Write an image [H, W, 3] or [H, W, 4] atomically, losslessly."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode_png(image))


def write_jpeg(path: Path | str, image: ByteArray) -> None:
    """Write an image [H, W, 3] atomically as a JPEG: for pictures that are looked at, a tenth of a PNG's size."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode_jpeg(image))


def write_png_sequence(folder: Path | str, images: Iterable[ByteArray]) -> int:
    """Write images as `frame_000000.png` and so on into a new folder, which appears once all are there.

    Returns:
        The number of images.
    """
    count = 0
    with atomic_folder(folder) as temporary:
        for image in images:
            (temporary / f"frame_{count:06d}.png").write_bytes(encode_png(image))
            count += 1
    return count


def encode_png(image: ByteArray) -> bytes:
    """A PNG file of uint8 [H, W, 3] RGB or [H, W, 4] RGBA, in memory."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in _CHANNEL_FORMATS:
        raise ValueError(f"an image is uint8 [H, W, 3 or 4], not {image.dtype} {image.shape}")
    pixel_format = _CHANNEL_FORMATS[image.shape[2]]
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format=pixel_format)
    return _encode("png", frame, {})


def encode_jpeg(image: ByteArray) -> bytes:
    """A JPEG file of uint8 [H, W, 3] RGB, in memory: full range, BT.601 as JFIF has it, chroma at full resolution."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"a JPEG is of uint8 [H, W, 3], not {image.dtype} {image.shape}")
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    planes = frame.reformat(format="yuvj444p", dst_colorspace="ITU601", dst_color_range="JPEG", threads=1)
    return _encode("mjpeg", planes, {"qmin": _JPEG_QUANTISER, "qmax": _JPEG_QUANTISER})


def _encode(codec: str, frame: VideoFrame, options: dict[str, str]) -> bytes:
    """One frame as a file of the codec."""
    encoder = CodecContext.create(codec, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width = frame.height, frame.width
    encoder.pix_fmt = frame.format.name
    encoder.time_base = Fraction(1, 1)
    encoder.options = options
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
