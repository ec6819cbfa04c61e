"""A server with jobs for tests, and what they send to it."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import soundfile

from geneface.serve.app import create_app
from geneface.serve.context import Context
from geneface.serve.settings import ServeSettings

from .serving import serving

OPEN = ("queued", "in_progress")


def tone(seconds: float = 0.4) -> bytes:
    """A WAV file."""
    out = io.BytesIO()
    times = np.arange(round(16_000 * seconds)) / 16_000
    soundfile.write(out, (0.2 * np.sin(2 * np.pi * 220 * times)).astype(np.float32), 16_000, format="WAV")
    return out.getvalue()


class Client(httpx2.Client):
    """Speaks with one server."""

    context: Context
    v1: str
    """For official clients."""

    def until_ended(self, path: str, seconds: float = 120) -> dict[str, Any]:
        """What is at the path once it is neither queued nor in progress."""
        end = time.monotonic() + seconds
        while True:
            answer = self.get(path)
            assert answer.status_code == 200, answer.text
            found = answer.json()
            if found["status"] not in OPEN:
                return found
            assert time.monotonic() < end, found
            time.sleep(0.1)

    def video(self, **fields: Any) -> dict[str, Any]:
        """A small video, queued."""
        answer = self.post("/v1/videos", data={"model": "grid-s1", "size": "64", **fields}, files={"audio": tone()})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def upload(self, data: bytes, name: str = "") -> str:
        """A complete upload."""
        made = self.post("/v1/uploads", json={"bytes": len(data), "name": name}).json()
        sent = self.patch(f"/v1/uploads/{made['id']}", content=data, headers={"Upload-Offset": "0"})
        assert sent.json()["status"] == "completed", sent.text
        return made["id"]


@contextmanager
def jobs_server(home: Path, **settings: Any) -> Iterator[Client]:
    """A server with its data in `home`; no limit of requests unless one is given."""
    wanted = ServeSettings(home=home, **{"most_requests_a_minute": 1_000_000, **settings})
    app = create_app(wanted)
    with serving(app, wanted) as served, Client(base_url=served.url, timeout=120) as client:
        client.context, client.v1 = app.state.context, f"{served.url}/v1"
        yield client


def refused(answer: httpx2.Response, status: int, code: str, *words: str) -> None:
    """It is an error in our shape, which names cause and remedy."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code and error["message"] and error["remedy"], error
    for word in words:
        assert word in error["message"], error
