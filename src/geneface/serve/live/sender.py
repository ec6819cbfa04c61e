"""What waits to be sent to one listener, and for how long.

Order is kept: sound before the picture of the same item. Nothing that was encoded is thrown away but sound of an older
generation: an H.264 stream with a hole is broken until its next key frame. Instead, a listener who falls behind gets no
*new* pictures until what waits is sent, and its encoder, which saw none of them, goes on from the last one that was.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from geneface.serve.live.packets import Kind, Packet

BEHIND_SECONDS = 0.1
"""What waits longer than this holds back new pictures."""
STALLED_SECONDS = 5.0
"""What waits longer than this ends the connection."""


@dataclass(frozen=True)
class Outgoing:
    """One message on its way: text, or a packet."""

    content: str | Packet
    since: float
    """Monotonic time at which it was ready."""
    sent: Callable[[], None] | None = None
    """Called when it has been handed to the network."""


class Outbox:
    """Messages to one listener, first come, first sent. It belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: deque[Outgoing] = deque()
        self._under_way: Outgoing | None = None
        self._news = asyncio.Event()
        self._is_closed = False

    def put(self, content: str | Packet, sent: Callable[[], None] | None = None) -> None:
        """Another message; `sent` is called once the network has it."""
        if not self._is_closed:
            self._waiting.append(Outgoing(content, self._clock(), sent))
            self._news.set()

    def drop_sound(self, before: int) -> None:
        """Forget sound of generations before `before`."""
        kept = [out for out in self._waiting if not _is_old_sound(out.content, before)]
        self._waiting = deque(kept)

    @property
    def age(self) -> float:
        """Seconds that the oldest message has waited; 0 if none does."""
        oldest = self._under_way or (self._waiting[0] if self._waiting else None)
        return 0.0 if oldest is None else self._clock() - oldest.since

    @property
    def is_behind(self) -> bool:
        """New pictures should not be made."""
        return self.age > BEHIND_SECONDS

    @property
    def is_stalled(self) -> bool:
        """The connection should end."""
        return self.age > STALLED_SECONDS

    def close(self) -> None:
        """No more messages are taken; those that wait are still sent."""
        self._is_closed = True
        self._news.set()

    async def send_all(self, send: Callable[[str | bytes], Awaitable[None]]) -> None:
        """Send messages as they come, until `close`."""
        while True:
            while self._waiting:
                out = self._under_way = self._waiting.popleft()
                await send(out.content if isinstance(out.content, str) else out.content.to_bytes())
                self._under_way = None
                if out.sent is not None:
                    out.sent()
            if self._is_closed:
                return
            self._news.clear()
            await self._news.wait()


def _is_old_sound(content: str | Packet, before: int) -> bool:
    return isinstance(content, Packet) and content.kind == Kind.SOUND and content.generation < before
