"""JSON files, and records of what a folder holds: JSON of a settings class with a format number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from geneface.config import Config
from geneface.errors import InputError
from geneface.io.atomic import atomic_path

OTHER_VERSION = "is of another version"
"""How the cause of such an error ends."""
_REMEDY = "make its folder again"
_Record = TypeVar("_Record", bound=Config)


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` atomically; NaN and infinity are refused because other readers refuse them."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(path) as unfinished:
        # Bytes of file names that are no UTF-8 (lone surrogates) become JSON's own escapes, and are read back as such.
        unfinished.write_bytes(text.encode("utf-8", "backslashreplace"))


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        InputError: it is missing, unreadable or not JSON; names the file and the line.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"the file {path} is missing", "check the path, or make the file again") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON", "make the file again", f"at line {error.lineno}") from error
    except (UnicodeDecodeError, OSError, RecursionError) as error:
        raise InputError(f"{path} can't be read as JSON", "make the file again or check its permissions") from error


def read_versioned(path: Path, expected_format: int, remedy: str = _REMEDY) -> dict[str, Any]:
    """Read a JSON object whose "format" is `expected_format`; what else it holds is not looked at.

    Args:
        remedy: what to do about a file that can't be used.

    Raises:
        InputError: the file is missing or no JSON; no object with a format; of another version.
    """
    content = read_json(path)
    if not isinstance(content, dict) or "format" not in content:
        raise InputError(f"{path} is not a record of this program", remedy)
    if content["format"] != expected_format:
        raise InputError(f"{path} {OTHER_VERSION}", f"{remedy} with this version")
    return content


def read_record(kind: type[_Record], path: Path, expected_format: int, remedy: str = _REMEDY) -> _Record:
    """Read a record of this kind; see `read_versioned`.

    Raises:
        InputError: as for `read_versioned`; or damaged.
    """
    content = read_versioned(path, expected_format, remedy)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path} is damaged", remedy) from error
