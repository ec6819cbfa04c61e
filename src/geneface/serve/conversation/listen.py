"""Hearing the person: where an utterance begins and ends, by its level; what was said, from a server that transcribes.

Symbols: T samples of one channel.
"""

from __future__ import annotations

import asyncio
import io
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import soxr

from geneface.errors import InputError
from geneface.types import SPEECH_RATE_HZ, FloatArray
from geneface.voice.remote import Remote, http, parsed

if TYPE_CHECKING:
    from httpx2 import AsyncClient

KEY_VARIABLE = "GENEFACE_LISTEN_KEY"
MOST_SECONDS = 30.0
"""Of one utterance: a longer one is cut there."""

_BLOCK = SPEECH_RATE_HZ // 50
"""20 ms, the step in which it is decided."""
_RECENT_BLOCKS, _BEGIN_BLOCKS, _BEGIN_OVER_BLOCKS = 10, 5, 8
"""So many loud blocks of the last ten begin an utterance: 0.1 s; over the face's own speech 0.16 s, as what the
microphone hears of that must not interrupt it."""
_END_BLOCKS = 30
"""Quiet blocks that end it: 0.6 s, longer than the pauses between words."""
_BEFORE_BLOCKS = 20
"""Kept from before: the soft beginning of a word."""
_LEAST_BLOCKS = 8
"""Loud blocks of an utterance that is worth a question."""
_LOUD_DB, _LOUD_OVER_DB = 9.0, 15.0
"""Above the room's noise; over the face's own speech."""
_LEAST_DB = -50.0
"""Of full scale: nothing below it is speech, however quiet the room."""
_FIRST_DB = -35.0
"""The room is taken to be no louder than that in the first moment, which may be speech already."""
_FALL, _RISE_DB = 0.3, 0.06
"""The noise's level follows a quieter block by this share, a louder one by 3 dB a second."""
_MOST_TEXT = 4000
_MOST_BODY_BYTES = 1 << 18
_ANSWER_SECONDS = 60.0
"""For the whole answer: one that comes a byte at a time is never silent for long."""


@dataclass(frozen=True)
class Heard:
    """What became clear with a piece of sound."""

    has_begun: bool = False
    """The person speaks, before it is known what."""
    samples: FloatArray | None = None
    """[T] at 16 kHz: an utterance has ended. T is 0 where it was only a noise."""


class Utterances:
    """Cuts the sound of a microphone into utterances."""

    def __init__(self) -> None:
        self.is_speech = False
        """The person is speaking."""
        self._rate_hz = 0
        self._change: soxr.ResampleStream | None = None
        self._rest = np.zeros(0, np.float32)
        self._noise_db: float | None = None
        self._recent: deque[bool] = deque(maxlen=_RECENT_BLOCKS)
        self._blocks: list[FloatArray] = []
        self._loud = self._quiet = 0

    def push(self, samples: FloatArray, rate_hz: int, *, is_over_speech: bool = False) -> list[Heard]:
        """Sound [T] of the microphone, in pieces of any length.

        Args:
            is_over_speech: the face is speaking.
        """
        sound = np.concatenate([self._rest, self._resampled(samples, rate_hz)])
        count = len(sound) // _BLOCK
        self._rest = sound[count * _BLOCK :]
        found = [self._block(block, is_over_speech) for block in sound[: count * _BLOCK].reshape(count, _BLOCK)]
        return [heard for heard in found if heard is not None]

    def _resampled(self, samples: FloatArray, rate_hz: int) -> FloatArray:
        if rate_hz != self._rate_hz:
            self._rate_hz = rate_hz
            self._change = None
            if rate_hz != SPEECH_RATE_HZ:
                self._change = soxr.ResampleStream(rate_hz, SPEECH_RATE_HZ, 1, dtype="float32", quality="MQ")
        samples = np.nan_to_num(np.clip(np.asarray(samples, np.float32), -1.0, 1.0))
        return samples if self._change is None else self._change.resample_chunk(samples)

    def _block(self, block: FloatArray, is_over_speech: bool) -> Heard | None:
        is_loud = self._is_loud(block, _LOUD_OVER_DB if is_over_speech and not self.is_speech else _LOUD_DB)
        self._blocks.append(block)
        if not self.is_speech:
            self._recent.append(is_loud)
            if sum(self._recent) < (_BEGIN_OVER_BLOCKS if is_over_speech else _BEGIN_BLOCKS):
                del self._blocks[:-_BEFORE_BLOCKS]
                return None
            self.is_speech, self._loud, self._quiet = True, sum(self._recent), 0
            return Heard(has_begun=True)
        self._loud += is_loud
        self._quiet = 0 if is_loud else self._quiet + 1
        if self._quiet < _END_BLOCKS and len(self._blocks) * _BLOCK < MOST_SECONDS * SPEECH_RATE_HZ:
            return None
        samples = np.concatenate(self._blocks) if self._loud >= _LEAST_BLOCKS else np.zeros(0, np.float32)
        self.is_speech = False
        self._recent.clear()
        self._blocks = []
        return Heard(samples=samples)

    def _is_loud(self, block: FloatArray, margin_db: float) -> bool:
        level = 10 * float(np.log10(np.mean(np.square(block, dtype=np.float64)) + 1e-10))
        noise = min(level, _FIRST_DB) if self._noise_db is None else self._noise_db
        self._noise_db = noise + (_FALL * (level - noise) if level < noise else min(level - noise, _RISE_DB))
        return level > max(noise + margin_db, _LEAST_DB)


class Transcriber:
    """A server that transcribes: OpenAI's /v1/audio/transcriptions. It belongs to one event loop.

    Args:
        address: the server's root, its /v1, or the route itself.
        model: as the server calls it.

    Raises:
        InputError: no address, or no HTTP client.
    """

    def __init__(self, address: str, model: str = "whisper-1") -> None:
        http()
        self._remote = Remote.of("the transcriber", address, "audio/transcriptions", KEY_VARIABLE)
        self._model = model
        self._opened: AsyncClient | None = None

    async def text(self, samples: FloatArray) -> str:
        """What is said in a sound [T] at 16 kHz; empty if nothing is.

        Raises:
            InputError: the server can't be reached, refuses, hangs, or sends what is no transcript.
        """
        file = io.BytesIO()
        soundfile.write(file, samples, SPEECH_RATE_HZ, subtype="PCM_16", format="WAV")
        if self._opened is None:
            self._opened = self._remote.async_client()
        asked = {"model": self._model, "response_format": "json"}
        files = {"file": ("speech.wav", file.getvalue(), "audio/wav")}
        try:
            body = await asyncio.wait_for(self._answer(self._opened, asked, files), _ANSWER_SECONDS)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise self._unusable(f"no whole answer in {_ANSWER_SECONDS:.0f} s") from error
        except http().HTTPError as error:
            raise self._remote.failure(error) from error
        try:
            text = parsed(body)["text"]
        except (ValueError, LookupError, TypeError) as error:
            raise self._unusable("no transcript") from error
        if not isinstance(text, str):
            raise self._unusable("no transcript")
        text = " ".join(text.split())[:_MOST_TEXT]
        return text if any(character.isalnum() for character in text) else ""

    async def close(self) -> None:
        """Let go of connections."""
        if self._opened is not None:
            await self._opened.aclose()

    async def _answer(self, client: AsyncClient, asked: dict[str, str], files: dict[str, Any]) -> bytes:
        body = bytearray()
        async with client.stream("POST", self._remote.url, data=asked, files=files) as response:
            await self._remote.check_async(response)
            async for block in response.aiter_bytes():
                body += block
                if len(body) > _MOST_BODY_BYTES:
                    raise self._unusable("an answer without end")
        return bytes(body)

    def _unusable(self, what: str) -> InputError:
        return InputError(f"{self._remote.what} at {self._remote.place} gave {what}", "see that server's own log")
