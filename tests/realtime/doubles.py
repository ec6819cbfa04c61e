"""A face that shows what it was given: brightness is the loudness of its 40 ms, a counter is its head's path. And a
clock that stands still until somebody waits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from geneface.geometry.landmarks import KEYPOINT_COUNT
from geneface.realtime import FRAME_SECONDS, Item, Session
from geneface.types import HeadPose, MotionTrack

LOOK_AHEAD_SAMPLES = 2752
"""172 ms, as the real one."""
FRAME = 640


class VirtualClock:
    def __init__(self) -> None:
        self.moment = 100.0

    def now(self) -> float:
        return self.moment

    def sleep_until(self, moment: float) -> None:
        self.moment = max(self.moment, moment)


@dataclass
class FlatPicture:
    loudness: float
    path: int
    background: str

    def to_uint8(self) -> np.ndarray:
        return np.full((48, 64, 3), np.clip(255 * self.loudness, 0, 255), np.uint8)

    def to_yuv420(self) -> np.ndarray:
        return np.full((72, 64), 128, np.uint8)

    def to_rgba(self) -> np.ndarray:
        return np.full((48, 64, 4), 255, np.uint8)


class FlatPerformance:
    """Frame f shows the root mean square of its own 40 ms when 172 ms more have been heard."""

    look_ahead_seconds = LOOK_AHEAD_SAMPLES / 16_000

    def __init__(self) -> None:
        self.path = 0
        self.largest_piece = 0
        self.calls = 0
        self._begin()

    def _begin(self) -> None:
        self._sound = np.zeros(0, np.float32)
        self._given = 0

    def push(self, samples: np.ndarray) -> MotionTrack:
        self.calls += 1
        self.largest_piece = max(self.largest_piece, len(samples))
        self._sound = np.concatenate([self._sound, samples])
        ready = max((len(self._sound) - LOOK_AHEAD_SAMPLES) // FRAME, 0)
        values = [
            float(np.sqrt(np.mean(self._sound[i * FRAME : (i + 1) * FRAME] ** 2))) for i in range(ready - self._given)
        ]
        self._sound = self._sound[(ready - self._given) * FRAME :]
        self._given = 0
        return self._track(values)

    def _track(self, values: list[float]) -> MotionTrack:
        points = np.zeros((len(values), KEYPOINT_COUNT, 3), np.float32)
        points[:, 0, 0] = values
        points[:, 0, 1] = np.arange(self.path, self.path + len(values))
        self.path += len(values)
        return MotionTrack(
            points, HeadPose(np.zeros((len(values), 3), np.float32), np.zeros((len(values), 3), np.float32))
        )

    def restart(self, unshown: int = 0) -> None:
        self.path -= unshown
        self._begin()

    def interrupt(self, unshown: int = 0) -> MotionTrack:
        self.path -= unshown
        self._begin()
        return self._track([0.0] * 5)


class FlatFace:
    """Stands for an avatar."""

    def __init__(self) -> None:
        self.performances: list[FlatPerformance] = []
        self.drawn = 0

    def live(self, performance: Any = None) -> Any:
        self.performances.append(FlatPerformance())
        return self.performances[-1]

    def pictures(
        self, motion: Iterable[MotionTrack], *, size: Any = None, frame: Any = None, background: Any = "keep"
    ) -> Any:
        def draw() -> Iterator[FlatPicture]:
            for track in motion:
                for points in track.points:
                    self.drawn += 1
                    yield FlatPicture(float(points[0, 0]), int(points[0, 1]), background)

        return draw()


def make_all(session: Session, clock: VirtualClock) -> None:
    """Whatever can be made now."""
    for _ in range(1000):
        begin, _ = session.wanted(clock.now())
        if begin > clock.now():
            return
        session.work()
    raise AssertionError("there is always more to make")


def run(session: Session, clock: VirtualClock, count: int) -> list[Item]:
    """Take items as they are due, with all the time in the world to make them."""
    items = []
    for _ in range(count):
        make_all(session, clock)
        # Steps that begin between two items.
        while (begin := session.wanted(clock.now())[0]) < session.next_due:
            clock.sleep_until(begin)
            make_all(session, clock)
        clock.sleep_until(session.next_due)
        make_all(session, clock)
        items.append(session.take())
    return items


def session_of(face: Any, clock: VirtualClock, **options: Any) -> Session:
    return Session(face, None, clock=clock, wake=lambda: None, **options)


def picture_of(item: Item) -> FlatPicture:
    assert isinstance(item.picture, FlatPicture)
    return item.picture


assert FRAME_SECONDS == 0.04
