"""Options that several commands share, and their parsing."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from geneface.config import Config
from geneface.errors import InputError

AvatarArgument = Annotated[str, typer.Argument(help="Folder of an avatar, or the name of a bundled one (grid-s1).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")]
PresetOption = Annotated[str, typer.Option(help="tiny (seconds, to try things), fast (minutes) or good (longer).")]
SeedOption = Annotated[int, typer.Option(help="Equal seeds give equal results.", min=0, max=2**63 - 1)]

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
        InputError: there is not.
    """
    if not path.exists():
        raise InputError(f"{what} {path} does not exist", "check the path")
    return path


def print_json(value: Any) -> None:
    """Print JSON on standard output, in letters that it can show."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, indent=2, ensure_ascii=not is_unicode, allow_nan=False, default=str))
