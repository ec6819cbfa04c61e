"""One process at a time in a folder of unfinished work."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geneface.errors import InputError
from geneface.io.place import check_name, lock_folder, new_folders, remove_leftovers, writing

__all__ = ["exclusive_folder", "remove_leftovers"]


@contextmanager
def exclusive_folder(folder: Path | str) -> Iterator[None]:
    """Keep a folder, made if missing, to this process for the block; it goes again if nothing was put into it.

    The lock is on the folder itself (flock): it leaves no file behind and ends with the process, however that ends.
    Systems and file systems that can't lock a folder are used without a lock. Temporary files of killed processes are
    removed from it, and after a failure those of this one's helpers.

    Raises:
        InputError: another process is at work in the folder, or it can't be made or written to.
    """
    folder = Path(folder)
    check_name(folder)
    with new_folders(folder, folder):
        handle = _lock(folder)
        is_ours = False
        try:
            _check_writable(folder)
            remove_leftovers(folder, is_deep=False)
            is_ours = not any(folder.iterdir())
            yield
        except BaseException:
            # Deep only in what this process has made: it may be somebody's home.
            remove_leftovers(folder, is_deep=is_ours)
            raise
        finally:
            if handle is not None:
                os.close(handle)


def _check_writable(folder: Path) -> None:
    """Try it: permissions alone don't tell (read-only disks, quotas, network folders)."""
    with writing(folder, is_creation=True), tempfile.TemporaryFile(dir=folder):
        pass


def _lock(folder: Path) -> int | None:
    """Lock the folder; None where that is not possible."""
    try:
        return lock_folder(folder)
    except BlockingIOError as error:
        raise InputError(
            f"another run of geneface is at work in {folder}", "wait until it ends, or choose another folder"
        ) from error
