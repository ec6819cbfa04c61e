"""One conversation: of a person with a live face whose words come from a chat model.

The answer is spoken sentence by sentence while it still arrives. Whatever the person says or types meanwhile
interrupts: the face is silent, the stream of the answer is left, and the model is told only what was heard of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, Protocol

import numpy as np

from geneface.errors import InputError
from geneface.serve.conversation.chat import Chat
from geneface.serve.conversation.history import Answer, History
from geneface.serve.conversation.listen import Transcriber, Utterances
from geneface.types import FloatArray
from geneface.voice.sentences import Sentences, WithoutCode, without_markup
from geneface.voice.voice import Voice, readable

_LOG = logging.getLogger(__name__)
_MOST_TEXT = 4000
_MOST_UTTERANCES = 4
"""That wait to be transcribed; of more the oldest are lost."""
_ENOUGH_SECONDS = 20.0
"""With so much speech waiting, the voice waits, too."""
_POLL_SECONDS = 0.1
_PIECE_SECONDS = 1.0
"""Sound goes to the face in pieces of so much at most: each is resampled on the event loop."""


class Face(Protocol):
    """What a conversation needs of a live session (`realtime.Session`)."""

    def hear(self, samples: FloatArray, rate_hz: int) -> None:
        """As `Session.hear`."""
        ...

    def speak(self, samples: FloatArray, rate_hz: int, utterance: str | None = None, is_last: bool = True) -> str:
        """As `Session.speak`."""
        ...

    def interrupt(self) -> int:
        """As `Session.interrupt`."""
        ...


class Conversation:
    """A conversation. All of it belongs to one event loop, in which it must be made; nothing waits or blocks."""

    def __init__(
        self,
        face: Face,
        voice: Voice,
        chat: Chat,
        transcriber: Transcriber | None,
        tell: Callable[[dict[str, Any]], None],
        *,
        prompt: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            transcriber: without one, the sound of a microphone moves the face, as it does without a conversation.
            tell: is given what happens, as messages of the stream (docs/serve.md): transcript, listening, generation,
                warning.
            prompt: what the model is told before all else.
            clock: seconds, monotonic.
        """
        self._face, self._voice, self._chat, self._transcriber = face, voice, chat, transcriber
        self._tell, self._clock = tell, clock
        self._history = History(prompt)
        self._utterances = Utterances()
        self._sounds: asyncio.Queue[FloatArray] = asyncio.Queue(_MOST_UTTERANCES)
        self._understanding: asyncio.Task[None] | None = None
        self._pending = ""
        """Said by a person who has not finished."""
        self._answer: Answer | None = None
        self._answering: asyncio.Task[None] | None = None
        self._count = 0

    @property
    def understands(self) -> bool:
        """What is said is understood; else the sound of a microphone moves the face."""
        return self._transcriber is not None

    # ---- what the person does

    def text(self, text: str) -> None:
        """The person typed. It interrupts the face.

        Raises:
            InputError: no words, or too many.
        """
        text = " ".join(readable(text).split())
        if len(text) > _MOST_TEXT:
            raise InputError(f"the message has {len(text)} characters", f"send at most {_MOST_TEXT}")
        self._said(text)
        self._ask(text)

    def hear(self, samples: FloatArray, rate_hz: int) -> None:
        """Sound [T] of the person's microphone, in pieces of any length. Speech in it interrupts the face."""
        if self._transcriber is None:
            self._face.hear(samples, rate_hz)
            return
        for heard in self._utterances.push(samples, rate_hz, is_over_speech=self._is_answering()):
            self._tell({"type": "listening", "is_speech": heard.has_begun})
            if heard.has_begun and self._is_answering():
                self._tell({"type": "generation", "generation": self._face.interrupt()})
                self.interrupt()
            if heard.samples is not None:
                self._hear_out(self._transcriber, heard.samples)

    def interrupt(self) -> None:
        """The face was interrupted: leave the answer. What was heard of it is remembered."""
        if self._answering is not None:
            self._answering.cancel()
            self._answering = None
        if self._answer is not None:
            answer, self._answer = self._answer, None
            text = answer.heard(self._clock())
            self._history.add("assistant", text)
            if answer.text != text:
                self._tell_answer(answer, text, is_final=True)

    def close(self) -> None:
        """End it."""
        self.interrupt()
        if self._understanding is not None:
            self._understanding.cancel()
            self._understanding = None

    # ---- what was said

    def _hear_out(self, transcriber: Transcriber, samples: FloatArray) -> None:
        """An utterance has ended; the task that understands them one by one begins with the first."""
        if self._sounds.full():
            self._sounds.get_nowait()
        self._sounds.put_nowait(samples)
        if self._understanding is None or self._understanding.done():
            self._understanding = asyncio.create_task(self._understand(transcriber), name="transcription")

    async def _understand(self, transcriber: Transcriber) -> None:
        while True:
            samples = await self._sounds.get()
            try:
                text = await transcriber.text(samples) if len(samples) else ""
            except InputError as error:
                self._warn(error)
                text = ""
            if text:
                self._said(text)
                self._pending = f"{self._pending} {text}".strip()
            # Who goes on speaking has not finished: what is said next belongs to it.
            if self._pending and not self._utterances.is_speech and self._sounds.empty():
                asked, self._pending = self._pending, ""
                self._ask(asked)

    def _said(self, text: str) -> None:
        self._count += 1
        self._tell({"type": "transcript", "role": "user", "id": self._count, "text": text, "is_final": True})

    # ---- the answer

    def _is_answering(self) -> bool:
        if self._answering is not None and not self._answering.done():
            return True
        return self._answer is not None and self._clock() < self._answer.ends

    def _ask(self, text: str) -> None:
        if self._is_answering():
            self._tell({"type": "generation", "generation": self._face.interrupt()})
        self.interrupt()
        self._history.add("user", text)
        self._count += 1
        self._answer = Answer(self._count)
        self._answering = asyncio.create_task(self._say_answer(self._answer), name="answer")

    async def _say_answer(self, answer: Answer) -> None:
        pool = ThreadPoolExecutor(1, thread_name_prefix="voice")
        try:
            await self._say_all(answer, pool)
        except InputError as error:
            self._warn(error)
        except Exception:
            # A voice may be anybody's code. The conversation goes on.
            _LOG.exception("an answer failed")
            self._warn(InputError("the answer could not be spoken", "see the server's log"))
        finally:
            pool.shutdown(wait=False)
        if self._answer is answer:
            if answer.utterance is not None:
                self._face.speak(np.zeros(0, np.float32), self._voice.rate_hz, answer.utterance, True)
            self._tell_answer(answer, answer.text, is_final=True)

    async def _say_all(self, answer: Answer, pool: ThreadPoolExecutor) -> None:
        sentences, outside = Sentences(eager=True), WithoutCode()
        async with aclosing(self._chat.answer(self._history.messages())) as texts:
            async for text in texts:
                for sentence in sentences.push(outside.push(text)):
                    await self._say(answer, sentence, pool)
                if self._answer is not answer:
                    # Before Python 3.12 `wait_for` may lose a cancellation.
                    return
        for sentence in sentences.finish():
            await self._say(answer, sentence, pool)

    async def _say(self, answer: Answer, sentence: str, pool: ThreadPoolExecutor) -> None:
        text = without_markup(sentence)
        if not any(character.isalnum() for character in text):
            return
        while answer.ends - self._clock() > _ENOUGH_SECONDS:
            await asyncio.sleep(_POLL_SECONDS)
        is_begun = False
        async with aclosing(_spoken(self._voice, text, pool)) as pieces:
            async for piece in pieces:
                if self._answer is not answer:
                    return
                if not is_begun:
                    is_begun = True
                    answer.begin(text, self._clock())
                    self._tell_answer(answer, answer.text)
                answer.utterance = self._face.speak(piece, self._voice.rate_hz, answer.utterance, False)
                answer.lengthen(len(piece) / self._voice.rate_hz)
                await asyncio.sleep(0)

    def _tell_answer(self, answer: Answer, text: str, *, is_final: bool = False) -> None:
        said = {"role": "assistant", "id": answer.number, "text": text, "is_final": is_final}
        self._tell({"type": "transcript", **said})

    def _warn(self, error: InputError) -> None:
        self._tell({"type": "warning", "code": "conversation", "message": error.cause, "remedy": error.remedy})


async def _spoken(voice: Voice, text: str, pool: ThreadPoolExecutor) -> AsyncGenerator[FloatArray, None]:
    """What a voice says, made in a thread. Closing it, or being cancelled, ends the voice as soon as it can."""
    loop = asyncio.get_running_loop()
    pieces = voice.speak(text)
    try:
        while (piece := await loop.run_in_executor(pool, next, pieces, None)) is not None:
            step = round(_PIECE_SECONDS * voice.rate_hz)
            for start in range(0, len(piece), step):
                yield piece[start : start + step]
    finally:
        # Behind what the thread still does: a generator at work can't be closed.
        pool.submit(pieces.close)
