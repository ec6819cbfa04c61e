"""Options that several commands share, and their parsing."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from geneface.apps import process
from geneface.config import Config
from geneface.errors import InputError
from geneface.io.clips import VIDEO_SUFFIXES, find_clips

AvatarArgument = Annotated[str, typer.Argument(help="Folder of an avatar, or the name of a bundled one (grid-s1).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")]
PresetOption = Annotated[str, typer.Option(help="tiny (seconds, to try things), fast (minutes) or good (longer).")]
SeedOption = Annotated[int, typer.Option(help="Equal seeds give equal results.", min=0, max=2**63 - 1)]

_NAMED = 5
"""Files that are named at most."""
_LONGEST_SECONDS = 31 * 24 * 3600
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def parse_duration(text: str) -> float:
    """Seconds of "90", "90s", "15m" or "1h30m".

    Raises:
        InputError: anything else, zero, or more than a month.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    total = 3600 * hours + 60 * minutes + seconds
    if not 0 < total <= _LONGEST_SECONDS:
        raise InputError(f"{text!r} is not a duration", "write it as 90s, 15m or 1h30m")
    return total


ConfigT = TypeVar("ConfigT", bound=Config)


def settings(kind: type[ConfigT], **values: Any) -> ConfigT:
    """A stage's settings from options; a value that they refuse is the user's mistake.

    Raises:
        InputError: names the option.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + ".".join(str(part) for part in first["loc"]).replace("_", "-")
        raise InputError(f"the value {first['input']!r} of {option} is refused", first["msg"]) from error


def existing(path: Path, what: str) -> Path:
    """The path, if there is something at it.

    Raises:
        InputError: there is not, or it can't be a path.
    """
    try:
        is_there = path.exists()
    except ValueError as error:
        raise InputError(f"{what} {str(path)!r} can't be a path", "check it") from error
    if not is_there:
        raise InputError(f"{what} {path} does not exist", "check the path")
    return path


def clips_of(folder: Path, suffixes: Collection[str] = VIDEO_SUFFIXES, *, is_deep: bool = False) -> list[Path]:
    """The recordings in a folder; says which files of it look like some and are passed over.

    Raises:
        InputError: it holds none.
    """
    clips = find_clips(folder, suffixes, is_deep=is_deep)
    if clips.passed_over:
        names = [str(path.relative_to(folder)) for path in clips.passed_over]
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        process.say(f"geneface: passed over in {folder}, hidden or of another kind: {', '.join(names[:_NAMED])}{rest}")
    if not clips.taken:
        what = "videos" if suffixes == VIDEO_SUFFIXES else "recordings"
        raise InputError(f"the folder {folder} holds no {what}", f"their names end in {', '.join(sorted(suffixes))}")
    return clips.taken


def print_json(value: Any) -> None:
    """Print JSON on standard output, in letters that it can show."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, indent=2, ensure_ascii=not is_unicode, allow_nan=False, default=str))
