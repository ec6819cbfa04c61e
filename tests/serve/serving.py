"""A real server on 127.0.0.1 for tests: the protocols and the application of `geneface serve`, in a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import httpx2
import uvicorn
from fastapi import FastAPI

from geneface.serve.server import uvicorn_config
from geneface.serve.settings import ServeSettings


class Served(NamedTuple):
    """Where it listens."""

    app: FastAPI
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    def is_well(self) -> bool:
        """It still answers, soon."""
        return httpx2.get(f"{self.url}/health", timeout=10).status_code == 200

    def exchange(self, request: bytes, timeout: float = 10.0) -> bytes:
        """What comes back for these bytes, until the server closes or says nothing more."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(request)
            return read_all(connection)

    def status(self, request: bytes) -> int:
        """The status that these bytes are answered with; 0: none."""
        head = self.exchange(request).split(b" ", 2)
        return int(head[1]) if len(head) > 1 else 0


def read_all(connection: socket.socket) -> bytes:
    """All that the other end sends until it closes, resets or the first answer is whole."""
    received = b""
    try:
        while piece := connection.recv(65_536):
            received += piece
            head, separator, body = received.partition(b"\r\n\r\n")
            length = [
                line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
            ]
            if separator and length and len(body) >= int(length[0]):
                break
    except (ConnectionError, TimeoutError):
        pass
    return received


@contextmanager
def serving(app: FastAPI, settings: ServeSettings) -> Iterator[Served]:
    """Serve an application of `create_app(settings)`."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = uvicorn.Server(uvicorn_config(app, settings))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield Served(app, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
