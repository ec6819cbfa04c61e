"""A session over one WebSocket: JSON as text, media as binary packets, both ways. docs/serve.md says it for clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
from concurrent.futures import Executor

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from geneface.errors import InputError
from geneface.realtime import Item
from geneface.serve.live.orders import MOST_MESSAGE, Orders
from geneface.serve.live.packets import Kind, Packet
from geneface.serve.live.sender import Outbox
from geneface.serve.live.sessions import LiveSession, Message
from geneface.serve.live.streams import Stream

CLOSE_CODES = {"closed": 4000, "expired": 4001, "failed": 4002, "taken_over": 4003, "too_slow": 4004, "not_found": 4404,
               "bad_request": 4400, "shut_down": 1001}  # fmt: skip
"""Of the WebSocket, by the reason in the last message. After 4004 and codes below 4000 it is worth connecting again."""
_CLOSE_SECONDS = 1.0
"""So long a listener that is sent away may take for what waits."""
_MOST_UNSEEN = 25
"""Items between the one that was sent and the last that the client said it has: beyond, the network is behind."""
_RATES = (8_000, 96_000)


class SocketListener:
    """The listener behind one WebSocket."""

    def __init__(self, websocket: WebSocket, live: LiveSession, stream: Stream, pool: Executor) -> None:
        self._socket, self._live, self._stream, self._pool = websocket, live, stream, pool
        self._outbox = Outbox()
        self._needs_key = True
        self._generation = live.session.generation
        self._seen: int | None = None
        """The last item that the client said it has."""
        self._microphone_hz: int | None = None
        self._reason = ""
        self._ended = asyncio.Event()
        own = {"microphone": self._microphone, "key_frame": self._key_frame, "have": self._have}
        self._orders = Orders(live, self.tell, own)

    # ---- Listener

    async def show(self, item: Item) -> None:
        """Encode an item in a thread and put it into the outbox."""
        if self._outbox.is_stalled:
            self.close("too_slow")
            return
        if item.generation != self._generation:
            self._generation, self._needs_key = item.generation, True
            self._outbox.drop_sound(item.generation)
        unseen = 0 if self._seen is None else item.index - self._seen
        has_picture = not self._outbox.is_behind and unseen <= _MOST_UNSEEN
        is_key = self._needs_key and has_picture
        loop = asyncio.get_running_loop()
        packets = await loop.run_in_executor(
            self._pool, lambda: self._stream.packets(item, is_key=is_key, has_picture=has_picture)
        )
        if any(packet.is_key for packet in packets):
            self._needs_key = False
        pictures = sum(packet.kind in (Kind.PICTURE, Kind.FRAGMENT) for packet in packets)
        size = sum(len(packet.payload) for packet in packets)
        last = packets[-1]
        for packet in packets:
            done = (lambda: self._live.sent(item, pictures=pictures, size=size)) if packet is last else None
            self._outbox.put(packet, done)

    def tell(self, message: Message) -> None:
        """See `Listener`."""
        self._outbox.put(json.dumps(message))

    def close(self, reason: str) -> None:
        """See `Listener`."""
        if self._reason:
            return
        self._reason = reason
        self.tell({"type": "closed", "reason": reason})
        self._outbox.close()
        self._ended.set()

    # ---- the connection

    async def run(self) -> None:
        """Serve the connection until one side ends it."""
        self.tell(self._live.ready(**self._stream.facts()))
        for packet in self._stream.head():
            self._outbox.put(packet)
        self._live.attach(self)
        parts = (self._outbox.send_all(self._send), self._read(), self._ended.wait())
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._reason:
                await asyncio.wait(tasks[:1], timeout=0 if self._reason == "too_slow" else _CLOSE_SECONDS)
        finally:
            self._live.detach(self)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await self._socket.close(CLOSE_CODES.get(self._reason, 1000), self._reason)

    async def _send(self, content: str | bytes) -> None:
        await (self._socket.send_text(content) if isinstance(content, str) else self._socket.send_bytes(content))

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is None:
                await self._orders.obey(message.get("text") or "")
                continue
            try:
                self._hear(message["bytes"])
            except (InputError, ValueError) as error:
                self._orders.refuse(error)

    def _hear(self, data: bytes) -> None:
        packet = Packet.from_bytes(data)
        if packet.kind != Kind.MICROPHONE:
            raise ValueError(f"a client sends no packets of kind {packet.kind.name.lower()}")
        if self._microphone_hz is None:
            raise ValueError('sound came before the message "microphone" with its rate')
        if len(packet.payload) > MOST_MESSAGE or len(packet.payload) % 2:
            raise ValueError("a piece of sound is no whole number of s16 samples, or longer than 64 KiB")
        samples = np.frombuffer(packet.payload, "<i2").astype(np.float32) / 32_768
        self._live.hear(samples, self._microphone_hz)

    async def _microphone(self, message: Message) -> None:
        rate, is_on = message.get("rate"), message.get("on", True)
        if not is_on:
            self._microphone_hz = None
            return
        if not isinstance(rate, int) or not _RATES[0] <= rate <= _RATES[1]:
            raise ValueError(f'"microphone" needs a rate from {_RATES[0]} to {_RATES[1]}')
        self._microphone_hz = rate

    async def _key_frame(self, _: Message) -> None:
        self._needs_key = True

    async def _have(self, message: Message) -> None:
        index = message.get("index")
        self._seen = index if isinstance(index, int) else self._seen


async def refuse(websocket: WebSocket, code: str, message: str, remedy: str) -> None:
    """Say on an open WebSocket why the stream is not to be had: browsers don't see the status of a refused one."""
    await websocket.send_text(json.dumps({"type": "error", "code": code, "message": message, "remedy": remedy}))
    await websocket.close(CLOSE_CODES.get(code, 4400), code)
