"""Where something hides the mouth: a hand, a microphone, a cup, a mask put on. Pure functions of flat faces.

The lower face of one person varies in few ways (jaw, lips, teeth, light). What leaves them is not the face. Symbols:
f frames, T texels a side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.portrait.unwrap import TEXELS, face_texels, texel_of
from geneface.types import ByteArray

Array = NDArray[np.float64]

_NOSE, _UPPER_LIP, _CHIN = 2, 0, 152
_WAYS = 8
"""Components of a mouth that speaks, teeth and light included."""
_FRAMES_PER_WAY = 6
"""With fewer frames a component is as likely a hand as a mouth."""
_TRUSTED = 0.7
"""Share of the frames that make the model: of the others some may be covered."""
_ROUNDS = 5
_LIMIT = 4.0
"""Times the usual residual of the same source. Clean recordings of seven people: 2.9 at most."""
_MIN_RESIDUAL = 0.03
"""Of the skin's brightness; below it a residual is noise, however steady the rest is."""
_MIN_FRAMES = 20
_MAX_MODEL_FRAMES = 3000
_WINDOW = 3


def covered(faces: ByteArray, source: NDArray[np.integer]) -> NDArray[np.bool_]:
    """In which frames the mouth is hidden.

    Args:
        faces: [f, T, T, 3] flat faces of one person, a fifth of a second apart or so.
        source: [f] which recording each is from: each has its own usual residual.

    Returns:
        [f], single frames left out.
    """
    if len(faces) < _MIN_FRAMES:
        return np.zeros(len(faces), bool)
    residual = _residuals(_lower_faces(faces))
    flags = np.zeros(len(faces), bool)
    for number in np.unique(source):
        rows = np.flatnonzero(source == number)
        steady = np.median(np.stack([_shifted(residual[rows], step) for step in (-1, 0, 1)]), axis=0)
        flags[rows] = steady > max(_LIMIT * float(np.median(residual[rows])), _MIN_RESIDUAL)
    return flags


def _lower_faces(faces: ByteArray) -> Array:
    """[f, n] colours below the nose, in units of the brightness above it."""
    on, rows = face_texels(), np.arange(TEXELS)[:, None]
    (nose, _), (lip, _), (chin, _) = (texel_of(index) for index in (_NOSE, _UPPER_LIP, _CHIN))
    lower = on & (rows >= (nose + lip) / 2) & (rows < chin - 1)
    upper = on & (rows < nose - 2)
    values = np.asarray(faces, np.float64)
    light = np.maximum(values[:, upper].mean((1, 2)), 1.0)
    return values[:, lower].reshape(len(faces), -1) / light[:, None]


def _residuals(values: Array) -> Array:
    """[f] root-mean-square distance of rows [f, n] from what most of them span."""
    sample = values[:: -(-len(values) // _MAX_MODEL_FRAMES)]
    ways = max(1, min(_WAYS, len(sample) // _FRAMES_PER_WAY))
    middle = np.median(sample, axis=0)
    error = np.sqrt(((sample - middle) ** 2).mean(1))
    basis = np.zeros((0, sample.shape[1]))
    for _ in range(_ROUNDS):
        trusted = sample[error <= np.quantile(error, _TRUSTED)]
        middle = np.median(trusted, axis=0)
        basis = np.linalg.svd(trusted - middle, full_matrices=False)[2][:ways]
        error = _distance(sample, middle, basis)
    return _distance(values, middle, basis)


def _distance(values: Array, middle: Array, basis: Array) -> Array:
    apart = values - middle
    return np.sqrt(((apart - np.einsum("fk,kn->fn", np.einsum("fn,kn->fk", apart, basis), basis)) ** 2).mean(1))


def _shifted(values: Array, step: int) -> Array:
    return values[np.clip(np.arange(len(values)) + step, 0, len(values) - 1)]
