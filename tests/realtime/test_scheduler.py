from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from geneface.realtime import BusyError, Item, Scheduler, Session

from .doubles import FlatFace, FlatPicture


class BusyFace(FlatFace):
    """Its pictures cost processor time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def pictures(self, motion: Any, **options: Any) -> Any:
        for picture in super().pictures(motion, **options):
            end = time.thread_time() + self.seconds
            while time.thread_time() < end:
                pass
            yield picture


class BrokenFace(FlatFace):
    """Fails at its fortieth picture."""

    def pictures(self, motion: Any, **options: Any) -> Any:
        for number, picture in enumerate(super().pictures(motion, **options)):
            if number == 40:
                raise ValueError("no more")
            yield picture


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler(2)
    yield made
    made.close()


def take(session: Session, count: int, into: list[Item]) -> None:
    for item in session.frames():
        into.append(item)
        if len(into) == count:
            return


def test_several_faces_are_served_at_once(scheduler: Scheduler) -> None:
    sessions = [scheduler.open(FlatFace()) for _ in range(4)]
    taken: list[list[Item]] = [[] for _ in sessions]
    threads = [threading.Thread(target=take, args=(s, 30, t)) for s, t in zip(sessions, taken, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for items in taken:
        assert [item.index for item in items] == list(range(items[0].index, items[0].index + 30))
        # A loaded machine may be late now and then.
        assert sum(item.is_repeat for item in items) < 10
        assert all(isinstance(item.picture, FlatPicture) for item in items)


def test_who_can_t_be_served_in_time_is_refused_and_the_others_stay() -> None:
    scheduler = Scheduler(2, cores=2)
    face = BusyFace(0.015)
    try:
        sessions = []
        with pytest.raises(BusyError) as refused:
            for _ in range(10):
                sessions.append(scheduler.open(face))
        # 15 ms for each 40 ms are at least .375 of a core.
        assert 1 <= len(sessions) <= 4
        assert refused.value.retry_after > 0
        assert scheduler.sessions == sessions
        sessions[0].close()
        scheduler.open(face)
    finally:
        scheduler.close()


def test_the_first_face_is_served_by_however_slow_a_machine() -> None:
    scheduler = Scheduler(1, cores=1)
    try:
        session = scheduler.open(BusyFace(0.1))
        items: list[Item] = []
        take(session, 20, items)
        assert any(not item.is_repeat for item in items[2:])
        assert any(item.is_repeat for item in items)
    finally:
        scheduler.close()


def test_a_face_that_comes_late_all_the_time_leaves_no_room() -> None:
    scheduler = Scheduler(1, cores=100)
    try:
        slow = scheduler.open(BusyFace(0.06))
        take(slow, 60, [])
        assert slow.late_share > 0.1
        with pytest.raises(BusyError):
            scheduler.open(FlatFace())
    finally:
        scheduler.close()


def test_a_face_that_fails_says_so_and_leaves_the_others_alone(scheduler: Scheduler) -> None:
    broken, sound = scheduler.open(BrokenFace()), scheduler.open(FlatFace())
    with pytest.raises(RuntimeError, match="failed") as failed:
        take(broken, 100, [])
    assert isinstance(failed.value.__cause__, ValueError)
    take(sound, 10, items := [])
    assert len(items) == 10
    assert scheduler.sessions == [sound]


def test_closing_ends_threads_and_sessions() -> None:
    before = threading.active_count()
    scheduler = Scheduler(2)
    session = scheduler.open(FlatFace())
    take(session, 3, [])
    scheduler.close()
    assert session.is_closed
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        scheduler.open(FlatFace())


def test_nothing_is_made_for_nobody(scheduler: Scheduler) -> None:
    face = FlatFace()
    scheduler.open(face)
    time.sleep(0.3)
    drawn = face.drawn
    time.sleep(0.5)
    assert face.drawn == drawn
