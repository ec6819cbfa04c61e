"""Connections of uvicorn with the limits that no application can keep, because it hears of a request too late.

- The headers of a request must have come within `slow_seconds`.
- There are at most `most_connections`. One more takes the place of the oldest that asks for nothing; where all are busy
  it is refused with 503. So those who open connections and say nothing keep nobody out.
- Who takes nothing of an answer for `stalled_seconds` is let go.
- Control frames and fragments of a WebSocket, which no application sees, are counted.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from geneface.serve.errors import error_body
from geneface.serve.safety.rates import Bucket
from geneface.serve.settings import ServeSettings

_MOST_FRAGMENTS = 1024
_PINGS_A_SECOND = 10
_MOST_UNSENT_BYTES = 8 * 1024**2
"""Of a WebSocket whose client doesn't read."""
_LINGER_SECONDS = 0.5
_FULL = error_body("too_many_connections", "this server has as many connections as it may", "try again in a moment")


def http_protocol(settings: ServeSettings) -> type[H11Protocol]:
    """The class of this server's connections."""

    class Connection(_Connection):
        limits = settings

    return Connection


class _Connection(H11Protocol):
    limits: ServeSettings
    _slow: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _is_upgraded = False
    _is_refused = False
    since = 0.0

    @property
    def is_idle(self) -> bool:
        """It has not asked for anything that is not answered yet."""
        return not self._is_upgraded and (self.cycle is None or self.cycle.response_complete)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.since = time.monotonic()
        if len(self.connections) > self.limits.most_connections and not self._make_room():
            self._refuse()
            return
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        if self._is_refused or self.transport.is_closing():
            return
        super().data_received(data)
        if not self.is_idle:
            self._stop("_slow")
        elif self._slow is None:
            self._wait_for_headers()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._is_upgraded = True
        self._stop("_slow")
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop("_slow")
        self._stop("_stalled")
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop("_stalled")
        self._stalled = self.loop.call_later(self.limits.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop("_stalled")
        super().resume_writing()

    def _make_room(self) -> bool:
        idle = [other for other in self.connections if isinstance(other, _Connection) and other.is_idle]
        oldest = min((other for other in idle if other is not self), key=lambda other: other.since, default=None)
        if oldest is None:
            return False
        self.connections.discard(oldest)
        oldest.transport.abort()
        return True

    def _refuse(self) -> None:
        """Say 503, and close when that has been heard: closing on unread bytes takes back what was said."""
        self._is_refused = True
        self.connections.discard(self)
        body = json.dumps(_FULL).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._slow = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _wait_for_headers(self) -> None:
        self._slow = self.loop.call_later(self.limits.slow_seconds, self._give_up)

    def _give_up(self) -> None:
        self._slow = None
        if self.is_idle and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.transport.close()

    def _stop(self, name: str) -> None:
        timer: asyncio.TimerHandle | None = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A WebSocket that ends with who floods it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._pings = Bucket(_PINGS_A_SECOND, 10 * _PINGS_A_SECOND)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client; a client that reads nothing but makes us answer is let go."""
        if self.transport.get_write_buffer_size() > _MOST_UNSENT_BYTES or len(self.frames) > _MOST_FRAGMENTS:
            self.transport.abort()
            return
        super().data_received(data)

    def handle_ping(self) -> None:
        """One more ping."""
        if self._pings.take():
            self.transport.abort()
            return
        super().handle_ping()
