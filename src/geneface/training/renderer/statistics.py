"""A few of a portrait's training frames, from which both renderers make their first guess.

Symbols: P frames, S x S the portrait's image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geneface.portrait.portrait import Portrait
from geneface.signal.spans import spread_indices

STATISTICS_FRAMES = 48


@dataclass(frozen=True)
class PortraitStatistics:
    """A few training frames, and the means over them."""

    frames: np.ndarray
    """[P] frame numbers."""
    images: np.ndarray
    """[P, S, S, 3] uint8."""
    head: np.ndarray
    """[P, S, S] uint8 masks."""
    torso: np.ndarray
    """[P, S, S] uint8 masks."""


def portrait_statistics(portrait: Portrait, frames: np.ndarray, count: int = STATISTICS_FRAMES) -> PortraitStatistics:
    """Read `count` of the given frames, evenly spread."""
    chosen = frames[spread_indices(len(frames), count)]
    images, masks = zip(*(portrait.frame(int(index)) for index in chosen), strict=True)
    stacked = np.stack(masks)
    return PortraitStatistics(chosen, np.stack(images), stacked[..., 0], stacked[..., 1])
