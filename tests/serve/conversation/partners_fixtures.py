"""Doubles: a chat server whose answer is given piece by piece, a face that counts, a voice that says lengths."""

from __future__ import annotations

import json
import queue
from collections.abc import Generator, Iterable, Iterator

import numpy as np

from geneface.types import FloatArray

from ...voice.stand_in import Answer, Asked, StandIn

CHAT, LISTEN = "/v1/chat/completions", "/v1/audio/transcriptions"
EVENTS = "text/event-stream"


def event(text: str | None) -> bytes:
    """One event of a streamed answer."""
    delta = {"choices": [{"index": 0, "delta": {} if text is None else {"content": text}}]}
    return f"data: {json.dumps(delta)}\n\n".encode()


def events(texts: Iterable[str]) -> Iterator[bytes]:
    """A whole answer, as servers send it."""
    yield b": ping\n\n"
    yield b'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": null}}]}\n\n'
    yield from map(event, texts)
    yield b'data: {"choices": [], "usage": {"total_tokens": 3}}\n\n'
    yield b"data: [DONE]\n\n"


class Typist:
    """Answers that the test types: `say` some of the latest, `end` it. The earlier ones get nothing more."""

    def __init__(self, server: StandIn) -> None:
        self._pieces: queue.Queue[bytes | None] = queue.Queue()
        self._server, self._requests = server, 0
        server.answers[CHAT] = self._answer

    def say(self, *texts: str) -> None:
        """The next words."""
        for text in texts:
            self._pieces.put(event(text))

    def send(self, raw: bytes) -> None:
        """Anything."""
        self._pieces.put(raw)

    def end(self) -> None:
        """No more."""
        self._pieces.put(None)

    def _answer(self, asked: Asked) -> Answer:
        self._requests += 1
        return Answer(self._sent(self._requests), EVENTS)

    def _sent(self, request: int) -> Iterator[bytes]:
        while not self._server.is_over.wait(0.01):
            # So that a client that has gone is noticed.
            yield b": \n\n"
            try:
                piece = self._pieces.get_nowait() if request == self._requests else b""
            except queue.Empty:
                continue
            if piece is None:
                return
            yield piece


class Face:
    """A live session that shows nothing."""

    def __init__(self) -> None:
        self.generation = 0
        self.heard: list[int] = []
        self.spoken: list[tuple[str, int, bool]] = []
        """(utterance, samples, is_last), of this generation."""

    def hear(self, samples: FloatArray, rate_hz: int) -> None:
        self.heard.append(len(samples))

    def speak(self, samples: FloatArray, rate_hz: int, utterance: str | None = None, is_last: bool = True) -> str:
        assert rate_hz == Talker.rate_hz and samples.dtype == np.float32
        utterance = utterance or f"utt_{self.generation}_{len(self.spoken)}"
        self.spoken.append((utterance, len(samples), is_last))
        return utterance

    def interrupt(self) -> int:
        self.generation += 1
        self.spoken.clear()
        return self.generation


class Talker:
    """A voice: a tenth of a second a word."""

    name, rate_hz, language = "talker", 1000, ""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.closed = 0

    def speak(self, text: str, speed: float = 1.0) -> Generator[FloatArray, None, None]:
        try:
            self.said.append(text)
            for _ in text.split():
                yield np.ones(100, np.float32)
        finally:
            self.closed += 1
