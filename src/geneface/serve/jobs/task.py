"""What a job's function is given: the job, its folders, and whom to tell."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from geneface.avatar.folder import CONFIG_FILE
from geneface.serve.jobs.job import Job
from geneface.serve.jobs.places import Home
from geneface.serve.jobs.progress import Ended, Reporter, StepPlan
from geneface.serve.jobs.store import JobStore


@dataclass
class Task:
    """A job that is being worked on, in its worker's process."""

    job: Job
    home: Home
    store: JobStore
    limits: dict[str, Any]
    """What `JobService.limits` hands to workers."""

    @cached_property
    def folder(self) -> Path:
        """All files of the job."""
        return self.home.job(self.job.id)

    def input(self, name: str) -> Path:
        """What the client gave, under one of our names."""
        return self.folder / "in" / name

    @cached_property
    def work(self) -> Path:
        """Unfinished things, kept for the next attempt."""
        path = self.folder / "work"
        path.mkdir(exist_ok=True)
        return path

    @cached_property
    def out(self) -> Path:
        """Results: whole files only."""
        path = self.folder / "out"
        path.mkdir(exist_ok=True)
        return path

    def reporter(self, plans: Sequence[StepPlan]) -> Reporter:
        """Tells the store."""
        return Reporter(plans, lambda *state: self.store.report(self.job, *state))

    def offer(self, folder: Path) -> None:
        """Put the avatar that was made where clients see it: as old as this job, as `AvatarStore` tells by the file."""
        os.utime(folder / CONFIG_FILE, (self.job.created_at, self.job.created_at))
        os.replace(folder, self.home.avatar(self.job.subject))

    def note(self, result: dict[str, Any]) -> None:
        """Show something of the result before the end."""
        if not self.store.note(self.job, result):
            raise Ended


def without_paths(text: str, home: Path, names: dict[Path, str]) -> str:
    """A sentence of the library for a client: files by what they are to the client, none of the server's folders."""
    for path, name in names.items():
        text = text.replace(str(path), name)
    return re.sub(rf"{re.escape(str(home))}[/\w.-]*", "a file of the server", text)
