"""What a listener asks of its session, whichever way it came; docs/serve.md, "The stream", says it for clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from geneface.errors import InputError
from geneface.serve.live.controls import background_of
from geneface.serve.live.sessions import LiveSession, Message
from geneface.voice.remote import parsed

MOST_MESSAGE = 64 * 1024
"""Bytes or characters of one message."""
Order = Callable[[Message], Awaitable[Message | None]]
"""Obeys a message; what it returns goes into the "accepted" that a message with "ref" is answered with."""


class Orders:
    """Obeys the JSON messages of one listener, and tells it what was refused."""

    def __init__(self, live: LiveSession, tell: Callable[[Message], None], own: Mapping[str, Order]) -> None:
        """`own`: messages of this transport alone, by their type."""
        self._live, self._tell = live, tell
        self._orders: dict[str, Order] = {
            "say": self._say,
            "chat": self._chat,
            "interrupt": self._interrupt,
            "background": self._background,
            "ping": self._ping,
            **own,
        }

    async def obey(self, text: str | bytes) -> None:
        """One message."""
        ref: Any = None
        try:
            if len(text) > MOST_MESSAGE:
                raise ValueError("a message is longer than 64 KiB")
            message: Any = parsed(text)
            if not isinstance(message, dict):
                raise ValueError("a message is no JSON object")
            kind, ref = message.get("type"), message.get("ref")
            if not isinstance(kind, str) or kind not in self._orders:
                raise ValueError(f"there is no message of the type {kind!r}")
            answer = await self._orders[kind](message)
            if ref is not None:
                self._tell({"type": "accepted", "ref": ref, **(answer or {})})
        except (InputError, ValueError) as error:
            self.refuse(error, ref)

    def refuse(self, error: InputError | ValueError, ref: Any = None) -> None:
        """Tell what was wrong with a message; `ref`: what the listener calls it."""
        if isinstance(error, InputError):
            code, remedy = "bad_input", error.remedy
            text = f"{error.cause}{f' {error.where}' if error.where else ''}"
        else:
            code, text, remedy = "bad_message", str(error), "see docs/serve.md for the messages of this stream"
        self._tell({"type": "refused", "ref": ref, "code": code, "message": text, "remedy": remedy})

    async def _say(self, message: Message) -> Message:
        return {"utterance": self._live.say(_text(message))}

    async def _chat(self, message: Message) -> Message:
        return {"utterance": self._live.text(_text(message))}

    async def _interrupt(self, _: Message) -> Message:
        return {"generation": self._live.interrupt()}

    async def _background(self, message: Message) -> None:
        background = background_of(message.get("background"))
        await asyncio.to_thread(self._live.session.set_background, background)

    async def _ping(self, _: Message) -> None:
        """It is answered by its "accepted"."""


def _text(message: Message) -> str:
    text = message.get("text")
    if not isinstance(text, str):
        raise ValueError(f'"{message["type"]}" has no text')
    return text
