"""Avatars: those there are, and how one is made of an uploaded video. Moving them as zips: `carried`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

from anyio import from_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse
from pydantic import BeforeValidator, Field, StringConstraints

from geneface.avatar.folder import POSTER_FILE
from geneface.serve import sandbox
from geneface.serve.avatars import StoredAvatar
from geneface.serve.context import Context, context_of
from geneface.serve.errors import ApiError
from geneface.serve.jobs.formats import CHECK_FILE, PREVIEW_FILE, VIDEO
from geneface.serve.jobs.job import Job, display_name, new_avatar_id
from geneface.serve.jobs.uploads import Upload
from geneface.serve.routes.forms import Fields, body_of, checked
from geneface.serve.routes.given import given_upload
from geneface.serve.routes.shown import shown_state
from geneface.serve.routes.shown_avatar import making, shown_avatar, shown_unfinished, stored

router = APIRouter(tags=["avatars"])
MOST_FORM = 256 << 20
"""Bytes of a form with a file; more comes in pieces."""
_CONSENT = 'say who agreed, and how, in the field consent: "I am the person in the video and agree"'
_NO_LICENCE = "not stated: ask before you share it"


def _number(value: object) -> object:
    """Forms hold text."""
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 5 else value


_Text = Annotated[str, StringConstraints(strip_whitespace=True)]


class CheckRequest(Fields):
    """`POST /v1/avatars/check`."""

    upload: str | None = Field(None, max_length=100)


class AvatarRequest(CheckRequest):
    """`POST /v1/avatars`."""

    consent: Annotated[_Text, Field(min_length=1, max_length=5000)]
    """Who agreed to this avatar, and how."""
    name: str = Field("", max_length=1000)
    licence: Annotated[_Text, Field(max_length=500)] = _NO_LICENCE
    attribution: Annotated[_Text, Field(max_length=2000)] = ""
    preset: Literal["tiny", "fast", "good"] = "fast"
    size: Annotated[Literal[64, 128, 256, 512], BeforeValidator(_number)] = 256
    body_seconds: float = Field(20.0, ge=0, le=60)


def body_doc(kind: type[Fields], file: str) -> dict[str, Any]:
    """For OpenAPI: a request as JSON, or as a form with a file."""
    schema = kind.model_json_schema()
    fields = {**schema["properties"], file: {"type": "string", "format": "binary"}}
    form = {"type": "object", "properties": fields, "required": schema.get("required", [])}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema}, "multipart/form-data": {"schema": form}},
        }
    }


@router.get("/v1/models")
def list_models(context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """Avatars that are ready, as OpenAI lists models."""
    return {"object": "list", "data": [_model(avatar) for avatar in context.avatars.list()]}


@router.get("/v1/models/{model}")
def get_model(model: str, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """One of them."""
    return _model(stored(model, context))


def _model(avatar: StoredAvatar) -> dict[str, Any]:
    return {"id": avatar.id, "object": "model", "created": int(avatar.created_at), "owned_by": "geneface"}


@router.get("/v1/avatars")
def list_avatars(context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """Those that are ready and those that are being made."""
    ready = context.avatars.list()
    known = {avatar.id for avatar in ready}
    unfinished = [job for job in making(context) if job.subject not in known]
    data = [shown_avatar(avatar, context) for avatar in ready]
    return {"object": "list", "data": data + [shown_unfinished(job, context) for job in unfinished]}


@router.post("/v1/avatars", openapi_extra=body_doc(AvatarRequest, "video"))
async def create_avatar(request: Request, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """Make an avatar of an uploaded video: a job with steps."""
    async with body_of(request, MOST_FORM) as body:
        if not str(body.values.get("consent") or "").strip():
            raise ApiError(422, "bad_request", "an avatar needs the consent of the person in the video", _CONSENT)
        wanted = checked(AvatarRequest, body.values)
        await context.jobs.run(context.jobs.refuse_long_queue)
        upload = await context.jobs.run(given_upload, wanted.upload, body.files.get("video"), context)
        return await context.jobs.run(_create, wanted, upload, context)


def _create(wanted: AvatarRequest, upload: Upload, context: Context) -> dict[str, Any]:
    params = {
        **wanted.model_dump(exclude={"upload", "name"}),
        "licence": wanted.licence or _NO_LICENCE,
        "name": display_name(wanted.name or Path(upload.name).stem) or "avatar",
        "upload": upload.id,
    }
    looked = next(iter(context.jobs.store.list(["check"], subject=upload.id, states=["completed"])), None)

    def fill(folder: Path) -> None:
        context.jobs.uploads.give(upload, folder / VIDEO)
        params["seconds"] = _looked_at(folder / VIDEO, context)["seconds"]
        if looked is not None:
            _take_over(context.jobs.home.job(looked.id) / "out", folder.parent / "out")

    job = context.jobs.submit("avatar", new_avatar_id(), params, fill)
    return shown_unfinished(job, context)


def _looked_at(video: Path, context: Context) -> dict[str, Any]:
    found, most = sandbox.look_at("video", video), context.settings.most_video_seconds
    if found["seconds"] > most:
        told = f"the video lasts {found['seconds'] / 60:.0f} minutes, at most {most / 60:g} are taken"
        raise ApiError(422, "too_long", told, "cut it: one or two minutes are enough")
    if not found["has_sound"]:
        raise ApiError(422, "bad_input", "the video has no sound", "give one in which the person is heard speaking")
    return found


def _take_over(check: Path, out: Path) -> None:
    """What a check has found already."""
    out.mkdir()
    # The findings last: with them the check counts as done.
    for name in (PREVIEW_FILE, CHECK_FILE):
        if (check / name).is_file():
            shutil.copyfile(check / name, out / name)


@router.post("/v1/avatars/check", openapi_extra=body_doc(CheckRequest, "video"))
async def create_check(request: Request, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """See what is wrong with a video before anything is trained: a job."""
    async with body_of(request, MOST_FORM) as body:
        wanted = checked(CheckRequest, body.values)
        upload = await context.jobs.run(given_upload, wanted.upload, body.files.get("video"), context)

    def check() -> dict[str, Any]:
        known = context.jobs.store.list(["check"], subject=upload.id, states=["queued", "in_progress", "completed"])
        if known:
            return _shown_check(known[-1], context)
        params: dict[str, Any] = {}

        def fill(folder: Path) -> None:
            context.jobs.uploads.give(upload, folder / VIDEO)
            params.update(_looked_at(folder / VIDEO, context))

        return _shown_check(context.jobs.submit("check", upload.id, params, fill), context)

    return await context.jobs.run(check)


@router.get("/v1/avatars/check/{check_id}")
def get_check(check_id: str, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """What it found."""
    return _shown_check(_check(check_id, context), context)


@router.get("/v1/avatars/check/{check_id}/preview", response_class=FileResponse)
def get_check_preview(check_id: str, context: Context = Depends(context_of)) -> Response:  # noqa: B008
    """What would be used of the video: a JPEG."""
    job = _check(check_id, context)
    return _picture(context.jobs.home.job(job.id) / "out" / PREVIEW_FILE, "image/jpeg")


@router.delete("/v1/avatars/check/{check_id}")
def delete_check(check_id: str, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """Stop or forget it; the upload stays."""
    context.jobs.delete(_check(check_id, context))
    return {"id": check_id, "object": "check.deleted", "deleted": True}


def _check(check_id: str, context: Context) -> Job:
    job = context.jobs.store.get(check_id)
    if job is None or job.kind != "check":
        raise ApiError(404, "not_found", "there is no such check", "begin one with POST /v1/avatars/check")
    return job


def _shown_check(job: Job, context: Context) -> dict[str, Any]:
    has_preview = bool(job.result.get("has_preview"))
    return {
        "id": job.id,
        "object": "check",
        "upload": job.subject,
        **shown_state(job, context.jobs),
        "seconds": job.params["seconds"],
        "width": job.params.get("width"),
        "height": job.params.get("height"),
        "is_usable": job.result.get("is_usable"),
        "preview": f"/v1/avatars/check/{job.id}/preview" if has_preview else None,
        "findings": job.result.get("findings", []),
    }


@router.get("/v1/avatars/{avatar_id}")
def get_avatar(avatar_id: str, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """Its steps while it is made, its card afterwards."""
    avatar = context.avatars.get(avatar_id)
    if avatar is not None:
        return shown_avatar(avatar, context, is_alone=True)
    return shown_unfinished(_maker(avatar_id, context), context)


@router.get("/v1/avatars/{avatar_id}/poster", response_class=FileResponse)
def get_poster(avatar_id: str, context: Context = Depends(context_of)) -> Response:  # noqa: B008
    """The avatar at rest: a PNG."""
    return _picture(stored(avatar_id, context).folder / POSTER_FILE, "image/png")


@router.get("/v1/avatars/{avatar_id}/preview", response_class=FileResponse)
def get_preview(avatar_id: str, context: Context = Depends(context_of)) -> Response:  # noqa: B008
    """What is used of the video that it is made of: a JPEG."""
    places = [context.jobs.home.job(job.id) / "out" for job in making(context, avatar_id)]
    if context.avatars.get(avatar_id) is not None:
        places.append(context.jobs.home.portrait(avatar_id))
    found = [place / PREVIEW_FILE for place in places if (place / PREVIEW_FILE).is_file()]
    if not found:
        raise ApiError(404, "not_found", "there is no preview (yet)", "ask again when the step check is done")
    return _picture(found[0], "image/jpeg")


@router.post("/v1/avatars/{avatar_id}/cancel")
def cancel_avatar(avatar_id: str, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """Stop making it. What has been done stays until it is deleted."""
    job = _maker(avatar_id, context)
    if not context.jobs.cancel(job):
        raise ApiError(409, "has_ended", f"making this avatar has {job.state} already", "delete it instead")
    return get_avatar(avatar_id, context)


@router.post("/v1/avatars/{avatar_id}/retry")
def retry_avatar(avatar_id: str, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """Go on with one that failed or was cancelled."""
    job = _maker(avatar_id, context)
    if job.kind != "avatar" or not context.jobs.retry(job):
        raise ApiError(409, "nothing_to_retry", "making this avatar has not failed", "see its status")
    return get_avatar(avatar_id, context)


@router.delete("/v1/avatars/{avatar_id}")
def delete_avatar(avatar_id: str, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """The avatar and everything that was made of it or for it."""
    jobs, home = context.jobs, context.jobs.home
    avatar = context.avatars.get(avatar_id)
    if avatar is not None and not avatar.is_own:
        raise ApiError(403, "not_deletable", "this avatar was not made here", "the server's operator can remove it")
    mine = jobs.store.list(subject=avatar_id)
    if avatar is None and not mine:
        raise ApiError(404, "not_found", "there is no such avatar", "see /v1/avatars for those there are")
    context.avatars.forget(avatar_id)
    # First what others see, and at last the jobs, by which a second DELETE finds what a broken one left.
    home.remove(home.avatar(avatar_id))
    from_thread.run(context.live.close_of, avatar_id)
    for job in mine:
        jobs.cancel(job)
    # Once more: a job may have been about to put it there.
    home.remove(home.avatar(avatar_id), home.portrait(avatar_id), home.report(avatar_id))
    for upload in {job.params["upload"] for job in mine if "upload" in job.params}:
        jobs.delete(*jobs.store.list(["check"], subject=upload))
        jobs.uploads.delete(upload)
    jobs.delete(*mine)
    return {"id": avatar_id, "object": "avatar.deleted", "deleted": True}


def _maker(avatar_id: str, context: Context) -> Job:
    """The job that makes it, or that made it."""
    found = context.jobs.store.list(["avatar", "import"], subject=avatar_id)
    if not found:
        raise ApiError(404, "not_found", "there is no such avatar", "see /v1/avatars for those there are")
    return found[-1]


def _picture(path: Path, media_type: str) -> FileResponse:
    if not path.is_file():
        raise ApiError(404, "not_found", "there is no such picture", "ask again later")
    return FileResponse(path, media_type=media_type)
