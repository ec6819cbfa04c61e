"""What the routes of one server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

from geneface.serve.avatars import AvatarStore
from geneface.serve.jobs.service import JobService
from geneface.serve.settings import ServeSettings

if TYPE_CHECKING:
    from geneface.realtime import Scheduler


@dataclass
class Context:
    """One server: settings, avatars, what draws for live sessions, jobs."""

    settings: ServeSettings
    avatars: AvatarStore
    scheduler: Scheduler
    jobs: JobService
    extras: dict[str, Any] = field(default_factory=dict)
    """What single subjects keep for the life of the server."""


def context_of(connection: HTTPConnection) -> Context:
    """For `Depends`: the context of the server that a request or WebSocket came to."""
    return connection.app.state.context
