"""The process around a command: signals that ask it to end, and standard streams that are missing or closed.

Ctrl-C, SIGTERM (shutdown, `kill`, containers) and SIGHUP (a closed terminal) become one exception, so that every
`finally` and context manager on the way cleans up; the exit status is 128 + the signal's number, as in a shell.
Nothing here imports more than the standard library: it runs before everything else.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from typing import Any, NoReturn

EXIT_INTERRUPTED = 128 + signal.SIGINT
_LAST_REQUEST = 3
"""So many requests end the process at once, cleaned up or not."""
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(KeyboardInterrupt):
    """The process was asked to end. `words` says what that means for the work, where somebody knows."""

    def __init__(self, words: str = "") -> None:
        self.words = words
        super().__init__(words)


_requests: list[int] = []
"""Signals that came, in their order."""


def protect() -> None:
    """Prepare this process for a command."""
    if os.name == "posix":
        _open_missing_streams()
        sys.stdout = _stream(sys.stdout, 1)
        sys.stderr = _stream(sys.stderr, 2)
    for number in _SIGNALS:
        # Ignored by who started us (nohup, background jobs of scripts): that stays.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _ask_to_end)
    sys.unraisablehook = _keep_request


def was_interrupted() -> bool:
    """Whether a signal came; what is raised after that is its consequence, whatever it looks like."""
    return bool(_requests)


def interrupted_status() -> int:
    """Exit status of an interrupted process."""
    return 128 + _requests[0] if _requests else EXIT_INTERRUPTED


def say(sentence: str) -> None:
    """One line on standard error; lost where that is closed."""
    if sys.stderr is not None:
        print(sentence, file=sys.stderr, flush=True)


def leave(status: Any) -> NoReturn:
    """End the process: what was printed is on its way, and no signal disturbs the end."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if sys.stdout is not None:
        sys.stdout.flush()
    fault = getattr(getattr(getattr(sys.stdout, "buffer", None), "raw", None), "fault", None)
    if fault is not None:
        cause = "the disk is full" if fault.errno == errno.ENOSPC else fault.strerror
        say(f"geneface: what this command prints cannot be written, {cause}: send it to another place")
        status = status or 2
    sys.exit(status)


def _ask_to_end(number: int, _: Any) -> None:
    _requests.append(number)
    if len(_requests) == 1:
        raise Interrupted
    # An impatient second Ctrl-C would break the cleaning up that the first one began.
    if len(_requests) >= _LAST_REQUEST:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _keep_request(unraisable: Any) -> None:
    """An interruption that fell into a destructor, which can't raise it, is asked for again; the rest as ever."""
    if isinstance(unraisable.exc_value, Interrupted):
        # Not here: it would be raised in this function, which can't raise it either.
        again = threading.Timer(0.01, os.kill, (os.getpid(), _requests.pop()))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)


def _open_missing_streams() -> None:
    """A closed descriptor 0, 1 or 2 would be given to the next file that is opened, and prints would go into it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, which is this one.
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)


class _Output(io.FileIO):
    """A standard stream that never stops the work: what nobody reads (`geneface ... | head`) or can't be kept is
    dropped, the latter with a note of why."""

    fault: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            pass
        except OSError as error:
            self.fault = error
        return memoryview(data).nbytes


def _stream(stream: Any, number: int) -> io.TextIOWrapper:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    if stream is not None:
        stream.flush()
    raw = _Output(number, "w", closefd=False)
    # File names may hold what the terminal's encoding can't show.
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=number == 2 or raw.isatty()
    )
