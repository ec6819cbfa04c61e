"""From items to packets, as players take them: single units for WebCodecs, fragmented MP4 for MediaSource."""

from __future__ import annotations

from typing import Any, Protocol

from geneface.realtime import Item
from geneface.serve.live.encoder import OpusEncoder, PictureEncoder, to_s16
from geneface.serve.live.fragments import Fragments
from geneface.serve.live.packets import Kind, Packet
from geneface.types import ByteArray

_ITEM_MICROSECONDS = 40_000
_OPUS_MICROSECONDS = 20_000
_MICROSECONDS_A_SAMPLE = 1e6 / 48_000


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
        self._pictures = PictureEncoder(width, height)
        self._opus = OpusEncoder() if sound == "opus" else None
        self._sound = sound

    def facts(self) -> dict[str, Any]:
        """Codec strings of WebCodecs."""
        return {"codec": "webcodecs", "video": self._pictures.codec_string, "audio": self._sound, "rate": 48_000}

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
            unit, is_key = self._pictures.encode(item.picture.to_yuv420(), is_key=is_key)
            found.append(Packet(Kind.PICTURE, unit, item.generation, item.index, time, is_key))
        return found

    def _sounds(self, item: Item) -> list[tuple[int, bytes]]:
        """Payloads, with the microseconds from the item's beginning to theirs."""
        if self._opus is None:
            return [(0, to_s16(item.sound).tobytes())]
        packets = self._opus.encode(item.sound)
        late = round(self._opus.delay * _MICROSECONDS_A_SAMPLE)
        return [(number * _OPUS_MICROSECONDS - late, data) for number, (_, data) in enumerate(packets)]


class FragmentStream:
    """Fragmented MP4, a fragment an item. Its time counts fragments from 0, so that no gap can stop a player."""

    def __init__(self, width: int, height: int, sound: str) -> None:
        """`sound`: "opus" or "aac"."""
        self._fragments = Fragments(width, height, sound)
        self._sound = sound
        self._count = 0
        self._planes: ByteArray | None = None

    def facts(self) -> dict[str, Any]:
        """The type of MediaSource."""
        return {"codec": "mse", "video": self._fragments.media_type, "audio": self._sound, "rate": 48_000}

    def head(self) -> list[Packet]:
        """ftyp and moov."""
        return [Packet(Kind.INIT, self._fragments.head())]

    def packets(self, item: Item, *, is_key: bool, has_picture: bool) -> list[Packet]:
        """See `Stream`. A picture that should cost nothing is the one before, which x264 skips in some bytes."""
        is_same = self._planes is not None and (item.is_repeat or not has_picture)
        planes = self._planes if is_same and self._planes is not None else item.picture.to_yuv420()
        self._planes = planes
        data, is_key = self._fragments.fragment(planes, item.sound, self._count, is_key=is_key)
        time = self._count * _ITEM_MICROSECONDS
        self._count += 1
        return [Packet(Kind.FRAGMENT, data, item.generation, item.index, time, is_key)]


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
