"""What a process that reads a client's media may use. Set by the process itself, before it reads anything."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

from geneface.errors import InputError

GIGABYTE = 1 << 30


@dataclass(frozen=True)
class Limits:
    """Of one process; its children have the same each."""

    memory_bytes: int
    """Of its own data, without what it maps from files and shares."""
    cpu_seconds: int
    file_bytes: int
    """Of one file that it writes."""
    open_files: int = 1024


def limit_process(limits: Limits) -> None:
    """Never again more than that. A process that has used up its time gets an `InputError` in its main thread."""
    try:
        import resource
    except ImportError:
        # Windows has no such limits.
        return
    wanted = {
        resource.RLIMIT_DATA: limits.memory_bytes,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CORE: 0,
    }
    for name, value in wanted.items():
        _set(resource, name, value, value)
    # Asked for at the first, ended at the second.
    _set(resource, resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 30)
    signal.signal(signal.SIGXCPU, _out_of_time)
    # Writing beyond the limit is an error of the write, not the end of the process.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def lower_priority(by: int = 10) -> None:
    """Let live sessions go first."""
    with suppress(OSError, AttributeError):
        os.nice(by)


def machine_bytes() -> int:
    """Memory of this machine, or 4 GB where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 4 * GIGABYTE


def _set(resource: object, name: int, soft: int, hard: int) -> None:
    _, most = resource.getrlimit(name)  # pyright: ignore[reportAttributeAccessIssue]
    infinity = resource.RLIM_INFINITY  # pyright: ignore[reportAttributeAccessIssue]
    if most != infinity:
        soft, hard = min(soft, most), min(hard, most)
    with suppress(OSError, ValueError):
        resource.setrlimit(name, (soft, hard))  # pyright: ignore[reportAttributeAccessIssue]


def _out_of_time(_: int, __: FrameType | None) -> None:
    raise InputError("reading this takes too long", "give a shorter or smaller file")
