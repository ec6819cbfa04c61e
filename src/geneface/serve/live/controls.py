"""What clients ask of a live session, checked: no path, address or file name of theirs goes any further."""

from __future__ import annotations

import base64
import binascii
import re
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

_DATA_URL = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w.+=-]+)*;base64,")


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


def data_of(url: str, most_bytes: int) -> bytes:
    """The bytes of a data: URL; an address of another kind is never fetched.

    Raises:
        InputError: no data: URL in base64, or one that holds more than `most_bytes`.
    """
    match = _DATA_URL.match(url)
    if match is None:
        raise InputError("the audio is no data: URL in base64", "give data:audio/wav;base64,...; nothing is fetched")
    if (len(url) - match.end()) * 3 // 4 > most_bytes:
        raise InputError(f"the audio has more than {most_bytes} bytes", "give less of it at once")
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("the audio is not written in base64", "encode its bytes again") from error


def sound_of(url: str, settings: ServeSettings) -> tuple[FloatArray, int]:
    """The sound [T] in a data: URL, and its rate.

    Raises:
        InputError: no sound, or a longer one than the server takes.
    """
    data = data_of(url, settings.most_body_bytes)
    with tempfile.TemporaryDirectory(prefix="geneface-") as folder:
        given, samples = Path(folder) / "given", Path(folder) / "samples"
        given.write_bytes(data)
        count = look_at("samples", given, samples)["count"]
        if count > settings.most_speech_seconds * SOUND_RATE_HZ:
            raise InputError(
                f"the sound is longer than {settings.most_speech_seconds:.0f} s", "give less of it at once"
            )
        return np.fromfile(samples, np.float32), SOUND_RATE_HZ
