"""What clients ask of a live session, checked: no path, address or file name of theirs goes any further."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from geneface.avatar.background import COLOURS, KEEP, is_colour
from geneface.errors import InputError
from geneface.realtime import SOUND_RATE_HZ
from geneface.serve.sandbox import look_at
from geneface.serve.settings import ServeSettings
from geneface.types import FloatArray


def background_of(value: Any) -> str:
    """A background that a client may name: "keep" or a colour.

    Raises:
        InputError: another one.
    """
    if isinstance(value, str) and (value == KEEP or is_colour(value)):
        return value
    raise InputError(
        "the background of a live session is neither 'keep' nor a colour",
        f"give keep, #rrggbb, or {', '.join(COLOURS)}",
    )


def sound_of(data: bytes, settings: ServeSettings) -> tuple[FloatArray, int]:
    """The sound [T] in a file, and its rate.

    Raises:
        InputError: no sound, or a longer one than the server takes.
    """
    with tempfile.TemporaryDirectory(prefix="geneface-") as folder:
        given, samples = Path(folder) / "given", Path(folder) / "samples"
        given.write_bytes(data)
        count = look_at("samples", given, samples)["count"]
        if count > settings.most_speech_seconds * SOUND_RATE_HZ:
            raise InputError(
                f"the sound is longer than {settings.most_speech_seconds:.0f} s", "give less of it at once"
            )
        return np.fromfile(samples, np.float32), SOUND_RATE_HZ
