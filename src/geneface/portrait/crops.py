"""Which square is cut out of which pictures: it holds the whole head. Pure functions of the tracked face.

Pixels are those of the source. H is the height of a face, hairline to chin. Symbols: f frames of one span, N frames
of all spans of a framing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import MESH_CHIN, MESH_HAIRLINE, MESH_SURFACE_SIZE
from geneface.types import FloatArray

_HAIR, _ASIDE, _BELOW = 0.40, 0.23, 0.08
"""How far the head reaches above, to the sides of and below its mesh, at least, in H; `Framed.hair` may say more."""
_HAIR_SLACK = 0.05
_MOVES = 0.06
"""How far a head that fills the picture may move in its square, in H."""
_NECK = 0.17
"""What must show below that, in H: the neck, where the shoulders begin."""
_SIDE = 2.57
"""Side of the square, in H: the head fills some 55 % of its height, shoulders show."""
_SIDE_LIMIT = 1.45
"""A head that moves gets a square larger by at most this factor: beyond it the face would be small."""
_SIDE_STEPS = 7
_ENOUGH = 0.98
"""A square that holds the head in this share of the frames is not made larger for the others."""
_HEAD_CENTER = 0.45
"""Height of the head's centre in the square, from the top."""
_TOLERANCE = 0.02
"""Of the square's side: hair that touches its edge is not cut off."""
_SAME_SIZE = 1.25
"""Spans whose faces differ by a larger factor are framed differently."""
_SAMPLES = 4000

Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class Square:
    """Region cut out of each picture."""

    x: int
    y: int
    side: int


@dataclass(frozen=True)
class Framed:
    """One span of tracked frames, as the choice of its square sees it."""

    mesh_px: FloatArray
    """[f, 478, 3]"""
    hair: FloatArray
    """[h, 3] how far the head was seen to reach beyond its mesh: left, above, right, in H; may be empty."""
    width: int
    """Of the pictures."""
    height: int
    heads: Boxes = field(init=False)
    """[f, 4] x0, y0, x1, y1 of the head with its hair, inside the picture."""
    face_px: float = field(init=False)
    """H in pixels."""

    def __post_init__(self) -> None:
        face = float(np.median(face_heights(self.mesh_px)))
        object.__setattr__(self, "face_px", face)
        object.__setattr__(self, "heads", self._heads(face))

    def _heads(self, face: float) -> Boxes:
        points = self.mesh_px[:, :MESH_SURFACE_SIZE, :2]
        low, high = points.min(1).astype(np.float64), points.max(1).astype(np.float64)
        # The 90th percentile: a hand next to the head now and then is no hair.
        seen = np.quantile(self.hair, 0.9, axis=0) + _HAIR_SLACK if len(self.hair) else np.zeros(3)
        left, above, right = np.maximum(seen, (_ASIDE, _HAIR, _ASIDE)) * face
        heads = np.concatenate([low, high], axis=1) + np.array((-left, -above, right, _BELOW * face))
        size = np.array([self.width, self.height] * 2, np.float64)
        return self._squeezed(np.minimum(np.maximum(heads, 0.0), size), face)

    def _squeezed(self, heads: Boxes, face: float) -> Boxes:
        """Heads that no square inside the picture holds lose hair, so that the face can be in one and move a little."""
        room = min(self.width, self.height) - _MOVES * face
        tall = heads[:, 3] - heads[:, 1] > room
        heads[tall, 3] -= _BELOW * face
        heads[tall, 1] = np.maximum(heads[tall, 1], heads[tall, 3] - room)
        wide = heads[:, 2] - heads[:, 0] > room
        middle = (heads[wide, 0] + heads[wide, 2]) / 2
        heads[wide, 0], heads[wide, 2] = middle - room / 2, middle + room / 2
        return heads


def face_heights(mesh_px: FloatArray) -> NDArray[np.float64]:
    """[f] hairline to chin of meshes [f, 478, 3], pixels."""
    return np.linalg.norm(mesh_px[:, MESH_CHIN, :2] - mesh_px[:, MESH_HAIRLINE, :2], axis=-1).astype(np.float64)


@dataclass
class _Framing:
    """Spans that are framed alike."""

    members: list[int]
    first: Framed
    sizes: list[float]
    extent: Boxes
    """[4] what holds the members' heads, outliers apart."""

    def takes(self, span: Framed, extent: Boxes) -> bool:
        """Whether a span may share the members' square."""
        if (span.width, span.height) != (self.first.width, self.first.height):
            return False
        size = float(np.median(self.sizes))
        if not 1 / _SAME_SIZE < span.face_px / size < _SAME_SIZE:
            return False
        joint = _join(self.extent, extent)
        return _needed(joint, size) <= _SIDE * _SIDE_LIMIT * size

    def add(self, number: int, span: Framed, extent: Boxes) -> None:
        self.members.append(number)
        self.sizes.append(span.face_px)
        self.extent = _join(self.extent, extent)


def plan_crops(spans: Sequence[Framed]) -> tuple[list[int], list[Square]]:
    """Group spans into framings, each with one square.

    Returns:
        the framing of each span; the square of each framing.
    """
    framings: list[_Framing] = []
    for number, span in enumerate(spans):
        extent = _extent(span.heads)
        framing = next((framing for framing in framings if framing.takes(span, extent)), None)
        if framing:
            framing.add(number, span, extent)
        else:
            framings.append(_Framing([number], span, [span.face_px], extent))
    framing_of = [0] * len(spans)
    squares = []
    for index, framing in enumerate(framings):
        for number in framing.members:
            framing_of[number] = index
        heads = np.concatenate([spans[number].heads for number in framing.members])
        first = framing.first
        squares.append(choose_square(heads, float(np.median(framing.sizes)), first.width, first.height))
    return framing_of, squares


def choose_square(heads: Boxes, face_px: float, width: int, height: int) -> Square:
    """The smallest square that holds nearly all heads [N, 4], or that of the largest size that holds most of them."""
    heads = heads[:: max(1, len(heads) // _SAMPLES)]
    largest = min(width, height)
    square = Square(0, 0, 1)
    for factor in np.linspace(1, _SIDE_LIMIT, _SIDE_STEPS):
        side = min(int(factor * _SIDE * face_px), largest)
        # Where a head fills the square, no neck shows.
        neck = min(_NECK * face_px, max(0.0, side - float((heads[:, 3] - heads[:, 1]).max())))
        square = _place(heads, side, neck, width, height)
        if side == largest or inside(heads, square).mean() >= _ENOUGH:
            break
    return square


def inside(heads: Boxes, square: Square) -> NDArray[np.bool_]:
    """[N] whether a square holds the heads [N, 4]."""
    slack = _TOLERANCE * square.side
    low, high = np.array([square.x, square.y]), np.array([square.x, square.y]) + square.side
    return (heads[:, :2] >= low - slack).all(1) & (heads[:, 2:] <= high + slack).all(1)


def _place(heads: Boxes, side: int, neck: float, width: int, height: int) -> Square:
    """The place of a square of this side that holds most heads, inside the picture."""
    left, right = _window(heads[:, 0], heads[:, 2], side)
    x = float(np.clip((left + right) / 2 - side / 2, 0, width - side))
    top, bottom = _window(heads[:, 1], heads[:, 3] + neck, side)
    y = (top + bottom - neck) / 2 - _HEAD_CENTER * side
    # Hair and neck before the usual height of the head.
    y = min(max(y, bottom - side), top)
    return Square(round(x), round(float(np.clip(y, 0, height - side))), side)


def _window(low: Boxes, high: Boxes, length: float) -> tuple[float, float]:
    """(start, end) of those intervals [N] that fit together into one of this length: as many as possible.

    Where not even one fits: the middle ones.
    """
    if high.max() - low.min() <= length:
        return float(low.min()), float(high.max())
    starts = np.unique(low)
    # Intervals are about equally long, so those that begin in the window and end in it are counted by two searches.
    order = np.sort(high)
    counts = np.searchsorted(order, starts + length, side="right") - np.searchsorted(np.sort(low), starts)
    start = starts[int(counts.argmax())]
    fits = (low >= start) & (high <= start + length)
    if not fits.any():
        middle = float(np.median(low + high)) / 2
        return middle - length / 2, middle + length / 2
    return float(low[fits].min()), float(high[fits].max())


def _extent(heads: Boxes) -> Boxes:
    return np.concatenate([np.quantile(heads[:, :2], 0.02, axis=0), np.quantile(heads[:, 2:], 0.98, axis=0)])


def _join(first: Boxes, second: Boxes) -> Boxes:
    return np.concatenate([np.minimum(first[:2], second[:2]), np.maximum(first[2:], second[2:])])


def _needed(extent: Boxes, face_px: float) -> float:
    return float(max(extent[2] - extent[0], extent[3] - extent[1] + _NECK * face_px))
