"""The process of one job: `python -m geneface.serve.jobs.worker`. Standard input brings one line of JSON, which says
what to do, and is the line to the server: when it is closed, by whatever end of the server, this process ends.

It may be killed at any moment. What it makes appears whole, by one rename, and only then does it say that it is done.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from geneface.errors import InputError
from geneface.serve.jobs.job import Job, JobError
from geneface.serve.jobs.places import Home
from geneface.serve.jobs.progress import Ended
from geneface.serve.jobs.store import JobStore
from geneface.serve.limits import GIGABYTE, Limits, limit_process, lower_priority, machine_bytes

_WAIT_SECONDS = 20.0
"""For the process of an earlier attempt to end."""
_CHECK_SECONDS = 24 * 3600.0
_NO_MEMORY = "not enough memory", "failed to allocate memory", "bad allocation", "bad_alloc"


def limits_of(kind: str, most_file_bytes: int) -> Limits:
    """What a kind of job may use."""
    if kind == "import":
        return Limits(2 * GIGABYTE, 300, GIGABYTE, 256)
    memory = max(3 * GIGABYTE, int(0.75 * machine_bytes()))
    return Limits(memory, 24 * 3600 if kind == "avatar" else 6 * 3600, most_file_bytes, 1024)


def main() -> None:
    """Do the job that standard input names."""
    orders = json.loads(_first_line())
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    home = Home(Path(orders["home"]))
    store = JobStore(home.database)
    job = store.get(orders["job"])
    if job is None or job.worker != orders["worker"]:
        return
    limit_process(limits_of(job.kind, int(orders["limits"]["file_bytes"])))
    lower_priority()
    _wait_for_the_last(home.job(job.id))
    _do(job, home, store, orders["limits"])


def _do(job: Job, home: Home, store: JobStore, limits: dict[str, Any]) -> None:
    # What a check found is about somebody's face and soon of no use.
    keep = min(float(limits["keep_seconds"]), _CHECK_SECONDS if job.kind == "check" else 1e12)
    try:
        from geneface.serve.jobs.kinds import function_of
        from geneface.serve.jobs.task import Task

        task = Task(job, home, store, limits)
        store.finish(job, function_of(job.kind)(task), keep)
    except Ended:
        return
    except BaseException as error:
        if not isinstance(error, InputError):
            # To the job's log. What is wrong with a file is told to who sent it.
            traceback.print_exc()
        store.fail(job, explain(error, job, home), keep)


def explain(error: BaseException, job: Job, home: Home) -> JobError:
    """Why a job failed, for its client: none of the server's paths are in it."""
    from geneface.serve.jobs.task import without_paths

    given = home.job(job.id) / "in"
    names = {given / "video": "the video", given / "speech": "the sound", given / "avatar.zip": "the zip"}
    if isinstance(error, InputError):
        where = f" {error.where}" if error.where else ""
        cause, remedy = (without_paths(text, home.root, names) for text in (f"{error.cause}{where}", error.remedy))
        return JobError("bad_input", cause, remedy)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(words in text.lower() for words in _NO_MEMORY):
        return JobError("out_of_memory", "this machine has not enough memory for that", "choose a smaller size")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return JobError("storage_full", "the server's disk is full", "delete what is no longer needed, then try again")
    return JobError(
        "internal_error",
        f"a fault of geneface's own ({type(error).__name__}: {without_paths(text, home.root, names)[:300]})",
        "the server's log has more; report it",
    )


def _first_line() -> bytes:
    """Not by `sys.stdin`: it would read on, and the line must stay with the thread that watches it."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            sys.exit(1)
        line += piece
    return line


def _end_with_the_server() -> None:
    while os.read(0, 1):
        pass
    # The server began this process as the head of a group: its helpers end with it.
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _wait_for_the_last(folder: Path) -> None:
    """The worker of an earlier attempt, whose server was killed, may need a moment to end."""
    from geneface.io.place import lock_folder

    end = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            # Kept until this process ends.
            lock_folder(folder)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    main()
