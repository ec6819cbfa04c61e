"""Whether a face only moves as a whole: a poster, a photograph held up, a still picture turned into a video."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import KEYPOINTS, MESH_CHIN, MESH_HAIRLINE, eye_openness, lip_opening
from geneface.types import VIDEO_RATE_HZ, FloatArray

MIN_SECONDS = 2.0
"""A living person may pause for less."""
_STEADY_FRAMES = 5
"""The tracker's noise is white, speech isn't: means over a fifth of a second leave a quarter of the one."""
_LIP_RANGE = 0.013
"""Range of the lip opening, in heights of the face. Three seconds of speech: .019 and more; photographs in shaking
hands: .010 at most."""
_LID_RANGE = 0.08
"""Range of the eyes' openness: a blink is .15 and more, a photograph .04 at most."""
_QUANTILES = 0.05, 0.95


def is_picture(mesh_px: FloatArray, found: NDArray[np.bool_]) -> bool:
    """Whether neither lips nor lids move in a span: then it shows no living face.

    Args:
        mesh_px: [f, 478, 3] consecutive frames.
        found: [f] where the face was seen.
    """
    points = np.asarray(mesh_px, np.float64)[found][..., :2]
    if len(points) < MIN_SECONDS * VIDEO_RATE_HZ:
        return False
    face = float(np.median(np.linalg.norm(points[:, MESH_HAIRLINE] - points[:, MESH_CHIN], axis=-1)))
    named = points[:, list(KEYPOINTS)]
    lips = _steady(lip_opening(named)) / max(face, 1e-6)
    lids = _steady(eye_openness(named).mean(-1))
    low, high = np.quantile(lips, _QUANTILES)
    return bool(high - low < _LIP_RANGE and np.ptp(lids) < _LID_RANGE)


def _steady(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.convolve(values, np.full(_STEADY_FRAMES, 1 / _STEADY_FRAMES), "valid")
