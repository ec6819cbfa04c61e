"""Texts of a live face, spoken by its voice in a thread of their own, a sentence at a time."""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from geneface.errors import InputError
from geneface.voice.voice import Voice, readable

_ENOUGH_SECONDS = 20.0
"""With so much speech waiting, the voice waits too."""
_POLL_SECONDS = 0.1
_SILENT_RATE_HZ = 48_000


def new_utterance() -> str:
    """An id that no other utterance has."""
    return f"utt_{secrets.token_hex(8)}"


class Speaking:
    """The voice of one session. Its thread begins with the first text."""

    def __init__(self, voice: Voice | None, speak: Callable[..., Any], waiting_seconds: Callable[[], float]) -> None:
        """
        Args:
            speak: the session's: speak(samples, rate_hz, utterance, is_last).
            waiting_seconds: how much speech waits in the session.
        """
        self._voice, self._speak, self._waiting = voice, speak, waiting_seconds
        self._texts: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pending: list[str] = []
        """Utterances that are not spoken to their end."""
        self._lock = threading.Lock()
        self.error: BaseException | None = None
        """What the last text failed with, if it did."""

    def say(self, text: str) -> str:
        """Have a text spoken after those before it; returns its utterance's id.

        Raises:
            InputError: no voice, no words, too many of them.
        """
        if self._voice is None:
            raise InputError("this live face has no voice", "open it with a voice, or give it sound")
        readable(text)
        utterance = new_utterance()
        with self._lock:
            self._pending.append(utterance)
            self._texts.put((text, utterance))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(self._voice,), name="voice", daemon=True)
                self._thread.start()
        return utterance

    def interrupt(self) -> list[str]:
        """Forget all texts, the one that is being spoken too; returns their utterances."""
        with self._lock:
            forgotten, self._pending = self._pending, []
            return forgotten

    def take_error(self) -> BaseException | None:
        """What the voice failed with since this was last asked."""
        with self._lock:
            error, self.error = self.error, None
            return error

    def close(self) -> None:
        """End the thread."""
        self.interrupt()
        self._texts.put(None)

    def _run(self, voice: Voice) -> None:
        while (text := self._texts.get()) is not None:
            words, utterance = text
            try:
                self._say(voice, words, utterance)
            except Exception as error:  # a voice may be anybody's code, or a server
                with self._lock:
                    self.error = error
            if self._is_pending(utterance):
                # Whatever happened: the utterance ends.
                self._speak(np.zeros(0, np.float32), _SILENT_RATE_HZ, utterance, True)
                with self._lock:
                    self._pending = [name for name in self._pending if name != utterance]

    def _say(self, voice: Voice, words: str, utterance: str) -> None:
        pieces = iter(voice.speak(words))
        try:
            while self._is_pending(utterance):
                piece = next(pieces, None)
                if piece is None:
                    return
                self._speak(piece, voice.rate_hz, utterance, False)
                while self._waiting() > _ENOUGH_SECONDS and self._is_pending(utterance):
                    time.sleep(_POLL_SECONDS)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _is_pending(self, utterance: str) -> bool:
        with self._lock:
            return utterance in self._pending
