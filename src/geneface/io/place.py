"""Where outputs may go, and the temporary files and folders that stand for them until they are whole.

A temporary lies in the folder of its target and is locked (flock) by the process that fills it. One that nobody has
locked was left by a process that was killed: the next writer in that folder removes it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from geneface.errors import InputError

_MARK = ".geneface.tmp"
_TEMPORARY = re.compile(r"\..*-[a-z0-9_]{8}\.geneface\.tmp(\.[^.]*)?", re.DOTALL)
"""Names that `temporary` gives."""
_STEM_BYTES, _SUFFIX_BYTES = 40, 16
"""What of the target's name a temporary's keeps: a name may have 255 bytes, on some file systems 143."""
_STAND_FOR = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

_REMEDIES = {
    errno.ENOSPC: ("the disk is full", "free some space or choose another place"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another place"),
    errno.EFBIG: ("the file would be larger than this system allows", "choose another place"),
    errno.EACCES: ("the folder may not be written to", "change its permissions or choose another place"),
    errno.EPERM: ("the folder may not be written to", "change its permissions or choose another place"),
    errno.EROFS: ("the disk is read-only", "choose another place"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another place"),
    errno.EEXIST: ("a part of the path is a file, not a folder", "choose another place"),
    errno.EISDIR: ("a folder of this name exists", "choose another name"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.ELOOP: ("a link on the path leads back to itself", "remove the link or choose another place"),
    errno.EBUSY: ("it is a mount point or in use by the system", "choose a new folder inside it or another place"),
    errno.ENOTEMPTY: ("another program has put files there in the meantime", "choose another name"),
    errno.EIO: ("the disk reports an error", "choose another place"),
}


@contextmanager
def writing(target: Path, *, is_creation: bool = False) -> Iterator[None]:
    """Turn what a disk or a folder refuses (full, read-only, no permission) into an `InputError` about `target`.

    With `is_creation` every `OSError` is about the target; otherwise only those that can't be about anything else.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES and not is_creation:
            raise
        cause, remedy = _REMEDIES.get(error.errno or 0, ("files can't be made there", "choose another place"))
        raise InputError(f"cannot write {target}, {cause}", remedy) from error


@contextmanager
def new_folders(folder: Path, target: Path) -> Iterator[None]:
    """Make a folder and its parents; after the block those that were made and are still empty are removed.

    Raises:
        InputError: they can't be made; names `target`, which is to lie in the folder.
    """
    with writing(target, is_creation=True):
        made = list(takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):
            for path in made:
                if path.exists():
                    path.rmdir()


def file_target(final: Path | str) -> Path:
    """Where a file written as `final` will lie: a link is followed, so that what it leads to is replaced.

    Raises:
        InputError: no name that a file can have, a link that leads to itself, or something that is no file stands
            there: a folder, a pipe, a device.
    """
    target, status = _target(Path(final))
    with writing(Path(final), is_creation=True):
        if status is None:
            return target
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(final))
        _refuse_special(Path(final), status)
        _check_sticky(target, status)
    return target


def folder_target(final: Path | str) -> Path:
    """The same for a folder that appears whole: absent or empty now.

    Raises:
        InputError: as for `file_target`; it holds files already; it is the folder that this process works in.
    """
    target, status = _target(Path(final))
    with writing(Path(final), is_creation=True):
        if status is None:
            return target
        _refuse_special(Path(final), status)
        if not stat.S_ISDIR(status.st_mode):
            raise InputError(f"{final} exists already and is a file", "choose another name, or remove it first")
        if any(target.iterdir()):
            raise InputError(f"the folder {final} is not empty", "choose another one or remove it first")
        if os.path.samefile(target, os.curdir):
            raise InputError(f"{str(final)!r} is the folder that you are in", "give the name of a new folder in it")
    return target


def refuse_inside(out: Path, folder: Path, what: str) -> None:
    """An output may not lie in a folder whose own files it could replace.

    Args:
        what: names the folder in the error.

    Raises:
        InputError: it does.
    """
    if out.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the output {out} lies in {what}", "choose another place")


def refuse_no_folder(final: Path | str) -> None:
    """Refuse what can't become or be a folder: a link that leads to itself, a pipe, a device.

    Raises:
        InputError: such a thing stands there.
    """
    _, status = _target(Path(final))
    if status is not None:
        _refuse_special(Path(final), status)


def _target(final: Path) -> tuple[Path, os.stat_result | None]:
    """The path with links at its end followed, and what lies there."""
    check_name(final)
    with writing(final, is_creation=True):
        target = Path(os.path.realpath(final)) if final.is_symlink() else final
        try:
            status = target.lstat()
        except (FileNotFoundError, NotADirectoryError):
            # A file in place of a folder is reported where the folders are made.
            return target, None
        if stat.S_ISLNK(status.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(final))
        return target, status


def check_name(path: Path) -> None:
    """Refuse names that files can't have, or that media libraries can't take: theirs are UTF-8.

    Raises:
        InputError: such a name.
    """
    text = str(path)
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        shown = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
        raise InputError(f"the name {shown} holds characters that are no UTF-8 text", "choose another name")


def _refuse_special(final: Path, status: os.stat_result) -> None:
    kind = _STAND_FOR.get(stat.S_IFMT(status.st_mode))
    if kind:
        raise InputError(f"the output {final} is {kind}", "give the name of a file or a new folder")


def _check_sticky(target: Path, status: os.stat_result) -> None:
    """In folders such as /tmp, only its owner may replace a file: say so now and not when it is done."""
    parent = target.parent.stat()
    is_sticky = os.name == "posix" and parent.st_mode & stat.S_ISVTX
    if is_sticky and os.geteuid() not in (0, parent.st_uid, status.st_uid):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(target))


_swept: set[Path] = set()
"""Folders that this process has cleaned."""


@contextmanager
def temporary(target: Path, *, is_folder: bool = False) -> Iterator[Path]:
    """Give an empty file or folder next to `target`, locked; what is left of it after the block is removed.

    Raises:
        InputError: none can be made there.
    """
    folder = target.parent
    if folder.absolute() not in _swept:
        _swept.add(folder.absolute())
        remove_leftovers(folder, is_deep=False)
    path, lock = Path(), None
    try:
        with writing(target, is_creation=True):
            while not path.name or (lock is not None and not path.exists()):
                # Between its making and its locking another process may take it for a leftover: make one more.
                _close(lock)
                path = _make(target, is_folder)
                lock = _lock(path, wait=True)
        yield path
    finally:
        if path.name:
            _remove(path)
        _close(lock)


def _make(target: Path, is_folder: bool) -> Path:
    stem = target.stem.encode()[:_STEM_BYTES].decode(errors="ignore")
    # Of a suffix all or nothing: some writers look at it.
    suffix = target.suffix if len(target.suffix.encode()) <= _SUFFIX_BYTES else ""
    if is_folder:
        return Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{stem}-", suffix=_MARK))
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{stem}-", suffix=_MARK + suffix)
    os.close(handle)
    return Path(name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lock(path: Path, *, wait: bool = False, follow: bool = False) -> int | None:
    """Open and lock a file or a folder, or with `follow` what a link leads to; None where that can't be done.

    Raises:
        BlockingIOError: another process has it, and `wait` is false.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return handle


def _close(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


def lock_folder(folder: Path) -> int | None:
    """Lock a folder until the returned descriptor is closed; None where folders can't be locked.

    Raises:
        BlockingIOError: another process has it.
    """
    return _lock(folder, follow=True)


def remove_leftovers(folder: Path, *, is_deep: bool = True) -> None:
    """Remove the temporaries in a folder, or also below it, whose processes are gone."""
    with suppress(OSError):
        for path in list(folder.rglob(f".*{_MARK}*") if is_deep else folder.iterdir()):
            if not _TEMPORARY.fullmatch(path.name):
                continue
            with suppress(OSError):
                lock = _lock(path)
                if lock is not None:
                    _remove(path)
                    _close(lock)


def rehearse_folder(final: Path | str) -> None:
    """Do now, and undo, what `atomic.atomic_folder` does at the end of long work: give a folder its name.

    Raises:
        InputError: the folder will not be able to take that name (see `folder_target`; a mount point, no permission).
    """
    target = folder_target(final)
    with (
        new_folders(target.parent, Path(final)),
        writing(Path(final), is_creation=True),
        temporary(target, is_folder=True) as trial,
    ):
        trial.rmdir()
        if target.exists():
            target.rename(trial)
            trial.rename(target)
        else:
            trial.mkdir()
            trial.rename(target)
            target.rmdir()


def check_space(target: Path, needed_bytes: int) -> None:
    """Refuse a disk that long work would fill.

    Raises:
        InputError: less is free where `target` is to lie.
    """
    folder = next((parent for parent in target.absolute().parents if parent.is_dir()), Path("/"))
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise InputError(
            f"cannot write {target}, only {free >> 20} MB of {needed_bytes >> 20} MB are free there",
            "free some space or choose another place",
        )
