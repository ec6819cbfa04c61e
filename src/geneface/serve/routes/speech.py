"""POST /v1/audio/speech: text to sound, as OpenAI's route of that name; GET /v1/audio/voices."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field, field_validator
from starlette.types import Receive, Scope, Send

from geneface.errors import InputError
from geneface.io.sound_stream import MEDIA_TYPES, SoundFormat, SoundStream, wav_header
from geneface.serve.context import Context, context_of
from geneface.serve.errors import ApiError, error_body
from geneface.types import FloatArray, to_int16
from geneface.voice.voice import FASTEST, SLOWEST, Voice, joined

router = APIRouter(tags=["speech"])
_LOG = logging.getLogger(__name__)
_EVENTS = "text/event-stream"


class SpeechRequest(BaseModel):
    """What is to be said, and how."""

    input: str = Field(description="The text.")
    model: str = Field("", description="Taken and not looked at: this server has one.")
    voice: str | None = Field(None, description="One of /v1/audio/voices; by default the server's own choice.")
    response_format: SoundFormat = "mp3"
    speed: float = Field(1.0, ge=SLOWEST, le=FASTEST)
    stream_format: Literal["audio", "sse"] = "audio"

    @field_validator("voice", mode="before")
    @classmethod
    def _name_of(cls, voice: Any) -> Any:
        """Newer clients may send `{"id": name}`."""
        return voice.get("id") if isinstance(voice, dict) else voice


class VoiceEntry(BaseModel):
    """A voice that can be asked for."""

    id: str
    object: Literal["voice"] = "voice"
    name: str
    language: str
    """Such as `en-us`; empty where another server speaks."""
    description: str
    is_default: bool


class VoiceList(BaseModel):
    """The voices, the default first."""

    object: Literal["list"] = "list"
    data: list[VoiceEntry]
    voices: list[str]
    """Their names alone, as other servers of this route have them."""


@router.get("/v1/audio/voices", summary="The voices")
def voices(context: Annotated[Context, Depends(context_of)]) -> VoiceList:
    """Those that `voice` may name, in texts that are spoken, videos and live sessions."""
    entries = described(context)
    return VoiceList(data=entries, voices=[voice.id for voice in entries])


def described(context: Context) -> list[VoiceEntry]:
    """The voices of a server, the default first.

    Raises:
        InputError: there are none: the engine is missing, or its folder incomplete.
    """
    return [
        VoiceEntry(
            id=voice.name,
            name=voice.name.replace("_", " ").capitalize(),
            language=voice.language,
            description=voice.description,
            is_default=voice.is_default,
        )
        for voice in context.voices.all()
    ]


@router.post(
    "/v1/audio/speech",
    summary="Speak a text",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in (*MEDIA_TYPES.values(), _EVENTS)}}},
)
def speech(wanted: SpeechRequest, context: Annotated[Context, Depends(context_of)]) -> Response:
    """Sound is sent as it is made, a sentence at a time; WAV alone is made whole first, as it states its length.

    With `stream_format` `sse` it comes as events `speech.audio.delta`, whose `audio` is a part of the file in base64,
    and one `speech.audio.done`.
    """
    most = context.settings.most_text
    if len(wanted.input) > most:
        raise ApiError(422, "text_too_long", f"the text has {len(wanted.input)} characters", f"send at most {most}")
    if not context.speakers.acquire(blocking=False):
        raise ApiError(503, "busy", "other texts are being spoken", "try again in a moment", retry_after=1)
    with ExitStack() as held:
        held.callback(context.speakers.release)
        answer = _answer(wanted, context)
        if isinstance(answer, _Made):
            # It is not spoken to its end yet.
            answer.held = held.pop_all()
        return answer


def _answer(wanted: SpeechRequest, context: Context) -> Response:
    voice = context.voices.get(wanted.voice)
    pieces = voice.speak(wanted.input, wanted.speed)
    # What is wrong with the text or with another server shows here, when there is a status to say it with.
    first = next(pieces, None)
    if first is None:
        raise InputError("the text has no sounds in this voice's language", "send a text in the voice's language")
    sound = _all(first, pieces)
    if wanted.stream_format == "sse":
        return _Made(_events(sound, wanted, voice), _EVENTS)
    media_type = MEDIA_TYPES[wanted.response_format]
    if wanted.response_format == "wav":
        return Response(_wav(sound, voice), media_type=media_type)
    return _Made(_encoded(sound, wanted.response_format, voice), media_type)


class _Made(StreamingResponse):
    """Blocks that are sent as they are made; who leaves ends their making."""

    def __init__(self, blocks: Generator[Any, None, None], media_type: str) -> None:
        super().__init__(blocks, media_type=media_type, headers={"Cache-Control": "no-cache"})
        self._blocks = blocks
        self.held = ExitStack()
        """Let go of at the end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except InputError as error:
            # The status has been sent: without the end of its body the answer is seen to be incomplete.
            _LOG.warning("a spoken text broke off", exc_info=error)
        finally:
            self.held.close()
            self._blocks.close()


def _all(first: FloatArray, rest: Generator[FloatArray, None, None]) -> Generator[FloatArray, None, None]:
    with closing(rest):
        yield first
        yield from rest


def _wav(sound: Iterator[FloatArray], voice: Voice) -> bytes:
    whole = joined(sound)
    return wav_header(len(whole), voice.rate_hz) + to_int16(whole).tobytes()


def _encoded(
    sound: Generator[FloatArray, None, None], format: SoundFormat, voice: Voice
) -> Generator[bytes, None, None]:
    with closing(sound):
        if format == "wav":
            yield _wav(sound, voice)
            return
        stream = SoundStream(format, voice.rate_hz)
        for piece in sound:
            made = stream.push(piece)
            if made:
                yield made
        yield stream.finish()


def _events(
    sound: Generator[FloatArray, None, None], wanted: SpeechRequest, voice: Voice
) -> Generator[str, None, None]:
    """The file as events. An error in the middle is one, too: the status has been sent."""
    try:
        with closing(_encoded(sound, wanted.response_format, voice)) as blocks:
            for block in blocks:
                yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(block).decode()})
    except InputError as error:
        yield _event({"type": "error", **error_body("bad_input", error.cause, error.remedy)})
        return
    # OpenAI counts tokens; here it is characters in, and nothing is charged.
    usage = {"input_tokens": len(wanted.input), "output_tokens": 0, "total_tokens": len(wanted.input)}
    yield _event({"type": "speech.audio.done", "usage": usage})


def _event(facts: dict[str, Any]) -> str:
    return f"data: {json.dumps(facts)}\n\n"
