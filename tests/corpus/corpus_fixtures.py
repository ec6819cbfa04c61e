"""Made-up clips and their tracks, in place of videos of faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geneface.corpus.layouts import find_sources
from geneface.corpus.prepare import prepare_corpus
from geneface.geometry.camera import project
from geneface.io.encode import write_video
from geneface.io.face_mesh import mean_face
from geneface.io.records import write_json
from geneface.io.tensors import save_tensors
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


def make_clips(folder: Path, names: list[str], sound: np.ndarray | None = None) -> None:
    """Grey videos with a click in the middle, or with the given sound."""
    for name in names:
        samples = np.zeros(FRAMES * 640, np.float32)
        samples[FRAMES * 320 : FRAMES * 320 + 800] = np.random.default_rng(0).uniform(-0.5, 0.5, 800)
        frames = (np.full((SIDE, SIDE, 3), 128, np.uint8) for _ in range(FRAMES))
        folder.mkdir(parents=True, exist_ok=True)
        write_video(folder / f"{name}.mp4", frames, Waveform(samples if sound is None else sound))


def make_corpus(clips: Path, out: Path, sound: np.ndarray | None = None) -> None:
    """A corpus of ten such clips, nine of them for training, without running the tracker."""
    track_clips(clips, out, "mel", sound)
    prepare_corpus(clips, out, encoder="mel", resume=True, workers=1)


def track_clips(clips: Path, out: Path, encoder: str, sound: np.ndarray | None = None) -> None:
    """Ten clips and a corpus that was interrupted when they had been tracked."""
    make_clips(clips, list("abcdefghij"), sound)
    sources = find_sources(clips)
    for index, source in enumerate(sources):
        save_tensors(out / "raw" / f"{source.name}.safetensors", track(index, 0.04))
    write_json(out / "settings.json", {"encoder": encoder, "sources": [source.name for source in sources]})
