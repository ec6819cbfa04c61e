"""Files and folders that are whole or absent.

Every writer goes to a temporary name in the folder of its target, is flushed to the disk, and takes the final
name in one rename; after an exception nothing is left.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geneface.errors import InputError
from geneface.io.place import file_target, folder_target, new_folders, rehearse_folder, temporary, writing

_CHUNK_BYTES = 1 << 20


def _sync(path: Path) -> None:
    """Bring a file or a folder's list of names onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    # Windows can't open a folder; there the rename alone must do.
    if os.name == "posix":
        _sync(folder)


@contextmanager
def atomic_path(final: Path | str) -> Iterator[Path]:
    """Give a temporary path that becomes `final` when the block ends well, and is removed when it does not.

    The temporary file exists, is empty, lies in the folder of `final` (made if missing) and keeps its suffix. Where
    `final` is a link, what it leads to is replaced.

    Raises:
        InputError: no file can get that name, the folder can't be written to, or the disk is full: all but the last
            before the block.
    """
    final, target = Path(final), file_target(final)
    with new_folders(target.parent, final), writing(final), temporary(target) as path:
        yield path
        # Temporary files are made such that only their owner may read them; a product should have the ordinary rights.
        os.chmod(path, 0o666 & ~_umask())
        _sync(path)
        os.replace(path, target)
        _sync_folder(target.parent)


@contextmanager
def atomic_folder(final: Path | str) -> Iterator[Path]:
    """Give a temporary folder that becomes `final` when the block ends well; `final` must be absent or empty.

    Raises:
        InputError: `final` holds files already, or the place can't be written to: before the block, see
            `place.rehearse_folder`.
    """
    final, target = Path(final), folder_target(final)
    rehearse_folder(final)
    with new_folders(target.parent, final), writing(final), temporary(target, is_folder=True) as path:
        yield path
        os.chmod(path, 0o777 & ~_umask())
        for file in path.rglob("*"):
            if file.is_file():
                _sync(file)
        os.replace(path, target)
        _sync_folder(target.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except FileNotFoundError as error:
        raise InputError(f"the file {path} is missing", "check the path") from error
    return digest.hexdigest()
