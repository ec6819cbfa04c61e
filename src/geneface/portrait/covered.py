"""Where something hides the mouth: a hand, a microphone, a cup, a mask put on. Pure functions of flat faces.

The lower face of one person varies in few ways (jaw, lips, teeth, light). What leaves them is not the face. Symbols:
f frames, T texels a side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import MESH_CHIN, MESH_LIPS_MIDDLE, MESH_MOUTH_CORNERS, MESH_NOSE_BASE
from geneface.portrait.unwrap import TEXELS, face_texels, texel_of
from geneface.types import ByteArray

Array = NDArray[np.float64]

_MARGIN = 1.0
"""Texels around the lips: the tracker's error."""
_WAYS = 8
"""Components of skin around a mouth that speaks, light included."""
_FRAMES_PER_WAY = 6
"""With fewer frames a component is as likely a hand as a mouth."""
_TRUSTED = 0.7
"""Share of the frames that make the model: of the others some may be covered."""
_ROUNDS = 5
_LIMIT = 4.6
"""Times the usual residual of the shot. Clean recordings of seven people: 3.7 at most, most of them 2.4."""
_MIN_RESIDUAL = 0.03
"""Of the skin's brightness; below it a residual is noise, however steady the rest is."""
_MIN_FRAMES = 20
_MAX_MODEL_FRAMES = 3000
_WINDOW = 3


def covered(faces: ByteArray, shot: NDArray[np.integer], *, alone: bool = False) -> NDArray[np.bool_]:
    """In which frames the mouth is hidden.

    Args:
        faces: [f, T, T, 3] flat faces of one person, a fifth of a second apart or so.
        shot: [f] which shot each is from: each has its own light, and its own usual residual.
        alone: also single frames, which are left out otherwise: more of them are no hand but an odd grimace.

    Returns:
        [f]
    """
    if len(faces) < _MIN_FRAMES:
        return np.zeros(len(faces), bool)
    residual = _residuals(_lower_faces(faces), shot)
    flags = np.zeros(len(faces), bool)
    each = [np.flatnonzero(shot == number) for number in np.unique(shot)]
    # A shot that is sharper or shorter than the others may not be judged more strictly than they are.
    least = max(_MIN_RESIDUAL / _LIMIT, float(np.median([np.median(residual[rows]) for rows in each])))
    for rows in each:
        near = (0,) if alone else (-1, 0, 1)
        steady = np.median(np.stack([_shifted(residual[rows], step) for step in near]), axis=0)
        flags[rows] = steady > _LIMIT * max(float(np.median(residual[rows])), least)
    return flags


def _lips() -> NDArray[np.bool_]:
    """[T, T] lips and what is between them: teeth and tongue come and go where nothing is covered."""
    corners, edges = [texel_of(index) for index in MESH_MOUTH_CORNERS], [texel_of(index) for index in MESH_LIPS_MIDDLE]
    row, column = (sum(point[axis] for point in (*corners, *edges)) / 4 for axis in (0, 1))
    high = (edges[1][0] - edges[0][0]) / 2 + _MARGIN
    wide = (corners[1][1] - corners[0][1]) / 2 + _MARGIN
    rows, columns = np.arange(TEXELS)[:, None] + 0.5, np.arange(TEXELS) + 0.5
    return ((rows - row) / high) ** 2 + ((columns - column) / wide) ** 2 < 1


def _lower_faces(faces: ByteArray) -> Array:
    """[f, n] colours of the skin below the nose, in units of the brightness above it."""
    on, rows = face_texels(), np.arange(TEXELS)[:, None]
    (nose, _), (lip, _), (chin, _) = (texel_of(index) for index in (MESH_NOSE_BASE, MESH_LIPS_MIDDLE[0], MESH_CHIN))
    lower = on & (rows >= (nose + lip) / 2) & (rows < chin - 1) & ~_lips()
    upper = on & (rows < nose - 2)
    values = np.asarray(faces, np.float64)
    light = np.maximum(values[:, upper].mean((1, 2)), 1.0)
    return values[:, lower].reshape(len(faces), -1) / light[:, None]


def _residuals(values: Array, shot: NDArray[np.integer]) -> Array:
    """[f] root-mean-square distance of rows [f, n] from what most of each shot's rows span."""
    step = -(-len(values) // _MAX_MODEL_FRAMES)
    sample, label = values[::step], np.unique(shot[::step], return_inverse=True)[1].reshape(-1)
    ways = max(1, min(_WAYS, len(sample) // _FRAMES_PER_WAY))
    middle = np.median(sample, axis=0)
    error = np.sqrt(((sample - middle) ** 2).mean(1))
    basis = np.zeros((0, sample.shape[1]))
    for _ in range(_ROUNDS):
        # The best of every shot: by one measure for all, the shots in another light would all be mistrusted.
        limits = np.array([np.quantile(error[label == number], _TRUSTED) for number in range(label.max() + 1)])
        trusted = sample[error <= limits[label]]
        middle = np.median(trusted, axis=0)
        basis = np.linalg.svd(trusted - middle, full_matrices=False)[2][:ways]
        error = _distance(sample, middle, basis)
    return _distance(values, middle, basis)


def _distance(values: Array, middle: Array, basis: Array) -> Array:
    apart = values - middle
    return np.sqrt(((apart - np.einsum("fk,kn->fn", np.einsum("fn,kn->fk", apart, basis), basis)) ** 2).mean(1))


def _shifted(values: Array, step: int) -> Array:
    return values[np.clip(np.arange(len(values)) + step, 0, len(values) - 1)]
