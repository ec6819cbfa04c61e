"""One process at a time in a folder of unfinished work."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geneface.errors import InputError
from geneface.io.store import new_folders

_TEMPORARY = re.compile(r"\..*-[a-z0-9_]{8}\.tmp(\.[^.]*)?")
"""Names that `atomic_path` gives."""


@contextmanager
def exclusive_folder(folder: Path | str) -> Iterator[None]:
    """Keep a folder, made if missing, to this process for the block; it goes again if nothing was put into it.

    The lock is on the folder itself (flock): it leaves no file behind and ends with the process, however that ends.
    Systems and file systems that can't lock a folder are used without a lock.

    Raises:
        InputError: another process is at work in the folder, or it can't be made.
    """
    folder = Path(folder)
    with new_folders(folder, folder):
        handle = _lock(folder)
        try:
            yield
        finally:
            if handle is not None:
                os.close(handle)


def _lock(folder: Path) -> int | None:
    """Open and lock a folder; None where that is not possible."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        # Not readable, or not a folder any more: who writes there says it better.
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if not isinstance(error, BlockingIOError):
            return None
        raise InputError(
            f"another run of geneface is at work in {folder}", "wait until it ends, or choose another folder"
        ) from error
    return handle


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process left; only for who has the folder to itself."""
    for path in folder.rglob(".*.tmp*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
