"""A painted person: a portrait in memory whose pictures are analytic, so that nothing of the renderer is needed to make it.

The head is an ellipse with hair above, the mouth a dark ellipse as high as the lips are open, the torso a trapezoid
that follows the head by a third. Everything moves with a known pose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from geneface.geometry.camera import project
from geneface.geometry.landmarks import KEYPOINTS, MESH_LIPS_INNER, MESH_LIPS_OUTER
from geneface.io.face_mesh import mean_face
from geneface.portrait.portrait import Portrait
from geneface.portrait.tracks import mouth_boxes
from geneface.render.renderer import Renderer
from geneface.types import Camera, HeadPose

FOCAL = 3.0
SIZE = 64
SKIN, HAIR, MOUTH, SHIRT = (0.85, 0.65, 0.5), (0.25, 0.18, 0.1), (0.25, 0.05, 0.08), (0.2, 0.3, 0.6)
LOWER_LIP = tuple(
    index for index in MESH_LIPS_OUTER + MESH_LIPS_INNER if index in (14, 17, 84, 87, 178, 181, 314, 317, 402, 405)
)


@dataclass
class PaintedPortrait:
    size: int
    camera: Camera
    neutral: np.ndarray
    mesh: np.ndarray
    landmarks: np.ndarray
    pose: HeadPose
    segment: np.ndarray
    heldout: np.ndarray
    background: np.ndarray
    images: np.ndarray
    masks: np.ndarray
    opening: np.ndarray
    torso_points: np.ndarray | None = None

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.images[index], self.masks[index]

    @property
    def mouth_box(self) -> np.ndarray:
        places = [
            project(mesh, rotation, translation, self.camera)
            for mesh, rotation, translation in zip(self.mesh, self.pose.rotation, self.pose.translation, strict=True)
        ]
        return mouth_boxes(np.stack(places).astype(np.float32), self.size)

    def bordered_patch(self, index: int, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        bordered = np.pad(self.images[index], ((1, 1), (1, 1), (0, 0)), mode="edge")
        return bordered[rows.start : rows.stop + 2, columns.start : columns.stop + 2], self.masks[index, rows, columns]

    def release_pictures(self) -> None:
        pass

    def segment_background(self, segment: int) -> np.ndarray:
        return self.background


def _disc(grid: np.ndarray, centre: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Soft ellipse [H, W], one pixel of edge."""
    distance = np.sqrt((((grid - centre) / radius) ** 2).sum(-1))
    return np.clip((1 - distance) * float(np.min(radius)) + 0.5, 0, 1)


def paint(camera: Camera, pose: HeadPose, opening: np.ndarray, plate: np.ndarray, neutral: np.ndarray):
    """Images uint8 [F, H, W, 3] and masks uint8 [F, H, W, 2]."""
    ys, xs = np.mgrid[: camera.height, : camera.width] + 0.5
    grid = np.stack([xs, ys], -1)
    lips = neutral[[13, 14]].mean(0)
    images, masks = [], []
    for rotation, translation, gap in zip(pose.rotation, pose.translation, opening, strict=True):
        unit = camera.focal * camera.width / -translation[2]
        centre, mouth = project(np.array([[0, 0, 0.1], lips]), rotation, translation, camera)
        head = _disc(grid, centre + np.array([0, -0.02 * unit]), np.array([0.24, 0.33]) * unit)
        face = _disc(grid, centre + np.array([0, 0.06 * unit]), np.array([0.19, 0.25]) * unit)
        hole = _disc(grid, mouth + np.array([0, gap * unit / 2]), np.array([0.06, max(gap / 2, 0.003)]) * unit)
        follow = camera.width / 2 + (centre[0] - camera.width / 2) / 3
        width = 0.12 * unit + 0.8 * np.maximum(ys - 0.72 * camera.height, 0)
        torso = np.clip(width - np.abs(xs - follow) + 0.5, 0, 1) * np.clip(ys - 0.6 * camera.height + 0.5, 0, 1)
        torso = torso * (1 - head)
        image = plate.astype(np.float64)
        for mask, colour in ((torso, SHIRT), (head, HAIR), (face * head, SKIN), (hole * head, MOUTH)):
            image = image * (1 - mask[..., None]) + np.array(colour) * mask[..., None]
        images.append(np.round(image * 255))
        masks.append(np.round(np.stack([head, torso], -1) * 255))
    return np.array(images, np.uint8), np.array(masks, np.uint8)


def painted_portrait(frames: int = 30, size: int = SIZE, seed: int = 0, pose_noise: float = 0.0) -> PaintedPortrait:
    """`pose_noise`: radians and head units by which the tracked poses are wrong."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames)
    neutral = mean_face()
    opening = 0.03 * (1 + np.sin(time * 0.9)) * (1 + 0.3 * np.cos(time * 0.31))
    mesh = np.repeat(neutral[None], frames, 0) + rng.normal(0, 3e-4, (frames, *neutral.shape))
    mesh[:, LOWER_LIP, 1] -= opening[:, None]
    rotation = np.stack([0.02 * np.sin(time * 0.4), 0.05 * np.sin(time * 0.23), 0.02 * np.cos(time * 0.3)], 1)
    shift = np.stack([0.03 * np.sin(time * 0.17), 0.015 * np.cos(time * 0.21), 0 * time], 1)
    pose = HeadPose(rotation.astype(np.float32), (shift + np.array([0, 0.05, -2.9])).astype(np.float32))
    camera = Camera(FOCAL, size, size)
    ramp = np.linspace(0.35, 0.65, size)
    plate = np.stack(np.broadcast_arrays(ramp[None, :], 0.5, ramp[:, None]), -1)
    images, masks = paint(camera, pose, opening, plate, neutral)
    mesh = mesh.astype(np.float32)
    tracked = HeadPose(
        (rotation + rng.normal(0, pose_noise, rotation.shape)).astype(np.float32),
        (pose.translation + rng.normal(0, pose_noise, shift.shape)).astype(np.float32),
    )
    return PaintedPortrait(
        size, camera, neutral, mesh, mesh[:, list(KEYPOINTS)], tracked, np.zeros(frames, np.int32),
        time >= frames - max(frames // 5, 1), np.round(plate * 255).astype(np.uint8), images, masks, opening,
    )  # fmt: skip


def as_portrait(painted: PaintedPortrait) -> Portrait:
    """For the type checker: it has what training reads of a `Portrait`."""
    return cast(Portrait, painted)


def painted_error(renderer: Renderer, portrait: PaintedPortrait) -> np.ndarray:
    """Mean squared error of a renderer's held-out frames: whole picture, head mask, torso mask."""
    errors = []
    for frame in np.flatnonzero(portrait.heldout):
        pose = portrait.pose.rotation[frame], portrait.pose.translation[frame]
        drawn = renderer.render(portrait.landmarks[frame], *pose, portrait.camera).to_uint8()
        error = ((drawn / 255 - portrait.images[frame] / 255) ** 2).mean(-1)
        errors.append([error.mean(), *(error[portrait.masks[frame, ..., part] > 127].mean() for part in (0, 1))])
    return np.mean(errors, 0)


def with_a_torso(portrait: PaintedPortrait, seed: int = 0) -> PaintedPortrait:
    """The same person, whose torso was seen to move at random, in two ways, by up to some pixels."""
    rng = np.random.default_rng(seed)
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], np.float32)
    ways = rng.normal(0, 0.02, (2, len(points), 2))
    moved = np.einsum("fw,wgd->fgd", rng.normal(size=(len(portrait.segment), 2)), ways).astype(np.float32)
    pose = HeadPose(portrait.pose.rotation, portrait.pose.translation, moved)
    return replace(portrait, torso_points=points, pose=pose)
