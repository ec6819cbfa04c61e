"""A small pool of worker processes whose failures and interruptions reach the caller."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    done: Callable[[int, Result], None] | None = None,
) -> list[Result]:
    """Results of `function` over `tasks`, in their order.

    Args:
        function: importable by name; its arguments and results are pickled between processes.
        workers: processes; 1 runs everything in this process.
        done: called as done(index, result) whenever a task ends.

    Raises:
        RuntimeError: a worker died (killed, or out of memory). Exceptions of `function` are raised as they are.
    """
    if workers <= 1 or len(tasks) <= 1:
        results = []
        for index, task in enumerate(tasks):
            results.append(function(task))
            if done:
                done(index, results[-1])
        return results
    # Fork would copy the threads' locks of MediaPipe and OpenCV in whatever state they are: start afresh.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context)
    try:
        futures = {pool.submit(function, task): index for index, task in enumerate(tasks)}
        found: dict[int, Result] = {}
        pending: set[Future[Result]] = set(futures)
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                index = futures[future]
                found[index] = future.result()
                if done:
                    done(index, found[index])
        return [found[index] for index in range(len(tasks))]
    except BrokenProcessPool as error:
        raise RuntimeError("a worker process died; it may have run out of memory") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
