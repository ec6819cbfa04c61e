"""Presets: settings by name, for every training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

from geneface.config import Config
from geneface.errors import InputError

Preset = Literal["tiny", "fast", "good"]
"""tiny: seconds, for trying things; fast: the default; good: longer and better."""

ConfigT = TypeVar("ConfigT", bound=Config)


def choose_preset(presets: Mapping[str, ConfigT], name: str) -> ConfigT:
    """The settings of that name.

    Raises:
        InputError: there are none.
    """
    if name not in presets:
        raise InputError(f"there is no preset {name!r}", f"choose one of: {', '.join(presets)}")
    return presets[name]


def with_changes(config: ConfigT, changes: Mapping[str, object]) -> ConfigT:
    """The settings with some values replaced, checked again."""
    return type(config).model_validate({**config.model_dump(), **changes})
