"""Motion held to shapes the person was seen in: locally linear embedding (Roweis and Saul 2000) as GeneFace++ uses it
on predicted landmarks (Ye et al. 2023, section 3.2).

Each frame becomes the mix of its nearest seen frames that comes closest to it; the mix's weights sum to 1. Regressions
predict means of shapes, which nobody makes and no renderer has learnt; their neighbours were seen. F frames, N seen
frames, C coefficients.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.signal.spans import spread_indices
from geneface.types import FloatArray

NEIGHBOURS = 10
"""As in GeneFace++'s code."""
COMPONENTS = 16
"""The first coefficients, which are what can be seen of a mouth; the rest stays."""
SEEN_FRAMES = 2000
"""As many are kept at most."""
_STEADINESS = 1e-3
"""Share of the trace that is added to the diagonal, so that neighbours in one direction have a solution."""


def seen_shapes(coefficients: NDArray[np.floating]) -> FloatArray:
    """[F, C] -> [N, c] as many of the frames, evenly spaced, as are worth keeping."""
    index = spread_indices(len(coefficients), SEEN_FRAMES)
    return np.asarray(coefficients[index, :COMPONENTS], np.float32)


def squares(seen: FloatArray) -> FloatArray:
    """[N, c] -> [N] squared lengths."""
    return (seen**2).sum(1)


def project(coefficients: FloatArray, seen: FloatArray, seen_squares: FloatArray | None = None) -> FloatArray:
    """Coefficients [F, C] with the first c as mixes of seen ones [N, c]; fewer seen than neighbours change nothing.

    `seen_squares`: their `squares`, for those who ask frame by frame.
    """
    width = seen.shape[1]
    if len(seen) <= NEIGHBOURS or not len(coefficients):
        return coefficients
    wanted = coefficients[:, :width]
    # Not "@", as in `MotionBasis`. The square of the wanted shape is the same for all neighbours.
    distances = (squares(seen) if seen_squares is None else seen_squares) - 2 * np.einsum("fc,nc->fn", wanted, seen)
    nearest = np.argpartition(distances, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    apart = seen[nearest] - wanted[:, None]
    products = np.einsum("fkc,flc->fkl", apart, apart).astype(np.float64)
    trace = np.trace(products, axis1=1, axis2=2)[:, None, None]
    products += (_STEADINESS * trace + 1e-12) * np.eye(NEIGHBOURS)
    weights = np.linalg.solve(products, np.ones((len(wanted), NEIGHBOURS, 1)))[..., 0]
    weights /= weights.sum(1, keepdims=True)
    out = coefficients.copy()
    out[:, :width] = np.einsum("fk,fkc->fc", weights, seen[nearest])
    return out
