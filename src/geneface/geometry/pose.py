"""Head pose from tracked meshes: one rigid shape and one focal length a person, one pose a frame.

FaceMesh gives pixels for x and y and a relative depth z in the same unit, smaller nearer to the camera. x and y
are what is measured; z only shapes the neutral face. The head frame (docs/conventions.md) has x to the image's
right, y up, z out of the face; the neutral face is `FACE_HEIGHT` high.

Symbols: F frames, M = 478 mesh points, N stable points (those that speech does not move).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geneface.geometry.camera import camera_to_pixels, pixels_to_camera, project, to_camera, to_head
from geneface.geometry.landmarks import (
    MESH_CHIN,
    MESH_FACE_SIDES,
    MESH_HAIRLINE,
    MESH_LOWER_INNER,
    MESH_MIRRORED,
    MESH_SURFACE_SIZE,
    MESH_UPPER_INNER,
    STABLE_MESH,
)
from geneface.geometry.rotation import mean_rotation, rotation_matrix, rotation_vector, skew, umeyama
from geneface.types import Camera, FloatArray, HeadPose

Array = NDArray[np.float64]

FACE_HEIGHT = 0.5
"""Head units from the middle of the hairline to the chin of the neutral face."""
DEFAULT_FOCAL = 4.5
"""Focal length in image widths of a head-and-shoulders shot where the video itself does not tell."""

_FACE_CENTER = np.array([0.0, -0.02, 0.1])
_STABLE = np.array(STABLE_MESH)
_ALL, _ALL_BUT_DEPTH, _POSITION = (0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4), (3, 4)
"""Which of the six unknowns of a pose are solved for: rotation x, y, z, translation x, y, z."""
_POSE_CHUNK = 4096
"""Frames solved at a time: bounds memory. The threshold for outliers is each chunk's own."""


@dataclass(frozen=True)
class HeadTrack:
    """All that `solve_head_poses` finds."""

    mesh: FloatArray
    """[F, 478, 3] canonical head frame; projecting row i with pose i gives back the tracked pixels."""
    pose: HeadPose
    neutral: FloatArray
    """[478, 3] the person's face at rest."""
    focal: float
    """Image widths."""
    reprojection_px: FloatArray
    """[F] root-mean-square distance of the stable points from the rigid neutral face."""


def orient(mesh: ArrayLike) -> Array:
    """A mesh [478, 3] (x right, y up, z to the viewer, any similarity) in the head frame's axes, unit and origin.

    x is the mean direction between mirrored points; y is hairline minus chin, made square to x.
    """
    mesh = np.asarray(mesh, np.float64)
    left, right = (mesh[[pair[side] for pair in MESH_MIRRORED]] for side in (0, 1))
    x = (right - left).sum(0)
    x /= np.linalg.norm(x)
    y = mesh[MESH_HAIRLINE] - mesh[MESH_CHIN]
    y -= x * (x @ y)
    y /= np.linalg.norm(y)
    aligned = mesh @ np.stack([x, y, np.cross(x, y)], axis=1)
    return _place(aligned)


def _place(mesh: Array) -> Array:
    """Scale and shift a mesh whose axes are right to the head frame's unit and origin."""
    mesh = mesh * float(FACE_HEIGHT / np.linalg.norm(mesh[MESH_HAIRLINE] - mesh[MESH_CHIN]))
    middle = np.array(
        [
            mesh[list(MESH_FACE_SIDES), 0].mean(),
            mesh[[MESH_HAIRLINE, MESH_CHIN], 1].mean(),
            mesh[:MESH_SURFACE_SIZE, 2].mean(),
        ]
    )
    return mesh + (_FACE_CENTER - middle)


def neutral_shape(meshes: ArrayLike) -> Array:
    """The face at rest [478, 3]: median of the third of the meshes [F, 478, 3] with the least open lips."""
    meshes = np.asarray(meshes, np.float64)
    upper, lower = (meshes[:, list(edge)] for edge in (MESH_UPPER_INNER, MESH_LOWER_INNER))
    opening = np.linalg.norm(upper - lower, axis=-1).mean(-1)
    closed = np.argsort(opening, kind="stable")[: max(1, len(meshes) // 3)]
    return np.median(meshes[closed], axis=0)


def solve_head_poses(
    meshes_px: ArrayLike,
    width: int,
    height: int,
    *,
    segments: ArrayLike | None = None,
    neutral: ArrayLike | None = None,
    focal: float | None = None,
    smooth_frames: float = 1.5,
    smooth_depth_frames: float = 4.0,
) -> HeadTrack:
    """Fit one neutral face, one focal length and a rigid pose a frame to tracked meshes.

    Args:
        meshes_px: [F, 478, 3] tracked pixels, z in pixels as FaceMesh gives it.
        width, height: image size in pixels.
        segments: [F] any labels; poses are never smoothed across a change of label. None: one segment.
        neutral: the person's neutral face, if known already.
        focal: focal length in image widths, if known; otherwise estimated.
        smooth_frames: deviation of the (symmetric, hence lag-free) Gaussian that smooths rotation and position.
        smooth_depth_frames: the same for the distance, which is the noisiest and moves the slowest.

    Returns:
        The track; `mesh` keeps every detail of the tracked x and y, whatever the smoothing.
    """
    pixels = np.asarray(meshes_px, np.float64)
    labels = np.zeros(len(pixels), int) if segments is None else np.asarray(segments)
    shape = _mean_shape(pixels) if neutral is None else np.asarray(neutral, np.float64)
    if focal is None:
        focal = _estimate_focal(pixels, shape, width, height, refine=neutral is None)
    camera = Camera(focal, width, height)
    rotation, translation = _initial_poses(pixels, shape, camera)
    # Shape and poses in turn: the shape in the image plane comes from the pixels lifted by the poses.
    for _ in range(0 if neutral is not None else 3):
        rotation, translation = _solve(pixels, shape, rotation, translation, camera)
        lifted = _lift(pixels, shape, rotation, translation, camera)
        shape = _keep_frame(neutral_shape(lifted), shape)
    rotation, translation = _solve(pixels, shape, rotation, translation, camera)
    rotation, translation = _steady(
        pixels, shape, rotation, translation, camera, labels, smooth_frames, smooth_depth_frames
    )
    return _head_track(pixels, shape, rotation, translation, camera)


def with_poses(
    track: HeadTrack,
    pose: HeadPose,
    meshes_px: ArrayLike,
    width: int,
    height: int,
    *,
    segments: ArrayLike,
    smooth_frames: float,
) -> HeadTrack:
    """The same face with other poses, smoothed; the meshes are measured again from their pixels.

    Args:
        track: what `solve_head_poses` found.
        pose: [F] better poses.
        meshes_px, width, height, segments: as given to `solve_head_poses`.
        smooth_frames: deviation of the Gaussian that smooths all of the pose.
    """
    rotation = smooth_rotations(pose.rotation, segments, smooth_frames)
    translation = smooth_in_time(pose.translation, segments, smooth_frames)
    pixels, shape = np.asarray(meshes_px, np.float64), track.neutral.astype(np.float64)
    return _head_track(pixels, shape, rotation, translation, Camera(track.focal, width, height))


def _head_track(pixels: Array, shape: Array, rotation: Array, translation: Array, camera: Camera) -> HeadTrack:
    mesh = _lift(pixels, shape, rotation, translation, camera)
    errors = project(shape[_STABLE], rotation, translation, camera) - pixels[:, _STABLE, :2]
    return HeadTrack(
        mesh=mesh.astype(np.float32),
        pose=HeadPose(rotation.astype(np.float32), translation.astype(np.float32)),
        neutral=shape.astype(np.float32),
        focal=float(camera.focal),
        reprojection_px=np.sqrt((errors**2).sum(-1).mean(-1)).astype(np.float32),
    )


def _upright(pixels: Array) -> Array:
    """FaceMesh's axes (y down, z away from the viewer) to ours."""
    return pixels * np.array([1.0, -1.0, -1.0])


def _mean_shape(pixels: Array, frames: int = 600) -> Array:
    """First neutral face: Procrustes mean over at most `frames` frames, aligned on the stable points."""
    views = _upright(pixels[:: max(1, len(pixels) // frames)])
    shape = views[len(views) // 2]
    for _ in range(4):
        scale, rotation, translation = umeyama(views[:, _STABLE], shape[_STABLE])
        aligned = scale[:, None, None] * views @ np.swapaxes(rotation, -1, -2) + translation[:, None]
        shape = neutral_shape(aligned)
    return orient(shape)


def _keep_frame(shape: Array, previous: Array) -> Array:
    """Move a re-estimated shape back onto the axes of the previous one, and to the unit and origin."""
    _, rotation, _ = umeyama(shape[_STABLE], previous[_STABLE])
    return _place(shape @ rotation.T)


def _initial_poses(pixels: Array, shape: Array, camera: Camera) -> tuple[Array, Array]:
    """Poses from the tracker's own depth, as if the projection were parallel."""
    scale, rotation, shift = umeyama(np.broadcast_to(shape[_STABLE], (len(pixels), len(_STABLE), 3)),
                                     _upright(pixels)[:, _STABLE])  # fmt: skip
    depth = camera.focal * camera.width / scale
    center = np.stack([shift[:, 0], -shift[:, 1]], axis=-1)
    return rotation_vector(rotation), pixels_to_camera(center, depth, camera)


def _solve(
    pixels: Array,
    shape: Array,
    rotation: Array,
    translation: Array,
    camera: Camera,
    unknowns: tuple[int, ...] = _ALL,
) -> tuple[Array, Array]:
    """Robust Gauss-Newton on the reprojection of the stable points, all frames at once."""
    parts = [
        _solve_chunk(
            pixels[start : start + _POSE_CHUNK, _STABLE, :2],
            shape[_STABLE],
            rotation[start : start + _POSE_CHUNK],
            translation[start : start + _POSE_CHUNK],
            camera,
            unknowns,
        )
        for start in range(0, len(pixels), _POSE_CHUNK)
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _solve_chunk(
    target: Array,
    points: Array,
    rotation: Array,
    translation: Array,
    camera: Camera,
    unknowns: tuple[int, ...],
    steps: int = 6,
) -> tuple[Array, Array]:
    """`_solve` of [F, N, 2] targets; rotation steps multiply from the left."""
    matrix, translation = rotation_matrix(rotation), translation.copy()
    free = list(unknowns)
    focal_px = camera.focal * camera.width
    # Errors beyond some 0.7 % of the face's size are outliers (a hand, hair): soft-L1, by re-weighting.
    threshold = 0.007 * focal_px / np.median(-translation[:, 2])
    for _ in range(steps):
        turned = points @ np.swapaxes(matrix, -1, -2)
        seen = turned + translation[:, None]
        error = target - camera_to_pixels(seen, camera)
        inverse = 1 / -seen[..., 2]
        zero = np.zeros_like(inverse)
        # d(pixels) / d(camera point), [F, N, 2, 3].
        to_pixels = focal_px * np.stack(
            [
                np.stack([inverse, zero, seen[..., 0] * inverse**2], axis=-1),
                np.stack([zero, -inverse, -seen[..., 1] * inverse**2], axis=-1),
            ],
            axis=-2,
        )
        jacobian = np.concatenate([to_pixels @ -skew(turned), to_pixels], axis=-1)[..., free]
        weight = 1 / np.sqrt(1 + (error**2).sum(-1) / threshold**2)
        weighted = jacobian * weight[..., None, None]
        normal = np.einsum("fnik,fnil->fkl", weighted, jacobian)
        gradient = np.einsum("fnik,fni->fk", weighted, error)
        damping = 1e-6 * np.trace(normal, axis1=-2, axis2=-1)[:, None, None] / len(free)
        step = np.zeros((len(target), len(_ALL)))
        step[:, free] = np.linalg.solve(normal + damping * np.eye(len(free)), gradient[..., None])[..., 0]
        matrix = rotation_matrix(step[:, :3]) @ matrix
        translation += step[:, 3:]
    return rotation_vector(matrix), translation


def _estimate_focal(pixels: Array, shape: Array, width: int, height: int, *, refine: bool, frames: int = 240) -> float:
    """The focal length that explains the stable points best, held near `DEFAULT_FOCAL` where they say little.

    Perspective shows only in how the face's proportions change as it turns or comes nearer, so a wide prior of a
    factor 1.6 around the default decides where the head keeps still.
    """
    sample = pixels[:: max(1, len(pixels) // frames)]
    candidates = DEFAULT_FOCAL * 1.25 ** np.arange(-4.0, 4.5)
    costs = []
    for candidate in candidates:
        camera = Camera(float(candidate), width, height)
        fitted = shape
        rotation, translation = _initial_poses(sample, fitted, camera)
        for _ in range(2 if refine else 1):
            rotation, translation = _solve(sample, fitted, rotation, translation, camera)
            if refine:
                fitted = _keep_frame(neutral_shape(_lift(sample, fitted, rotation, translation, camera)), fitted)
        error = project(fitted[_STABLE], rotation, translation, camera) - sample[:, _STABLE, :2]
        costs.append(np.log(np.median((error**2).sum(-1))))
    prior = 0.5 * (np.log(candidates / DEFAULT_FOCAL) / np.log(1.6)) ** 2
    # The errors are shared by all frames (the shape's own), so the sample counts as few independent ones.
    return float(candidates[np.argmin(8 * np.array(costs) + prior)])


def _lift(pixels: Array, shape: Array, rotation: Array, translation: Array, camera: Camera) -> Array:
    """Meshes in the head frame whose projection is exactly the tracked x, y; depth from the tracker's z."""
    views = _upright(pixels)
    scale, turn, shift = umeyama(views[:, _STABLE], np.broadcast_to(shape[_STABLE], (len(views), len(_STABLE), 3)))
    relative = scale[:, None, None] * views @ np.swapaxes(turn, -1, -2) + shift[:, None]
    depth = -to_camera(relative, rotation, translation)[..., 2]
    return to_head(pixels_to_camera(pixels[..., :2], depth, camera), rotation, translation)


def _steady(
    pixels: Array,
    shape: Array,
    rotation: Array,
    translation: Array,
    camera: Camera,
    labels: NDArray,
    smooth_frames: float,
    smooth_depth_frames: float,
) -> tuple[Array, Array]:
    """Smooth poses inside each segment without lag, the noisiest unknowns first, and solve the rest around them.

    Distance, turn and position err together (a nod looks like a shift), so each is measured again once the one
    before it is steady; the position left at the end is precise and needs little smoothing.
    """
    depth = -np.exp(smooth_in_time(np.log(-translation[:, 2:]), labels, smooth_depth_frames))
    # Keep the head where it is seen while its distance changes.
    translation = translation * (depth / translation[:, 2:])
    rotation, translation = _solve(pixels, shape, rotation, translation, camera, _ALL_BUT_DEPTH)
    rotation = smooth_rotations(rotation, labels, smooth_frames)
    _, translation = _solve(pixels, shape, rotation, translation, camera, _POSITION)
    position = smooth_in_time(translation[:, :2], labels, 0.5 * smooth_frames)
    return rotation, np.concatenate([position, depth], axis=-1)


def smooth_in_time(values: ArrayLike, labels: ArrayLike, frames: float) -> Array:
    """Gaussian of deviation `frames` along axis 0 of [F, D], inside each span of equal labels, edges mirrored.

    Mirrored about the end *point* (2 v_end - v), so that a steady motion keeps its speed at the ends.
    """
    values, labels = np.asarray(values, np.float64), np.asarray(labels)
    if frames <= 0 or len(values) == 0:
        return values.copy()
    radius = int(np.ceil(3.5 * frames))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / frames) ** 2)
    kernel /= kernel.sum()
    smoothed = np.empty_like(values)
    edges = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    for start, stop in zip(np.r_[0, edges], np.r_[edges, len(values)], strict=True):
        run = values[start:stop]
        padded = np.pad(run, ((radius, radius), (0, 0)), mode="reflect", reflect_type="odd") if len(run) > 1 else run
        smoothed[start:stop] = (
            np.stack([np.convolve(column, kernel, "valid") for column in padded.T], axis=-1) if len(run) > 1 else run
        )
    return smoothed


def smooth_rotations(rotation: ArrayLike, labels: ArrayLike, frames: float) -> Array:
    """`smooth_in_time` of rotation vectors [F, 3], about their mean so that no vector comes near pi."""
    rotation = np.asarray(rotation, np.float64)
    mean = rotation_matrix(mean_rotation(rotation))
    relative = rotation_vector(rotation_matrix(rotation) @ mean.T)
    return rotation_vector(rotation_matrix(smooth_in_time(relative, labels, frames)) @ mean)
