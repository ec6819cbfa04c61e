"""Head poses refined on the pictures themselves, after the mesh has given a first guess.

The tracker's mesh leans: as a head turns or nods, its points slide on the skin by a pixel or more, and a pose fitted to
them is off by as much for seconds. The person's own appearance is the better ruler: points fixed to the skull are
given the colour that most frames see there, and each frame's pose is moved until it sees those colours again
(Lucas and Kanade 1981, with the compositional update of Baker and Matthews 2004 for a rigid head).

Symbols: F frames, N points fixed to the head [N, 3] in the head frame, S picture size. Brightness in levels of 255.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.camera import camera_to_pixels
from geneface.geometry.landmarks import MESH_OVAL, MESH_SURFACE_SIZE
from geneface.geometry.rotation import rotation_matrix, rotation_vector, skew
from geneface.render.planes import LUMA
from geneface.signal.spans import spread_indices
from geneface.types import ByteArray, Camera, FloatArray, HeadPose

Array = NDArray[np.float64]

ROUNDS, STEPS = 3, 4
"""How often the appearance is measured, and steps of each frame in between."""
APPEARANCE_FRAMES = 120
"""Frames that the appearance is measured in."""
GRID = 1 / 90
"""Distance of the points, head units."""
ASIDE, ABOVE = 0.12, 0.22
"""How far beyond the outline of the face there are points: hair and ears."""
DEPTH_STEP = 0.02
NOISE_LEVELS = 6.0
"""Deviation of a point's brightness that says nothing against it."""
OUTLIER_LEVELS = 12.0
PRIOR = (0.02, 0.02, 0.02, 0.015, 0.015, 0.05)
"""How far the mesh's pose may be wrong: nod, turn, tilt (radians), position across and up, distance (head units)."""

REFINED_SMOOTH_FRAMES = 0.7
"""Deviation of the Gaussian that smooths refined poses: they are hardly noisy."""

FEWEST_POINTS = 50
_NOSE_BASE = 2
"""Mesh index of the point between nose and upper lip: below it the face moves by itself."""
INSIDE_SHARE = 0.9
"""A point belongs to the head if the person covers it in this share of the frames: what stands still behind the head
would hold the head still."""

Read = Callable[[int], tuple[FloatArray, FloatArray]]
"""Frame number -> brightness [S, S], a little blurred, and how far the person covers each pixel [S, S], 0 to 1."""


@dataclass(frozen=True)
class Appearance:
    """What the head looks like, point by point."""

    points: Array
    """[N, 3]."""
    brightness: Array
    """[N]."""
    weight: Array
    """[N] low where frames do not agree: lips, lids, what lies behind the head."""


def luminance(picture: ByteArray) -> FloatArray:
    """Brightness of a picture [S, S, 3], blurred by (1 2 1) / 4 each way."""
    grey = picture.astype(np.float32) @ LUMA
    grey[1:-1] = (grey[:-2] + 2 * grey[1:-1] + grey[2:]) / 4
    grey[:, 1:-1] = (grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:]) / 4
    return grey


def refine_poses(
    read: Read,
    pose: HeadPose,
    neutral: FloatArray,
    trusted: NDArray[np.bool_],
    camera: Camera,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> HeadPose:
    """Move the poses of all frames until they agree on what the head looks like.

    Args:
        read: brightness and matte of a frame.
        pose: [F] first guess.
        neutral: [478, 3] the person's mesh.
        trusted: [F] frames that the appearance may be measured in: training frames.
        camera: of the pictures.
        progress: called with frames done, frames in all.

    Returns:
        [F], not smoothed; as they were where hardly anything of the person is seen.
    """
    rotation, translation = pose.rotation.astype(np.float64), pose.translation.astype(np.float64)
    first = rotation_matrix(rotation), translation.copy()
    matrix, translation = first[0].copy(), translation.copy()
    points = head_points(neutral.astype(np.float64))
    known = np.flatnonzero(trusted)
    chosen = known[spread_indices(len(known), APPEARANCE_FRAMES)]
    done, total = 0, len(matrix) + (ROUNDS - 1) * len(chosen)
    progress(0, total)
    for number in range(ROUNDS):
        appearance = measure_appearance(read, points, matrix, translation, chosen, camera)
        if len(appearance.points) < FEWEST_POINTS:
            return pose
        # The last round moves all frames, those before it only the ones that the appearance is made of.
        for frame in range(len(matrix)) if number == ROUNDS - 1 else chosen:
            matrix[frame], translation[frame] = align(
                *read(int(frame)),
                appearance,
                (first[0][frame], first[1][frame]),
                matrix[frame],
                translation[frame],
                camera,
            )
            done += 1
            progress(done, total)
    return HeadPose(rotation_vector(matrix).astype(np.float32), translation.astype(np.float32))


def refine_by_scene(
    read: Read,
    pose: HeadPose,
    neutral: FloatArray,
    trusted: NDArray[np.bool_],
    scene: NDArray[np.integer],
    camera: Camera,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> HeadPose:
    """`refine_poses` of each scene [F] by itself: the frames of another light agree with none of this one's colours."""
    rotation, translation = pose.rotation.copy(), pose.translation.copy()
    for number in np.unique(scene):
        frames = np.flatnonzero(scene == number)
        own = HeadPose(rotation[frames], translation[frames])
        moved = refine_poses(partial(_read_of, read, frames), own, neutral, trusted[frames], camera, progress)
        rotation[frames], translation[frames] = moved.rotation, moved.translation
    return HeadPose(rotation, translation)


def _read_of(read: Read, frames: NDArray[np.intp], index: int) -> tuple[FloatArray, FloatArray]:
    return read(int(frames[index]))


def head_points(neutral: Array) -> Array:
    """Points on the front of the head [N, 3]: the face as far down as the nose, hair and ears about it."""
    oval = neutral[list(MESH_OVAL)]
    low, high = oval.min(0), oval.max(0)
    x = np.arange(low[0] - ASIDE, high[0] + ASIDE, GRID)
    y = np.arange(low[1], high[1] + ABOVE, GRID)
    plane = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    distance = np.square(plane[:, None] - neutral[None, :MESH_SURFACE_SIZE, :2]).sum(-1)
    near = np.exp(-distance / (2 * DEPTH_STEP**2)) + 1e-12
    surface = (near * neutral[:MESH_SURFACE_SIZE, 2]).sum(1) / near.sum(1)
    rim = float(np.median(oval[:, 2]))
    # Beyond the outline: about as deep as the outline itself, where hair and ears are seen from the front.
    away = np.sqrt(distance.min(1))
    blend = np.exp(-np.square(away / (2 * DEPTH_STEP)))
    depth = blend * surface + (1 - blend) * rim
    nose = float(neutral[_NOSE_BASE, 1])
    inside = (np.abs(plane[:, 0] - oval[:, 0].mean()) < 0.42 * (high[0] - low[0])) & (plane[:, 1] < nose)
    return np.concatenate([plane, depth[:, None]], 1)[~inside]


def measure_appearance(
    read: Read, points: Array, matrix: Array, translation: Array, frames: NDArray[np.integer], camera: Camera
) -> Appearance:
    """Median brightness of the points over some frames, and how well the frames agree."""
    seen, inside = np.empty((len(frames), len(points))), np.zeros(len(points))
    for row, frame in enumerate(frames):
        picture, matte = read(int(frame))
        pixels = camera_to_pixels(points @ matrix[frame].T + translation[frame], camera)
        seen[row] = sample(picture, pixels)[0]
        inside += covered(matte, pixels)
    seen -= np.median(seen, axis=1, keepdims=True)
    brightness = np.median(seen, axis=0)
    spread = 1.4826 * np.median(np.abs(seen - brightness), axis=0)
    kept = inside >= INSIDE_SHARE * len(frames)
    return Appearance(points[kept], brightness[kept], 1 / (1 + np.square(spread[kept] / NOISE_LEVELS)))


def align(
    picture: FloatArray,
    matte: FloatArray,
    appearance: Appearance,
    first: tuple[Array, Array],
    matrix: Array,
    translation: Array,
    camera: Camera,
) -> tuple[Array, Array]:
    """Gauss-Newton on one frame's pose, gain and offset of its brightness; held near the first guess."""
    focal_px = camera.focal * camera.width
    prior = np.array(PRIOR) ** -2.0
    matrix, translation = matrix.copy(), translation.copy()
    for _ in range(STEPS):
        turned = appearance.points @ matrix.T
        seen = turned + translation
        pixels = camera_to_pixels(seen, camera)
        values, gradient = sample(picture, pixels)
        inverse = 1 / -seen[:, 2]
        by_point = np.stack(
            [
                gradient[:, 0] * focal_px * inverse,
                -gradient[:, 1] * focal_px * inverse,
                focal_px * inverse**2 * (gradient[:, 0] * seen[:, 0] - gradient[:, 1] * seen[:, 1]),
            ],
            1,
        )
        turn = np.einsum("ni,nij->nj", by_point, -skew(turned))
        design = np.concatenate([turn, by_point, appearance.brightness[:, None], np.ones((len(values), 1))], 1)
        # Brightness and its gain are linear: solved together with the step, pose columns moved to the other side.
        design[:, :6] *= -1
        difference = values - appearance.brightness
        robust = 1 / (1 + np.square((difference - np.median(difference)) / OUTLIER_LEVELS))
        weight = appearance.weight * robust * covered(matte, pixels)
        # Not "@": BLAS would wake its threads for less work than that costs.
        weighted = design * weight[:, None]
        normal = np.einsum("nk,nl->kl", weighted, design)
        right = np.einsum("nk,n->k", weighted, values)
        noise = NOISE_LEVELS**2
        offset = np.concatenate([rotation_vector(matrix @ first[0].T), translation - first[1]])
        # One level of noise a point would overrule the prior at once: neighbours err together.
        strength = prior * noise * len(values) / 400
        normal[np.arange(6), np.arange(6)] += strength
        # Where a frame shows nothing of the person its brightness is not determined, and the pose stays.
        normal[[6, 7], [6, 7]] += 1e-6
        right[:6] -= strength * offset
        step = np.linalg.solve(normal, right)[:6]
        matrix = rotation_matrix(step[:3]) @ matrix
        translation = translation + step[3:]
    return matrix, translation


def covered(matte: FloatArray, pixels: Array) -> NDArray[np.bool_]:
    """Which of the positions [N, 2] lie on the person. matte: [S, S]."""
    height, width = matte.shape
    column = np.clip(pixels[:, 0].astype(np.intp), 0, width - 1)
    row = np.clip(pixels[:, 1].astype(np.intp), 0, height - 1)
    return matte[row, column] > 0.5


def sample(picture: FloatArray, pixels: Array) -> tuple[Array, Array]:
    """Bilinear values [N] and their gradients [N, 2] (by x, by y) at pixel positions [N, 2]; the border repeats."""
    height, width = picture.shape
    x = np.clip(pixels[:, 0] - 0.5, 0, width - 1.001)
    y = np.clip(pixels[:, 1] - 0.5, 0, height - 1.001)
    column, row = x.astype(np.intp), y.astype(np.intp)
    u, v = x - column, y - row
    a, b = picture[row, column], picture[row, column + 1]
    c, d = picture[row + 1, column], picture[row + 1, column + 1]
    values = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d)
    gradient = np.stack([(1 - v) * (b - a) + v * (d - c), (1 - u) * (c - a) + u * (d - b)], 1)
    return values.astype(np.float64), gradient.astype(np.float64)
