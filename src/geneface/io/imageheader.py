"""What a PNG or JPEG file says of its picture: its size, which way up it is, and the part that a decoder has to see.

Source: JPEG, ITU-T T.81, annex B; PNG, W3C third edition; EXIF 2.3, section 4.5 (a small TIFF file inside either).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_NEEDED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APP0, _APP1, _APP14, _APP15 = 0xE0, 0xE1, 0xEE, 0xEF
_ALONE = {0x01, *range(0xD0, 0xD8)}
"""JPEG markers without a length."""
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""JPEG markers of a frame's header, with the size."""
_EXIF = b"Exif\0\0"
_ORIENTATION_TAG = 0x112
_MAX_ENTRIES = 1000


@dataclass(frozen=True)
class ImageHeader:
    """Width and height as stored, 0 where they are not stated; orientation as EXIF numbers them, 1 is upright."""

    width: int = 0
    height: int = 0
    orientation: int = 1


def read_header(data: bytes) -> ImageHeader:
    """Read the header of a PNG or JPEG file; what is damaged is passed over."""
    width = height = 0
    orientation = 1
    for name, begin, end in _parts(data):
        payload = data[begin:end]
        if name == b"IHDR" and len(payload) >= 8:
            width, height = struct.unpack_from(">II", payload)
        elif name == b"eXIf":
            orientation = _orientation(payload)
        elif name == bytes([_APP1]) and payload.startswith(_EXIF):
            orientation = _orientation(payload[len(_EXIF) :])
        elif len(name) == 1 and name[0] in _FRAMES and len(payload) >= 5:
            height, width = struct.unpack_from(">HH", payload, 1)
    return ImageHeader(width, height, orientation)


def without_remarks(data: bytes) -> bytes:
    """A PNG or JPEG file without what its pixels don't need: a decoder may stumble over odd remarks on print sizes,
    colours, cameras and thumbnails, and refuse the picture."""
    is_png = data.startswith(_PNG_MAGIC)
    kept = [data[: len(_PNG_MAGIC) if is_png else 2]]
    last = len(kept[0])
    for name, _, end in _parts(data):
        start, last = last, min(end + 4 if is_png else end, len(data))
        if name in _PNG_NEEDED if is_png else _is_needed(name[0]):
            kept.append(data[start:last])
    return b"".join(kept) if is_png else b"".join([*kept, data[last:]])


def _is_needed(marker: int) -> bool:
    return marker in (_APP0, _APP14) or not (_APP0 <= marker <= _APP15 or marker == _COM)


def _parts(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, begin and end of the contents of a file's parts."""
    return _chunks(data) if data.startswith(_PNG_MAGIC) else _segments(data)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a PNG file; four bytes of checksum follow each."""
    at = len(_PNG_MAGIC)
    while at + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], at + 8, at + 8 + size
        at += 12 + size


def _segments(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The segments of a JPEG file before its first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (_SOS, _EOI, _SOI):
            return
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        (size,) = struct.unpack_from(">H", data, at + 2)
        yield bytes([marker]), at + 4, at + 2 + size
        at += 2 + size


def _orientation(tiff: bytes) -> int:
    """Orientation, 1 to 8, of a TIFF header's first directory; 1 where it tells none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for entry in range(start + 2, start + 2 + 12 * min(count, _MAX_ENTRIES), 12):
        if entry + 12 > len(tiff):
            break
        tag, kind = struct.unpack_from(order + "HH", tiff, entry)
        if tag == _ORIENTATION_TAG:
            # A short (3) in the first half of the field; some programs write a long (4).
            (value,) = struct.unpack_from(order + ("I" if kind == 4 else "H"), tiff, entry + 8)
            return value if 1 <= value <= 8 else 1
    return 1
