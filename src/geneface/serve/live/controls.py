"""What clients ask of a live session, checked: no path, address or file name of theirs goes any further."""

from __future__ import annotations

import re
from typing import Any

from geneface.avatar.background import COLOURS, KEEP
from geneface.errors import InputError

_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")


def background_of(value: Any) -> str:
    """A background that a client may name: "keep" or a colour.

    Raises:
        InputError: another one.
    """
    if isinstance(value, str) and (value == KEEP or value.lower() in COLOURS or _COLOUR.fullmatch(value)):
        return value
    raise InputError(
        "the background of a live session is neither 'keep' nor a colour",
        f"give keep, #rrggbb, or {', '.join(COLOURS)}",
    )
