"""Where the server keeps its data. Every name below `home` is one of ours or random.

jobs.sqlite3, jobs/<job>/ (in: what the client gave; work, tmp: unfinished; out: results), uploads/<upload>/data,
avatars/<avatar>/, portraits/<avatar>/, reports/<avatar>/, trash/ (what is being deleted)
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FOLDERS = ("jobs", "uploads", "avatars", "portraits", "reports", "trash")


class Home:
    """The folders of one server."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).expanduser().absolute()

    def make(self) -> None:
        """Make the folders that are missing; nobody else may look into them."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(OSError):
            self.root.chmod(0o700)
        for name in FOLDERS:
            (self.root / name).mkdir(mode=0o700, exist_ok=True)

    @property
    def database(self) -> Path:
        """The queue."""
        return self.root / "jobs.sqlite3"

    def job(self, job_id: str) -> Path:
        """All files of one job."""
        return self.root / "jobs" / job_id

    def upload(self, upload_id: str) -> Path:
        """All files of one upload."""
        return self.root / "uploads" / upload_id

    def avatar(self, avatar_id: str) -> Path:
        """An avatar that was made here."""
        return self.root / "avatars" / avatar_id

    def portrait(self, avatar_id: str) -> Path:
        """What it was trained on."""
        return self.root / "portraits" / avatar_id

    def report(self, avatar_id: str) -> Path:
        """The evaluation of any avatar."""
        return self.root / "reports" / avatar_id

    def remove(self, *paths: Path) -> None:
        """Delete files or folders with everything in them: they are gone at once, even if this process dies."""
        for path in paths:
            hidden = self.root / "trash" / secrets.token_hex(8)
            with suppress(FileNotFoundError):
                os.replace(path, hidden)
                _delete(hidden)

    def empty_trash(self) -> None:
        """Finish what a process that died had begun to delete."""
        for path in (self.root / "trash").iterdir():
            _delete(path)

    def used_bytes(self) -> int:
        """Of all of it but the queue; a file that two of them share counts once."""
        seen: dict[tuple[int, int], int] = {}
        for name in FOLDERS:
            for status in _files(self.root / name):
                seen[status.st_dev, status.st_ino] = status.st_size
        return sum(seen.values())

    def free_bytes(self) -> int:
        """What the disk has left."""
        return shutil.disk_usage(self.root).free


def folder_bytes(folder: Path) -> int:
    """Of all files in it."""
    return sum(status.st_size for status in _files(folder))


def _files(folder: Path) -> Iterator[os.stat_result]:
    for place, _, names in os.walk(folder):
        for name in names:
            # It may be gone by now.
            with suppress(OSError):
                yield os.lstat(os.path.join(place, name))


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
