"""GET /health: whether the server can do its work; GET /metrics: its numbers."""

from __future__ import annotations

import os
import shutil
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from geneface import __version__
from geneface.serve.context import Context, context_of

router = APIRouter(tags=["server"])
_LEAST_FREE_BYTES = 200 * 1024**2
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """Whether the server is ready."""

    status: str
    """`ready`, or `not_ready` (status 503)."""
    version: str
    reasons: list[str] = []
    """Why it is not ready."""


@router.get("/health", summary="Whether the server is ready", responses={503: {"model": Health}})
async def health(response: Response, context: Annotated[Context, Depends(context_of)]) -> Health:
    """Cheap enough to be asked every second. Needs no token."""
    trouble = _disk_trouble(context)
    if trouble is not None:
        response.status_code = 503
        return Health(status="not_ready", version=__version__, reasons=[trouble])
    return Health(status="ready", version=__version__)


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={200: {"content": {_TEXT: {"example": "geneface_frames_total 1500\n"}}}},
)
def metrics(context: Annotated[Context, Depends(context_of)]) -> Response:
    """Sessions, frames, jobs, requests, latency, processor and memory, as text."""
    return Response(context.metrics.text(), media_type=_TEXT)


def _disk_trouble(context: Context) -> str | None:
    home = context.settings.home
    if not home.is_dir():
        return None
    if not os.access(home, os.W_OK):
        return "the data folder cannot be written to"
    return "the disk is full" if shutil.disk_usage(home).free < _LEAST_FREE_BYTES else None
