"""Data that the kernels share: layouts, constants of the blending rule, results.

Symbols: N Gaussians, of which the first D <= N are dynamic; C condition values; H x W pixels.
Head and camera frames, units: docs/conventions.md. Pixel centres lie at +0.5.

A *layer* is two arrays:
    base  [14, N]    rows of `BASE_ROWS`: mean xyz (head units), log of the three standard deviations, quaternion
                     wxyz (any length), opacity logit, colour rgb (plain, not clamped).
    basis [C, 7, D]  rows of `DYNAMIC_ROWS`: what one unit of a condition value adds to mean, opacity logit and colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""float32 for the kernels, float32 or float64 for the reference."""

MEAN, LOG_SCALE, QUATERNION, OPACITY_LOGIT, COLOR = slice(0, 3), slice(3, 6), slice(6, 10), 10, slice(11, 14)
BASE_ROWS = 14
DYNAMIC_ROWS = (0, 1, 2, 10, 11, 12, 13)
"""Rows of `base` that the condition moves, in the order of the rows of `basis`."""

U, V, DEPTH, CONIC, OPACITY, RGB, LABEL = 0, 1, 2, slice(3, 6), 6, slice(7, 10), 10
SPLAT_ROWS = 11
"""u, v (pixels), depth (head units, positive), conic a b c (1/pixel^2), opacity, red, green, blue, label."""
GRADIENT_ROWS = 9
"""Rows of a splat gradient: u, v, conic a b c, opacity, red, green, blue."""

DILATION_PX2 = 0.3
"""Added to the screen covariance's diagonal, as in Kerbl et al. 2023: no splat is thinner than a pixel."""
NEAR = 0.1
"""Splats nearer to the camera than this, in head units, are not drawn."""
MIN_ALPHA = 1 / 255
"""A splat leaves a pixel alone where it would cover less than this."""
MAX_ALPHA = 0.99
"""No splat covers a pixel completely."""
MIN_TRANSMITTANCE = 1e-3
"""A pixel is finished when less than this of the light behind still comes through."""


@dataclass(frozen=True)
class Splats:
    """Gaussians on the screen. Layers that are drawn together are neighbouring columns of one `Splats`.

    `Splats.empty(total)` makes room for all layers, `splats[a:b]` is a view for `project(..., out=)`.
    """

    values: Array
    """[11, N], see `SPLAT_ROWS`."""
    bounds: NDArray[np.int32]
    """[4, N] first and last column, first and last row that may be touched; last < first: not drawn."""

    @classmethod
    def empty(cls, count: int, dtype: Any = np.float32) -> Splats:
        """Room for `count` splats, contents undefined."""
        return cls(np.empty((SPLAT_ROWS, count), dtype), np.empty((4, count), np.int32))

    def __len__(self) -> int:
        return self.values.shape[1]

    def __getitem__(self, columns: slice) -> Splats:
        return Splats(self.values[:, columns], self.bounds[:, columns])


@dataclass(frozen=True)
class RasterOutput:
    """A rendered image and what its backward pass needs."""

    image: Array
    """[H, W, 4] red, green, blue over the background; label blended over 0."""
    transmittance: Array
    """[H, W] share of the background that is seen, 0..1."""
    state: Any
    """Sorted splats and tile lists; opaque."""

    @property
    def rgb(self) -> Array:
        """[H, W, 3] colours."""
        return self.image[..., :3]

    @property
    def label(self) -> Array:
        """[H, W] the fourth channel: the share of the head."""
        return self.image[..., 3]


@dataclass(frozen=True)
class ProjectionGradients:
    """Gradients of a scalar loss with respect to what `project` was given."""

    base: Array
    """[14, N]."""
    dynamic: Array
    """[7, D]; the gradient of `basis` is the outer product condition[c] * dynamic."""
    pose: Array
    """[6]: a rotation vector w and a shift s of X_camera = exp(w) R X_head + t + s, at w = s = 0."""
