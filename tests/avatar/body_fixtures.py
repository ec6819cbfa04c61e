"""A small body loop: pictures of noise with a number in them, a head that sways, a round matte."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geneface.avatar.body import BODY_FILE, BODY_TRACK_FILE, MATTE_FILE
from geneface.avatar.body_track import BodyTrack
from geneface.geometry.landmarks import KEYPOINT_NAMES
from geneface.io.indexed import write_indexed
from geneface.io.tensors import save_tensors
from geneface.types import HeadPose

from .avatar_fixtures import face_points

WIDTH, HEIGHT = 80, 48


def body_track(frames: int = 40, run: np.ndarray | None = None, **changes: np.ndarray | float) -> BodyTrack:
    """A head that sways once in 40 frames; it may turn where it is at rest."""
    phase = 2 * np.pi * np.arange(frames) / 40
    rotation = np.stack([0.02 * np.cos(phase), 0.1 * np.cos(phase), 0 * phase], axis=1).astype(np.float32)
    translation = np.tile(np.array([0, 0, -3], np.float32), (frames, 1))
    fields = {
        "crop": np.array([16.5, 0.25, 47.5], np.float32),
        "run": np.zeros(frames, np.int32) if run is None else run.astype(np.int32),
        "turns": np.arange(0, frames, 20, dtype=np.int32),
        "jumps": np.zeros((0, 2), np.int32),
        "blur": np.linspace(0, 1, frames).astype(np.float32),
        "grain": 0.01,
        **changes,
    }
    landmarks = np.repeat(face_points()[None], frames, axis=0).astype(np.float32)
    return BodyTrack(HeadPose(rotation, translation), landmarks, **fields)  # pyright: ignore[reportArgumentType]


def planes_of(frames: int) -> np.ndarray:
    """[P, 3 H / 2, W] pictures: each is brighter than the one before."""
    rng = np.random.default_rng(4)
    still = rng.integers(0, 20, (3 * HEIGHT // 2, WIDTH))
    return np.stack([np.clip(still + 40 + 3 * index, 16, 235) for index in range(frames)]).astype(np.uint8)


def mattes_of(frames: int) -> np.ndarray:
    """[P, H, W] a disc that moves to the right."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([255 * (np.hypot(x - 20 - index, y - 24) < 16) for index in range(frames)]).astype(np.uint8)


def write_body(folder: Path, track: BodyTrack | None = None) -> BodyTrack:
    """The three files of a loop."""
    track = track or body_track()
    folder.mkdir(parents=True, exist_ok=True)
    write_indexed(folder / BODY_FILE, planes_of(len(track)))
    grey = np.full((len(track), HEIGHT // 2, WIDTH), 128, np.uint8)
    write_indexed(folder / MATTE_FILE, np.concatenate([mattes_of(len(track)), grey], axis=1), is_matte=True)
    save_tensors(folder / BODY_TRACK_FILE, track.tensors(), {"landmarks": KEYPOINT_NAMES})
    return track
