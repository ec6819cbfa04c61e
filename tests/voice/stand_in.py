"""A stand-in for other people's servers: on a port of this machine, with answers that tests give."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is answered: pieces are sent one by one, as their iterator gives them."""

    pieces: Iterable[bytes] = ()
    content_type: str = "application/json"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class StandIn:
    """Answers by path. `asked` is what came, `was_left` is set when a client went before its answer's end."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Asked], Answer]] = {}
        self.asked: list[Asked] = []
        self.was_left = threading.Event()
        self.is_over = threading.Event()
        """Set when the test ends: answers that wait for something wait for this, too."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                owner.asked.append(asked)
                make = owner.answers.get(self.path)
                answer = Answer([b"{}"], status=404) if make is None else make(asked)
                try:
                    self.send_response(answer.status)
                    for name, value in {"Content-Type": answer.content_type, **answer.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    for piece in answer.pieces:
                        self.wfile.write(piece)
                except OSError:
                    owner.was_left.set()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[StandIn]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.is_over.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()
