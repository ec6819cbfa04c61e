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
from geneface.serve.live.sessions import close_live_sessions
from geneface.serve.routes import browser, docs, health, live, rtc
from geneface.serve.safety.guard import Guard
from geneface.serve.safety.tokens import check_token, needs_token
from geneface.serve.settings import ServeSettings


def create_app(settings: ServeSettings) -> FastAPI:
    """The application for one server; its sessions and workers begin and end with its lifespan.

    Raises:
        InputError: others than this machine could reach it, and there is no token, or one that is too weak.
    """
    if settings.token is not None:
        check_token(settings.token)
    elif needs_token(settings):
        raise InputError("others than this machine could reach the server, which has no token", "give it one")
    context = Context(settings, AvatarStore(settings.home, settings.avatars), Scheduler(settings.workers))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await close_live_sessions(context)
            context.scheduler.close()

    app = FastAPI(title="geneface", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.context = context
    errors.install(app)
    openapi.install(app)
    app.include_router(health.router)
    app.include_router(docs.router)
    app.include_router(browser.router)
    app.include_router(live.router)
    app.include_router(rtc.router)
    app.add_middleware(Guard, settings=settings, metrics=context.metrics)
    return app
