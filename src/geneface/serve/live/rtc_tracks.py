"""A live session's items as the two tracks of a peer connection, both on the session's clock.

Time stamps count from the session's first item: picture k is at 3600 k of 90 kHz, its sound at 1920 k of 48 kHz. What
is too late is left out, and its time with it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from aiortc.mediastreams import VIDEO_CLOCK_RATE, MediaStreamError, MediaStreamTrack
from av.packet import Packet
from av.video.frame import VideoFrame

from geneface.io.live import VIDEO_TIME_BASE, LiveSoundEncoder, LiveVideoEncoder
from geneface.realtime import FRAME_SECONDS, ITEM_SAMPLES, SOUND_RATE_HZ, Item
from geneface.serve.live.rtc_sender import BitRate

_WAITING = 2
"""Items that may wait for the network: 80 ms. The oldest is dropped for a third."""
_PACKETS = 2
"""Of sound, in one item."""
_MOST_GAP = SOUND_RATE_HZ
"""Samples of silence that are encoded for items that are missing; after a longer gap the encoder begins anew."""


class ItemTrack(MediaStreamTrack):
    """Items wait here until the connection sends them. Used on the event loop alone."""

    rate_hz = 0

    def __init__(self) -> None:
        super().__init__()
        self._items: deque[Item] = deque(maxlen=_WAITING)
        self._came = asyncio.Event()
        self._given: int | None = None
        self.sent: int | None = None
        """The last time stamp of which all packets have left; None before the first and while one is on its way."""

    def put(self, item: Item) -> None:
        """What is due now; of an older generation nothing stays."""
        if self._items and self._items[-1].generation != item.generation:
            self._items.clear()
        self._items.append(item)
        self._came.set()

    def stop(self) -> None:
        """End the track; whoever waits for it is told."""
        super().stop()
        self._came.set()

    async def recv(self) -> Any:
        """The next packet or picture, for aiortc, which asks again when it has sent it."""
        self.sent = self._given
        media = await self._next()
        self.sent, self._given = None, round(media.pts * media.time_base * self.rate_hz)
        return media

    async def _next(self) -> Any:
        raise NotImplementedError

    async def _take(self) -> Item:
        while not self._items:
            self._came.clear()
            await self._came.wait()
            if self.readyState != "live":
                raise MediaStreamError
        if self._given is None:
            # A burst at the beginning would stay in the receiver's buffer as delay.
            while len(self._items) > 1:
                self._items.popleft()
        return self._items.popleft()


class PictureTrack(ItemTrack):
    """H.264 of our own encoder, or bare pictures where the receiver takes no H.264 and aiortc encodes VP8.

    aiortc's own H.264 has a fixed frame rate and preset, and a key frame every ten seconds.
    """

    kind = "video"
    rate_hz = VIDEO_CLOCK_RATE

    def __init__(self, bit_rate: BitRate, pool: Executor) -> None:
        """`pool`: its threads encode."""
        super().__init__()
        self.is_h264 = True
        self._pool = pool
        self._bit_rate = bit_rate
        self._encoder = LiveVideoEncoder(bit_rate.value)
        self._generation = -1
        self._is_key_due = False
        self._counts = 0, 0

    def ask_for_key(self) -> None:
        """Make the next picture one that needs no other."""
        self._is_key_due = True

    def counts(self) -> tuple[int, int]:
        """Pictures and bytes that were encoded since the last call."""
        counts, self._counts = self._counts, (0, 0)
        return counts

    async def _next(self) -> Packet | VideoFrame:
        item = await self._take()
        is_key = self._is_key_due or item.generation != self._generation
        self._is_key_due, self._generation = False, item.generation
        self._encoder.bit_rate = self._bit_rate.value
        # Converting and encoding take some milliseconds, in which the loop sends sound.
        media = await asyncio.get_running_loop().run_in_executor(self._pool, self._encoded, item, is_key)
        self._counts = self._counts[0] + 1, self._counts[1] + (media.size if isinstance(media, Packet) else 0)
        return media

    def _encoded(self, item: Item, is_key: bool) -> Packet | VideoFrame:
        planes = item.picture.to_yuv420()
        if self.is_h264:
            return self._encoder.encode(planes, item.index, is_key)
        frame = VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = item.index, VIDEO_TIME_BASE
        return frame


class SoundTrack(ItemTrack):
    """Opus, two packets an item. The second leaves 20 ms after the first, so that no receiver takes it for jitter."""

    kind = "audio"
    rate_hz = SOUND_RATE_HZ

    def __init__(self, on_sent: Callable[[Item], None]) -> None:
        """`on_sent` is told of each item when the first half of its sound has left."""
        super().__init__()
        self._on_sent = on_sent
        self._encoder = LiveSoundEncoder("libopus")
        self._end = 0
        """The first sample that was not encoded yet."""
        self._packets: deque[Packet] = deque()
        self._second_at = 0.0
        self._leaving: Item | None = None

    async def _next(self) -> Packet:
        # Whoever asks for the next packet has sent the last one.
        if self._leaving is not None:
            leaving, self._leaving = self._leaving, None
            self._on_sent(leaving)
        if self._packets:
            await asyncio.sleep(self._second_at - time.monotonic())
            return self._packets.popleft()
        item = await self._take()
        self._second_at = time.monotonic() + FRAME_SECONDS / 2
        start = item.index * ITEM_SAMPLES
        if start - self._end > _MOST_GAP:
            self._encoder = LiveSoundEncoder("libopus")
        packets = self._encoder.encode(item.sound, start)
        self._end = start + ITEM_SAMPLES
        # After a gap there is silence before it, which nobody waits for.
        self._packets.extend(packets[-_PACKETS:])
        self._leaving = item
        return self._packets.popleft()
