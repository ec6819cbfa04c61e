"""A thread that runs ahead: order, bounds, exceptions, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from geneface.avatar.ahead import ahead


def counted(stop: int, seen: list[int], error: BaseException | None = None) -> Generator[int, None, None]:
    try:
        for number in range(stop):
            seen.append(number)
            yield number
        if error is not None:
            raise error
    finally:
        seen.append(-1)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "ahead"]


@pytest.mark.parametrize("depth", [1, 3])
def test_all_items_in_order(depth: int) -> None:
    seen: list[int] = []
    assert list(ahead(counted(50, seen), depth)) == list(range(50))
    assert seen[-1] == -1 and threads() == []


def test_no_more_than_the_depth_waits() -> None:
    seen: list[int] = []
    made = threading.Event()

    def slow() -> Generator[int, None, None]:
        for number in counted(50, seen):
            yield number
            if number == 3:
                made.set()

    items = ahead(slow(), 2)
    assert next(items) == 0
    # The second thread is asked for item 3 only once item 1 is taken.
    assert not made.wait(0.05) and len(seen) <= 3
    assert [next(items), next(items), next(items)] == [1, 2, 3]
    assert made.wait(10)
    items.close()


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_an_exception_comes_out_behind_the_items_before_it(error: BaseException) -> None:
    seen: list[int] = []
    items = ahead(counted(3, seen, error), 8)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(type(error)):
        next(items)
    assert threads() == []


def test_closing_ends_the_thread_and_the_items() -> None:
    seen: list[int] = []
    items = ahead(counted(10**9, seen), 2)
    next(items)
    items.close()
    assert threads() == [] and seen[-1] == -1 and len(seen) < 10


def test_an_exception_of_the_caller_ends_the_thread() -> None:
    seen: list[int] = []
    items = ahead(counted(10**9, seen), 2)
    next(items)
    with pytest.raises(KeyboardInterrupt):
        items.throw(KeyboardInterrupt())
    assert threads() == [] and seen[-1] == -1


def test_throwing_the_generator_away_is_enough() -> None:
    items = ahead(counted(10**9, []), 2)
    next(items)
    del items
    assert threads() == []


def test_what_is_never_begun_starts_nothing() -> None:
    seen: list[int] = []
    ahead(counted(5, seen), 2).close()
    assert seen == [] and threads() == []
