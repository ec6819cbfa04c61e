"""A client's sound file -> samples, decoded in a process with limits (see `sandbox`)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from geneface.serve.sandbox import look_at
from geneface.types import FloatArray


def decode_sound(data: bytes, most_seconds: float) -> FloatArray:
    """The samples [T] at 48 kHz of a sound file, mono. It takes half a second more than decoding does.

    Raises:
        InputError: no sound, or more than `most_seconds` of it.
    """
    with tempfile.TemporaryDirectory(prefix="geneface-") as folder:
        given, samples = Path(folder) / "sound", Path(folder) / "samples"
        given.write_bytes(data)
        look_at("samples", given, samples, most_seconds)
        return np.fromfile(samples, np.float32)
