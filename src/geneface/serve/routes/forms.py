"""Bodies of requests, as JSON or as a form with files, become checked values."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from geneface.serve.errors import JSON_HEADER, ApiError

_MOST_FILES, _MOST_FIELDS = 4, 64
_NESTED = re.compile(r"(\w+)\[(\w+)\]")
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+=[^;,]*)*);base64,", re.ASCII)


class Fields(BaseModel):
    """Base of what requests hold: an unknown field is a mistake that is told."""

    model_config = ConfigDict(extra="forbid")


ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass
class Body:
    """What came: plain values, and files by their fields."""

    values: dict[str, Any]
    files: dict[str, UploadFile] = field(default_factory=dict)


@asynccontextmanager
async def body_of(request: Request, most_bytes: int, most_text: int = 1 << 20) -> AsyncIterator[Body]:
    """The body of a request for the block; its files are closed afterwards.

    Args:
        most_bytes: of all of it.
        most_text: letters of one field of a form.

    Raises:
        ApiError: it is too large, or neither JSON nor a form.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most_bytes:
        raise ApiError(413, "too_large", f"the request is larger than {most_bytes >> 20} MB", "use POST /v1/uploads")
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        if not length:
            raise ApiError(411, "length_required", "a form must say how long it is", "send Content-Length")
        try:
            form = request.form(
                max_files=_MOST_FILES, max_fields=_MOST_FIELDS, max_part_size=max(most_text * 4, 1 << 20)
            )
            async with form as fields:
                items = list(fields.multi_items())
                if kind != "multipart/form-data" and items and items[0][0].lstrip().startswith("{"):
                    # What curl says of its -d.
                    raise ApiError(422, "bad_request", "this is JSON that is said to be a form", JSON_HEADER)
                yield _sorted(items)
        except HTTPException as error:
            raise ApiError(422, "bad_request", f"the form can't be read: {error.detail}", "see /docs") from error
        return
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > most_bytes:
            raise ApiError(413, "too_large", f"the request is larger than {most_bytes >> 20} MB", "send less")
    try:
        values = json.loads(bytes(content) or b"{}")
    except (ValueError, RecursionError) as error:
        raise ApiError(422, "bad_request", "the body is neither JSON nor a form", "see /docs") from error
    if not isinstance(values, dict):
        raise ApiError(422, "bad_request", "the body is not a JSON object", "see /docs")
    yield Body(values)


def _sorted(items: list[tuple[str, Any]]) -> Body:
    body = Body({})
    for name, value in items:
        if isinstance(value, UploadFile):
            body.files[name] = value
        elif nested := _NESTED.fullmatch(name):
            # As the official client library writes objects into forms.
            inside = body.values.setdefault(nested[1], {})
            if isinstance(inside, dict):
                inside[nested[2]] = value
        else:
            body.values[name] = value
    return body


def checked(kind: type[ModelT], values: dict[str, Any]) -> ModelT:
    """Values as a model.

    Raises:
        ApiError: names the field that is missing, unknown or out of its range.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ApiError(422, "bad_request", f"{place}: {first['msg']}", "see /docs for what this route takes") from error


def data_of(address: str, what: str) -> bytes:
    """The bytes of a `data:` address. No other address is ever followed.

    Raises:
        ApiError: it is another one, or damaged.
    """
    found = _DATA.match(address[:512])
    if found is None:
        raise ApiError(
            422,
            "bad_request",
            f"the address of {what} is no data: address in base64; the server fetches nothing",
            "send the file itself, or data:TYPE;base64,...",
        )
    try:
        return base64.b64decode(address[found.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(422, "bad_request", f"the data: address of {what} is damaged", "encode it again") from error
