"""A small corpus made of numbers: motion that follows smooth "speech" through a fixed filter, as real lips do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geneface.corpus.corpus import ClipEntry, Corpus, CorpusManifest, is_heldout
from geneface.geometry.landmarks import CHEEKS, JAW, KEYPOINT_COUNT, LIPS_INNER, LIPS_OUTER, MESH_SIZE, positions
from geneface.io.records import write_json
from geneface.io.tensors import save_tensors

WIDTH = 12
UPPER, LOWER = positions((82, 13, 312)), positions((87, 14, 317))


def _face() -> np.ndarray:
    """A neutral mesh [478, 3]: an oval of points, lips closed around the origin."""
    rng = np.random.default_rng(5)
    return rng.uniform(-0.2, 0.2, (MESH_SIZE, 3)).astype(np.float32)


def _smooth(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    noise = rng.standard_normal((rows + 8, width))
    kernel = np.hanning(9)
    smooth = np.stack([np.convolve(column, kernel / kernel.sum() * 3, "valid") for column in noise.T], -1)
    return smooth[:rows].astype(np.float32)


def make_clip(rng: np.random.Generator, frames: int, amplitude: float) -> tuple[np.ndarray, np.ndarray]:
    """Features [2F, D] and displacement [F, K, 3]: the mouth opens with feature 0, widens with feature 1."""
    features = _smooth(rng, 2 * frames, WIDTH)
    opening = amplitude * (0.02 + 0.01 * features[::2, 0])
    widening = amplitude * 0.004 * features[1::2, 1]
    displacement = 2e-4 * rng.standard_normal((frames, KEYPOINT_COUNT, 3)).astype(np.float32)
    for group, share in ((LIPS_INNER, 0.5), (LIPS_OUTER, 0.4), (JAW, 0.6), (CHEEKS, 0.2)):
        displacement[:, group, 1] -= share * opening[:, None]
    displacement[:, UPPER, 1] += opening[:, None]
    displacement[:, positions((61,)), 0] -= widening[:, None]
    displacement[:, positions((291,)), 0] += widening[:, None]
    return features, displacement


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """20 clips of speaker "a" and 10 of "b", who opens the mouth half as wide."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    mesh = _face()
    entries = []
    from geneface.geometry.landmarks import KEYPOINTS

    # Lips that are closed at rest: upper and lower inner points meet.
    keypoints = list(KEYPOINTS)
    mesh[np.array(keypoints)[UPPER]] = mesh[np.array(keypoints)[LOWER]] + np.array([0, 1e-3, 0], np.float32)
    neutral = mesh[keypoints]
    for speaker, count, amplitude in (("a", 20, 1.0), ("b", 10, 0.5)):
        for index in range(count):
            name = f"{speaker}__{index:03d}"
            features, displacement = make_clip(rng, 60, amplitude)
            tensors = {"landmarks": neutral + displacement, "features": features.astype(np.float16)}
            save_tensors(folder / "clips" / f"{name}.safetensors", tensors)
            entries.append(
                ClipEntry(name=name, speaker=speaker, source=f"{name}.mp4", frames=60, heldout=is_heldout(index))
            )
    save_tensors(folder / "speakers.safetensors", {"a": mesh, "b": mesh})
    manifest = CorpusManifest(
        encoder="numbers", feature_width=WIDTH, speakers={"a": 4.5, "b": 4.5}, clips=tuple(entries), dropped=()
    )
    write_json(Path(folder) / "manifest.json", manifest.model_dump(mode="json"))
    return Corpus.load(folder)
