"""The bundled person's adaptation on the shipped model: live, in windows and in one piece; and what is refused."""

import json
import shutil

import numpy as np
import pytest

from geneface.analysis.speech import load_encoder
from geneface.avatar.avatar import Avatar
from geneface.errors import InputError
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.io.tensors import load_tensors, save_tensors
from geneface.motion.live import LiveMotion
from geneface.motion.person import load_person
from geneface.motion.runtime import MotionModel
from geneface.types import SpeechFeatures


@pytest.fixture(scope="module")
def features() -> SpeechFeatures:
    samples = read_audio(asset_path("speech", "demo.flac")).samples[: 8 * 16_000]
    return load_encoder().encode(samples, 200)


@pytest.mark.slow
def test_windows_and_live_pieces_give_the_motion_of_the_whole(features):
    """What networks hear of the model's hidden layer needs no more of the future than the model itself."""
    model, person = MotionModel.load(), load_person(asset_path("avatars", "grid-s1") / "person")
    assert person.nets and len(person.seen)
    whole = model.predict(features, person=person)
    windows = np.concatenate(list(model.predict_windows(features, person=person, window_frames=30)))
    assert abs(windows - whole).max() < 1e-4
    live = LiveMotion(model, person)
    pieces = [live.push(features.values[start : start + 2]) for start in range(0, 400, 2)]
    assert abs(np.concatenate([*pieces, live.finish()]) - whole).max() < 1e-4
    assert abs(whole - model.predict(features)).max() > 1e-3


@pytest.fixture
def copy(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(asset_path("avatars", "grid-s1"), folder)
    return folder


def test_an_adaptation_to_another_model_is_refused(copy):
    path = copy / "person" / "adaptation.safetensors"
    tensors = load_tensors(path)
    tensors["speech"] = np.concatenate([tensors["speech"], tensors["speech"][:3]])
    for name in tensors:
        if name.endswith(".enter"):
            tensors[name] = np.pad(tensors[name], ((0, 0), (0, 1)))
    save_tensors(path, tensors)
    with pytest.raises(InputError, match="another motion model"):
        Avatar.load(copy)


def test_an_adaptation_that_is_missing_is_missed(copy):
    shutil.rmtree(copy / "person")
    with pytest.raises(InputError, match="lacks the folder person"):
        Avatar.load(copy)


@pytest.mark.parametrize("file", ["motion/config.json", "person/adaptation.json"])
def test_an_avatar_of_another_version_is_called_so(copy, file):
    record = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps({**record, "format": 1}))
    with pytest.raises(InputError, match=r"the avatar .* was made by another version: train it again"):
        Avatar.load(copy)


@pytest.mark.parametrize(("key", "value"), [("latent_stride", 0), ("latent_channels", 10**9), ("past_frames", -5)])
def test_sizes_out_of_range_are_refused(copy, key, value):
    path = copy / "motion" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(InputError, match="damaged"):
        Avatar.load(copy)
