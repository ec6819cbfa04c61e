"""The server as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from geneface import __version__
from geneface.realtime import Scheduler
from geneface.serve import errors
from geneface.serve.avatars import AvatarStore
from geneface.serve.context import Context
from geneface.serve.live.sessions import close_live_sessions
from geneface.serve.routes import live
from geneface.serve.settings import ServeSettings


def create_app(settings: ServeSettings) -> FastAPI:
    """The application for one server; its sessions and workers begin and end with its lifespan."""
    context = Context(settings, AvatarStore(settings.home, settings.avatars), Scheduler(settings.workers))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await close_live_sessions(context)
            context.scheduler.close()

    app = FastAPI(title="geneface", version=__version__, lifespan=lifespan)
    app.state.context = context
    errors.install(app)
    app.include_router(live.router)
    return app
