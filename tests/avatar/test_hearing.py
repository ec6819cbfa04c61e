"""Avatars that hear recorded speech with models of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from geneface.analysis.speech import RECORDED_ENCODER, StreamingEncoder, load_encoder
from geneface.avatar.avatar import Avatar
from geneface.avatar.folder import MOTION_FOLDER, PERSON_FOLDER
from geneface.avatar.hearing import recorded_hearing
from geneface.errors import InputError
from geneface.geometry.landmarks import lip_opening
from geneface.io.tensors import load_tensors, save_tensors
from geneface.motion.runtime import RECORDED_FOLDER, MotionModel
from geneface.types import Waveform

from .avatar_fixtures import make_avatar, speech

DEFAULT = "whisper-2-streaming"
PLACES = {DEFAULT: "", RECORDED_ENCODER: RECORDED_FOLDER}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of an avatar with two motion models, neither adapted."""
    work = tmp_path_factory.mktemp("both")
    return make_avatar(work / "tiny", work, DEFAULT, 512, has_recorded=True)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return speech(6.0)


def test_the_folder_carries_both_models(both: Path) -> None:
    names = {"config.json", "motion.onnx", "stats.safetensors"}
    assert {path.name for path in (both / MOTION_FOLDER / RECORDED_FOLDER).iterdir()} == names


def test_recorded_speech_is_heard_with_the_model_for_it(both: Path, sound: np.ndarray) -> None:
    avatar = Avatar.load(both)
    motion = avatar.motion(Waveform(sound))
    assert not isinstance(avatar._recorded.encoder, StreamingEncoder)
    models = {name: MotionModel.load(both / MOTION_FOLDER / place) for name, place in PLACES.items()}
    curves = {name: lip_opening(model.predict(load_encoder(name).encode(sound))) for name, model in models.items()}
    # What the avatar does afterwards (amplitude, rest) leaves the lips of speech where their own model put them.
    said = slice(25, 125)
    shown = lip_opening(motion.points)[said]
    agreement = {name: np.corrcoef(shown, curve[said])[0, 1] for name, curve in curves.items()}
    assert agreement[RECORDED_ENCODER] > 0.9 > agreement[DEFAULT]


def test_without_it_both_are_heard_alike(both: Path, sound: np.ndarray, tmp_path: Path) -> None:
    before = shutil.copytree(both, tmp_path / "before")
    shutil.rmtree(before / MOTION_FOLDER / RECORDED_FOLDER)
    old = Avatar.load(before)
    assert old._recorded.model is old._model
    difference = old.motion(Waveform(sound)).points - Avatar.load(both).motion(Waveform(sound)).points
    assert np.abs(difference).max() > 0


def test_live_speech_is_heard_with_the_model_that_waits_for_little(
    both: Path, sound: np.ndarray, tmp_path: Path
) -> None:
    before = shutil.copytree(both, tmp_path / "before")
    shutil.rmtree(before / MOTION_FOLDER / RECORDED_FOLDER)
    tracks = [Avatar.load(folder).live().push(sound) for folder in (both, before)]
    assert len(tracks[0]) > 100 and np.array_equal(tracks[0].points, tracks[1].points)


def test_a_damaged_model_for_recordings_is_told_before_a_frame_is_drawn(both: Path, tmp_path: Path) -> None:
    spoilt = shutil.copytree(both, tmp_path / "spoilt")
    path = spoilt / MOTION_FOLDER / RECORDED_FOLDER / "stats.safetensors"
    save_tensors(path, {name: tensor[:1] for name, tensor in load_tensors(path).items()})
    with pytest.raises(InputError, match=r"stats\.safetensors is damaged"):
        Avatar.load(spoilt).stream(Waveform(speech(1.0)))


def test_an_adaptation_to_the_live_model_alone_is_refused(both: Path, tmp_path: Path) -> None:
    half = shutil.copytree(both, tmp_path / "half")
    avatar = Avatar.load(half)
    (half / PERSON_FOLDER).mkdir()
    assert recorded_hearing(half, False) is not None
    with pytest.raises(InputError, match=f"lacks the folder {PERSON_FOLDER}/{RECORDED_FOLDER}"):
        recorded_hearing(half, True)
    assert avatar.name == "tiny"
