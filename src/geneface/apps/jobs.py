"""Many renderings from a table: what `geneface batch` does.

A job is done if its output is there and was made from the same row; `done.json` in the output folder remembers
the rows by their digest. A failure does not stop the others.
"""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from geneface.avatar.avatar import SUFFIXES, Avatar, Format, Performance
from geneface.config import Config
from geneface.errors import InputError
from geneface.io.store import atomic_path, read_json, write_json
from geneface.types import ProgressFn, no_progress

DONE_FILE, FAILURES_FILE = "done.json", "failures.csv"


class Job(Config):
    """One row of a jobs file; the columns have these names."""

    avatar: str = Field(min_length=1)
    audio: Path
    """Relative to the jobs file."""
    out: str = Field("", pattern=r"^[^/\\]*$")
    """File name in the output folder; by default the name of the sound."""
    format: Format = "mp4"
    size: int | None = None
    background: str = "keep"
    seed: int = 0
    temperature: float = 0.0
    mouth_gain: float = 1.0
    blink: bool = True

    @property
    def file_name(self) -> str:
        return self.out or f"{self.audio.stem}{SUFFIXES[self.format]}"

    @model_validator(mode="after")
    def _check_name(self) -> Job:
        """The name fits the format; so none can be that of a file that `run_jobs` keeps, or lead out of the folder."""
        suffix = SUFFIXES[self.format]
        if Path(self.file_name).suffix.lower() != suffix or self.file_name in (".", ".."):
            raise ValueError(f"{self.file_name} is not a name for {self.format}, it ends in {suffix or 'no suffix'}")
        return self

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def read_jobs(path: Path) -> list[Job]:
    """Read and check a whole jobs file before anything is rendered.

    Raises:
        InputError: unreadable, an unknown or missing column, a wrong value, or one output twice; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"the jobs file {path} does not exist", "check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the jobs file {path} can't be read as text", "save it as UTF-8 CSV") from error
    reader = csv.DictReader(io.StringIO(text), restkey="(more)", restval="")
    known = set(Job.model_fields)
    unknown = [name for name in reader.fieldnames or [] if name not in known]
    if unknown or not {"avatar", "audio"} <= set(reader.fieldnames or []):
        what = f"has the unknown column {unknown[0]!r}" if unknown else "lacks the column avatar or audio"
        raise InputError(f"the jobs file {path} {what}", f"its first line may name: {', '.join(Job.model_fields)}")
    jobs, lines = [], {}
    for row in reader:
        job = _job(path, reader.line_num, row)
        if job.file_name in lines:
            raise InputError(
                f"the jobs file {path} writes {job.file_name} twice",
                "give them different names in the column out",
                f"at lines {lines[job.file_name]} and {reader.line_num}",
            )
        lines[job.file_name] = reader.line_num
        jobs.append(job)
    if not jobs:
        raise InputError(f"the jobs file {path} has no jobs", "add a line for each video")
    return jobs


def _job(path: Path, line: int, row: dict[str, Any]) -> Job:
    switches = {"auto": "true", "off": "false"}
    values = {name: value.strip() for name, value in row.items() if isinstance(value, str) and value.strip()}
    if "(more)" in row:
        raise InputError(
            f"the jobs file {path} has more values than columns", "quote values with commas", f"at line {line}"
        )
    if "blink" in values:
        values["blink"] = switches.get(values["blink"], values["blink"])
    try:
        job = Job.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        column = ".".join(str(part) for part in first["loc"])
        place = f"at line {line}" + (f", column {column}" if column else "")
        raise InputError(f"the jobs file {path} is wrong ({first['msg']})", "correct that value", place) from error
    return job.model_copy(update={"audio": path.parent / job.audio})


def run_jobs(jobs: list[Job], out: Path, progress: ProgressFn = no_progress) -> dict[str, Any]:
    """Render all jobs that are not done.

    Returns:
        rendered and skipped: counts; failed: a list of out, reason. The failures are also written to failures.csv,
        which is removed when there are none.
    """
    done_path = out / DONE_FILE
    done: dict[str, str] = read_json(done_path) if done_path.is_file() else {}
    avatars: dict[str, Avatar] = {}
    rendered, skipped, failed = 0, 0, []
    for number, job in enumerate(jobs):
        target = out / job.file_name
        if target.exists() and done.get(job.file_name) == job.digest:
            skipped += 1
        else:
            try:
                _render(job, target, avatars, progress)
            except InputError as error:
                failed.append({"out": job.file_name, "reason": str(error)})
            else:
                rendered += 1
                done[job.file_name] = job.digest
                write_json(done_path, done)
        progress("jobs", number + 1, len(jobs))
    _write_failures(out / FAILURES_FILE, failed)
    return {"rendered": rendered, "skipped": skipped, "failed": failed}


def _render(job: Job, target: Path, avatars: dict[str, Avatar], progress: ProgressFn) -> None:
    if job.avatar not in avatars:
        # One at a time: rows of a table usually come in groups, and an avatar takes memory.
        avatars.clear()
        avatars[job.avatar] = Avatar.load(job.avatar)
    performance = Performance(job.temperature, job.seed, job.mouth_gain, job.blink)
    avatars[job.avatar].render(
        job.audio,
        target,
        performance,
        format=job.format,
        size=job.size,
        background=job.background,
        progress=progress,
    )


def _write_failures(path: Path, failed: list[dict[str, str]]) -> None:
    if not failed:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["out", "reason"])
        writer.writeheader()
        writer.writerows(failed)
