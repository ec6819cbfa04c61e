"""The live sessions of one server: each a face with at most one listener, and with any number that follow its events.

All of it runs on the server's event loop, but for what takes long: opening a face and encoding.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from geneface.errors import InputError
from geneface.realtime import FRAME_SECONDS, Item, Session
from geneface.serve.memory import give_back_memory
from geneface.serve.metrics import Metrics
from geneface.types import FloatArray

Message = dict[str, Any]
"""JSON, with "type"."""
LEFT_SECONDS = 60.0
"""A session that nobody listens to ends after that: long enough to load a page again."""
_REAP_SECONDS = 1.0
_STATS_SECONDS = 1.0
_EVENTS_KEPT = 256
_ASKED_KEPT = 64
_LOG = logging.getLogger(__name__)


class Listener(Protocol):
    """Who sees and hears a session: a WebSocket, a WebRTC connection. Called on the event loop."""

    async def show(self, item: Item) -> None:
        """An item that is due now. It calls `LiveSession.sent` when the item has gone out."""
        ...

    def tell(self, message: Message) -> None:
        """A message, in order with the items."""
        ...

    def close(self, reason: str) -> None:
        """End; it may take a moment."""
        ...


class Expected(Protocol):
    """Who will listen to a session and has not connected yet."""

    async def end(self) -> None:
        """Expect it no more."""
        ...


class Partner(Protocol):
    """Who answers: a conversation. What it says comes out of the session."""

    @property
    def understands(self) -> bool:
        """What is said is understood; else the sound of a microphone moves the face."""
        ...

    def text(self, text: str) -> None:
        """The person typed."""
        ...

    def hear(self, samples: FloatArray, rate_hz: int) -> None:
        """Sound [T] of the person's microphone."""
        ...

    def interrupt(self) -> None:
        """Stop answering."""
        ...

    def close(self) -> None:
        """End."""
        ...


class LiveSession:
    """One face, its listener and those that follow its events."""

    def __init__(self, session: Session, avatar: str, now: float, metrics: Metrics | None = None) -> None:
        self.id = f"live_{secrets.token_hex(12)}"
        self.session, self.avatar = session, avatar
        self.partner: Partner | None = None
        self.expected: Expected | None = None
        """By WebRTC, who was answered last: nobody collects open ports by offers."""
        self.created_at = time.time()
        self.used = self.left = now
        """Monotonic: when something was last said or heard; since when nobody listens."""
        self._listener: Listener | None = None
        self._pump: asyncio.Task[None] | None = None
        self._followers: set[asyncio.Queue[Message | None]] = set()
        self._sent = {"items": 0, "pictures": 0, "bytes": 0}
        self._late_ms: list[float] = []
        self._metrics = metrics or Metrics()
        self._asked: dict[str, float] = {}
        """Utterance -> when it was asked for, until it is heard."""
        self._reported = now, dict(self._sent)
        self.latest: Message | None = None
        """Figures of the last second in which somebody listened, see `_stats`."""

    def ready(self, **facts: Any) -> Message:
        """The first message to a listener; `facts`: of its transport."""
        return {
            "type": "ready",
            "id": self.id,
            "width": self.session.width,
            "height": self.session.height,
            "item_ms": round(1000 * FRAME_SECONDS),
            "generation": self.session.generation,
            "conversation": self.partner is not None,
            "understands": self.understands,
            **facts,
        }

    # ---- what the person does

    def say(self, text: str) -> str:
        """Speak a text as it is; the utterance's id."""
        self.used = time.monotonic()
        utterance = self.session.say(text)
        if len(self._asked) < _ASKED_KEPT:
            self._asked[utterance] = self.used
        return utterance

    def speak(self, samples: FloatArray, rate_hz: int) -> str:
        """Speak a sound [T]; the utterance's id. It resamples: for a long sound, call in a thread."""
        self.used = time.monotonic()
        return self.session.speak(samples, rate_hz)

    def text(self, text: str) -> str | None:
        """What somebody typed: to the partner, or spoken as it is where there is none (the utterance's id)."""
        if self.partner is None:
            return self.say(text)
        self.used = time.monotonic()
        self.partner.text(text)
        return None

    def hear(self, samples: FloatArray, rate_hz: int) -> None:
        """Sound [T] of a microphone: to the partner, or it moves the face."""
        self.used = time.monotonic()
        if self.partner is None:
            self.session.hear(samples, rate_hz)
        else:
            self.partner.hear(samples, rate_hz)

    def interrupt(self) -> int:
        """Be silent at once. Returns the new generation, and tells it."""
        if self.partner is not None:
            self.partner.interrupt()
        generation = self.session.interrupt()
        self._asked.clear()
        self.tell({"type": "generation", "generation": generation})
        return generation

    @property
    def understands(self) -> bool:
        """What is said into a microphone is understood, and does not move the face."""
        return self.partner is not None and self.partner.understands

    # ---- who listens

    @property
    def has_listener(self) -> bool:
        """Somebody sees and hears it."""
        return self._listener is not None

    def attach(self, listener: Listener) -> None:
        """Show the session to `listener` from now on; who listened before is sent away."""
        earlier, self._listener = self._listener, listener
        if earlier is not None:
            earlier.close("taken_over")
        if self._pump is None:
            self._pump = asyncio.create_task(self._run(), name=f"pump {self.id}")

    def detach(self, listener: Listener) -> None:
        """`listener` has gone. Without one, nothing is drawn or spoken until the next comes."""
        if self._listener is not listener:
            return
        self._listener, self.left = None, time.monotonic()
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None

    def sent(self, item: Item, *, pictures: int, size: int) -> None:
        """An item has gone out: its events are true now.

        Args:
            pictures: of it that were sent, 0 or 1.
            size: bytes.
        """
        self._sent["items"] += 1
        self._sent["pictures"] += pictures
        self._sent["bytes"] += size
        late = time.monotonic() - self.session.origin - item.index * FRAME_SECONDS
        self._late_ms.append(1000 * late)
        self._metrics.count("frames")
        self._metrics.count("repeats", float(item.is_repeat))
        self._metrics.observe("lateness_seconds", late)
        where = {"index": item.index, "generation": item.generation}
        for event in item.events:
            self.used = time.monotonic()
            asked = self._asked.pop(event.utterance, None)
            if asked is not None:
                self._metrics.observe("first_sound_seconds", self.used - asked)
            self.tell({"type": event.name, "utterance": event.utterance, **where})
        error = self.session.take_voice_error()
        if isinstance(error, InputError):
            self.tell({"type": "warning", "code": "voice", "message": error.cause, "remedy": error.remedy})
        elif error is not None:
            _LOG.error("a voice failed", exc_info=error)
            self.tell({"type": "warning", "code": "voice", "message": "the voice failed", "remedy": "try another text"})

    # ---- events

    def tell(self, message: Message) -> None:
        """To the listener and to all who follow."""
        if self._listener is not None:
            self._listener.tell(message)
        self._publish(message)

    def _publish(self, message: Message | None) -> None:
        for queue in self._followers:
            if queue.full():
                # Who does not read loses the oldest.
                queue.get_nowait()
            queue.put_nowait(message)

    async def events(self) -> AsyncIterator[Message | None]:
        """What happens, until the session ends; None now and then, where nothing did."""
        queue: asyncio.Queue[Message | None] = asyncio.Queue(_EVENTS_KEPT)
        self._followers.add(queue)
        try:
            while not self.session.is_closed:
                try:
                    message = await asyncio.wait_for(queue.get(), 10)
                except asyncio.TimeoutError:
                    yield None
                    continue
                if message is None:
                    return
                yield message
        finally:
            self._followers.discard(queue)

    def _stats(self) -> Message:
        """Figures since the last call, and the session's own counts."""
        now, (then, before) = time.monotonic(), self._reported
        self._reported = now, dict(self._sent)
        seconds = max(now - then, 1e-3)
        per_second = {name: (count - before[name]) / seconds for name, count in self._sent.items()}
        late, self._late_ms = sorted(self._late_ms), []
        return {
            "type": "stats",
            "items_per_second": round(per_second["items"], 1),
            "pictures_per_second": round(per_second["pictures"], 1),
            "bits_per_second": round(8 * per_second["bytes"]),
            "late_ms": round(late[int(0.95 * (len(late) - 1))], 1) if late else None,
            "worst_late_ms": round(late[-1], 1) if late else None,
            "session": self.session.stats(),
        }

    # ---- its end

    async def close(self, reason: str = "closed") -> None:
        """End the session and send the listener away."""
        if self.partner is not None:
            self.partner.close()
        self.session.close()
        if self.expected is not None:
            await self.expected.end()
        if self._listener is not None:
            listener = self._listener
            self.detach(listener)
            listener.close(reason)
        self._publish({"type": "closed", "reason": reason})
        self._publish(None)

    async def _run(self) -> None:
        """Give items to the listener as they are due."""
        told = time.monotonic()
        try:
            async for item in self.session.items():
                if self._listener is not None:
                    await self._listener.show(item)
                if time.monotonic() - told >= _STATS_SECONDS:
                    told = time.monotonic()
                    self.latest = self._stats()
                    self.tell(self.latest)
        except Exception:  # an encoder's, too: a pump that has ended shows nothing any more
            if not self.session.is_closed:
                _LOG.exception("live session %s failed", self.id)
                self.tell({"type": "error", "code": "failed", "message": "the live face has failed", "remedy": ""})
                self._pump = None
                await self.close("failed")


class LiveSessions:
    """All live sessions of a server."""

    def __init__(
        self, idle_seconds: float, *, left_seconds: float = LEFT_SECONDS, metrics: Metrics | None = None
    ) -> None:
        """`idle_seconds`: a session without speech ends after that; `left_seconds`: one without a listener."""
        self._metrics = metrics or Metrics()
        self._sessions: dict[str, LiveSession] = {}
        self._idle_seconds, self._left_seconds = idle_seconds, min(left_seconds, idle_seconds)
        self._reaper: asyncio.Task[None] | None = None
        self.pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="encoder")
        """Encodes for all of them."""

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[LiveSession]:
        return iter(list(self._sessions.values()))

    def get(self, live_id: str) -> LiveSession | None:
        """One of them."""
        return self._sessions.get(live_id)

    def add(self, session: Session, avatar: str) -> LiveSession:
        """Keep a session that was opened; its id is random."""
        live = LiveSession(session, avatar, time.monotonic(), self._metrics)
        self._sessions[live.id] = live
        if self._reaper is None or self._reaper.done():
            self._reaper = asyncio.create_task(self._reap(), name="reaper of live sessions")
        return live

    def expires_in(self, live: LiveSession) -> float:
        """Seconds until it ends, if nothing happens."""
        now = time.monotonic()
        idle = live.used + self._idle_seconds - now
        return max(idle if live.has_listener else min(idle, live.left + self._left_seconds - now), 0.0)

    async def close(self, live_id: str, reason: str = "closed") -> None:
        """End one of them; nothing happens where it has ended already."""
        live = self._sessions.pop(live_id, None)
        if live is not None:
            await live.close(reason)

    async def close_of(self, avatar: str) -> None:
        """End those of an avatar that is gone."""
        for live in self:
            if live.avatar == avatar:
                await self.close(live.id)

    async def close_all(self) -> None:
        """End all, and what runs beside them."""
        for live in self:
            await self.close(live.id, "shut_down")
        if self._reaper is not None:
            self._reaper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reaper
        self.pool.shutdown(wait=False, cancel_futures=True)

    async def _reap(self) -> None:
        """End what has expired, until there is nothing any more."""
        empty = 0
        while self._sessions or empty < 2:
            await asyncio.sleep(_REAP_SECONDS)
            for live in self:
                if live.session.is_closed or self.expires_in(live) <= 0:
                    await self.close(live.id, "expired")
            empty = 0 if self._sessions else empty + 1
            if empty == 2:
                # The threads of the last one have let go of everything by now.
                await asyncio.to_thread(give_back_memory)
