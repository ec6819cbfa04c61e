"""The folder inside an unfinished portrait that holds the results of its steps, so that a killed run goes on.

A step's result is a file that appears whole or not at all. What the run is made of (sources and settings) is
written first; going on with anything else is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geneface.errors import InputError
from geneface.io.store import read_json, write_json, writing
from geneface.portrait.manifest import MANIFEST_NAME


class Workspace:
    """`<portrait>/work` while `prepare_portrait` runs."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.root = out / "work"
        self._record = self.root / "run.json"
        self._existed = out.is_dir()

    def open(self, run: dict[str, Any], resume: bool) -> bool:
        """Begin or go on.

        Args:
            run: what identifies this run, plain values.
            resume: go on with a run that was interrupted.

        Returns:
            True if the portrait is finished already.

        Raises:
            InputError: the folder holds something else.
        """
        if resume and self._record.is_file():
            if read_json(self._record) != run:
                raise InputError(
                    f"{self.out} was begun with other videos or settings", "choose another folder, or the same inputs"
                )
            return (self.out / MANIFEST_NAME).is_file()
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            begun = self._record.is_file()
            remedy = "add --resume to go on with it, or choose another one" if begun else "choose another one"
            raise InputError(f"the folder {self.out} is not empty", remedy)
        with writing(self.out):
            self.root.mkdir(parents=True, exist_ok=True)
        write_json(self._record, run)
        return False

    def folder(self, *parts: str) -> Path:
        """A folder of the workspace; it is made."""
        path = self.root.joinpath(*parts)
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def close(self) -> None:
        """Remove the workspace of a finished portrait, all but the record of the run, and what a kill left behind."""
        for path in self.root.iterdir() if self.root.is_dir() else ():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path != self._record:
                path.unlink()
        for path in self.out.rglob(".*.tmp*"):
            path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Remove all that this run wrote (the folder was empty or absent): nothing half-made stays."""
        for path in list(self.out.iterdir()) if self.out.is_dir() else ():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if not self._existed and self.out.is_dir():
            self.out.rmdir()


def describe_sources(videos: Sequence[Path]) -> list[dict[str, Any]]:
    """What identifies the inputs of a run: name, size and time of change.

    Raises:
        InputError: one is missing.
    """
    described = []
    for video in videos:
        try:
            status = video.stat()
        except OSError as error:
            raise InputError(f"the file {video} does not exist or can't be reached", "check the path") from error
        described.append({"path": str(video.absolute()), "bytes": status.st_size, "changed": status.st_mtime_ns})
    return described
