"""From items to packets, as players take them: single units for WebCodecs, fragmented MP4 for MediaSource."""

from __future__ import annotations

from typing import Any, Protocol

from geneface.io.live import LEAST_BIT_RATE, MOST_BIT_RATE, LiveSoundEncoder, LiveVideoEncoder
from geneface.realtime import ITEM_SAMPLES, SOUND_RATE_HZ, Item
from geneface.serve.live.fragments import Fragments
from geneface.serve.live.packets import Kind, Packet
from geneface.types import ByteArray, to_int16

_ITEM_MICROSECONDS = 40_000
_OPUS_MICROSECONDS = 20_000
_OPUS_DELAY_MICROSECONDS = 2_500
"""Of a decoded packet's sound: RFC 6716 has no less."""
_BITS_A_PIXEL = 7.5
"""A second, at most: 2 Mbit at 512 x 512."""
_LEVELS = ((3600, 31), (8192, 40), (22_080, 50), (36_864, 51))
"""Of H.264 by the macroblocks of a picture (ITU-T H.264, table A-1), with 25 pictures a second within each."""


class Stream(Protocol):
    """Packets of one listener. Only one thread at a time may call."""

    def facts(self) -> dict[str, Any]:
        """What a player must know before the first packet, for the message "ready"."""
        ...

    def head(self) -> list[Packet]:
        """What comes before the first item."""
        ...

    def packets(self, item: Item, *, is_key: bool, has_picture: bool) -> list[Packet]:
        """An item's packets, sound first.

        Args:
            is_key: its picture must need no earlier one.
            has_picture: False: the listener is behind, and its picture should cost nothing.
        """
        ...


class UnitStream:
    """H.264 units and Opus packets or samples, each a packet. A repeated picture is not sent."""

    def __init__(self, width: int, height: int, sound: str) -> None:
        """`sound`: "opus" or "pcm"."""
        self._pictures = LiveVideoEncoder(bit_rate_of(width, height))
        self._opus = LiveSoundEncoder("libopus") if sound == "opus" else None
        self._sound, self._codec = sound, codec_string(width, height)
        self._count = 0

    def facts(self) -> dict[str, Any]:
        """Codec strings of WebCodecs."""
        return {"codec": "webcodecs", "video": self._codec, "audio": self._sound, "rate": SOUND_RATE_HZ}

    def head(self) -> list[Packet]:
        """Nothing: key frames carry their parameters."""
        return []

    def packets(self, item: Item, *, is_key: bool, has_picture: bool) -> list[Packet]:
        """See `Stream`."""
        time = item.index * _ITEM_MICROSECONDS
        found = [
            Packet(Kind.SOUND, data, item.generation, item.index, time + shift) for shift, data in self._sounds(item)
        ]
        if is_key or (has_picture and not item.is_repeat):
            unit = self._pictures.encode(item.picture.to_yuv420(), item.index, is_key)
            found.append(Packet(Kind.PICTURE, bytes(unit), item.generation, item.index, time, unit.is_keyframe))
        return found

    def _sounds(self, item: Item) -> list[tuple[int, bytes]]:
        """Payloads, with the microseconds from the item's beginning to theirs."""
        if self._opus is None:
            return [(0, to_int16(item.sound).tobytes())]
        packets = self._opus.encode(item.sound, self._count * ITEM_SAMPLES)
        self._count += 1
        return [
            (number * _OPUS_MICROSECONDS - _OPUS_DELAY_MICROSECONDS, bytes(packet))
            for number, packet in enumerate(packets)
        ]


class FragmentStream:
    """Fragmented MP4, a fragment an item. Its time counts fragments from 0, so that no gap can stop a player."""

    def __init__(self, width: int, height: int, sound: str) -> None:
        """`sound`: "opus" or "aac"."""
        self._fragments = Fragments(width, height, bit_rate_of(width, height), codec_string(width, height), sound)
        self._sound = sound
        self._count = 0
        self._planes: ByteArray | None = None

    def facts(self) -> dict[str, Any]:
        """The type of MediaSource."""
        return {"codec": "mse", "video": self._fragments.media_type, "audio": self._sound, "rate": SOUND_RATE_HZ}

    def head(self) -> list[Packet]:
        """ftyp and moov."""
        return [Packet(Kind.INIT, self._fragments.head())]

    def packets(self, item: Item, *, is_key: bool, has_picture: bool) -> list[Packet]:
        """See `Stream`. A picture that should cost nothing is the one before, which x264 skips in some bytes."""
        is_same = self._planes is not None and (item.is_repeat or not has_picture)
        planes = self._planes if is_same and self._planes is not None else item.picture.to_yuv420()
        self._planes = planes
        data, is_key = self._fragments.fragment(planes, item.sound, is_key=is_key)
        time = self._count * _ITEM_MICROSECONDS
        self._count += 1
        return [Packet(Kind.FRAGMENT, data, item.generation, item.index, time, is_key)]


def bit_rate_of(width: int, height: int) -> int:
    """Bits a second that pictures of this size take at most."""
    return int(min(max(width * height * _BITS_A_PIXEL, LEAST_BIT_RATE), MOST_BIT_RATE))


def codec_string(width: int, height: int) -> str:
    """RFC 6381: Constrained Baseline, and a level that holds 25 pictures a second of this size."""
    blocks = -(-width // 16) * -(-height // 16)
    level = next(level for most, level in _LEVELS if blocks <= most)
    return f"avc1.42C0{level:02X}"


def open_stream(codec: str, width: int, height: int, sound: str) -> Stream:
    """The stream that a player asks for: `codec` "webcodecs" or "mse", `sound` "opus", "pcm" or "aac".

    Raises:
        ValueError: one that there is not.
    """
    if codec == "webcodecs" and sound in ("opus", "pcm"):
        return UnitStream(width, height, sound)
    if codec == "mse" and sound in ("opus", "aac", "pcm"):
        # MP4 for browsers holds no plain samples.
        return FragmentStream(width, height, "aac" if sound == "pcm" else sound)
    raise ValueError(f"there is no stream of codec {codec!r} with audio {sound!r}")
