"""The parts of an avatar that others wrote, loaded so that what is wrong with one is told of the avatar."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from geneface.errors import InputError
from geneface.io.records import OTHER_VERSION
from geneface.motion.adaptation import Adaptation
from geneface.motion.person import load_person

_Part = TypeVar("_Part")


def of_this_version(folder: Path, load: Callable[[], _Part]) -> _Part:
    """A part of an avatar, loaded.

    Raises:
        InputError: as `load` raises it; of another version: told as the avatar's, since nobody makes parts singly.
    """
    try:
        return load()
    except InputError as error:
        if error.cause.endswith(OTHER_VERSION):
            raise InputError(
                f"the avatar {folder} was made by another version", "train it again with this one"
            ) from error
        raise


def adaptation_of(folder: Path) -> Adaptation | None:
    """The person's adaptation in a folder, or None if there is no such folder.

    Raises:
        InputError: it is damaged, or of another version.
    """
    if not folder.exists():
        return None
    try:
        return load_person(folder)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"the person's adaptation in {folder} is damaged", "train the avatar again or copy it again"
        ) from error
