"""A chat model at an address that the operator named: OpenAI's /v1/chat/completions, streamed.

Everything of an answer is bounded: its length, its events, the time to wait for them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from geneface.errors import InputError
from geneface.serve.conversation.history import Message
from geneface.voice.remote import Remote, http, parsed

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

KEY_VARIABLE = "GENEFACE_CHAT_KEY"
ANY_MODEL = "default"
"""The first that the server lists."""
MOST_ANSWER = 4000
"""Characters that are taken of an answer: some five minutes of speech."""
_MOST_EVENT_BYTES = _MOST_BODY_BYTES = 1 << 20
_ANSWER_SECONDS = 300.0


class Chat:
    """A chat model. It belongs to one event loop.

    Args:
        address: the server's root, its /v1, or the route itself.
        model: as the server calls it; "default" is the first that it lists.

    Raises:
        InputError: no address, or no HTTP client.
    """

    def __init__(self, address: str, model: str = ANY_MODEL) -> None:
        http()
        self._remote = Remote.of("the chat model", address, "chat/completions", KEY_VARIABLE)
        self._model = None if model == ANY_MODEL else model
        self._opened: AsyncClient | None = None

    async def answer(self, messages: Iterable[Message]) -> AsyncGenerator[str, None]:
        """The answer's text in pieces, as they come. Closing the generator leaves the server at once.

        Raises:
            InputError: the server can't be reached, refuses, hangs, or sends what is no answer.
        """
        taken, thoughts = 0, _Thoughts()
        try:
            asked = {"model": await self._named(), "messages": list(messages), "stream": True}
            async with (
                self._client.stream("POST", self._remote.url, json=asked) as response,
                aclosing(self._texts(response)) as texts,
            ):
                await self._remote.check_async(response)
                async for text in texts:
                    heard = thoughts.push(text)[: MOST_ANSWER - taken]
                    taken += len(heard)
                    if heard:
                        yield heard
                    if taken >= MOST_ANSWER:
                        return
        except http().HTTPError as error:
            raise self._remote.failure(error) from error
        if not taken:
            raise self._unusable("said nothing")

    async def close(self) -> None:
        """Let go of connections."""
        if self._opened is not None:
            await self._opened.aclose()

    @property
    def _client(self) -> AsyncClient:
        if self._opened is None:
            self._opened = self._remote.async_client()
        return self._opened

    async def _named(self) -> str:
        """The model's name. A server that lists none is asked for "default", which many take for what they have."""
        if self._model is None:
            listed = self._remote.url.partition("?")[0].removesuffix("/chat/completions") + "/models"
            async with self._client.stream("GET", listed) as response:
                body = await self._body(response)
            try:
                self._model = str(parsed(body)["data"][0]["id"])
            except (ValueError, LookupError, TypeError):
                self._model = ANY_MODEL
        return self._model

    async def _texts(self, response: Response) -> AsyncGenerator[str, None]:
        if response.headers.get("content-type", "").startswith("application/json"):
            # A server that does not stream.
            yield self._text_of(await self._body(response), "message")
            return
        events = aiter(http().EventSource(response, _MOST_EVENT_BYTES))
        until = time.monotonic() + _ANSWER_SECONDS
        while True:
            try:
                # Comments keep a connection alive and are no events: so the whole has a limit, too.
                event = await asyncio.wait_for(anext(events), max(until - time.monotonic(), 0))
            except StopAsyncIteration:
                return
            except (TimeoutError, asyncio.TimeoutError) as error:
                raise self._unusable("took too long for an answer") from error
            if event.data.strip() == "[DONE]":
                return
            text = self._text_of(event.data, "delta")
            if text:
                yield text

    async def _body(self, response: Response) -> bytes:
        try:
            return await asyncio.wait_for(_body(response), _ANSWER_SECONDS)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise self._unusable("took too long for an answer") from error

    def _text_of(self, data: str | bytes, part: str) -> str:
        """The text in one event, or in the whole answer."""
        try:
            facts: Any = parsed(data)
        except ValueError as error:
            raise self._unusable("gave an answer that is no JSON") from error
        if isinstance(facts, dict) and facts.get("error"):
            told = facts["error"]
            told = str(told.get("message", told) if isinstance(told, dict) else told)
            raise self._unusable(f"failed ({' '.join(told.split())[:200]})")
        try:
            choices = facts["choices"]
            text = choices[0][part].get("content") if choices else None
        except (LookupError, TypeError, AttributeError) as error:
            raise self._unusable("gave an answer of another form than OpenAI's") from error
        return text if isinstance(text, str) else ""

    def _unusable(self, what: str) -> InputError:
        return InputError(f"{self._remote.what} at {self._remote.place} {what}", "see that server's own log")


async def _body(response: Response) -> bytes:
    """No more than the first megabyte of it."""
    body = bytearray()
    async for block in response.aiter_bytes():
        body += block
        if len(body) > _MOST_BODY_BYTES:
            break
    return bytes(body)


class _Thoughts:
    """Leaves out what some models write before their answer, between <think> and </think>."""

    _BEGIN, _END = "<think>", "</think>"

    def __init__(self) -> None:
        self._held, self._state = "", "before"

    def push(self, text: str) -> str:
        if self._state == "after":
            return text
        self._held += text
        if self._state == "before":
            self._held = start = self._held.lstrip()
            if start[: len(self._BEGIN)] != self._BEGIN[: len(start)]:
                self._state = "after"
                return self._held
            if len(start) < len(self._BEGIN):
                return ""
            self._state = "inside"
        _, end, rest = self._held.partition(self._END)
        if not end:
            self._held = self._held[-len(self._END) :]
            return ""
        self._state = "after"
        return rest.lstrip()
