"""A mouth that stays as it is for as long as a sound is held. F frames at 25 Hz, K named landmarks.

Read sentences teach no vowel longer than a fraction of a second, and a model of them lets a long one fade: of real
vowels that were held for 4 s it kept .57 of their opening.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from geneface.analysis.steady_sound import steadiness
from geneface.geometry.landmarks import LOWER_FACE
from geneface.types import FloatArray

_RELEASE_FRAMES = 3
"""Frames in which the mouth catches up after a held sound."""


class HeldLips:
    """The mouth of one utterance; pieces of any lengths give the same."""

    def __init__(self) -> None:
        self._last: FloatArray | None = None
        self._share = 1.0
        """How much of the way to a frame's own mouth is gone."""

    def push(self, points: FloatArray, steady: FloatArray) -> FloatArray:
        """Landmarks [F, K, 3] of the next frames -> with the mouth held.

        Args:
            steady: [F] how steady the sound is (`analysis.steady_sound`), 0 to 1.
        """
        if not len(points) or (self._share == 1 and not steady.any()):
            self._last = points[-1, LOWER_FACE] if len(points) else self._last
            return points
        result = points.copy()
        for frame, hold in enumerate(steady.tolist()):
            self._share = min(1 - hold, self._share + 1 / _RELEASE_FRAMES)
            own = points[frame, LOWER_FACE]
            if self._last is not None and self._share < 1:
                own = np.asarray(self._last + self._share * (own - self._last), np.float32)
            result[frame, LOWER_FACE] = self._last = own
        return result


def held_windows(windows: Iterable[FloatArray], samples: FloatArray) -> Iterator[FloatArray]:
    """Consecutive pieces [f, K, 3] of the landmarks of a whole sound [T] at 16 kHz -> the same with the mouth held."""
    lips, steady, start = HeldLips(), steadiness(samples), 0
    for points in windows:
        yield lips.push(points, steady[start : start + len(points)])
        start += len(points)
