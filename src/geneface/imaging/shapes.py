"""Filled polygons and connected parts of masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.types import FloatArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def polygon_coverage(corners: NDArray[np.floating], height: int, width: int) -> FloatArray:
    """Share [H, W] of each pixel's area that lies in a polygon [N, 2] of pixel places, any of which may lie outside.

    Exact for polygons that don't cross themselves (signed areas are summed along the outline, as font rasterisers do);
    where one does, what it winds around more than once counts once.
    """
    x, y, next_x, next_y = _pieces(np.asarray(corners, np.float64), height, width)
    middle_y, rise = (y + next_y) / 2, next_y - y
    keep = (middle_y > 0) & (middle_y < height) & (rise != 0)
    x, next_x, middle_y, rise = x[keep], next_x[keep], middle_y[keep], rise[keep]
    # Each piece covers what is right of it in its row: part of its own pixel, all of those beyond.
    middle = np.clip((x + next_x) / 2, 0, width)
    column = np.minimum(middle.astype(np.intp), width)
    row = np.minimum(middle_y.astype(np.intp), height - 1)
    place = row * (width + 2) + column
    own = rise * (1 - (middle - column))
    sums = np.bincount(place, own, height * (width + 2)) + np.bincount(place + 1, rise - own, height * (width + 2))
    covered = np.cumsum(sums.reshape(height, width + 2), axis=1)[:, :width]
    return np.minimum(np.abs(covered), 1).astype(np.float32)


def _pieces(corners: Array, height: int, width: int) -> tuple[Array, Array, Array, Array]:
    """The outline cut wherever it crosses a border between pixels: x, y of each piece's start, and of its end."""
    start, stop = corners, np.roll(corners, -1, axis=0)
    edges, shares = [np.arange(len(corners))], [np.zeros(len(corners))]
    for axis, count in ((0, width), (1, height)):
        low, high = np.minimum(start[:, axis], stop[:, axis]), np.maximum(start[:, axis], stop[:, axis])
        first = np.clip(np.ceil(low), 0, count + 1).astype(np.intp)
        borders = np.maximum(np.clip(np.floor(high), -1, count).astype(np.intp) - first + 1, 0)
        edge = np.repeat(np.arange(len(corners)), borders)
        border = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(borders) - borders, borders)
        length = stop[edge, axis] - start[edge, axis]
        crosses = length != 0
        edges.append(edge[crosses])
        shares.append(np.clip((border - start[edge, axis])[crosses] / length[crosses], 0, 1))
    edge, share = np.concatenate(edges), np.concatenate(shares)
    order = np.lexsort((share, edge))
    edge, share = edge[order], share[order]
    places = start[edge] + share[:, None] * (stop - start)[edge]
    places = np.concatenate([places, places[:1]])
    return places[:-1, 0], places[:-1, 1], places[1:, 0], places[1:, 1]


def inside_polygon(points: NDArray[np.floating], corners: NDArray[np.floating]) -> Mask:
    """Which of the points [..., 2] lie in a polygon [N, 2] (even-odd rule)."""
    x, y = points[..., 0], points[..., 1]
    inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


def pixels_inside_polygon(corners: NDArray[np.floating], height: int, width: int) -> Mask:
    """[H, W] pixels whose centre lies in a polygon [N, 2] of pixel places (even-odd rule)."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return inside_polygon(np.stack([x, y], axis=-1), corners)


def connected_parts(mask: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Parts of a mask [H, W] that hang together, over corners too.

    Returns:
        [H, W] the number of each pixel's part, from 1 on in the order in which they are met, 0 where the mask is
        False; [parts + 1] pixels of each, that of the rest first.
    """
    height, width = mask.shape
    bordered = np.zeros((height, width + 2), np.int8)
    bordered[:, 1:-1] = mask
    change = np.diff(bordered, axis=1)
    row, start = np.nonzero(change == 1)
    stop = np.nonzero(change == -1)[1]
    parent = _joined(len(row), *_touching(row, start, stop, height, width))
    part = np.unique(parent, return_inverse=True)[1].reshape(-1) + 1
    labels = np.zeros((height, width), np.intp)
    labels[mask] = np.repeat(part, stop - start)
    return labels, np.bincount(labels.reshape(-1), minlength=1)


def _touching(
    row: NDArray[np.intp], start: NDArray[np.intp], stop: NDArray[np.intp], height: int, width: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of runs [start, stop) in rows below each other that touch; runs are in reading order."""
    # A key that grows in reading order: one search finds the runs of the row below.
    stride = width + 2
    below = (row + 1) * stride
    first = np.searchsorted(row * stride + stop, below + start, side="left")
    last = np.searchsorted(row * stride + start, below + stop, side="right")
    counts = np.where(row + 1 < height, np.maximum(last - first, 0), 0)
    upper = np.repeat(np.arange(len(row)), counts)
    return upper, first[upper] + np.arange(len(upper)) - np.repeat(np.cumsum(counts) - counts, counts)


def _joined(count: int, one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each of so many things the least of those that the pairs join it with."""
    least = np.arange(count)
    while True:
        before = least.copy()
        low = np.minimum(least[one], least[other])
        # Roots are joined, not only the pair itself, so that long chains take few rounds.
        np.minimum.at(least, before[one], low)
        np.minimum.at(least, before[other], low)
        np.minimum.at(least, one, low)
        np.minimum.at(least, other, low)
        least = least[least]
        if np.array_equal(before, least):
            return least
