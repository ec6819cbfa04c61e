"""A client's media is looked at in a child process with limits on memory, time and files; here it is started.

What the child may do stands in `sandboxed`. It is told names of files, answers with JSON, and needs no network. However
it ends, the caller gets an answer or an `InputError`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from geneface.errors import InputError

SECONDS = 60.0
_MOST_ANSWER = 1 << 16
_SECRET = re.compile(r"GENEFACE_\w*(?:TOKEN|KEY)")
"""Of the environment, what a process that reads strangers' files has no need of."""
_AT_ONCE = threading.BoundedSemaphore(2)
"""More at a time would only take the cores from live sessions."""


def look_at(task: str, *paths: Path, seconds: float = SECONDS) -> dict[str, Any]:
    """Run a function of `sandboxed` on files.

    Args:
        task: its name in `sandboxed.TASKS`.
        seconds: after so many it is ended.

    Raises:
        InputError: what the function raised; it was ended by its limits or crashed.
    """
    with _AT_ONCE:
        process = subprocess.Popen(
            [sys.executable, "-m", "geneface.serve.sandboxed", task, *map(str, paths)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=child_environment(),
        )
        timer = threading.Timer(seconds, end_group, (process.pid,))
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            with process.stdout:
                answer = process.stdout.read(_MOST_ANSWER)
        finally:
            # Not reaped yet: its number is still its own.
            end_group(process.pid)
            timer.cancel()
            timer.join()
            process.wait()
    return _understood(answer)


def _understood(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError:
        raise InputError(
            "the file can't be read within the limits of memory and time", "give a shorter or smaller file"
        ) from None
    if "refused" in found:
        raise InputError(*found["refused"])
    return found


def child_environment(*, keeps: Collection[str] = (), **more: str) -> dict[str, str]:
    """For a process of this package that is started elsewhere: it finds the same modules, and none of the secrets.

    Args:
        keeps: secrets that it needs.
        more: further variables.
    """
    places = [str(Path(place).absolute()) for place in sys.path if place]
    inherited = {name: value for name, value in os.environ.items() if name in keeps or not _SECRET.fullmatch(name)}
    return {**inherited, "PYTHONPATH": os.pathsep.join(places), **more}


def end_group(pid: int) -> None:
    """End a process that was started in a session of its own, and all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
