"""Folders of unfinished work: one process at a time; resumed with the same settings only."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geneface.errors import InputError
from geneface.io.place import lock_folder, new_folders, refuse_no_folder, remove_leftovers, writing
from geneface.io.records import read_json, write_json


@contextmanager
def exclusive_folder(folder: Path | str) -> Iterator[None]:
    """Keep a folder, made if missing, to this process for the block; it is removed again if nothing was put into it.

    The lock is on the folder itself (flock): it leaves no file behind and ends with the process, however that ends.
    Systems and file systems that can't lock a folder are used without a lock. Temporary files of killed processes are
    removed from it, and after a failure those of this one's helpers.

    Raises:
        InputError: another process is at work in the folder, or it can't be made or written to.
    """
    folder = Path(folder)
    refuse_no_folder(folder)
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


def claim_folder(
    folder: Path,
    record: str,
    settings: Mapping[str, Any],
    resume: bool,
    *,
    begun: InputError,
    other: InputError,
    present: Iterable[Path] = (),
) -> bool:
    """Begin work in a folder, or resume what was begun there.

    Args:
        record: name of a JSON file in the folder that says what is being made; it is written when work begins.
        settings: whatever decides the result, plain values (JSON).
        resume: continue, if the work was begun with the same settings.
        begun: raised where work was begun and `resume` is false.
        other: raised where it was begun with other settings.
        present: files that were there before the work; where there are any, none is begun.

    Returns:
        Whether the work was begun before.

    Raises:
        InputError: `begun`, `other`, or there are files of something else.
    """
    path = folder / record
    if path.is_file():
        if not resume:
            raise begun
        if read_json(path) != settings:
            raise other
        return True
    if any(True for _ in present):
        raise InputError(f"the folder {folder} is not empty", "choose another one")
    write_json(path, dict(settings))
    return False


def clear_folder(folder: Path) -> None:
    """Remove what lies in a folder that was empty when the work began: nothing half-made stays."""
    for path in list(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


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
