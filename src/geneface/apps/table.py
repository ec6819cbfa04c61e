"""The table of `geneface batch`: a text file with a line a video, each line by itself.

Fields are separated by commas, semicolons or tabs, as spreadsheets write them; UTF-8, or UTF-16 with its mark.
A line that is wrong costs no other.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from geneface.avatar.outputs import FORMATS, SUFFIXES, Format
from geneface.avatar.performance import BodyChoice
from geneface.avatar.view import Frame
from geneface.config import Config
from geneface.errors import InputError
from geneface.io.media import check_regular_file
from geneface.voice.voice import MAX_TEXT

_MAX_FILE_BYTES = 1 << 26
_MAX_LINE, _MAX_VALUE = 65_536, 4096
_NAME_LENGTH = 40
_DELIMITERS = ",;\t"
_SWITCHES = {"auto": "true", "off": "false"}
_DECIMALS = ("temperature", "mouth_gain", "style")
_DECIMAL = re.compile(r"-?\d*,\d+")


class Job(Config):
    """One line; the columns have these names."""

    avatar: str = Field(min_length=1)
    """A folder, relative to the table's, or the name of a bundled one."""
    audio: Path | None = None
    """Relative to the table's folder."""
    text: str | None = None
    """To speak instead."""
    voice: str | None = None
    """For the text; by default that of the whole batch."""
    out: str = Field("", pattern=r"^[^/\\]*$")
    """File name in the output folder; by default the name of the sound, or the first words of the text."""
    format: Format = "mp4"
    size: int | Literal["source"] | None = None
    frame: Frame | None = None
    body: BodyChoice = "auto"
    background: str = "keep"
    """A picture is relative to the table's folder."""
    seed: int = 0
    temperature: float = 0.0
    mouth_gain: float = 1.0
    blink: bool = True
    style: str = "neutral"
    """calm, neutral, lively, a number from 0 to 1, or the name of a clip of the person."""

    @property
    def file_name(self) -> str:
        """The name given for the video, or one made from the sound's or the text."""
        stem = self.audio.stem if self.audio is not None else _first_words(self.text or "")
        return self.out or f"{stem}{SUFFIXES[self.format]}"

    @model_validator(mode="after")
    def _check_speech(self) -> Job:
        """One of both is what is said."""
        if (self.audio is None) == (self.text is None):
            raise ValueError("a line needs either audio or text")
        if self.voice is not None and self.text is None:
            raise ValueError("a voice goes with text, and this line has audio")
        return self

    @model_validator(mode="after")
    def _check_name(self) -> Job:
        """The name fits the format; so none can be that of a file that `run_jobs` keeps, or lead out of the folder."""
        suffix = SUFFIXES[self.format]
        if Path(self.file_name).suffix.lower() != suffix or self.file_name in (".", ".."):
            told = f"{_short(self.file_name)} is no name for {self.format}, it ends in {suffix or 'no suffix'}"
            meant = next((kind for kind in FORMATS if SUFFIXES[kind] == Path(self.file_name).suffix.lower()), None)
            if meant and self.file_name not in (".", ".."):
                told += f"; for {meant} write that in a column format"
            raise ValueError(told)
        return self


@dataclass(frozen=True)
class Row:
    """A line that is not blank."""

    line: int
    """Counted from 1."""
    job: Job | None
    fault: InputError | None = None
    """Why there is no job."""


def read_table(path: Path) -> list[Row]:
    """Read a whole table before anything is rendered.

    Raises:
        InputError: unreadable, no columns avatar and audio or text, a column that there is not, or not one good line.
    """
    lines = _lines(path)
    number, columns, delimiter = _header(path, lines)
    read = [_row(path, n, text, columns, delimiter) for n, text in enumerate(lines[number:], start=number + 1)]
    rows = _without_collisions(path, [row for row in read if row is not None])
    if not rows:
        raise InputError(f"the jobs file {path} has no jobs", "add a line for each video")
    faults = [row.fault for row in rows if row.fault is not None]
    if len(faults) == len(rows):
        raise faults[0]
    return rows


def _lines(path: Path) -> list[str]:
    """The text's lines; bytes that are no text become lone surrogates, which condemn their line alone."""
    try:
        check_regular_file(path)
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise InputError(f"the jobs file {path} is larger than {_MAX_FILE_BYTES >> 20} MB", "divide it")
        content = path.read_bytes()
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16") if is_utf16 else content.decode("utf-8-sig", "surrogateescape")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the jobs file {path} can't be read as text", "save it as UTF-8 CSV") from error
    # Not splitlines: it cuts at characters that names may have.
    return [line.rstrip("\n") for line in io.StringIO(text, newline=None)]


def _header(path: Path, lines: list[str]) -> tuple[int, list[str], str]:
    """How many lines stand before the first row, names of the columns, what separates them."""
    number = next((n for n, line in enumerate(lines, start=1) if not _is_note(line)), 0)
    line = lines[number - 1] if number else ""
    delimiter = max(_DELIMITERS, key=line.count)
    try:
        columns = [name.strip().lower() for name in _fields(line, delimiter)]
    except csv.Error:
        columns = []
    while columns and not columns[-1]:
        columns.pop()
    known = list(Job.model_fields)
    unknown = next((name for name in columns if name not in known), None)
    double = next((name for name in columns if columns.count(name) > 1), None)
    what = None
    if unknown is not None:
        what = f"has the unknown column {_short(unknown)!r}"
    elif double is not None:
        what = f"has the column {double} twice"
    elif "avatar" not in columns or not {"audio", "text"} & set(columns):
        what = "lacks the column avatar, or both audio and text"
    if what:
        raise InputError(f"the jobs file {path} {what}", f"its first line may name: {', '.join(known)}")
    return number, columns, delimiter


def _is_note(line: str) -> bool:
    """Blank, or what Excel writes to say how it separates."""
    return not line.strip() or line.strip().lower().startswith("sep=")


def _fields(line: str, delimiter: str) -> list[str]:
    """The fields of one line.

    Raises:
        csv.Error: an open quote, a quote in the middle.
    """
    return next(csv.reader([line], delimiter=delimiter, strict=True), [])


def _row(path: Path, line: int, text: str, columns: list[str], delimiter: str) -> Row | None:
    """One line; None if it is blank."""

    def wrong(what: str, remedy: str) -> Row:
        return Row(line, None, InputError(f"the jobs file {path} {what}", remedy, f"at line {line}"))

    if not text.replace(delimiter, "").strip():
        return None
    if len(text) > _MAX_LINE:
        return wrong(f"has a line of {len(text)} characters", f"give at most {_MAX_LINE}")
    if "\0" in text:
        return wrong("holds a null character, which no name has", "take it out")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return wrong("has bytes that are not UTF-8", "save it as UTF-8 CSV")
    try:
        values = [value.strip() for value in _fields(text, delimiter)]
    except csv.Error:
        return wrong("has a quote that is not closed or in the wrong place", 'quote whole values, and write " as ""')
    for name, value in zip([*columns, *["" for _ in values]], values, strict=False):
        most = MAX_TEXT if name == "text" else _MAX_VALUE
        if len(value) > most:
            return wrong(f"has a value of {len(value)} characters", f"give at most {most}")
    if any(values[len(columns) :]):
        return wrong("has more values than columns", "quote values with commas")
    given = {name: value for name, value in zip(columns, values, strict=False) if value}
    if "blink" in given:
        given["blink"] = _SWITCHES.get(given["blink"].lower(), given["blink"])
    if delimiter != ",":
        # A style may be the name of a clip, which may have a comma.
        numbers = [name for name in _DECIMALS if _DECIMAL.fullmatch(given.get(name, ""))]
        given |= {name: given[name].replace(",", ".") for name in numbers}
    try:
        return Row(line, Job.model_validate(given))
    except ValidationError as error:
        first = error.errors()[0]
        # What follows the column's name is one of the kinds of values that it takes.
        column = str(first["loc"][0]) if first["loc"] else ""
        told = "Input should be pixels or 'source'" if column == "size" else first["msg"].removeprefix("Value error, ")
        fault = f"the jobs file {path} is wrong ({told})"
        place = f"at line {line}" + (f", column {column}" if column else "")
        return Row(line, None, InputError(fault, "correct that value", place))


def _without_collisions(path: Path, rows: list[Row]) -> list[Row]:
    """The rows, with a fault where one would write what an earlier one writes."""
    first: dict[str, int] = {}
    checked = []
    for row in rows:
        if row.job is not None:
            # Many file systems take names for one that differ in case or in how accents are written.
            name = unicodedata.normalize("NFC", row.job.file_name).casefold()
            earlier = first.setdefault(name, row.line)
            if earlier != row.line:
                fault = InputError(
                    f"the jobs file {path} writes {_short(row.job.file_name)} twice",
                    "give them different names in the column out",
                    f"at lines {earlier} and {row.line}",
                )
                row = Row(row.line, None, fault)
        checked.append(row)
    return checked


def placed(path: Path, job: Job, is_bundled: Callable[[str], bool]) -> Job:
    """The job with its paths seen from the table's folder; names of bundled avatars and colours stay."""
    changes: dict[str, Any] = {} if job.audio is None else {"audio": path.parent / job.audio}
    folder = path.parent / job.avatar
    if _exists(folder) or not is_bundled(job.avatar):
        changes["avatar"] = str(folder)
    if _exists(path.parent / job.background):
        changes["background"] = str(path.parent / job.background)
    return job.model_copy(update=changes)


def _first_words(text: str) -> str:
    """A file name of a text: its first words, in letters and digits alone."""
    words = re.findall(r"\w+", text.lower())
    stem = ""
    for word in words:
        if stem and len(stem) + len(word) > _NAME_LENGTH:
            break
        stem = f"{stem}-{word}" if stem else word[:_NAME_LENGTH]
    return stem or "text"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        # Too long for a path.
        return False


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}..."
