"""The server as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from geneface import __version__
from geneface.errors import InputError
from geneface.realtime import Scheduler
from geneface.serve import errors, openapi
from geneface.serve.avatars import AvatarStore
from geneface.serve.context import Context
from geneface.serve.conversation.partners import Partners
from geneface.serve.routes import (
    avatars,
    browser,
    carried,
    docs,
    health,
    live,
    page,
    rtc,
    server,
    speech,
    uploads,
    videos,
)
from geneface.serve.safety.guard import Guard
from geneface.serve.safety.tokens import check_token, needs_token
from geneface.serve.settings import ServeSettings
from geneface.voice.registry import VoiceChoice, Voices

_ROUTES = (
    health,
    docs,
    browser,
    server,
    page,
    avatars,
    carried,
    live,
    rtc,
    speech,
    uploads,
    videos,
)


def create_app(settings: ServeSettings) -> FastAPI:
    """The application for one server; its sessions and workers begin and end with its lifespan.

    Raises:
        InputError: others than this machine could reach it, and there is no token, or one that is too weak.
    """
    if settings.token is not None:
        check_token(settings.token)
    elif needs_token(settings):
        raise InputError("others than this machine could reach the server, which has no token", "give it one")
    voices = Voices(VoiceChoice(settings.voice, settings.voice_folder, settings.voice_url, model=settings.voice_model))
    scheduler = Scheduler(settings.workers)
    avatars = AvatarStore(settings.home, settings.avatars)
    context = Context(settings, avatars, scheduler, voices, Partners(settings))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        context.jobs.start()
        try:
            yield
        finally:
            await context.live.close_all()
            await context.partners.close()
            context.jobs.stop()
            context.scheduler.close()

    app = FastAPI(title="geneface", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.context = context
    errors.install(app)
    openapi.install(app)
    for routes in _ROUTES:
        app.include_router(routes.router)
    app.add_middleware(Guard, settings=settings, metrics=context.metrics)
    return app
