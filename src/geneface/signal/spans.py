"""Spans [start, stop) of a sequence, and places spread over it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def true_spans(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, stop) of each span of `flags` [F] that is all true, in order, none next to another."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def spread_indices(length: int, count: int) -> NDArray[np.intp]:
    """At most `count` places of a sequence, evenly spread from its first to its last.

    Returns:
        [min(count, length)], ascending, no place twice.
    """
    return np.linspace(0, max(length - 1, 0), min(count, length)).round().astype(np.intp)
