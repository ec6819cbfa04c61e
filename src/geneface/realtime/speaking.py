"""Texts of a live face, spoken by its voice in a thread of their own, a sentence at a time.

A voice that is a server may let an interruption wait for half a minute. So its thread is left behind, where it ends by
itself, and the next text has a new one.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from geneface.errors import InputError
from geneface.voice.voice import Voice, readable

MOST_TEXTS = 50
"""That wait to be spoken."""
_MOST_LEFT = 2
"""Threads that are left behind. With more, the next text waits for a voice to give up."""
_ENOUGH_SECONDS = 20.0
"""With so much speech waiting, the voice waits too."""
_POLL_SECONDS = 0.1
_SILENT_RATE_HZ = 48_000


def new_utterance() -> str:
    """An id that no other utterance has."""
    return f"utt_{secrets.token_hex(8)}"


class Speaking:
    """The voice of one session. Its thread begins with the first text, and anew after an interruption."""

    def __init__(self, voice: Voice | None, speak: Callable[..., Any], waiting_seconds: Callable[[], float]) -> None:
        """
        Args:
            speak: the session's: speak(samples, rate_hz, utterance, is_last).
            waiting_seconds: how much speech waits in the session.
        """
        self._voice, self._speak, self._waiting = voice, speak, waiting_seconds
        self._thread: threading.Thread | None = None
        self._left: set[threading.Thread] = set()
        """Those that an interruption found at work."""
        self._change = threading.Condition()
        self._texts: deque[tuple[str, str]] = deque()
        """Those that wait, each with its utterance."""
        self._current: str | None = None
        """The utterance that is being spoken."""
        self._is_closed = False
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
        with self._change:
            if len(self._texts) >= MOST_TEXTS:
                raise InputError(f"{MOST_TEXTS} texts wait to be spoken already", "send it when some have been spoken")
            self._texts.append((text, utterance))
            self._change.notify_all()
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, args=(self._voice,), name="voice", daemon=True)
                self._thread.start()
        return utterance

    def interrupt(self) -> list[str]:
        """Forget all texts, the one that is being spoken too; returns their utterances."""
        with self._change:
            forgotten = [utterance for _, utterance in self._texts]
            if self._current is not None:
                forgotten.append(self._current)
                if self._thread is not None and len(self._left) < _MOST_LEFT:
                    self._left.add(self._thread)
                    self._thread = None
            self._texts.clear()
            self._current = None
            return forgotten

    def take_error(self) -> BaseException | None:
        """What the voice failed with since this was last asked."""
        with self._change:
            error, self.error = self.error, None
            return error

    def close(self) -> None:
        """End the thread."""
        self.interrupt()
        with self._change:
            self._is_closed = True
            self._change.notify_all()

    def _next(self) -> tuple[str, str] | None:
        with self._change:
            this = threading.current_thread()
            self._change.wait_for(lambda: self._texts or self._is_closed or this in self._left)
            if self._is_closed or this in self._left:
                self._left.discard(this)
                return None
            text, self._current = self._texts.popleft()
            return text, self._current

    def _run(self, voice: Voice) -> None:
        while (text := self._next()) is not None:
            words, utterance = text
            try:
                self._say(voice, words, utterance)
            except Exception as error:  # a voice may be anybody's code, or a server
                with self._change:
                    if self._current == utterance:
                        self.error = error
            if self._is_current(utterance):
                # Whatever happened: the utterance ends.
                self._speak(np.zeros(0, np.float32), _SILENT_RATE_HZ, utterance, True)
            with self._change:
                if self._current == utterance:
                    self._current = None

    def _say(self, voice: Voice, words: str, utterance: str) -> None:
        pieces = iter(voice.speak(words))
        try:
            while self._is_current(utterance):
                piece = next(pieces, None)
                if piece is None:
                    return
                self._speak(piece, voice.rate_hz, utterance, False)
                while self._waiting() > _ENOUGH_SECONDS and self._is_current(utterance):
                    time.sleep(_POLL_SECONDS)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _is_current(self, utterance: str) -> bool:
        with self._change:
            return utterance == self._current
