"""Whether the camera stood still: the motion of what is behind the person, found from one small picture to the next.

A moving camera is learnt as motion of the head, before a background that is no longer one picture. Where nothing
behind the person has a pattern (a studio's screen), nothing is said. Symbols: v pictures of h x w pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geneface.imaging.filters import dilate, square
from geneface.imaging.tracking import Level, agreed_similarity, corner_strength, pick_corners, pyramid, track_points
from geneface.signal.spans import spread_indices
from geneface.types import ByteArray, FloatArray

Array = NDArray[np.float64]

SHIFT_TOLERANCE = 0.04
"""Of the picture's longer side: a hand-held camera that wanders so far from its usual place is put up with."""
ZOOM_TOLERANCE = 0.08
"""Of the size of things: the same for the zoom."""
_PERSON_LEVEL = 26
"""Of the matte's 255: what is more opaque belongs to the person."""
_PERSON_MARGIN = 0.03
"""Of the longer side, around the person: hair moves with the head."""
_CORNERS, _CORNER_QUALITY, _CORNER_DISTANCE = 160, 0.02, 6
_MIN_STRENGTH = 4e-4
"""Smallest eigenvalue of a corner's gradients (`corner_strength`): noise and a screen's folds stay below."""
_MIN_POINTS, _MIN_SHARE, _MIN_SPREAD = 12, 0.6, 0.12
"""So many points, this share of all, spread so widely over the picture, must move as one camera moves them."""
_MAX_CENTERS = 500
_MIN_KNOWN = 0.15
"""Of the steps: with fewer seen, those that were are as likely mistaken."""
_MAX_UNSEEN = 10
"""Steps after which the last motion seen says nothing any more."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_RETURN_PX, _AGREE_PX = 0.5, 0.75


@dataclass(frozen=True)
class CameraPath:
    """Where the camera points, relative to the first picture."""

    place: Array
    """[v, 3] shift to the right and down of what is seen, in longer sides of the picture; log of its size."""
    known: NDArray[np.bool_]
    """[v] whether the motion since the picture before could be seen; the first is as the second."""


def camera_path(pictures: ByteArray, mattes: ByteArray) -> CameraPath:
    """Follow the background through pictures [v, h, w, 3], a fifth of a second apart or so; mattes [v, h, w]."""
    side = max(pictures.shape[1:3])
    margin = max(1, round(_PERSON_MARGIN * side))
    around = square(margin)
    place, known = np.zeros((len(pictures), 3)), np.zeros(len(pictures), bool)
    before: _View | None = None
    for index, picture in enumerate(pictures):
        view = _View(np.einsum("hwc,c->hw", picture, _LUMA, dtype=np.float32))
        if before is not None:
            person = np.maximum(mattes[index - 1], mattes[index]) > _PERSON_LEVEL
            step = _step(before, view, ~dilate(person, around))
            known[index] = step is not None
            place[index] = place[index - 1] + (0 if step is None else step)
        before = view
    if len(known) > 1:
        known[0] = known[1]
    return CameraPath(place, known)


@dataclass(frozen=True)
class _View:
    """One picture."""

    gray: FloatArray
    """[h, w] levels of 0-255."""

    @cached_property
    def levels(self) -> list[Level]:
        """What points are followed by; not needed where there are none."""
        return pyramid(self.gray)


def _step(before: _View, after: _View, free: NDArray[np.bool_]) -> Array | None:
    """Motion of the background between two pictures: (right, down, log of size), or None if it can't be seen.

    Args:
        free: [h, w] where the person is in neither.
    """
    height, width = before.gray.shape
    side = max(height, width)
    strength = corner_strength(before.gray / 255)
    points = pick_corners(strength, free & (strength > _MIN_STRENGTH), _CORNERS, _CORNER_QUALITY, _CORNER_DISTANCE)
    if len(points) < _MIN_POINTS:
        return None
    moved, found = track_points(before.levels, after.levels, points)
    back, again = track_points(after.levels, before.levels, moved)
    good = found & again & (np.linalg.norm(back - points, axis=-1) < _RETURN_PX)
    if good.sum() < max(_MIN_POINTS, _MIN_SHARE * len(points)):
        return None
    start, stop = points[good], moved[good]
    similarity, one = agreed_similarity(start, stop, _AGREE_PX)
    # Points on one side only can't tell a zoom from a shift.
    if one.sum() < max(_MIN_POINTS, _MIN_SHARE * len(start)) or start[one].std(0).max() < _MIN_SPREAD * side:
        return None
    middle = np.array([width / 2, height / 2])
    shift = similarity[:, :2] @ middle + similarity[:, 2] - middle
    return np.array([*(shift / side), np.log(np.hypot(similarity[0, 0], similarity[1, 0]))])


def follow_on(path: CameraPath) -> Array:
    """[v, 3] the path, with the motion that could not be seen taken from that before and after it.

    Where little of it could be seen at all, nothing is said: the camera is taken to stand still.
    """
    if path.known[1:].mean() < _MIN_KNOWN if len(path.known) > 1 else True:
        return np.zeros_like(path.place)
    steps = np.diff(path.place, axis=0)
    seen = np.flatnonzero(path.known[1:])
    # A zoom takes the background out of sight while it lasts.
    filled = np.stack([np.interp(np.arange(len(steps)), seen, column[seen]) for column in steps.T], axis=-1)
    far = np.abs(np.arange(len(steps))[:, None] - seen).min(1) > _MAX_UNSEEN
    filled[far] = 0
    return np.concatenate([np.zeros((1, 3)), np.cumsum(filled, axis=0)])


def usual_place(values: Array, tolerance: Array, weight: NDArray[np.floating] | None = None) -> NDArray[np.bool_]:
    """[v] which of the values [v, d] lie within the tolerance [d] of the place where most of them do."""
    if not len(values):
        return np.zeros(0, bool)
    weight = np.ones(len(values)) if weight is None else np.asarray(weight)
    scaled = values / tolerance
    centers = scaled[spread_indices(len(scaled), _MAX_CENTERS)]
    counts = [float(weight[(np.abs(scaled - center) <= 1).all(1)].sum()) for center in centers]
    best = (np.abs(scaled - centers[int(np.argmax(counts))]) <= 1).all(1)
    # Once more about the middle of what was found: a centre taken from the samples lies at no particular place.
    middle = (scaled[best].min(0) + scaled[best].max(0)) / 2
    return (np.abs(scaled - middle) <= 1).all(1)
