"""Binary messages of a live stream: a header of 20 bytes, then the payload. docs/serve.md, "The stream", is its text.

    byte  0      kind, see `Kind`
          1      flags; 1: a picture that needs no earlier one
          2-3    0
          4-7    generation, unsigned
          8-11   index of the item, unsigned
          12-19  time stamp in microseconds, signed: index * 40 000 for a picture, of its first sample for sound

Little endian. It holds no media library: anybody can write it in a dozen lines.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

_HEADER = struct.Struct("<BBHIIq")
HEADER_BYTES = _HEADER.size
_KEY = 1


class Kind(IntEnum):
    """What a binary message carries."""

    PICTURE = 1
    """H.264, one access unit in Annex B form, with its parameter sets where it is a key frame."""
    SOUND = 2
    """An Opus packet of 20 ms, or 40 ms of s16 samples at 48 kHz, little endian, mono."""
    INIT = 3
    """The head of a fragmented MP4: ftyp and moov."""
    FRAGMENT = 4
    """moof and mdat of one item: its picture and the sound that is ready."""
    MICROPHONE = 16
    """From the client: s16 samples, little endian, mono, at the rate of its message "microphone"."""


@dataclass(frozen=True)
class Packet:
    """One binary message."""

    kind: Kind
    payload: bytes
    generation: int = 0
    index: int = 0
    microseconds: int = 0
    is_key: bool = False

    def to_bytes(self) -> bytes:
        """As it is sent."""
        flags = _KEY if self.is_key else 0
        header = _HEADER.pack(self.kind, flags, 0, self.generation, self.index, self.microseconds)
        return header + self.payload

    @staticmethod
    def from_bytes(message: bytes) -> Packet:
        """What a message says.

        Raises:
            ValueError: too short, or of an unknown kind.
        """
        if len(message) < HEADER_BYTES:
            raise ValueError(f"a binary message of {len(message)} bytes has no header of {HEADER_BYTES}")
        kind, flags, _, generation, index, microseconds = _HEADER.unpack_from(message)
        is_key = bool(flags & _KEY)
        return Packet(Kind(kind), bytes(message[HEADER_BYTES:]), generation, index, microseconds, is_key)
