"""What moves by itself, followed from frame to frame: hair around the head, and neck, shoulders and clothes below it.

A torso breathes, leans and shrugs, hair swings: the head's pose tells most of that and not all. So both are measured
as the face is. Every frame is compared with what is usually seen, and a smooth displacement (linear between the points
of a lattice) is found that carries one onto the other: Gauss-Newton on brightness and on the person's matte, whose
edge shows where plain clothes end (Lucas and Kanade 1981; Baker and Matthews 2004).

A part is a plane of places: the torso's stand still in the picture, those of the hair are fixed to the head. What is
found is how far everything is from there.

Symbols: F frames, G lattice points, N places, S picture size. Brightness in levels of 255.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.camera import project
from geneface.geometry.landmarks import MESH_OVAL
from geneface.imaging.filters import gaussian_blur
from geneface.imaging.resize import resize_area
from geneface.imaging.shapes import inside_polygon
from geneface.portrait.photometric import covered, front_depth, sample
from geneface.signal.spans import spread_indices
from geneface.types import Camera, FloatArray, HeadPose

Array = NDArray[np.float64]

WORK_PX = 256
"""Pictures are compared at this size at most."""
TEMPLATE_FRAMES, ROUNDS = 40, 2
SPACING = 0.2
"""Distance of lattice points, about: image widths (torso), head units (hair)."""
LEVELS = ((4.0, 5), (1.0, 5))
"""Blur (deviation, pixels) and Gauss-Newton steps, coarse to fine."""
MOST_PLACES, LEAST_PLACES = 2500, 150
"""Those with the steepest brightness are compared. With fewer, nothing of a part is in the picture."""
NOISE_LEVELS, OUTLIER_LEVELS = 6.0, 15.0
MATTE_LEVELS = 60.0
"""What the matte counts as brightness: its edge jitters by a pixel, and is believed accordingly."""
HEAD_STEP, HEAD_REACH = 1 / 90, 0.6
"""Places fixed to the head: their distance, and how far from its middle they go; head units."""
FACE_SHARE = 0.92
"""What lies within so much of the face's outline does not belong to the hair."""
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
    """One part in all frames."""

    points: FloatArray
    """[G, 2] the lattice: image widths from the upper left corner (torso), x and y of the head frame (hair)."""
    moved: FloatArray
    """[F, G, 2] how far from its place each point is seen, image widths, x to the right and y down."""


@dataclass(frozen=True)
class Part:
    """Places that are compared, and what holds them."""

    plane: Array
    """[N, 2] in the units of its lattice."""
    pixels: Callable[[int], Array]
    """Frame -> where the places are without any displacement [N, 2], pixels."""
    mask: int
    """Which of the masks it lies in: 0 head, 1 torso."""
    stretch_px: float
    """By how much neighbouring points of the lattice are expected to move apart."""
    away_px: float
    """How far anything is expected to be from its place."""


@dataclass(frozen=True)
class Template:
    """What is usually seen, at places that tell something about motion."""

    chosen: NDArray[np.intp]
    """[N'] numbers of the part's places."""
    brightness: tuple[Array, ...]
    """[N'] a level."""
    matte: tuple[Array, ...]
    weight: Array
    """[N'] low where frames do not agree."""


def lattice(plane: Array) -> tuple[Array, tuple[int, int]]:
    """Points [G, 2], row by row, over the box around places [N, 2]; their numbers down and across."""
    low, high = plane.min(0), plane.max(0)
    counts = [max(round(float(extent) / SPACING), 1) + 1 for extent in high - low]
    x, y = (np.linspace(a, b, count) for a, b, count in zip(low, high, counts, strict=True))
    rows, columns = np.meshgrid(y, x, indexing="ij")
    return np.stack([columns.ravel(), rows.ravel()], 1), (counts[1], counts[0])


def hats(plane: NDArray[np.floating], points: NDArray[np.floating], shape: tuple[int, int]) -> Array:
    """Bilinear weights [N, G] of lattice points at places [N, 2]; beyond the lattice, its edge's."""
    down, across = shape
    extent = np.maximum(points[-1] - points[0], 1e-9)
    place = np.clip((plane - points[0]) / extent, 0, 1) * (across - 1, down - 1)
    x = np.maximum(1 - np.abs(place[:, :1] - np.arange(across)), 0)
    y = np.maximum(1 - np.abs(place[:, 1:] - np.arange(down)), 0)
    return (y[:, :, None] * x[:, None, :]).reshape(len(plane), -1)


def stiffness(shape: tuple[int, int]) -> Array:
    """[G, G] matrix of the sum of squared differences between neighbours of a lattice."""
    numbers = np.arange(shape[0] * shape[1]).reshape(shape)
    total = np.zeros((numbers.size, numbers.size))
    pairs = [(numbers[:-1], numbers[1:]), (numbers[:, :-1], numbers[:, 1:])]
    for one, other in ((a.ravel(), b.ravel()) for a, b in pairs):
        for left, right, sign in ((one, one, 1), (other, other, 1), (one, other, -1), (other, one, -1)):
            np.add.at(total, (left, right), sign)
    return total


class PartFollower:
    """Follows one part."""

    def __init__(self, part: Part, look: Callable[[int], Seen], frames: NDArray[np.integer], first: int) -> None:
        """Learn what it looks like.

        Args:
            look: a frame.
            frames: that may be measured: a few training frames.
            first: the one whose part is at its usual place.
        """
        self._part = part
        self.points, self.shape = lattice(part.plane)
        self._hats = hats(part.plane, self.points, self.shape)
        count = len(self.points)
        self._hold = stiffness(self.shape) / part.stretch_px**2 + np.eye(count) / part.away_px**2
        self.still = np.zeros((count, 2))
        self._template = self._measure(look, [(first, self.still)])
        for _ in range(ROUNDS):
            moved = [(int(frame), self.follow(look(int(frame)), int(frame), self.still)) for frame in frames]
            self._template = self._measure(look, moved)

    def _measure(self, look: Callable[[int], Seen], moved: Sequence[tuple[int, Array]]) -> Template:
        """The median over frames, each brought to the usual place by its displacement [G, 2]."""
        brightness: list[list[Array]] = [[] for _ in LEVELS]
        matte: list[list[Array]] = [[] for _ in LEVELS]
        slope = np.zeros(len(self._part.plane))
        for frame, displacement in moved:
            seen, at = look(frame), self._part.pixels(frame) + self._hats @ displacement
            for values, images in ((brightness, seen.brightness), (matte, seen.matte)):
                for level, image in enumerate(images):
                    value, gradient = sample(image, at)
                    values[level].append(value)
                slope += np.hypot(gradient[:, 0], gradient[:, 1])
        chosen = np.sort(np.argsort(-slope, kind="stable")[:MOST_PLACES])
        fine = np.stack(brightness[-1])[:, chosen]
        spread = 1.4826 * np.median(np.abs(fine - np.median(fine, axis=0)), axis=0)
        usual = [tuple(np.median(level, axis=0)[chosen] for level in values) for values in (brightness, matte)]
        return Template(chosen, usual[0], usual[1], 1 / (1 + np.square(spread / NOISE_LEVELS)))

    def follow(self, seen: Seen, frame: int, start: Array) -> Array:
        """Displacement [G, 2] in pixels of the lattice in one frame, from a first guess."""
        chosen, displacement = self._template.chosen, start.copy()
        pixels, weights = self._part.pixels(frame)[chosen], self._hats[chosen]
        for level, (_, steps) in enumerate(LEVELS):
            for _ in range(steps):
                step = self._step(seen, level, pixels + weights @ displacement, weights, displacement)
                displacement += step
                if np.abs(step).max() < FINISHED_PX:
                    break
        return displacement

    def _step(self, seen: Seen, level: int, at: Array, weights: Array, displacement: Array) -> Array:
        """One Gauss-Newton step, brightness with gain and offset of its own."""
        template, count = self._template, len(self.points)
        size = len(seen.masks)
        inside = ((at > 0) & (at < size)).all(1)
        normal, right = np.zeros((2 * count + 2, 2 * count + 2)), np.zeros(2 * count + 2)
        own = inside & covered(seen.masks[..., self._part.mask], at)
        light = np.stack([template.brightness[level], np.ones(len(at))], 1)
        for image, usual, valid, gains in (
            (seen.brightness[level], template.brightness[level], own * template.weight, light),
            (seen.matte[level], template.matte[level], inside * 1.0, np.zeros_like(light)),
        ):
            values, gradient = sample(image, at)
            difference = usual - values
            middle = np.median(difference[valid > 0]) if gains.any() and (valid > 0).any() else 0.0
            weight = valid / (1 + np.square((difference - middle) / OUTLIER_LEVELS))
            design = np.concatenate([gradient[:, :1] * weights, gradient[:, 1:] * weights, -gains], 1)
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


def torso_part(masks: FloatArray, size: int) -> Part | None:
    """The torso and a little beyond, for its edge; not where the head moves. masks: [S, S, 2] shares of the frames."""
    region = (masks[..., 1] > 0.05) & (masks[..., 0] < 0.05)
    if int(region.sum()) < LEAST_PLACES:
        return None
    rows, columns = np.nonzero(region)
    pixels = np.stack([columns, rows], 1) + 0.5
    return Part(pixels / size, lambda frame: pixels, 1, stretch_px=0.7, away_px=30.0)


def hair_part(
    masks: Callable[[int], FloatArray], frames: NDArray[np.integer], pose: HeadPose, neutral: FloatArray, camera: Camera
) -> Part | None:
    """Hair, ears and the outline of the face; nothing that speech or lids move. masks: [S, S, 2] of a frame."""
    axis = np.arange(-HEAD_REACH, HEAD_REACH, HEAD_STEP)
    plane = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    oval = neutral[list(MESH_OVAL), :2].astype(np.float64)
    middle = oval.mean(0)
    plane = plane[~inside_polygon(plane, middle + FACE_SHARE * (oval - middle))]
    points = np.concatenate([plane, front_depth(plane, neutral)[:, None]], 1)
    share = np.zeros(len(points))
    for frame in frames:
        at = project(points, pose.rotation[frame], pose.translation[frame], camera)
        inside = ((at > 0) & (at < camera.width)).all(1)
        share += inside & covered(masks(int(frame))[..., 0], at)
    points = points[share > 0.05 * len(frames)]
    if len(points) < LEAST_PLACES:
        return None

    def pixels(frame: int) -> Array:
        return project(points, pose.rotation[frame], pose.translation[frame], camera)

    return Part(points[:, :2], pixels, 0, stretch_px=1.0, away_px=8.0)


def follow_soft(
    read: Read,
    pose: HeadPose,
    neutral: FloatArray,
    trusted: NDArray[np.bool_],
    segment: NDArray[np.integer],
    camera: Camera,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Followed]:
    """Follow torso and hair through all frames.

    Args:
        read: brightness and masks of a frame.
        pose: [F] the head's.
        neutral: [478, 3] the person's mesh.
        trusted: [F] frames that the appearance may be measured in: training frames.
        segment: [F] index of each frame's segment: from one to the next, nothing is continued.
        camera: of the pictures.
        progress: called with frames done, frames in all.

    Returns:
        "torso" and "hair"; without those of which hardly anything is in the picture.
    """
    frames = np.flatnonzero(trusted)
    size = min(camera.width, WORK_PX)
    small = Camera(camera.focal, size, size)
    values = np.concatenate([pose.rotation, pose.translation], axis=1).astype(np.float64)
    spread = np.maximum(values[frames].std(0), 1e-6)
    usual = int(frames[np.square((values[frames] - np.median(values[frames], axis=0)) / spread).sum(1).argmin()])
    chosen = frames[spread_indices(len(frames), TEMPLATE_FRAMES)]

    def look(frame: int) -> Seen:
        brightness, masks = (_shrunk(part, size) for part in read(frame))
        solid = MATTE_LEVELS * masks.sum(-1)
        sharp, edge = (tuple(gaussian_blur(part, deviation) for deviation, _ in LEVELS) for part in (brightness, solid))
        return Seen(sharp, edge, masks)

    kept = {int(frame): look(int(frame)) for frame in {usual, *chosen.tolist()}}
    mean = np.mean([kept[int(frame)].masks > 0.5 for frame in chosen], axis=0)
    parts = {
        "torso": torso_part(mean, size),
        "hair": hair_part(lambda frame: kept[frame].masks, chosen, pose, neutral, small),
    }
    followers = {
        name: PartFollower(part, kept.__getitem__, chosen, usual) for name, part in parts.items() if part is not None
    }
    moved = {name: np.zeros((len(segment), *part.still.shape)) for name, part in followers.items()}
    if not followers:
        return {}
    for frame in range(len(segment)):
        seen = look(frame)
        goes_on = frame > 0 and segment[frame] == segment[frame - 1]
        for name, follower in followers.items():
            start = moved[name][frame - 1] if goes_on else follower.still
            moved[name][frame] = follower.follow(seen, frame, start)
        progress(frame + 1, len(segment))
    return {
        name: Followed(follower.points.astype(np.float32), (moved[name] / size).astype(np.float32))
        for name, follower in followers.items()
    }


def _shrunk(image: FloatArray, size: int) -> FloatArray:
    return image if len(image) == size else resize_area(np.ascontiguousarray(image), size, size)
