"""Avatars as zips, out and in; and the report on one."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from geneface.avatar.folder import CONFIG_FILE
from geneface.errors import InputError
from geneface.io.records import read_json
from geneface.portrait.manifest import MANIFEST_NAME
from geneface.serve.context import Context, context_of
from geneface.serve.errors import ApiError
from geneface.serve.jobs.formats import ARCHIVE, METRICS_FILE, REPORT_FILE
from geneface.serve.jobs.import_avatar import MOST_BYTES
from geneface.serve.jobs.job import new_avatar_id
from geneface.serve.routes.avatars import MOST_FORM, CheckRequest, body_doc
from geneface.serve.routes.forms import body_of, checked
from geneface.serve.routes.given import given_upload
from geneface.serve.routes.shown import shown_state
from geneface.serve.routes.shown_avatar import shown_unfinished, stored
from geneface.serve.safety.headers import REPORT_POLICY

router = APIRouter(tags=["avatars"])
_MOST_ARCHIVE = 2 << 30
_PIECE = 1 << 20


class ImportRequest(CheckRequest):
    """`POST /v1/avatars/import`."""


@router.get("/v1/avatars/{avatar_id}/export", response_class=StreamingResponse)
def export_avatar(avatar_id: str, context: Context = Depends(context_of)) -> Response:  # noqa: B008
    """The folder of an avatar as one zip: card, consent and all."""
    folder = stored(avatar_id, context).folder
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(read_json(folder / CONFIG_FILE).get("name", ""))).strip("-.")[:60]
    return StreamingResponse(
        zipped(folder, name or "avatar"),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{name or "avatar"}.zip"'},
    )


def _check_zip(path: Path) -> None:
    """Refuse at once what can't be a zip; the job looks at the rest."""
    with open(path, "rb") as file:
        if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
            raise InputError("this is no zip", "give one that this program exported")


class _Unseekable:
    """What zipfile writes to; `taken` gives the bytes that came since the last time."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def taken(self) -> bytes:
        data, self._pieces = b"".join(self._pieces), []
        return data


def zipped(folder: Path, top: str) -> Iterator[bytes]:
    """The files of an avatar as a zip, a piece at a time, in flat memory."""
    out = _Unseekable()
    with zipfile.ZipFile(cast(Any, out), "w", zipfile.ZIP_STORED) as file:
        for name in MOST_BYTES:
            path = folder / name
            if not path.is_file():
                continue
            entry = zipfile.ZipInfo.from_file(path, f"{top}/{name}", strict_timestamps=False)
            entry.external_attr = 0o644 << 16
            with open(path, "rb") as source, file.open(entry, "w") as target:
                while piece := source.read(_PIECE):
                    target.write(piece)
                    yield out.taken()
            yield out.taken()
    yield out.taken()


@router.post("/v1/avatars/import", openapi_extra=body_doc(ImportRequest, "avatar"))
async def import_avatar(request: Request, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """An avatar from a zip of one: a job."""
    async with body_of(request, MOST_FORM) as body:
        wanted = checked(ImportRequest, body.values)
        await context.jobs.run(context.jobs.refuse_long_queue)
        upload = await context.jobs.run(given_upload, wanted.upload, body.files.get("avatar"), context)
    if upload.bytes > _MOST_ARCHIVE:
        raise ApiError(413, "too_large", "the zip is too large to be an avatar's", "give one that was exported")
    await context.jobs.run(_check_zip, context.jobs.uploads.data(upload))

    def submit() -> dict[str, Any]:
        job = context.jobs.submit(
            "import",
            new_avatar_id(),
            {"upload": upload.id, "name": Path(upload.name).stem},
            lambda folder: context.jobs.uploads.give(upload, folder / ARCHIVE),
        )
        context.jobs.uploads.delete(upload.id)
        return shown_unfinished(job, context)

    return await context.jobs.run(submit)


@router.post("/v1/avatars/{avatar_id}/report")
def create_report(avatar_id: str, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """Measure an avatar: a job. One that is waiting or at work already is not begun again."""
    avatar = stored(avatar_id, context)
    if not context.jobs.store.list(["report"], subject=avatar_id, states=["queued", "in_progress"]):
        context.jobs.delete(*context.jobs.store.list(["report"], subject=avatar_id))
        params = {"avatar_folder": str(avatar.folder.resolve())}
        context.jobs.submit("report", avatar_id, params, lambda _: None)
    return get_report(avatar_id, context)


@router.get("/v1/avatars/{avatar_id}/report")
def get_report(avatar_id: str, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """How far the evaluation is, and its figures."""
    stored(avatar_id, context)
    jobs = context.jobs.store.list(["report"], subject=avatar_id)
    folder = context.jobs.home.report(avatar_id)
    is_there = (folder / REPORT_FILE).is_file()
    if not jobs and not is_there:
        raise ApiError(404, "no_report", "this avatar was not evaluated", "begin with POST to this address")
    state = shown_state(jobs[-1], context.jobs) if jobs else {"status": "completed", "progress": 100, "error": None}
    return {
        "object": "report",
        "model": avatar_id,
        **state,
        "has_truth": (context.jobs.home.portrait(avatar_id) / MANIFEST_NAME).is_file(),
        "url": f"/v1/avatars/{avatar_id}/report/{REPORT_FILE}" if is_there else None,
        "metrics": read_json(folder / METRICS_FILE) if is_there else None,
    }


@router.get(f"/v1/avatars/{{avatar_id}}/report/{REPORT_FILE}", response_class=FileResponse)
def get_report_page(avatar_id: str, context: Context = Depends(context_of)) -> Response:  # noqa: B008
    """The report as one page."""
    stored(avatar_id, context)
    path = context.jobs.home.report(avatar_id) / REPORT_FILE
    if not path.is_file():
        raise ApiError(404, "no_report", "this avatar was not evaluated", "begin with POST to .../report")
    headers = {"Content-Security-Policy": REPORT_POLICY}
    return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)
