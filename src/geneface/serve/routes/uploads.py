"""Uploads in pieces, which go on after a broken connection."""

from __future__ import annotations

import re
from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.requests import ClientDisconnect

from geneface.serve.context import Context, context_of
from geneface.serve.errors import ApiError, error_response
from geneface.serve.jobs.uploads import KEPT_SECONDS, OffsetError, Upload
from geneface.serve.routes.forms import Fields, body_of, checked

router = APIRouter(tags=["uploads"])
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)")
_PIECE_DOC = {
    "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    "parameters": [
        {"name": "Upload-Offset", "in": "header", "required": False, "schema": {"type": "integer"}},
        {"name": "Content-Range", "in": "header", "required": False, "schema": {"type": "string"}},
    ],
}


class UploadRequest(Fields):
    """`POST /v1/uploads`."""

    bytes: int = Field(ge=1)
    """Of all of it."""
    name: str = Field("", max_length=1000)
    """For people; no file is called so."""


def shown_upload(upload: Upload) -> dict[str, Any]:
    """As clients see it."""
    return {
        "id": upload.id,
        "object": "upload",
        "name": upload.name,
        "bytes": upload.bytes,
        "offset": upload.offset,
        "status": "completed" if upload.is_complete else "pending",
        "created_at": int(upload.created_at),
        "expires_at": int(upload.touched_at + KEPT_SECONDS),
    }


def _headers(upload: Upload) -> dict[str, str]:
    return {"Upload-Offset": str(upload.offset), "Upload-Length": str(upload.bytes), "Cache-Control": "no-store"}


@router.post(
    "/v1/uploads",
    status_code=201,
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": UploadRequest.model_json_schema()}}}},
)
async def create_upload(request: Request, context: Context = Depends(context_of)) -> JSONResponse:  # noqa: B008
    """Begin an upload of so many bytes."""
    async with body_of(request, 1 << 16) as body:
        wanted = checked(UploadRequest, body.values)
    most = context.settings.most_upload_bytes
    if wanted.bytes > most:
        raise ApiError(413, "too_large", f"an upload may have {most / 1e9:.1f} GB", "send a shorter or smaller video")
    upload = await run_sync(context.jobs.begin_upload, wanted.bytes, wanted.name)
    return JSONResponse(shown_upload(upload), 201, _headers(upload) | {"Location": f"/v1/uploads/{upload.id}"})


@router.get("/v1/uploads/{upload_id}")
def get_upload(upload_id: str, context: Context = Depends(context_of)) -> JSONResponse:  # noqa: B008
    """How far it is."""
    upload = context.jobs.uploads.get(upload_id)
    return JSONResponse(shown_upload(upload), headers=_headers(upload))


@router.head("/v1/uploads/{upload_id}")
def head_upload(upload_id: str, context: Context = Depends(context_of)) -> Response:  # noqa: B008
    """How far it is, in headers alone."""
    return Response(status_code=200, headers=_headers(context.jobs.uploads.get(upload_id)))


@router.put("/v1/uploads/{upload_id}", openapi_extra=_PIECE_DOC)
@router.patch("/v1/uploads/{upload_id}", openapi_extra=_PIECE_DOC)
async def append_to_upload(
    upload_id: str,
    request: Request,
    context: Context = Depends(context_of),  # noqa: B008
) -> JSONResponse:
    """The next bytes."""
    uploads = context.jobs.uploads
    upload = await run_sync(uploads.get, upload_id)
    try:
        upload = await uploads.append(upload, _offset(request, upload), request.stream())
    except OffsetError as error:
        response = error_response(error)
        response.headers.update({**_headers(upload), "Upload-Offset": str(error.offset)})
        return response
    except ClientDisconnect:
        # What came is kept; nobody hears this answer.
        upload = await run_sync(uploads.get, upload_id)
    return JSONResponse(shown_upload(upload), headers=_headers(upload))


@router.delete("/v1/uploads/{upload_id}")
def delete_upload(upload_id: str, context: Context = Depends(context_of)) -> dict[str, Any]:  # noqa: B008
    """Gone, with what was found in it."""
    context.jobs.uploads.get(upload_id)
    context.jobs.delete(*context.jobs.store.list(["check"], subject=upload_id))
    context.jobs.uploads.delete(upload_id)
    return {"id": upload_id, "object": "upload.deleted", "deleted": True}


def _offset(request: Request, upload: Upload) -> int:
    """Where the piece begins, by either header; what it says of the whole must be so."""
    stated = request.headers.get("content-range")
    if stated is not None:
        found = _RANGE.fullmatch(stated.strip())
        if found is None or (found[3] != "*" and int(found[3]) != upload.bytes):
            raise ApiError(422, "bad_request", "Content-Range does not fit this upload", "give bytes FIRST-LAST/ALL")
        return int(found[1])
    offset = request.headers.get("upload-offset", "")
    if not offset.isdecimal() or len(offset) > 15:
        raise ApiError(
            422, "bad_request", "it is not said where this piece begins", "send Upload-Offset or Content-Range"
        )
    return int(offset)
