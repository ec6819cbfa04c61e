"""Videos as jobs, in the shapes of OpenAI's /v1/videos, and at once."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import Field

from geneface.avatar.background import COLOURS, KEEP, is_colour
from geneface.avatar.body import Body
from geneface.avatar.folder import read_statistics
from geneface.avatar.inputs import picture_size
from geneface.avatar.outputs import Format
from geneface.avatar.performance import BodyChoice, Performance
from geneface.avatar.style import NEUTRAL, style_of
from geneface.errors import InputError
from geneface.serve import sandbox
from geneface.serve.context import Context, context_of
from geneface.serve.errors import ApiError
from geneface.serve.jobs.formats import BACKGROUND, MEDIA_TYPES, SPEECH
from geneface.serve.jobs.job import Job
from geneface.serve.routes.forms import Body as RequestBody
from geneface.serve.routes.forms import Fields, body_of, checked, data_of
from geneface.serve.routes.shown import shown_state

router = APIRouter(tags=["videos"])
_SYNC_SECONDS, _LOOK_SECONDS = 1800.0, 0.2
_PATIENCE_SECONDS = 10.0
"""How long a request waits for its turn: most clients give up on a server that sends nothing for long."""
_SIZE = re.compile(r"(\d{1,5})(?:x(\d{1,5}))?")
_SOUNDS = ("audio", "input_reference")


class AudioReference(Fields):
    """Sound inside the request."""

    audio_url: str
    """data:audio/wav;base64,..."""


class VideoRequest(Fields):
    """`POST /v1/videos`: text to speak (`prompt`), or sound as a file of a form or as `audio_reference`."""

    model: str = Field(max_length=200)
    """Id of an avatar."""
    prompt: str | None = None
    audio_reference: AudioReference | None = None
    size: str | int | None = Field(None, examples=["512x512", "512", "source"])
    frame: Literal["crop", "source"] | None = None
    body: BodyChoice = "auto"
    background: str = KEEP
    """keep, a colour (a name or #rrggbb), or an image as data:image/png;base64,..."""
    format: Format = "mp4"
    seed: int = 0
    temperature: float = 0.0
    mouth_gain: float = 1.0
    style: str | float = Field(NEUTRAL, examples=["calm", "lively", 0.8])
    voice: str | None = Field(None, max_length=200)
    seconds: str | float | None = None
    """Passed over: a video is as long as its speech."""


_BODY_DOC = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": VideoRequest.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "description": "The fields of the JSON request, and files: `audio`, `background`.",
                    "properties": {"audio": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}


def shown_video(job: Job, context: Context) -> dict[str, Any]:
    """As clients see it."""
    params, result = job.params, job.result
    return {
        "id": job.id,
        "object": "video",
        "model": job.subject,
        **shown_state(job, context.jobs),
        "size": result.get("size") or params["shown_size"],
        "seconds": str(result.get("seconds") or params.get("seconds") or 0),
        "prompt": params.get("text"),
        "format": params["format"],
        "bytes": result.get("bytes"),
    }


@router.post("/v1/videos", openapi_extra=_BODY_DOC)
async def create_video(request: Request, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """Let an avatar speak: a job."""
    job = await _submitted(request, context)
    return await context.jobs.run(shown_video, job, context)


@router.post("/v1/videos/sync", openapi_extra=_BODY_DOC, response_class=StreamingResponse)
async def create_video_now(request: Request, context: Context = Depends(context_of)) -> Response:  # noqa: B008
    """The same, and the answer is the file. Nothing of it is kept. 503 with Retry-After where others come first."""
    jobs = context.jobs
    job = await _submitted(request, context, is_sync=True)
    end = time.monotonic() + _SYNC_SECONDS
    patience = time.monotonic() + _PATIENCE_SECONDS
    try:
        while True:
            now = await run_sync(jobs.store.get, job.id)
            if now is None or now.has_ended:
                break
            if now.state == "in_progress":
                patience = time.monotonic() + _PATIENCE_SECONDS
            elif time.monotonic() > patience:
                raise _busy()
            await anyio.sleep(_LOOK_SECONDS)
            if await request.is_disconnected() or time.monotonic() > end:
                raise ApiError(504, "too_slow", "the video was not done in time", "use POST /v1/videos and ask again")
        if now is None or now.state == "cancelled":
            raise ApiError(409, "cancelled", "the video was cancelled", "ask for it again")
        if now.error is not None:
            status = 422 if now.error.code == "bad_input" else 500
            raise ApiError(status, now.error.code, now.error.message, now.error.remedy)
        path, media_type = _place(now, context)
        file = await run_sync(open, path, "rb")
    finally:
        # An open file can still be read. Shielded: also where the request is cancelled, nothing is kept.
        with anyio.CancelScope(shield=True):
            await run_sync(jobs.delete, job)
    return StreamingResponse(
        _pieces(file), media_type=media_type, headers={"Content-Length": str(os.fstat(file.fileno()).st_size)}
    )


def _busy() -> ApiError:
    return ApiError(
        503,
        "busy",
        "other videos, checks or imports come first",
        "try again later, or use POST /v1/videos, which waits for its turn",
        retry_after=_PATIENCE_SECONDS,
    )


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(1 << 16):
            yield piece


@router.get("/v1/videos")
def list_videos(
    context: Context = Depends(context_of),  # noqa: B008
    after: str | None = None,
    limit: int = Query(20, ge=1, le=100),
    order: Literal["asc", "desc"] = "desc",
) -> dict[str, Any]:
    """Videos, the newest first."""
    found = context.jobs.store.list(["video"], after=after, limit=limit + 1, newest_first=order == "desc")
    data = [shown_video(job, context) for job in found[:limit]]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(found) > limit,
    }


@router.get("/v1/videos/{video_id}")
def get_video(video_id: str, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """One of them."""
    return shown_video(_video(video_id, context), context)


@router.get("/v1/videos/{video_id}/content", response_class=FileResponse)
def get_content(video_id: str, context: Context = Depends(context_of), download: bool = False) -> Response:  # noqa: B008
    """The file."""
    job = _video(video_id, context)
    if job.state != "completed":
        raise ApiError(409, "not_ready", f"this video is {job.state.replace('_', ' ')}", "ask again when it is done")
    path, media_type = _place(job, context)
    name = f"{job.id}{MEDIA_TYPES[job.params['format']][1]}"
    kind = "attachment" if download else "inline"
    return FileResponse(path, media_type=media_type, filename=name, content_disposition_type=kind)


@router.post("/v1/videos/{video_id}/cancel")
def cancel_video(video_id: str, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """Stop it."""
    job = _video(video_id, context)
    if not context.jobs.cancel(job):
        raise ApiError(409, "has_ended", f"this video is {job.state} already", "delete it instead")
    return shown_video(_video(video_id, context), context)


@router.delete("/v1/videos/{video_id}")
def delete_video(video_id: str, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """The job and all its files."""
    context.jobs.delete(_video(video_id, context))
    return {"id": video_id, "object": "video.deleted", "deleted": True}


def _video(video_id: str, context: Context) -> Job:
    job = context.jobs.store.get(video_id)
    if job is None or job.kind != "video":
        raise ApiError(404, "not_found", "there is no such video", "see /v1/videos for those there are")
    return job


def _place(job: Job, context: Context) -> tuple[Path, str]:
    """The file of a finished one, and its media type."""
    path = context.jobs.home.job(job.id) / "out" / job.result["file"]
    if not path.is_file():
        raise ApiError(404, "not_found", "the file of this video is gone", "make it again")
    return path, MEDIA_TYPES[job.params["format"]][0]


async def _submitted(request: Request, context: Context, *, is_sync: bool = False) -> Job:
    # Refused before anything is read or decoded.
    await context.jobs.run(context.jobs.refuse_long_queue)
    async with body_of(request, context.settings.most_body_bytes, context.settings.most_text) as body:
        return await context.jobs.run(_submit, body, context, is_sync)


def _submit(body: RequestBody, context: Context, is_sync: bool) -> Job:
    """Check all that can be checked now, and queue it."""
    wanted = _wanted(body)
    avatar = context.avatars.get(wanted.model)
    if avatar is None:
        raise ApiError(404, "not_found", "there is no such avatar", "see /v1/models for those there are")
    size = _size(wanted.size)
    performance = Performance(wanted.temperature, wanted.seed, wanted.mouth_gain, body=wanted.body, style=wanted.style)
    if isinstance(performance.style, str):
        style_of(read_statistics(avatar.folder).styles, performance.style)
    if "source" in (size, wanted.frame, wanted.body) and not Body.is_in(avatar.folder):
        raise InputError("this avatar carries no video of the person", "choose a size in pixels, and the body drawn")
    sound, text = _speech(wanted, body, context)
    if text is not None:
        _check_voice(wanted.voice, context)
    picture = _background(wanted, body)
    params = {
        "avatar_folder": str(avatar.folder.resolve()),
        "text": text,
        "voice": wanted.voice or context.settings.voice,
        "voice_options": _voice_options(context),
        "size": size,
        "shown_size": _shown_size(size),
        "frame": wanted.frame,
        "background": KEEP if picture else wanted.background,
        "has_background_image": picture is not None,
        "format": wanted.format,
        "body": performance.body,
        "seed": performance.seed,
        "temperature": performance.temperature,
        "mouth_gain": performance.mouth_gain,
        "style": performance.style,
        "is_sync": is_sync,
    }

    def fill(folder: Path) -> None:
        if sound is not None:
            _write(sound, folder / SPEECH)
            params["seconds"] = _sound_seconds(folder / SPEECH, context)
        if picture is not None:
            _write(picture, folder / "given")
            sandbox.look_at("picture", folder / "given", folder / BACKGROUND)
            (folder / "given").unlink()

    return context.jobs.submit("video", avatar.id, params, fill)


def _wanted(body: RequestBody) -> VideoRequest:
    values = dict(body.values)
    reference = values.get("audio_reference")
    if isinstance(reference, str):
        try:
            values["audio_reference"] = json.loads(reference)
        except ValueError:
            raise ApiError(
                422, "bad_request", "audio_reference is no JSON object", 'give {"audio_url": "data:..."}'
            ) from None
    if "input_reference" in values:
        raise ApiError(422, "bad_request", "input_reference is not a file", "send sound as a file of a form")
    return checked(VideoRequest, values)


def _speech(wanted: VideoRequest, body: RequestBody, context: Context) -> tuple[Any, str | None]:
    """The sound's bytes or file, or the text: one of them."""
    given: list[Any] = [body.files[name].file for name in _SOUNDS if name in body.files]
    if wanted.audio_reference is not None:
        given.append(data_of(wanted.audio_reference.audio_url, "the sound"))
    text = (wanted.prompt or "").strip()
    if len(given) > 1:
        raise ApiError(422, "bad_request", "sound was given twice", "send one")
    if given:
        # With sound a prompt is a title at most: official clients always send one.
        return given[0], None
    if not text:
        raise ApiError(422, "bad_request", "there is nothing to say", "give text as prompt, or sound as audio")
    if len(text) > context.settings.most_text:
        raise ApiError(
            422,
            "too_long",
            f"the text has {len(text)} letters, at most {context.settings.most_text} are spoken",
            "cut it",
        )
    return None, text


def _sound_seconds(path: Path, context: Context) -> float:
    seconds = sandbox.look_at("sound", path)["seconds"]
    most = context.settings.most_speech_seconds
    if seconds > most:
        raise ApiError(422, "too_long", f"the sound lasts {seconds:.0f} s, at most {most:g} s are taken", "cut it")
    return round(seconds, 2)


def _background(wanted: VideoRequest, body: RequestBody) -> Any:
    """The bytes or the file of a picture, None where it is a word. A path is never taken."""
    if "background" in body.files:
        return body.files["background"].file
    text = wanted.background
    if text.startswith("data:"):
        return data_of(text, "the background")
    if text != KEEP and not is_colour(text):
        raise ApiError(
            422,
            "bad_request",
            "the background is neither keep nor a colour nor a picture",
            f"give keep, #rrggbb, one of {', '.join(COLOURS)}, a file of a form or a data: address",
        )
    return None


def _size(size: str | int | None) -> int | Literal["source"] | None:
    text = "" if size is None else str(size).strip().lower()
    if text in ("", "auto"):
        return None
    if text == "source":
        return "source"
    found = _SIZE.fullmatch(text)
    if found is None or (found[2] is not None and found[1] != found[2]):
        raise ApiError(
            422, "bad_request", f"the size is {text[:40]!r}", "give a square such as 512x512, a number, or source"
        )
    return picture_size(int(found[1]))


def _shown_size(size: int | str | None) -> str:
    return "auto" if size is None else f"{size}x{size}" if isinstance(size, int) else size


def _check_voice(name: str | None, context: Context) -> None:
    """Refuse now what a worker could not speak with; of another server's voices only that server knows.

    Raises:
        ApiError: no such voice.
        InputError: there are no voices here.
    """
    names = [voice.name for voice in context.voices.all()]
    if name is not None and name not in names and context.settings.voice_url is None:
        raise ApiError(422, "no_such_voice", f"there is no voice {name[:40]!r}", f"choose one of: {', '.join(names)}")


def _voice_options(context: Context) -> dict[str, str]:
    settings = context.settings
    folder = None if settings.voice_folder is None else str(settings.voice_folder)
    options = {"folder": folder, "url": settings.voice_url, "model": settings.voice_model}
    return {name: value for name, value in options.items() if value}


def _write(source: Any, target: Path) -> None:
    with open(target, "wb") as out:
        if isinstance(source, bytes):
            out.write(source)
        else:
            source.seek(0)
            shutil.copyfileobj(source, out, 1 << 20)
