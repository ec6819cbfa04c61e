"""Messages of a WebSocket as they arrive: a flood is slowed to what a microphone needs, and a lasting one is ended."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Send

from geneface.serve.safety.rates import Bucket
from geneface.serve.settings import ServeSettings

_PATIENCE_SECONDS = 10.0
"""A client that was slowed for so long altogether is no microphone."""
_POLICY_VIOLATION = 1008


class MessageMeter:
    """A `receive` that passes on at most `most_messages_a_second`; while it waits, nothing more is read."""

    def __init__(self, receive: Receive, send: Send, settings: ServeSettings) -> None:
        self._receive, self._send = receive, send
        rate = settings.most_messages_a_second
        self._bucket = Bucket(rate, 2 * rate)
        self._slowed = 0.0

    async def __call__(self) -> Message:
        """The next message."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            return message
        wait = self._bucket.take()
        if wait:
            self._slowed += wait
            if self._slowed > _PATIENCE_SECONDS:
                await self._send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "too many messages"})
                return {"type": "websocket.disconnect", "code": _POLICY_VIOLATION}
            await asyncio.sleep(wait)
        return message
