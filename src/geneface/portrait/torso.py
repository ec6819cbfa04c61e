"""Neck, shoulders and clothes followed from frame to frame: how far the torso is from its usual place.

A torso breathes, leans and shrugs by itself: the head's pose tells most of its motion and not all. So it is measured
as the face is. Every frame is compared with what is usually seen, and a smooth displacement (linear between the points
of a lattice) is found that carries one onto the other: Gauss-Newton on brightness and on the person's matte, whose
edge shows where plain clothes end (Lucas and Kanade 1981; Baker and Matthews 2004).

Symbols: F frames, G lattice points, N places that are compared, S picture size. Brightness in levels of 255.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.imaging.filters import gaussian_blur
from geneface.imaging.resize import resize_area
from geneface.portrait.photometric import covered, sample
from geneface.signal.spans import spread_indices
from geneface.types import FloatArray, HeadPose

Array = NDArray[np.float64]

WORK_PX = 256
"""Pictures are compared at this size at most."""
TEMPLATE_FRAMES, ROUNDS = 40, 2
SPACING = 0.2
"""Distance of lattice points, image widths, about."""
LEVELS = ((4.0, 5), (1.0, 5))
"""Blur (deviation, pixels) and Gauss-Newton steps, coarse to fine."""
MOST_PLACES, LEAST_PLACES = 2500, 150
"""Those with the steepest brightness are compared. With fewer, nothing of a torso is in the picture."""
NOISE_LEVELS, OUTLIER_LEVELS = 6.0, 15.0
MATTE_LEVELS = 60.0
"""What the matte counts as brightness: its edge jitters by a pixel, and is believed accordingly."""
STRETCH_PX = 0.7
"""By how much neighbouring points of the lattice are expected to move apart."""
AWAY_PX = 30.0
"""How far anything is expected to be from its usual place."""
FINISHED_PX = 0.02

Read = Callable[[int], tuple[FloatArray, FloatArray]]
"""Frame number -> brightness [S, S] and masks [S, S, 2] of head and torso, 0 to 1."""


@dataclass(frozen=True)
class Seen:
    """One frame, blurred for each level."""

    brightness: tuple[FloatArray, ...]
    matte: tuple[FloatArray, ...]
    masks: FloatArray
    """[S, S, 2] head and torso."""


@dataclass(frozen=True)
class Followed:
    """The torso in all frames."""

    points: FloatArray
    """[G, 2] the lattice at its usual place: image widths from the upper left corner."""
    moved: FloatArray
    """[F, G, 2] how far from there each point is seen, image widths, x to the right and y down."""


@dataclass(frozen=True)
class Template:
    """What is usually seen, at places that tell something about motion."""

    places: Array
    """[N, 2] pixels."""
    hats: Array
    """[N, G] how much each lattice point moves each place."""
    brightness: tuple[Array, ...]
    """[N] a level."""
    matte: tuple[Array, ...]
    weight: Array
    """[N] low where frames do not agree."""


def lattice(places: Array) -> tuple[Array, tuple[int, int]]:
    """Points [G, 2], row by row, over the box around places [N, 2] in image widths; their numbers down and across."""
    low, high = places.min(0), places.max(0)
    counts = [max(round(float(extent) / SPACING), 1) + 1 for extent in high - low]
    x, y = (np.linspace(a, b, count) for a, b, count in zip(low, high, counts, strict=True))
    rows, columns = np.meshgrid(y, x, indexing="ij")
    return np.stack([columns.ravel(), rows.ravel()], 1), (counts[1], counts[0])


def hats(places: NDArray[np.floating], points: NDArray[np.floating], shape: tuple[int, int]) -> Array:
    """Bilinear weights [N, G] of lattice points at places [N, 2]; beyond the lattice, its edge's."""
    down, across = shape
    extent = np.maximum(points[-1] - points[0], 1e-9)
    inside = np.clip((places - points[0]) / extent, 0, 1) * (across - 1, down - 1)
    x = np.maximum(1 - np.abs(inside[:, :1] - np.arange(across)), 0)
    y = np.maximum(1 - np.abs(inside[:, 1:] - np.arange(down)), 0)
    return (y[:, :, None] * x[:, None, :]).reshape(len(places), -1)


def stiffness(shape: tuple[int, int]) -> Array:
    """[G, G] matrix of the sum of squared differences between neighbours of a lattice."""
    numbers = np.arange(shape[0] * shape[1]).reshape(shape)
    total = np.zeros((numbers.size, numbers.size))
    pairs = [(numbers[:-1], numbers[1:]), (numbers[:, :-1], numbers[:, 1:])]
    for one, other in ((a.ravel(), b.ravel()) for a, b in pairs):
        for left, right, sign in ((one, one, 1), (other, other, 1), (one, other, -1), (other, one, -1)):
            np.add.at(total, (left, right), sign)
    return total


class TorsoFollower:
    """Follows the torso of one portrait."""

    def __init__(self, region: NDArray[np.bool_], kept: dict[int, Seen], first: int) -> None:
        """Learn what it looks like.

        Args:
            region: [S, S] where it is compared.
            kept: frames that may be measured: a few training frames.
            first: the one whose torso is at its usual place.
        """
        rows, columns = np.nonzero(region)
        places = np.stack([columns, rows], 1) + 0.5
        self.points, shape = lattice(places / len(region))
        weights = hats(places / len(region), self.points, shape)
        count = len(self.points)
        self._hold = stiffness(shape) / STRETCH_PX**2 + np.eye(count) / AWAY_PX**2
        self.still = np.zeros((count, 2))
        self._template = _measure([(kept[first], self.still)], places, weights)
        for _ in range(ROUNDS):
            moved = [(seen, self.follow(seen, self.still)) for seen in kept.values()]
            self._template = _measure(moved, places, weights)

    def follow(self, seen: Seen, start: Array) -> Array:
        """Displacement [G, 2] in pixels of the lattice in one frame, from a first guess."""
        displacement = start.copy()
        for level, (_, steps) in enumerate(LEVELS):
            for _ in range(steps):
                step = self._step(seen, level, displacement)
                displacement += step
                if np.abs(step).max() < FINISHED_PX:
                    break
        return displacement

    def _step(self, seen: Seen, level: int, displacement: Array) -> Array:
        """One Gauss-Newton step, brightness with gain and offset of its own."""
        template, count = self._template, len(self.points)
        at = template.places + template.hats @ displacement
        inside = ((at > 0) & (at < len(seen.masks))).all(1)
        normal, right = np.zeros((2 * count + 2, 2 * count + 2)), np.zeros(2 * count + 2)
        own = inside & covered(seen.masks[..., 1], at)
        light = np.stack([template.brightness[level], np.ones(len(at))], 1)
        for image, usual, valid, gains in (
            (seen.brightness[level], template.brightness[level], own * template.weight, light),
            (seen.matte[level], template.matte[level], inside * 1.0, np.zeros_like(light)),
        ):
            values, gradient = sample(image, at)
            difference = usual - values
            middle = np.median(difference[valid > 0]) if gains.any() and (valid > 0).any() else 0.0
            weight = valid / (1 + np.square((difference - middle) / OUTLIER_LEVELS))
            design = np.concatenate([gradient[:, :1] * template.hats, gradient[:, 1:] * template.hats, -gains], 1)
            weighted = design * weight[:, None]
            normal += weighted.T @ design
            right += weighted.T @ (-values if gains.any() else difference)
        # One level of noise a place would overrule what holds them at once: neighbours err together.
        hold = NOISE_LEVELS**2 * len(at) / 400 * self._hold
        for axis in range(2):
            columns = slice(axis * count, (axis + 1) * count)
            normal[columns, columns] += hold
            right[columns] -= hold @ displacement[:, axis]
        normal[-2:, -2:] += 1e-6 * np.eye(2)
        return np.linalg.solve(normal, right)[: 2 * count].reshape(2, count).T


def _measure(moved: Sequence[tuple[Seen, Array]], places: Array, weights: Array) -> Template:
    """The median over frames, each brought to the usual place by its displacement [G, 2]."""
    brightness: list[list[Array]] = [[] for _ in LEVELS]
    matte: list[list[Array]] = [[] for _ in LEVELS]
    slope = np.zeros(len(places))
    for seen, displacement in moved:
        at = places + weights @ displacement
        for values, images in ((brightness, seen.brightness), (matte, seen.matte)):
            for level, image in enumerate(images):
                value, gradient = sample(image, at)
                values[level].append(value)
            slope += np.hypot(gradient[:, 0], gradient[:, 1])
    chosen = np.sort(np.argsort(-slope, kind="stable")[:MOST_PLACES])
    fine = np.stack(brightness[-1])[:, chosen]
    spread = 1.4826 * np.median(np.abs(fine - np.median(fine, axis=0)), axis=0)
    usual = [tuple(np.median(level, axis=0)[chosen] for level in values) for values in (brightness, matte)]
    agreement = 1 / (1 + np.square(spread / NOISE_LEVELS))
    return Template(places[chosen], weights[chosen], usual[0], usual[1], agreement)


def follow_torso(
    read: Read,
    pose: HeadPose,
    trusted: NDArray[np.bool_],
    segment: NDArray[np.integer],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Followed | None:
    """Follow the torso through all frames.

    Args:
        read: brightness and masks of a frame.
        pose: [F] the head's: the torso is at its usual place where the head is.
        trusted: [F] frames that the appearance may be measured in: training frames.
        segment: [F] index of each frame's segment: from one to the next, nothing is continued.
        progress: called with frames done, frames in all.

    Returns:
        None where hardly any torso is in the picture.
    """
    frames = np.flatnonzero(trusted)
    usual = _most_usual(pose, frames)
    chosen = sorted({usual, *frames[spread_indices(len(frames), TEMPLATE_FRAMES)].tolist()})
    kept = {frame: _look(read, frame) for frame in chosen}
    share = np.mean([seen.masks > 0.5 for seen in kept.values()], axis=0)
    # A little beyond the torso, for its edge; not where the head moves.
    region = (share[..., 1] > 0.05) & (share[..., 0] < 0.05)
    if int(region.sum()) < LEAST_PLACES:
        return None
    follower = TorsoFollower(region, kept, usual)
    moved = np.zeros((len(segment), *follower.still.shape))
    for frame in range(len(segment)):
        goes_on = frame > 0 and segment[frame] == segment[frame - 1]
        moved[frame] = follower.follow(_look(read, frame), moved[frame - 1] if goes_on else follower.still)
        progress(frame + 1, len(segment))
    return Followed(follower.points.astype(np.float32), (moved / len(region)).astype(np.float32))


def _most_usual(pose: HeadPose, frames: NDArray[np.integer]) -> int:
    """The frame whose head is nearest to its median pose."""
    values = np.concatenate([pose.rotation, pose.translation], axis=1)[frames].astype(np.float64)
    away = (values - np.median(values, axis=0)) / np.maximum(values.std(0), 1e-6)
    return int(frames[np.square(away).sum(1).argmin()])


def _look(read: Read, frame: int) -> Seen:
    brightness, masks = (_shrunk(part) for part in read(frame))
    solid = MATTE_LEVELS * masks.sum(-1)
    sharp, edge = (tuple(gaussian_blur(part, deviation) for deviation, _ in LEVELS) for part in (brightness, solid))
    return Seen(sharp, edge, masks)


def _shrunk(image: FloatArray) -> FloatArray:
    return image if len(image) <= WORK_PX else resize_area(np.ascontiguousarray(image), WORK_PX, WORK_PX)
