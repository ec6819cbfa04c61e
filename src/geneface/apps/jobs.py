"""Many renderings from a table: what `geneface batch` does.

A job is done if its output is there and was made of the same bytes: sound or text, avatar, background, settings.
`done.json` in the output folder remembers their digest. A failure, whatever it is, does not stop the others.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from geneface.analysis.speech import is_shipped
from geneface.apps.causes import EXIT_FAULT, explain
from geneface.apps.process import Interrupted
from geneface.apps.table import Job, Row, placed, read_table
from geneface.avatar.avatar import Avatar
from geneface.avatar.body import BODY_FILES
from geneface.avatar.folder import (
    BACKGROUND_FILE,
    CONFIG_FILE,
    MODEL_FILE,
    MOTION_FOLDER,
    PERSON_FOLDER,
    STATISTICS_FILE,
    bundled_avatars,
    find_avatar,
)
from geneface.avatar.performance import Performance
from geneface.errors import InputError
from geneface.io.atomic import atomic_path, sha256
from geneface.io.media import check_regular_file
from geneface.io.records import read_json, write_json
from geneface.io.work import exclusive_folder
from geneface.types import ProgressFn, no_progress
from geneface.voice.registry import VoiceChoice, Voices
from geneface.voice.voice import save_speech

DONE_FILE, FAILURES_FILE = "done.json", "failures.csv"
_DEFAULT_VOICE = VoiceChoice()
_AVATAR_FILES = (
    CONFIG_FILE,
    MODEL_FILE,
    STATISTICS_FILE,
    BACKGROUND_FILE,
    *BODY_FILES,
    f"{MOTION_FOLDER}/*",
    f"{PERSON_FOLDER}/*",
)
"""What of an avatar's folder decides a picture."""


@dataclass
class Outcome:
    """What became of the rows."""

    rendered: int = 0
    skipped: int = 0
    """Done before."""
    failed: list[dict[str, str | int]] = field(default_factory=list)
    """line, out, reason."""
    has_fault: bool = False
    """One of them is a fault of ours."""


def run_jobs(
    table: Path,
    out: Path,
    progress: ProgressFn = no_progress,
    report: Callable[[BaseException], None] = lambda _: None,
    encoder_path: Path | str | None = None,
    voice: VoiceChoice = _DEFAULT_VOICE,
) -> Outcome:
    """Render all rows that are not done.

    Args:
        table: see `apps.table`.
        out: folder of the outputs; failures are also written to failures.csv in it, which goes when there are none.
        report: told of every row's exception.
        encoder_path: weights of the speech encoder, for those of the avatars whose encoder is not shipped.
        voice: speaks the rows that have text; a row may name another voice of the same kind.

    Raises:
        InputError: the table or the weights can't be used at all, or the folder can't be written to.
        Interrupted: the process was asked to end; says how far it got.
    """
    rows = read_table(table)
    with exclusive_folder(out):
        batch = _Batch(table, out, rows, progress, report, encoder_path, voice)
        try:
            batch.run()
        finally:
            _write_failures(out / FAILURES_FILE, batch.outcome.failed)
    return batch.outcome


class _Batch:
    """One run over the rows of a table."""

    def __init__(
        self,
        table: Path,
        out: Path,
        rows: list[Row],
        progress: ProgressFn,
        report: Callable[[BaseException], None],
        encoder_path: Path | str | None,
        voice: VoiceChoice,
    ) -> None:
        self._encoder_path, self._voice, self._voices = encoder_path, voice, Voices(voice)
        self._out, self._rows, self._progress, self._report = out, rows, progress, report
        bundled = set(bundled_avatars())
        self._jobs = {row.line: placed(table, row.job, bundled.__contains__) for row in rows if row.job is not None}
        self._inputs = {os.path.realpath(table): "the jobs file"}
        for line, job in self._jobs.items():
            if job.audio is not None:
                self._inputs[os.path.realpath(job.audio)] = f"the sound of line {line}"
            if _is_picture(job.background):
                self._inputs[os.path.realpath(job.background)] = f"the background of line {line}"
        self._done = _read_done(out / DONE_FILE)
        self._avatars: dict[str, Avatar] = {}
        self._digests: dict[tuple[str, int, int], str] = {}
        self.outcome = Outcome()
        if encoder_path is not None and not any(map(_is_by_path, self._jobs.values())):
            raise InputError(
                f"weights were given ({encoder_path}), and all avatars of {table} hear with an encoder that is part of "
                "this package",
                "leave out --encoder-path",
            )

    def run(self) -> None:
        """All rows in their order."""
        outcome = self.outcome
        for number, row in enumerate(self._rows):
            job = self._jobs.get(row.line)
            try:
                if job is None:
                    raise row.fault or InputError("the line can't be read", "correct it")
                if self._make(job):
                    outcome.rendered += 1
                else:
                    outcome.skipped += 1
            except KeyboardInterrupt as stop:
                there = outcome.rendered + outcome.skipped
                raise Interrupted(f"{there} of {len(self._rows)} outputs are in {self._out}, go on with") from stop
            except Exception as error:
                self._report(error)
                status, reason = explain(error)
                outcome.has_fault |= status == EXIT_FAULT
                outcome.failed.append({"line": row.line, "out": "" if job is None else job.file_name, "reason": reason})
            self._progress("jobs", number + 1, len(self._rows))

    def _make(self, job: Job) -> bool:
        """Render one job; false if it is done."""
        target = self._out / job.file_name
        same = self._inputs.get(os.path.realpath(target))
        if same is not None:
            raise InputError(f"the output {target} is {same}", "choose another name")
        before = {"inputs": self._digest(job), "bytes": _size(target)}
        if before["bytes"] and self._done.get(job.file_name) == before:
            return False
        if job.avatar not in self._avatars:
            # One at a time: rows of a table usually come in groups, and an avatar takes memory.
            self._avatars.clear()
            self._avatars[job.avatar] = Avatar.load(job.avatar, self._encoder_path if _is_by_path(job) else None)
        with TemporaryDirectory(prefix="geneface-") as folder:
            self._render(job, target, Path(folder))
        self._done[job.file_name] = {"inputs": before["inputs"], "bytes": _size(target)}
        write_json(self._out / DONE_FILE, self._done)
        return True

    def _render(self, job: Job, target: Path, folder: Path) -> None:
        """Render a job; a text is spoken into a file of `folder` first."""
        speech = job.audio
        if job.text is not None:
            speech = folder / "speech.wav"
            save_speech(job.text, speech, self._voices.get(job.voice))
        assert speech is not None
        self._avatars[job.avatar].render(
            speech,
            target,
            Performance(job.temperature, job.seed, job.mouth_gain, job.blink, job.body, job.style),
            format=job.format,
            size=job.size,
            frame=job.frame,
            background=job.background,
            progress=self._progress,
        )

    def _digest(self, job: Job) -> str:
        """Of all that the output is made of, but for the program."""
        files, voice = [], ""
        if job.audio is not None:
            check_regular_file(job.audio)
            files = [job.audio]
        else:
            voice, files = replace(self._voice, name=job.voice or self._voice.name).decides()
        colour = job.background
        if _is_picture(job.background):
            files.append(Path(job.background))
            colour = ""
        folder = find_avatar(job.avatar)
        files += [path for pattern in _AVATAR_FILES for path in sorted(folder.glob(pattern)) if path.is_file()]
        # What is not asked for is left out: rows were recorded like that before there was text, or a style.
        settings = job.model_dump_json(exclude={"avatar", "audio", "background", *_unset(job)})
        parts = [settings, colour, *([voice] if voice else []), *(self._file_digest(path) for path in files)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _file_digest(self, path: Path) -> str:
        """Each file is read once a run, but for one that changes in the meantime."""
        status = path.stat()
        key = (str(path), status.st_mtime_ns, status.st_size)
        if key not in self._digests:
            self._digests[key] = sha256(path)
        return self._digests[key]


def _is_by_path(job: Job) -> bool:
    """Whether the avatar hears with an encoder whose weights have to be given."""
    try:
        return not is_shipped(str(read_json(find_avatar(job.avatar) / CONFIG_FILE).get("encoder")))
    except (InputError, AttributeError):
        # The row tells of it when its turn comes.
        return False


def _unset(job: Job) -> set[str]:
    unset = {name for name in ("text", "voice") if getattr(job, name) is None}
    return unset | ({"style"} if job.style == "neutral" else set())


def _read_done(path: Path) -> dict[str, dict[str, Any]]:
    """What earlier runs remember; nothing if that is damaged: then it is made again, which loses time alone."""
    try:
        done = read_json(path) if path.is_file() else {}
    except InputError:
        return {}
    return {name: entry for name, entry in done.items() if isinstance(entry, dict)} if isinstance(done, dict) else {}


def _is_picture(background: str) -> bool:
    try:
        return Path(background).is_file()
    except OSError:
        # Too long for a path.
        return False


def _size(target: Path) -> int:
    """Bytes of an output, of all files of a folder; 0 if it is not there."""
    if target.is_dir():
        return sum(path.stat().st_size for path in target.iterdir())
    return target.stat().st_size if target.is_file() else 0


def _write_failures(path: Path, failed: list[dict[str, str | int]]) -> None:
    if not failed:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["line", "out", "reason"])
        writer.writeheader()
        writer.writerows(failed)
