"""A voice of another server: any address with OpenAI's route /v1/audio/speech. Needs the package httpx2 (extra [web]).

A sentence is a request, so that the first sound comes soon from servers that answer only when all of it is made; what
does come in pieces is passed on in pieces. Symbols: T samples, C channels.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Generator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import soxr

from geneface.errors import InputError
from geneface.types import FloatArray
from geneface.voice.remote import Remote, http
from geneface.voice.sentences import sentences
from geneface.voice.voice import check_speed, readable

if TYPE_CHECKING:
    from httpx2 import Client

RATE_HZ = 24_000
"""Of what it says; also of raw PCM, as OpenAI's route defines it."""
DEFAULT_VOICE, DEFAULT_MODEL = "alloy", "tts-1"
KEY_VARIABLE = "GENEFACE_VOICE_KEY"

_NAME = re.compile(r"[\w.:+() /-]{1,100}")
_MOST_BYTES, _MOST_BYTES_A_CHARACTER = 4 << 20, 64 << 10
"""Of an answer. At 48 kHz in two channels of float a character takes 30 kB."""
_MOST_SECONDS = 120.0
_HEADER_BYTES = 1 << 16
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


class OpenAISpeech:
    """A voice at an address.

    Args:
        address: the server's root, its /v1, or the route itself.
        name, model: as that server calls them.

    Raises:
        InputError: no address, or a name that is none.
    """

    rate_hz = RATE_HZ
    language = ""

    def __init__(self, address: str, name: str | None = None, model: str | None = None) -> None:
        self.name, self._model = name or DEFAULT_VOICE, model or DEFAULT_MODEL
        if not _NAME.fullmatch(self.name):
            raise InputError("that is no name of a voice", "give the name that the server has for it")
        self._remote = Remote.of("the voice", address, "audio/speech", KEY_VARIABLE)
        http()

    @cached_property
    def _client(self) -> Client:
        return self._remote.client()

    def speak(self, text: str, speed: float = 1.0) -> Generator[FloatArray, None, None]:
        """See `Voice.speak`; whether the same text sounds the same again is up to the server."""
        return self._pieces(readable(text), check_speed(speed))

    def _pieces(self, text: str, speed: float) -> Generator[FloatArray, None, None]:
        for sentence in sentences(text):
            try:
                yield from self._asked(sentence, speed)
            except http().HTTPError as error:
                raise self._remote.failure(error) from error

    def _asked(self, sentence: str, speed: float) -> Generator[FloatArray, None, None]:
        asked = {"model": self._model, "voice": self.name, "input": sentence, "response_format": "wav", "speed": speed}
        most = _MOST_BYTES + _MOST_BYTES_A_CHARACTER * len(sentence)
        deadline = time.monotonic() + _MOST_SECONDS
        with self._client.stream("POST", self._remote.url, json=asked) as response:
            self._remote.check(response)
            sound = _SoundReader(response.headers.get("content-type", ""))
            taken = 0
            for block in response.iter_bytes():
                taken += len(block)
                if taken > most or time.monotonic() > deadline:
                    raise self._unusable("gave an answer without end")
                try:
                    piece = sound.push(block)
                except ValueError as error:
                    raise self._unusable(f"gave no sound that can be read ({error})") from error
                if len(piece):
                    yield piece
        if not sound.samples:
            raise self._unusable("gave no sound")
        last = sound.finish()
        if len(last):
            yield last

    def _unusable(self, what: str) -> InputError:
        return InputError(f"{self._remote.what} at {self._remote.place} {what}", "see that server's own log")


class _SoundReader:
    """Bytes of WAV, or of raw 16-bit PCM, to samples at `RATE_HZ`.

    Sizes that the header states are not believed: who streams doesn't know them.
    """

    def __init__(self, content_type: str) -> None:
        self._type = content_type.partition(";")[0].strip().lower()
        self._bytes = b""
        self._dtype = np.dtype("<i2")
        self._channels = 0
        self._change: soxr.ResampleStream | None = None
        self.samples = 0

    def push(self, block: bytes) -> FloatArray:
        """[T] of so many bytes more.

        Raises:
            ValueError: they are no such sound.
        """
        self._bytes += block
        if not self._channels and not self._open():
            return np.zeros(0, np.float32)
        width = self._dtype.itemsize * self._channels
        whole = len(self._bytes) // width * width
        values = np.frombuffer(self._bytes[:whole], self._dtype).reshape(-1, self._channels)
        self._bytes = self._bytes[whole:]
        scale = 1.0 if self._dtype.kind == "f" else 2.0 ** (1 - 8 * self._dtype.itemsize)
        mono = (values.astype(np.float64) * scale).mean(axis=1).astype(np.float32)
        if not np.isfinite(mono).all():
            raise ValueError("it holds NaN")
        self.samples += len(mono)
        mono = mono if self._change is None else self._change.resample_chunk(mono)
        return np.clip(mono, -1.0, 1.0)

    def finish(self) -> FloatArray:
        """[T] what resampling still held."""
        if self._change is None:
            return np.zeros(0, np.float32)
        return np.clip(self._change.resample_chunk(np.zeros(0, np.float32), last=True), -1.0, 1.0)

    def _open(self) -> bool:
        """Read the header, once all of it is there."""
        head = self._bytes
        if len(head) < 12:
            return False
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            if self._type.startswith("audio/pcm") or self._type in ("audio/l16", "application/octet-stream"):
                self._channels = 1
                return True
            raise ValueError(f"it is {self._type or 'of no known type'} instead of WAV")
        at, found = 12, None
        while at + 8 <= len(head):
            name, size = struct.unpack_from("<4sI", head, at)
            at += 8
            if name == b"data":
                self._begin(found)
                self._bytes = head[at:]
                return True
            if name == b"fmt " and at + size <= len(head) and size >= 16:
                found = head[at : at + size]
            at += size + size % 2
        if len(head) > _HEADER_BYTES:
            raise ValueError("its header has no end")
        return False

    def _begin(self, found: bytes | None) -> None:
        if found is None:
            raise ValueError("its header tells no format")
        kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", found)
        if kind == _EXTENSIBLE and len(found) >= 26:
            (kind,) = struct.unpack_from("<H", found, 24)
        types = {(_PCM, 16): "<i2", (_PCM, 32): "<i4", (_FLOAT, 32): "<f4", (_FLOAT, 64): "<f8"}
        if (kind, bits) not in types or not 1 <= channels <= 8 or not 8_000 <= rate <= 192_000:
            raise ValueError(f"format {kind}, {bits} bits, {channels} channels, {rate} Hz")
        self._dtype, self._channels = np.dtype(types[kind, bits]), channels
        if rate != RATE_HZ:
            self._change = soxr.ResampleStream(rate, RATE_HZ, 1, dtype="float32")
