"""Records of what a folder holds: JSON of a settings class with a format number."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from geneface.config import Config
from geneface.errors import InputError
from geneface.io.store import read_json

OTHER_VERSION = "is of another version"
"""How the cause of such an error ends."""
_Record = TypeVar("_Record", bound=Config)


def read_record(kind: type[_Record], path: Path, expected_format: int) -> _Record:
    """Read a record whose "format" is `expected_format`.

    Raises:
        InputError: the file is missing or no JSON; of another version, whatever else it holds; or damaged.
    """
    content = read_json(path)
    if not isinstance(content, dict) or "format" not in content:
        raise InputError(f"{path} is not a record of this program", "make its folder again")
    if content["format"] != expected_format:
        raise InputError(f"{path} {OTHER_VERSION}", "make its folder again with this version")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path} is damaged", "make its folder again") from error
