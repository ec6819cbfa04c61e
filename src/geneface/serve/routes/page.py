"""The page: its files as they lie in `serve/page`, which may be read by anybody who can reach the server.

The files are listed once, when they are first asked for: what a client names is looked up in that list, and never
becomes a path.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request, Response

from geneface.serve.errors import ApiError

router = APIRouter(include_in_schema=False)
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    etag: str


@cache
def _files() -> dict[str, _File]:
    """Path in the folder, with slashes -> the file."""
    found: dict[str, _File] = {}

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            elif (suffix := entry.name.rpartition(".")[2]) in _TYPES:
                content = entry.read_bytes()
                etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
                found[f"{prefix}{entry.name}"] = _File(content, _TYPES[suffix], etag)

    walk(files("geneface.serve") / "page", "")
    return found


@router.get("/")
@router.head("/")
def index(request: Request) -> Response:
    """The page itself."""
    return _answer(request, "index.html")


@router.get("/page/{name:path}")
@router.head("/page/{name:path}")
def asset(request: Request, name: str) -> Response:
    """A file that the page consists of."""
    return _answer(request, name)


@router.get("/favicon.ico")
def favicon(request: Request) -> Response:
    """For browsers that ask without reading the page."""
    return _answer(request, "mark.svg")


def _answer(request: Request, name: str) -> Response:
    file = _files().get(name)
    if file is None:
        raise ApiError(404, "not_found", "the page has no such file", "load the page again")
    headers = {"ETag": file.etag, "Cache-Control": "no-cache"}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)
