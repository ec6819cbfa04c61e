"""Points followed from one grey image [H, W] to another, and the one motion that most of them agree on.

Corners: Shi and Tomasi, "Good features to track", CVPR 1994. Motion: Lucas and Kanade 1981 in a pyramid, as in
Bouguet, "Pyramidal implementation of the Lucas Kanade feature tracker", Intel 2001. Agreement: random sample
consensus, Fischler and Bolles 1981. Thresholds mean what they mean in OpenCV's functions; results are the same for
the same input, whatever the machine's number of processors. Symbols: P points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.imaging.filters import correlate, dilate, mirrored, square
from geneface.types import FloatArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_BLOCK_PX = 5
"""Side of the square over which a corner's gradients are summed."""
_WINDOW_PX, _LEVELS = 15, 4
"""Side of the square that is found again, and the levels of the pyramid."""
_MAX_STEPS, _STEP_PX = 30, 0.01
"""Newton steps at each level, and the length below which they end."""
_MIN_SLOPE = 0.1
"""Smaller eigenvalue of the mean squared gradients, squared levels of 255: less has no place of its own."""
_HYPOTHESES = 200
"""Pairs of points tried: if 60 % of all agree, none of so many pairs is good once in 10^38."""


def corner_strength(gray: FloatArray) -> FloatArray:
    """[H, W] smaller eigenvalue of the summed gradients around each pixel (cv2.cornerMinEigenVal); `gray` in [0, 1]."""
    scale = np.float32(1 / (4 * _BLOCK_PX))
    slope, spread = np.array([-1, 0, 1], np.float32), np.array([1, 2, 1], np.float32)
    across = scale * correlate(correlate(gray, slope, 1), spread, 0)
    down = scale * correlate(correlate(gray, slope, 0), spread, 1)
    block = np.ones(_BLOCK_PX, np.float32)
    products = (across * across, across * down, down * down)
    xx, xy, yy = (correlate(correlate(product, block, 0), block, 1) for product in products)
    return (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)


def pick_corners(strength: FloatArray, allowed: Flags, count: int, quality: float, distance: float) -> Array:
    """Places [P, 2] of at most `count` corners, the strongest first (cv2.goodFeaturesToTrack).

    Args:
        strength: [H, W] of `corner_strength`.
        allowed: [H, W] where corners may be.
        quality: corners weaker than this share of the strongest are left out.
        distance: pixels between two corners at least.
    """
    if not allowed.any():
        return np.zeros((0, 2))
    level = quality * float(strength[allowed].max())
    peak = (strength > level) & (strength == dilate(strength, square(1))) & allowed
    peak[[0, -1]] = peak[:, [0, -1]] = False
    row, column = np.nonzero(peak)
    order = np.argsort(-strength[row, column], kind="stable")
    places = np.stack([column, row], axis=-1)[order]
    chosen = []
    while len(places) and len(chosen) < count:
        chosen.append(places[0])
        places = places[((places - places[0]) ** 2).sum(1) >= distance**2]
    return np.array(chosen, np.float64).reshape(-1, 2) + 0.5


@dataclass(frozen=True)
class Level:
    """One level of a pyramid, with a border of a window on each side."""

    gray: FloatArray
    across: FloatArray
    """Gradient to the right, levels a pixel (Scharr's filter)."""
    down: FloatArray

    @property
    def size(self) -> Array:
        """Width and height without the border."""
        return np.array([self.gray.shape[1], self.gray.shape[0]], np.float64) - 2 * _WINDOW_PX


def pyramid(gray: FloatArray) -> list[Level]:
    """What `track_points` needs of an image [H, W] of levels 0-255; the first level is the image itself."""
    taps = np.array([1, 4, 6, 4, 1], np.float32) / 16
    spread, slope = np.array([3, 10, 3], np.float32) / 16, np.array([-1, 0, 1], np.float32) / 2
    gray, levels = np.asarray(gray, np.float32), []
    while not levels or (len(levels) < _LEVELS and min(gray.shape) > _WINDOW_PX):
        across = correlate(correlate(gray, slope, 1), spread, 0)
        down = correlate(correlate(gray, slope, 0), spread, 1)
        bordered = mirrored(mirrored(gray, _WINDOW_PX, 0), _WINDOW_PX, 1)
        # What is mirrored moves the other way: without slopes it has no say.
        levels.append(Level(bordered, *(np.pad(values, _WINDOW_PX) for values in (across, down))))
        gray = correlate(correlate(gray, taps, 0), taps, 1)[::2, ::2]
    return levels


def track_points(before: list[Level], after: list[Level], points: Array) -> tuple[Array, Flags]:
    """Where points of one image are in another, and which of them could be followed (cv2.calcOpticalFlowPyrLK).

    Args:
        before, after: the images' `pyramid`s.
        points: [P, 2] places in the first image.

    Returns:
        [P, 2] places in the second image; [P] found.
    """
    found = np.ones(len(points), bool)
    start, moved = points - 0.5, points - 0.5
    for number in reversed(range(len(before))):
        scale = 0.5**number
        guess, good = _follow_level(before[number], after[number], scale * start, scale * moved)
        moved = guess / scale
        if number == 0:
            found = good
    return moved + 0.5, found


def _follow_level(before: Level, after: Level, start: Array, guess: Array) -> tuple[Array, Flags]:
    """Newton's method on one level; places [P, 2] from the first pixel's centre."""
    patch, across, down = (_windows(values, start) for values in (before.gray, before.across, before.down))
    xx, xy, yy = (np.einsum("pk,pk->p", one, other) for one, other in ((across, across), (across, down), (down, down)))
    smaller = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    determinant = xx.astype(np.float64) * yy - xy.astype(np.float64) ** 2
    good = (smaller / _WINDOW_PX**2 > _MIN_SLOPE) & (determinant > 0) & _within(start, before.size)
    place, last = guess.copy(), np.zeros_like(guess)
    active = np.flatnonzero(good)
    for step in range(_MAX_STEPS):
        active = active[_within(place[active], after.size)]
        if not len(active):
            break
        error = _windows(after.gray, place[active]) - patch[active]
        ex, ey = (np.einsum("pk,pk->p", error, slope[active]) for slope in (across, down))
        move = np.stack([xy[active] * ey - yy[active] * ex, xy[active] * ex - xx[active] * ey], axis=-1)
        move /= determinant[active, None]
        place[active] += move
        # Two places in turn: the point lies between them.
        swings = (np.abs(move + last[active]) < _STEP_PX).all(1) & (step > 0)
        place[active[swings]] -= move[swings] / 2
        last[active] = move
        active = active[~swings & ((move**2).sum(1) > _STEP_PX**2)]
    return place, good & _within(place, after.size)


def _within(place: Array, size: Array) -> Flags:
    """Whether windows around places [P, 2] touch an image of this width and height."""
    corner = np.floor(place - _WINDOW_PX // 2)
    return ((corner >= -_WINDOW_PX) & (corner < size)).all(1)


def _windows(bordered: FloatArray, place: Array) -> FloatArray:
    """[P, window²] values around places [P, 2], by bilinear interpolation."""
    side = _WINDOW_PX + 1
    corner = np.floor(place - _WINDOW_PX // 2).astype(np.intp)
    across, down = (place - _WINDOW_PX // 2 - corner).astype(np.float32).T[..., None, None]
    height, width = bordered.shape
    x, y = np.clip(corner + _WINDOW_PX, 0, [width - side, height - side]).T
    offsets = (np.arange(side)[:, None] * width + np.arange(side)).reshape(-1)
    near = bordered.reshape(-1).take((y * width + x)[:, None] + offsets).reshape(-1, side, side)
    rows = near[:, :-1] + down * (near[:, 1:] - near[:, :-1])
    return (rows[..., :-1] + across * (rows[..., 1:] - rows[..., :-1])).reshape(len(place), _WINDOW_PX**2)


def agreed_similarity(start: Array, stop: Array, tolerance_px: float) -> tuple[Array, Flags]:
    """The shift, turn and zoom that most points agree on (cv2.estimateAffinePartial2D).

    Args:
        start, stop: [P, 2] places before and after.
        tolerance_px: how far from its place after a point may be put, to agree.

    Returns:
        [2, 3] the map of least squares over the points that agree; [P] which do.

    Raises:
        ValueError: fewer than two points.
    """
    if len(start) < 2:
        raise ValueError(f"a similarity takes two points, not {len(start)}")
    # As complex numbers a similarity is stop = factor * start + shift.
    before, after = start[:, 0] + 1j * start[:, 1], stop[:, 0] + 1j * stop[:, 1]
    rng = np.random.default_rng(0)
    one = rng.integers(0, len(start), _HYPOTHESES)
    other = (one + rng.integers(1, len(start), _HYPOTHESES)) % len(start)
    apart = before[other] - before[one]
    factor = np.where(apart == 0, 0, after[other] - after[one]) / np.where(apart == 0, 1, apart)
    agree = np.abs(factor[:, None] * (before - before[one][:, None]) + after[one][:, None] - after) <= tolerance_px
    best = agree[int(agree.sum(1).argmax())]
    fitted, shift = _least_squares(before[best], after[best])
    return np.array([[fitted.real, -fitted.imag, shift.real], [fitted.imag, fitted.real, shift.imag]]), best


def _least_squares(before: NDArray[np.complex128], after: NDArray[np.complex128]) -> tuple[complex, complex]:
    """Factor and shift of the similarity between complex places; one place alone is only shifted."""
    middle, aim = before.mean(), after.mean()
    spread = float((np.abs(before - middle) ** 2).sum())
    factor = complex((np.conj(before - middle) * (after - aim)).sum()) / spread if spread else 1.0 + 0j
    return factor, complex(aim - factor * middle)
