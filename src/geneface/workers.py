"""A small pool of worker processes whose failures reach the caller and which never outlive it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_connections
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_POLL_SECONDS = 0.2
"""How often the caller asks how far the workers are."""
_LISTENER = threading.local()
"""Its `tell` hears of `advance`; each thread has its own, for callers that run tasks in several."""

_STARTING = threading.Lock()


@contextmanager
def _without_main() -> Iterator[None]:
    """While a worker starts: nothing is known of the caller's script, so the worker does not run it again.

    A script without `if __name__ == "__main__":` would otherwise prepare its portrait in every worker. What workers do
    is importable from this package.
    """
    with _STARTING:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script


class _Worker(SpawnProcess):
    """A process that begins with the function it is given."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 (multiprocessing's name)
        with _without_main():
            return SpawnProcess._Popen(process_obj)  # pyright: ignore[reportAttributeAccessIssue]


class _WorkerContext(SpawnContext):
    Process = _Worker  # pyright: ignore[reportAssignmentType]


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def advance(units: int) -> None:
    """Say from inside a task that so many more of its units (frames, say) are done; nobody need listen."""
    tell: Callable[[int], None] | None = getattr(_LISTENER, "tell", None)
    if tell is not None and units:
        tell(units)


def _prepare_worker(lifeline: Connection, reports: Connection) -> None:
    """Let the caller alone react to an interruption; end with it, however it ends, even in the middle of a task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # All workers write to one pipe: the system keeps messages as short as these whole.
    _LISTENER.tell = reports.send

    def watch() -> None:
        # Nothing is ever sent: the line becomes readable when its other end is closed, by the caller or its death.
        wait_for_connections([lifeline])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    done: Callable[[int, Result], None] | None = None,
    advanced: Callable[[int], None] | None = None,
) -> list[Result]:
    """Results of `function` over `tasks`, in their order.

    Args:
        function: importable by name; its arguments and results are pickled between processes.
        workers: processes; 1 runs everything in this process.
        done: called as done(index, result) whenever a task ends.
        advanced: called, in this process, with the units that tasks report by `advance`.

    Raises:
        RuntimeError: a worker died (killed, or out of memory). Exceptions of `function` are raised as they are.
    """
    if workers <= 1 or len(tasks) <= 1:
        return _run_here(function, tasks, done, advanced)
    # Fork would copy the locks of onnxruntime's and BLAS's threads in whatever state they are: start afresh.
    context = _WorkerContext()
    lifeline, held = context.Pipe(duplex=False)
    inbox, reports = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(workers, len(tasks)), context, _prepare_worker, (lifeline, reports))
    try:
        futures = {pool.submit(function, task): index for index, task in enumerate(tasks)}
        found: dict[int, Result] = {}
        pending: set[Future[Result]] = set(futures)
        while pending:
            finished, pending = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
            units = _received(inbox)
            if advanced and units:
                advanced(units)
            for future in finished:
                index = futures[future]
                found[index] = future.result()
                if done:
                    done(index, found[index])
        return [found[index] for index in range(len(tasks))]
    except BaseException as error:
        # Tasks may take minutes: don't wait for those that nobody needs any more.
        held.close()
        if isinstance(error, BrokenProcessPool):
            raise RuntimeError("a worker process died; it may have run out of memory") from error
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for end in (lifeline, held, inbox, reports):
            end.close()


def _run_here(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    done: Callable[[int, Result], None] | None,
    advanced: Callable[[int], None] | None,
) -> list[Result]:
    """`run_tasks` without other processes."""
    results: list[Result] = []
    before, _LISTENER.tell = getattr(_LISTENER, "tell", None), advanced
    try:
        for index, task in enumerate(tasks):
            results.append(function(task))
            if done:
                done(index, results[-1])
    finally:
        _LISTENER.tell = before
    return results


def _received(inbox: Connection) -> int:
    """Sum of the units that have come."""
    units = 0
    while inbox.poll():
        units += inbox.recv()
    return units
