"""Settings: one frozen class a stage, kept with the stage's code; an unknown key is an error."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from geneface.errors import InputError


class Config(BaseModel):
    """Base of every stage's settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigT = TypeVar("ConfigT", bound=Config)


def checked_settings(kind: type[ConfigT], **values: Any) -> ConfigT:
    """A stage's settings; a value that they refuse is the user's mistake.

    Raises:
        InputError: names the setting.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).replace("_", "-")
        raise InputError(f"the value {first['input']!r} of --{name} is refused", first["msg"]) from error
