"""A server of live sessions on a port of its own, whose faces flash and click; and a browser that looks at it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from geneface.realtime import BusyError
from geneface.serve.app import create_app
from geneface.serve.safety.protocols import WebSocketConnection, http_protocol
from geneface.serve.settings import ServeSettings
from tests.flash import FlashSession

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Doubles:
    """Stands for the avatars and the scheduler of a server."""

    def __init__(self, make: Any = FlashSession, room: int = 8) -> None:
        self.make, self.room = make, room
        self.sessions: list[Any] = []
        self.asked: list[dict[str, Any]] = []

    def get(self, avatar_id: str) -> object | None:
        return avatar_id if avatar_id == "grid-s1" else None

    def load(self, avatar_id: str) -> object:
        return avatar_id

    def list(self) -> list[Any]:
        return []

    def open(self, avatar: object, performance: Any = None, **options: Any) -> Any:
        if sum(not session.is_closed for session in self.sessions) >= self.room:
            raise BusyError(7.0)
        self.asked.append({"avatar": avatar, "performance": performance, **options})
        self.sessions.append(self.make())
        return self.sessions[-1]

    def close(self) -> None:
        for session in self.sessions:
            session.close()


def make_app(home: Path, doubles: Doubles, **settings: Any) -> FastAPI:
    app = create_app(ServeSettings(home=home, **settings))
    app.state.context.avatars = app.state.context.scheduler = doubles
    return app


@dataclass
class Served:
    app: FastAPI
    doubles: Doubles
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serve(app: FastAPI, doubles: Doubles, folder: Path | None = None) -> Iterator[Served]:
    """`folder`: files that are served under /page/test."""
    if folder is not None:
        app.router.routes.insert(0, Mount("/page/test", StaticFiles(directory=folder)))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, log_level="warning", http=http_protocol(app.state.context.settings), ws=WebSocketConnection,
            ws_per_message_deflate=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            yield Served(app, doubles, listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(10)
