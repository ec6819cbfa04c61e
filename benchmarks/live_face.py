"""The server of `benchmarks/live.py`: avatars that say in a corner of their picture whether they are loud.

    python benchmarks/live_face.py --port PORT --home FOLDER [--avatar FOLDER] [--plain]

Models, motion and drawing are those of the avatar; a square of the picture is white where the 40 ms of sound that it
belongs to were loud, and black elsewhere. So a browser that sees the square and hears the sound can tell how far they
are apart, and how long both took. `--plain` leaves the square out.
"""

from __future__ import annotations

import argparse
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from geneface.avatar.avatar import Avatar
from geneface.serve.app import create_app
from geneface.serve.avatars import BUNDLED
from geneface.serve.safety.protocols import WebSocketConnection, http_protocol
from geneface.serve.settings import ServeSettings
from geneface.types import MotionTrack

PAGE = Path(__file__).with_name("live_page")
SQUARE = 32
LOUD = 0.08
_FRAME = 640
_WHITE, _BLACK = 235, 16


class MarkedPerformance:
    """A live performance whose frames carry whether they were loud: the last bit of a landmark's coordinate says it."""

    def __init__(self, performance: Any) -> None:
        self._performance = performance
        self._turn = threading.Lock()
        self._sound = np.zeros(0, np.float32)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._performance, name)

    def push(self, samples: Any) -> MotionTrack:
        with self._turn:
            track = self._performance.push(samples)
            self._sound = np.concatenate([self._sound, np.asarray(samples, np.float32)])
            count = len(track)
            peaks = np.abs(self._sound[: count * _FRAME]).reshape(count, _FRAME).max(axis=1, initial=0.0)
            self._sound = self._sound[count * _FRAME :]
            return _marked(track, peaks > LOUD)

    def interrupt(self, unshown: int = 0) -> MotionTrack:
        with self._turn:
            self._sound = self._sound[:0]
            track = self._performance.interrupt(unshown)
            return _marked(track, np.zeros(len(track), bool))

    def restart(self, unshown: int = 0) -> None:
        with self._turn:
            self._sound = self._sound[:0]
            self._performance.restart(unshown)


def _marked(track: MotionTrack, is_loud: np.ndarray) -> MotionTrack:
    points = np.array(track.points, np.float32)
    bits = points.view(np.uint32)
    bits[:, 0, 0] = (bits[:, 0, 0] & ~np.uint32(1)) | is_loud.astype(np.uint32)
    return MotionTrack(points, track.pose, track.body)


class MarkedPicture:
    """A picture with the square in its upper left corner."""

    def __init__(self, picture: Any, is_loud: bool) -> None:
        self._picture, self._is_loud = picture, is_loud

    def to_uint8(self) -> np.ndarray:
        return self._picture.to_uint8()

    def to_rgba(self) -> np.ndarray:
        return self._picture.to_rgba()

    def to_yuv420(self) -> np.ndarray:
        planes = np.array(self._picture.to_yuv420())
        planes[:SQUARE, :SQUARE] = _WHITE if self._is_loud else _BLACK
        return planes


class MarkedFace:
    """An avatar that says in its picture whether it is loud."""

    def __init__(self, avatar: Avatar) -> None:
        self._avatar = avatar

    def __getattr__(self, name: str) -> Any:
        return getattr(self._avatar, name)

    def live(self, performance: Any = None) -> Any:
        return MarkedPerformance(self._avatar.live(performance))

    def pictures(self, motion: Iterable[MotionTrack], **view: Any) -> Generator[MarkedPicture, None, None]:
        marks: deque[bool] = deque()

        def rows() -> Iterator[MotionTrack]:
            for track in motion:
                marks.extend((np.asarray(track.points, np.float32).view(np.uint32)[:, 0, 0] & 1).astype(bool))
                yield track

        for picture in self._avatar.pictures(rows(), **view):
            yield MarkedPicture(picture, marks.popleft())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--avatar", type=Path)
    parser.add_argument("--plain", action="store_true")
    arguments = parser.parse_args()
    settings = ServeSettings(
        home=arguments.home,
        port=arguments.port,
        avatars=() if arguments.avatar is None else (arguments.avatar,),
        most_requests_a_minute=1_000_000,
    )
    app = create_app(settings)
    store: Any = app.state.context.avatars
    load, faces = store.load, {}
    if not arguments.plain:
        store.load = lambda name: faces.setdefault(name, MarkedFace(load(name)))
    app.router.routes.insert(0, Mount("/page/bench", StaticFiles(directory=PAGE)))
    print(f"serving {BUNDLED}", flush=True)
    uvicorn.run(
        app, host="127.0.0.1", port=arguments.port, log_level="warning", http=http_protocol(settings),
        ws=WebSocketConnection, ws_per_message_deflate=False, timeout_graceful_shutdown=1,
    )  # fmt: skip


if __name__ == "__main__":
    main()
