"""How bright the face is from frame to frame: automatic exposure, lights that are switched, flashes. Pure functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.portrait.unwrap import face_texels
from geneface.types import ByteArray

Array = NDArray[np.float64]

LEVEL_TOLERANCE = 0.25
"""Natural logarithm: a face brighter by 28 % or darker by 22 % than usual is not used. A lively head: .11 at most."""
STEP = 0.12
"""A change that is reported. Heads that turn: .06 between the medians before and after."""
_SIDE = 3
"""Frames before and after a step whose medians are compared."""


def face_level(faces: ByteArray) -> Array:
    """[f] natural logarithm of the mean of flat faces [f, T, T, 3]."""
    return np.log(faces[:, face_texels()].mean((1, 2), dtype=np.float64) + 1)


def level_steps(level: Array) -> list[tuple[int, float]]:
    """(frame, change) of each sudden lasting change of a level [f]; the frame is the first after it."""
    if len(level) < 2 * _SIDE:
        return []
    windows = np.median(np.lib.stride_tricks.sliding_window_view(level, _SIDE), axis=-1)
    change = windows[_SIDE:] - windows[:-_SIDE]
    steps: list[tuple[int, float]] = []
    for index in np.flatnonzero(np.abs(change) > STEP):
        near = slice(max(0, index - _SIDE), index + _SIDE + 1)
        # One step shows in several windows: the one with the largest change counts, the first of equals.
        if abs(change[index]) < np.abs(change[near]).max() or (steps and index - steps[-1][0] < _SIDE):
            continue
        # Medians tell how large it is, the frames themselves where.
        first = index + 1
        sudden = np.abs(np.diff(level[first - 1 : index + 2 * _SIDE]))
        steps.append((int(first + sudden.argmax()), float(change[index])))
    return steps
