"""Names that commands and options had before: they work for one more release, and `--help` shows the new ones only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geneface.apps import process


def renamed(names: Mapping[str, str]) -> dict[str, Any]:
    """Settings of a group or command of typer that takes old names for new ones, and says so on standard error.

    Args:
        names: old name -> new name, of sub-commands and of options without their dashes.
    """
    told: set[str] = set()

    def current(name: str) -> str:
        if name not in names:
            return name
        if name not in told:
            told.add(name)
            process.say(f"geneface: {name!r} is called {names[name]!r} now; the old name goes with the next release")
        return names[name]

    # Click asks it about every word that may be a name.
    return {"token_normalize_func": current}
