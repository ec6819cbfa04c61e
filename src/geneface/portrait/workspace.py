"""The folder inside an unfinished portrait that holds the results of its steps, so that a killed run can be resumed.

A step's result is a file that appears whole or not at all. What the run is made of (sources and settings) is
written first; resuming with anything else is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geneface.errors import InputError
from geneface.io.place import writing
from geneface.io.work import claim_folder
from geneface.portrait.manifest import MANIFEST_NAME

_RECORD = "work/run.json"
"""Sources and settings of the run, in the portrait's folder."""


class Workspace:
    """`<portrait>/work` while `prepare_portrait` runs."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.root = out / "work"

    def open(self, run: dict[str, Any], resume: bool) -> bool:
        """Begin or go on.

        Args:
            run: what identifies this run, plain values.
            resume: continue a run that was interrupted.

        Returns:
            True if the portrait is finished already.

        Raises:
            InputError: the folder holds something else.
        """
        is_begun = claim_folder(
            self.out,
            _RECORD,
            run,
            resume,
            begun=InputError(
                f"the folder {self.out} is not empty", "add --resume to go on with it, or choose another one"
            ),
            other=InputError(
                f"{self.out} was begun with other videos or settings", "choose another folder, or the same inputs"
            ),
            present=self.out.iterdir(),
        )
        return is_begun and (self.out / MANIFEST_NAME).is_file()

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
            elif path != self.out / _RECORD:
                path.unlink()
        for path in self.out.rglob(".*.tmp*"):
            path.unlink(missing_ok=True)


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
