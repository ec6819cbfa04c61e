"""Making things in a thread of their own while others are used."""

from __future__ import annotations

import atexit
import os
import queue
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _End:
    """Stands behind the last item."""

    error: BaseException | None


def ahead(items: Generator[T, None, None], depth: int) -> Generator[T, None, None]:
    """Yield `items`, which a thread makes while the caller works; no more than `depth` of them wait.

    An exception of theirs comes out here, after the items before it. When this generator ends or is closed (as it
    is when it is thrown away), the thread has ended too, and `items` is closed.
    """
    made: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    room = threading.Semaphore(depth)
    is_closed = threading.Event()
    process = os.getpid()

    def make() -> None:
        error = None
        try:
            while room.acquire() and not is_closed.is_set():
                made.put(next(items))
        except StopIteration:
            pass
        except BaseException as fault:
            error = fault
        finally:
            try:
                items.close()
            except BaseException as fault:
                error = error or fault
            # Whatever happened: somebody waits for it.
            made.put(_End(error))

    def stop() -> None:
        is_closed.set()
        room.release()
        thread.join()

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    # A generator that is still open at the end of the program: a thread that is cut off in a library's code would take
    # the process down with it.
    atexit.register(stop)
    try:
        while not isinstance(item := made.get(), _End):
            room.release()
            yield item
            if os.getpid() != process:
                # A fork's child would wait for ever.
                raise RuntimeError("the thread behind this generator lives in the parent process: begin a new one")
        if item.error is not None:
            raise item.error
    finally:
        atexit.unregister(stop)
        stop()
