"""Live sessions: opened and steered by HTTP, seen and heard by WebSocket; docs/serve.md, "The stream"."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Response, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from geneface.avatar.performance import Performance
from geneface.avatar.style import NEUTRAL
from geneface.errors import InputError, MissingExtraError
from geneface.realtime import BusyError, Session
from geneface.serve.avatars import BUNDLED
from geneface.serve.context import Context, context_of
from geneface.serve.errors import ApiError
from geneface.serve.live.controls import background_of, sound_of
from geneface.serve.live.sessions import LiveSession
from geneface.serve.live.socket import SocketListener, refuse
from geneface.serve.live.streams import open_stream
from geneface.serve.routes.forms import data_of
from geneface.serve.settings import ServeSettings
from geneface.voice.voice import Voice

router = APIRouter(prefix="/v1/live", tags=["live"])
SUBPROTOCOL = "geneface.v1"
_SEEDS = 2**31
Server = Annotated[Context, Depends(context_of)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LiveRequest(_Body):
    """A live session that is asked for."""

    model: str = Field(BUNDLED, description="The avatar, an id of /v1/models.")
    voice: str | None = Field(None, description="What texts are spoken with; see /v1/audio/voices.")
    background: str = Field("keep", description="keep, #rrggbb, or the name of a colour.")
    size: int | None = Field(None, description="Pixels of the shorter side; by default the avatar's own.")
    frame: Literal["crop", "source"] | None = Field(None, description="The square of the head, or the whole picture.")
    seed: int = Field(0, ge=0, lt=_SEEDS, description="Of blinks and the head's path.")
    style: str | float = Field(NEUTRAL, description="calm, neutral, lively, 0 to 1, or the name of a clip.")


class SayRequest(_Body):
    """What is to be spoken: a text or a sound."""

    text: str | None = None
    audio: str | None = Field(None, description="A data: URL of any sound file.")
    chat: bool = Field(False, description="The text goes to the conversation, where the server has one; it answers.")


class BackgroundRequest(_Body):
    """What is to stand behind the person."""

    background: str


@router.post("", status_code=201)
async def open_live(
    response: Response, server: Server, request: Annotated[LiveRequest | None, Body()] = None
) -> dict[str, Any]:
    """Open a live session; without a body, of the bundled avatar. 503 with Retry-After where there is no room."""
    request = request or LiveRequest.model_validate({})
    background = background_of(request.background)
    try:
        session, voice = await asyncio.to_thread(_open, server, request, background)
    except BusyError as error:
        raise ApiError(
            503,
            "busy",
            "this machine can't draw another live face in time",
            f"try again in {max(round(error.retry_after), 1)} s, or close another session",
            retry_after=error.retry_after,
        ) from error
    live = server.live.add(session, request.model)
    live.partner = server.partners.begin(session, voice, live.tell)
    response.headers["Location"] = f"/v1/live/{live.id}"
    return _described(server, live)


@router.get("")
async def list_live(server: Server) -> dict[str, Any]:
    """All live sessions."""
    return {"object": "list", "data": [_described(server, live) for live in server.live]}


@router.get("/{live_id}")
async def get_live(live_id: str, server: Server) -> dict[str, Any]:
    """A live session and its figures."""
    live = _found(server, live_id)
    return {**_described(server, live), "stats": live.latest}


@router.delete("/{live_id}", status_code=204)
async def close_live(live_id: str, server: Server) -> None:
    """End a live session."""
    _found(server, live_id)
    await server.live.close(live_id)


@router.post("/{live_id}/say", status_code=202)
async def say(live_id: str, request: SayRequest, server: Server) -> dict[str, Any]:
    """Have a text or a sound spoken, after what is being spoken."""
    live = _found(server, live_id)
    if (request.text is None) == (request.audio is None):
        raise ApiError(422, "bad_request", "give either text or audio", "the text to speak, or a data: URL of a sound")
    if request.text is not None:
        utterance = live.text(request.text) if request.chat else live.say(request.text)
    else:
        # Not among asyncio's own threads: a few sounds that take long would hold up what live faces need.
        utterance = await server.jobs.run(_speak, live, request.audio or "", server.settings)
    return {"object": "live.utterance", "id": utterance}


@router.post("/{live_id}/interrupt")
async def interrupt(live_id: str, server: Server) -> dict[str, Any]:
    """Be silent at once; the mouth goes to rest."""
    return {"object": "live.interruption", "generation": _found(server, live_id).interrupt()}


@router.post("/{live_id}/background", status_code=204)
async def set_background(live_id: str, request: BackgroundRequest, server: Server) -> None:
    """Show the person before something else."""
    live = _found(server, live_id)
    await asyncio.to_thread(live.session.set_background, background_of(request.background))


@router.get("/{live_id}/events", response_class=StreamingResponse)
async def events(live_id: str, server: Server) -> StreamingResponse:
    """What happens in the session, as server-sent events, until it ends."""
    live = _found(server, live_id)

    async def lines() -> AsyncIterator[str]:
        yield ": open\n\n"
        async for message in live.events():
            yield ": \n\n" if message is None else f"event: {message['type']}\ndata: {json.dumps(message)}\n\n"

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(lines(), media_type="text/event-stream", headers=headers)


@router.websocket("/{live_id}/stream")
async def stream(
    websocket: WebSocket, live_id: str, server: Server, codec: str = "webcodecs", audio: str = "opus"
) -> None:
    """See and hear a session, and speak to it."""
    subprotocol = SUBPROTOCOL if SUBPROTOCOL in websocket.scope.get("subprotocols", ()) else None
    await websocket.accept(subprotocol)
    sessions = server.live
    live = sessions.get(live_id)
    if live is None:
        await refuse(websocket, "not_found", "there is no such live session", "open one by POST /v1/live")
        return
    try:
        made = open_stream(codec, live.session.width, live.session.height, audio)
    except ValueError as error:
        await refuse(websocket, "bad_request", str(error), "codec is webcodecs or mse, audio opus or pcm")
        return
    await SocketListener(websocket, live, made, sessions.pool).run()


def _found(server: Context, live_id: str) -> LiveSession:
    live = server.live.get(live_id)
    if live is None:
        raise ApiError(404, "not_found", "there is no such live session", "open one by POST /v1/live")
    return live


def _speak(live: LiveSession, audio: str, settings: ServeSettings) -> str:
    """Have the sound in a data: URL spoken; takes a moment."""
    return live.speak(*sound_of(data_of(audio, "the sound"), settings))


def _described(server: Context, live: LiveSession) -> dict[str, Any]:
    sessions = server.live
    return {
        "id": live.id,
        "object": "live",
        "model": live.avatar,
        "width": live.session.width,
        "height": live.session.height,
        "frames_per_second": 25,
        "stream": f"/v1/live/{live.id}/stream",
        "events": f"/v1/live/{live.id}/events",
        "created_at": int(live.created_at),
        "expires_in": round(sessions.expires_in(live), 1),
        "has_listener": live.has_listener,
        "conversation": live.partner is not None,
    }


def _open(server: Context, request: LiveRequest, background: str) -> tuple[Session, Voice | None]:
    """Load the avatar and the voice, and open a session; takes a moment."""
    if server.avatars.get(request.model) is None:
        raise ApiError(404, "not_found", "there is no such avatar", "see /v1/models for those there are")
    avatar, voice = server.avatars.load(request.model), _voice(server, request.voice)
    session = server.scheduler.open(
        avatar,
        Performance(seed=request.seed, style=request.style),
        size=request.size,
        frame=request.frame,
        background=background,
        voice=voice,
    )
    return session, voice


def _voice(server: Context, name: str | None) -> Voice | None:
    """The voice that a session speaks with. Without the extra there is none, unless it is asked for."""
    try:
        return server.voices.get(name)
    except MissingExtraError:
        if name or server.settings.voice:
            raise
        return None
    except InputError as error:
        raise ApiError(422, "no_such_voice", error.cause, error.remedy) from error
