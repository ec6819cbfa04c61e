"""A portrait folder that version 0.1.0 wrote before landmarks were named: every later version has to read it.

Ten frames, 64 px, two of them held out, of a drawn talking face over NASA's picture of Eileen Collins (public domain).
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINT_COUNT, MESH_SIZE
from geneface.io.tensors import save_tensors
from geneface.portrait.portrait import TORSO_NAME, Portrait
from geneface.training.gaussian.config import GAUSSIAN_PRESETS
from geneface.training.gaussian.train import train_gaussian

KEPT = Path(__file__).parent / "kept" / "portrait-format-1.zip"


@pytest.fixture
def portrait(tmp_path: Path) -> Portrait:
    with zipfile.ZipFile(KEPT) as archive:
        archive.extractall(tmp_path / "portrait")
    return Portrait.load(tmp_path / "portrait")


def test_a_portrait_of_before_is_read_as_it_was_written(portrait: Portrait) -> None:
    picture, masks = portrait.frame(9)
    # What the version that wrote it read back.
    assert hashlib.sha256(picture.tobytes()).hexdigest().startswith("4eae47e074614e23")
    assert masks.shape == (64, 64, 2) and masks.sum(-1).max() <= 255
    assert portrait.landmarks.shape == (10, KEYPOINT_COUNT, 3) and portrait.mesh.shape == (10, MESH_SIZE, 3)
    assert portrait.heldout.tolist() == [False] * 8 + [True] * 2
    assert portrait.pose.rotation[9] == pytest.approx([0.20918202, -0.01394691, -0.0158992])
    features = portrait.features(0)
    assert features.encoder == "whisper-2-streaming" and features.values.shape == (20, 512)
    assert np.abs(features.values).mean() == pytest.approx(0.8698753)
    assert len(portrait.audio(0).samples) == 6400
    # What is told since then: no source pictures, every frame clear, one scene.
    assert portrait.source(0) is None and portrait.clear.tolist() == [True] * 10
    assert portrait.scene.tolist() == [1] * 10 and portrait.of_scene() is portrait


def test_a_torso_of_other_frames_is_refused(portrait: Portrait) -> None:
    points = np.zeros((4, 2), np.float32)
    for shape, fits in (((10, 4, 2), True), ((9, 4, 2), False), ((10, 5, 2), False)):
        save_tensors(portrait.folder / TORSO_NAME, {"points": points, "moved": np.zeros(shape, np.float32)})
        if fits:
            assert Portrait.load(portrait.folder).pose.torso is not None
        else:
            with pytest.raises(InputError, match="does not fit the manifest"):
                Portrait.load(portrait.folder)


def test_a_portrait_of_before_can_be_trained(portrait: Portrait, tmp_path: Path) -> None:
    config = GAUSSIAN_PRESETS["tiny"].model_copy(update={"steps": 3})
    model = train_gaussian(portrait, tmp_path / "work", config)
    assert all(np.isfinite(values).all() for values in model.tensors().values())
