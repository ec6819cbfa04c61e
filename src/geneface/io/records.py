"""Records of what a folder holds: JSON of a settings class with a format number."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from geneface.config import Config
from geneface.errors import InputError
from geneface.io.store import read_json

OTHER_VERSION = "is of another version"
"""How the cause of such an error ends."""
_REMEDY = "make its folder again"
_Record = TypeVar("_Record", bound=Config)


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
