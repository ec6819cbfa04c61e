"""What the routes of one server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from geneface.serve.avatars import AvatarStore
from geneface.serve.conversation.partners import Partners
from geneface.serve.jobs.service import JobService
from geneface.serve.live.sessions import LiveSessions
from geneface.serve.metrics import Metrics
from geneface.serve.settings import ServeSettings
from geneface.voice.registry import Voices

if TYPE_CHECKING:
    from geneface.realtime import Scheduler


_MOST_SPEAKERS = 2
"""More at a time would take the cores from live sessions, and the threads from other requests."""


@dataclass
class Context:
    """One server: settings, avatars, what draws for live sessions, voices, who answers, jobs."""

    settings: ServeSettings
    avatars: AvatarStore
    scheduler: Scheduler
    voices: Voices
    partners: Partners
    jobs: JobService = field(init=False)
    """Videos, avatars in the making, uploads; begins and ends with the server."""
    metrics: Metrics = field(default_factory=Metrics)
    speakers: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(_MOST_SPEAKERS))
    """Held while a text is spoken for /v1/audio/speech."""
    live: LiveSessions = field(init=False)
    """The live sessions that are open."""

    def __post_init__(self) -> None:
        self.jobs = JobService(self.settings)
        self.live = LiveSessions(self.settings.live_idle_seconds, metrics=self.metrics)
        self.metrics.watch("sessions", lambda: len(self.scheduler.sessions))
        self.metrics.watch("jobs", self.jobs.counts)
        self.metrics.watch("queued_jobs", lambda: self.jobs.counts().get("queued", 0.0))


def context_of(connection: HTTPConnection) -> Context:
    """For `Depends`: the context of the server that a request or WebSocket came to."""
    return connection.app.state.context
