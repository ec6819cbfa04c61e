"""Fixed windows over sound of any length, so that memory stays flat and a row's place changes nothing.

A window is `WINDOW_ROWS` feature rows (6 s). Its middle, `CORE_ROWS`, is kept; `CONTEXT_ROWS` on each side are
heard and thrown away. Cores follow one another from row 0; before and after the sound there is silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from geneface.signal.timing import ROWS_PER_FRAME, frames_to_cover
from geneface.types import FEATURE_RATE_HZ, FloatArray, SpeechFeatures

CORE_ROWS = 200
CONTEXT_ROWS = 50
WINDOW_ROWS = CORE_ROWS + 2 * CONTEXT_ROWS
EDGE_ROWS = 1
"""Rows at either end of a span that the padding of Whisper's convolutions spoils."""
SILENT_ROWS = CONTEXT_ROWS - 1
"""Rows of the first window that hear nothing of a sound that begins after its context."""

LOOK_AHEAD_SECONDS = (CORE_ROWS + CONTEXT_ROWS) / FEATURE_RATE_HZ
"""Sound after a row that may change it, at most: the first row of a core hears the window's end."""


def feature_rows(samples: FloatArray, frames: int | None = None) -> int:
    """Rows of [T] samples: two for each of `frames`, by default as many as the sound lasts, rounded up."""
    if samples.ndim != 1:
        raise ValueError(f"samples have shape {samples.shape}, not [T]")
    return ROWS_PER_FRAME * (frames_to_cover(len(samples)) if frames is None else frames)


def encode_cores(encode: Callable[[int], FloatArray], rows: int) -> Iterator[FloatArray]:
    """The rows of `encode_in_windows` core by core, made as they are asked for: memory stays flat."""
    for start in range(0, rows, CORE_ROWS):
        yield encode(start - CONTEXT_ROWS)[CONTEXT_ROWS : CONTEXT_ROWS + min(CORE_ROWS, rows - start)]


class Windowed:
    """`encode` and `blocks` of a `SpeechEncoder` that hears one window at a time."""

    name: str

    def encode(self, samples: FloatArray, frames: int | None = None) -> SpeechFeatures:
        """As `analysis.speech.SpeechEncoder` says."""
        rows = feature_rows(samples, frames)
        return SpeechFeatures(encode_in_windows(self._window_of(samples, rows), rows), self.name)

    def blocks(self, samples: FloatArray) -> Iterator[SpeechFeatures]:
        """The rows of `encode` in consecutive pieces of `CORE_ROWS`, made as they are asked for."""
        rows = feature_rows(samples)
        for core in encode_cores(self._window_of(samples, rows), rows):
            yield SpeechFeatures(core, self.name)

    def _window_of(self, samples: FloatArray, rows: int) -> Callable[[int], FloatArray]:
        """What `encode_in_windows` calls, of a sound [T] of so many rows."""
        raise NotImplementedError


def encode_in_windows(encode: Callable[[int], FloatArray], rows: int) -> FloatArray:
    """Rows [rows, D] of an encoder that sees one window at a time.

    Args:
        encode: given the row at which a window begins (negative for the first one), returns its [WINDOW_ROWS, D],
            or as many as reach to the end of its core or of the `rows`.
    """
    result: FloatArray | None = None
    for number, core in enumerate(encode_cores(encode, rows)):
        if result is None:
            result = np.empty((rows, core.shape[1]), np.float32)
        result[number * CORE_ROWS :][:CORE_ROWS] = core
    return result if result is not None else encode(-CONTEXT_ROWS)[:0]
