"""Made-up clips and their tracks, in place of videos of faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geneface.geometry.camera import project
from geneface.geometry.topology import mean_face
from geneface.io.encode import write_video
from geneface.types import Camera, Waveform

FRAMES, SIDE = 50, 64
CAMERA = Camera(4.5, 360, 288)
UPPER, LOWER = [82, 13, 312], [87, 14, 317]


def track(seed: int, width: float) -> dict[str, np.ndarray]:
    """A raw track: the mean face, nodding, opening its mouth `width` wide each half second."""
    rng = np.random.default_rng(seed)
    opening = width * (1 - np.cos(np.arange(FRAMES) * 2 * np.pi / 12.5 + seed)) / 2
    meshes = np.repeat(mean_face()[None].astype(np.float64), FRAMES, axis=0)
    meshes[:, UPPER, 1] = meshes[:, LOWER, 1] + opening[:, None, None][:, 0]
    rotation = 0.05 * np.sin(np.arange(FRAMES) / 20)[:, None] * rng.standard_normal(3)
    translation = np.array([0.02, -0.01, -6.0]) + np.zeros((FRAMES, 1))
    pixels = project(meshes, rotation, translation, CAMERA)
    depth = -meshes[..., 2:] * CAMERA.focal * CAMERA.width / 6.0
    return {
        "mesh_px": np.concatenate([pixels, depth], axis=-1).astype(np.float32),
        "found": np.ones(FRAMES, np.uint8),
        "face_count": np.ones(FRAMES, np.uint8),
        "size": np.array([CAMERA.width, CAMERA.height], np.int32),
        "first_frame_seconds": np.zeros(1),
    }


def make_clips(folder: Path, names: list[str]) -> None:
    """Grey videos with a click in the middle."""
    for name in names:
        samples = np.zeros(FRAMES * 640, np.float32)
        samples[FRAMES * 320 : FRAMES * 320 + 800] = np.random.default_rng(0).uniform(-0.5, 0.5, 800)
        frames = (np.full((SIDE, SIDE, 3), 128, np.uint8) for _ in range(FRAMES))
        folder.mkdir(exist_ok=True)
        write_video(folder / f"{name}.mp4", frames, Waveform(samples))
