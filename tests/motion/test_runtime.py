"""Windowed inference equals inference in one piece, on a real exported graph; noise depends on position only."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from geneface.errors import InputError
from geneface.geometry.landmarks import BROWS, JAW, KEYPOINT_COUNT, LIPS
from geneface.io.records import read_json, write_json
from geneface.io.tensors import save_tensors
from geneface.motion.basis import fit_basis
from geneface.motion.export import export_onnx
from geneface.motion.runtime import MotionModel, MotionModelConfig, latent_noise, windows
from geneface.motion.vae import LATENT_STRIDE, AudioToMotion, AudioToMotionConfig, MotionGraph
from geneface.types import SpeechFeatures

D, Z = 5, 4


@pytest.fixture(scope="module")
def network() -> AudioToMotion:
    torch.manual_seed(3)
    config = AudioToMotionConfig(
        feature_width=D, motion_width=6, latent_channels=Z, speech_channels=16, channels=16, flow_channels=8
    )
    network = AudioToMotion(config).eval()
    for parameter in network.prior.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module")
def folder(network: AudioToMotion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion")
    inputs = {"features": torch.zeros(1, 8, D), "noise": torch.zeros(1, Z, 2)}
    axes = {"features": {1: "rows"}, "noise": {2: "steps"}, "motion": {2: "frames"}, "hidden": {2: "frames"}}
    export_onnx(MotionGraph(network), inputs, MotionGraph.OUTPUTS, axes, folder / "motion.onnx")
    rng = np.random.default_rng(0)
    basis = fit_basis(0.01 * rng.standard_normal((50, KEYPOINT_COUNT, 3)).astype(np.float32), 6)
    save_tensors(folder / "stats.safetensors", basis.tensors())
    config = MotionModelConfig(
        encoder="numbers",
        feature_width=D,
        latent_channels=Z,
        latent_stride=LATENT_STRIDE,
        past_frames=network.past_frames,
        future_frames=network.future_frames,
    )
    write_json(folder / "config.json", config.model_dump(mode="json"))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> MotionModel:
    return MotionModel.load(folder)


def speech(frames: int, seed: int = 0) -> SpeechFeatures:
    values = np.random.default_rng(seed).standard_normal((2 * frames, D)).astype(np.float32)
    return SpeechFeatures(values, "numbers")


@pytest.mark.parametrize("frames", [1, 33, 301])
@pytest.mark.parametrize("window", [7, 64, 250])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_windows_equal_the_whole(model, frames, window, temperature):
    features = speech(frames)
    whole = model.predict(features, temperature=temperature, seed=4)
    assert whole.shape == (frames, KEYPOINT_COUNT, 3) and whole.dtype == np.float32
    pieces = list(model.predict_windows(features, temperature=temperature, seed=4, window_frames=window))
    assert abs(np.concatenate(pieces) - whole).max() < 1e-5 * max(1.0, abs(whole).max())
    # Short sounds fit into one window with what it looks ahead.
    assert (len(pieces) > 1) == (frames >= window + window % 2 + model.config.future_frames + 1)


def test_blocks_of_features_give_the_same_bits(model):
    features = speech(300)
    cuts = [0, 2, 100, 104, 400, 600]
    blocks = (SpeechFeatures(features.values[a:b], "numbers") for a, b in pairwise(cuts))
    expected = list(model.predict_windows(features, window_frames=50, temperature=1.0))
    found = list(model.predict_windows(blocks, window_frames=50, temperature=1.0))
    assert len(found) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_early_start_needs_one_window_of_features_at_a_time(model, temperature):
    taken = []

    def blocks():
        for start in range(0, 500, 100):
            taken.append(start)
            yield SpeechFeatures(features.values[2 * start : 2 * start + 200], "numbers")

    features = speech(430)
    arguments = dict(temperature=temperature, seed=4, window_frames=100)
    pieces = []
    for piece in model.predict_windows(blocks(), early_start=True, **arguments):
        pieces.append(piece)
        assert len(taken) == min(len(pieces), 5)
    assert len(pieces[0]) < 100 and all(len(piece) == 100 for piece in pieces[1:-1])
    whole = model.predict(features, temperature=temperature, seed=4)
    assert abs(np.concatenate(pieces) - whole).max() < 1e-5 * max(1.0, abs(whole).max())


def test_an_early_start_with_windows_shorter_than_the_context(model):
    features = speech(120)
    pieces = list(model.predict_windows(features, window_frames=20, early_start=True))
    assert abs(np.concatenate(pieces) - model.predict(features)).max() < 1e-5


def test_windows_hold_no_more_than_one_window_with_context():
    def blocks():
        for _ in range(400):
            yield np.zeros((10, 3), np.float32)

    pieces = list(windows(blocks(), 40, 10, 6))
    assert max(len(piece.rows) for piece in pieces) <= 2 * (40 + 3 * 10)
    assert [piece.keep_from for piece in pieces[1:]] == [piece.keep_to for piece in pieces[:-1]]
    assert pieces[-1].keep_to == 2000


@pytest.mark.slow
def test_graph_equals_the_torch_network_and_lips_never_vary(model, network):
    features = speech(40)
    noise = latent_noise(0, 20, Z, seed=9)
    heard = torch.from_numpy(features.values[None])
    with torch.no_grad():
        sample = network(heard, torch.from_numpy(noise.T[None].copy()))
        mean = network(heard, torch.zeros(1, Z, 20))
    expected = model.basis.displacement(sample[0].T.numpy())
    speaking = np.concatenate([LIPS, JAW])
    expected[:, speaking] = model.basis.displacement(mean[0].T.numpy())[:, speaking]
    found = model.predict(features, temperature=1.0, seed=9)
    # The graph's weights are stored in half precision.
    assert abs(found - expected).max() < 3e-3 * abs(expected).max()
    assert np.array_equal(found[:, LIPS], model.predict(features)[:, LIPS])
    assert abs(found - model.predict(features))[:, BROWS].max() > 1e-3 * abs(expected).max()


class Mixed:
    """Moves every landmark by all of them, as a person's basis does."""

    past_frames = future_frames = 0

    def apply(self, generic, first=0, last=None):
        return (generic.displacement + generic.displacement.mean(axis=1, keepdims=True))[first:last]


def test_lips_never_vary_in_a_persons_domain_either(model):
    features = speech(40)
    mean = model.predict(features, person=Mixed())
    sample = model.predict(features, temperature=1.0, seed=9, person=Mixed())
    for part in (LIPS, JAW):
        assert np.array_equal(sample[:, part], mean[:, part])
    assert abs(sample - mean)[:, BROWS].max() > 0


def test_noise_is_a_function_of_seed_and_place():
    whole = latent_noise(0, 500, Z, seed=7)
    assert np.array_equal(latent_noise(130, 200, Z, seed=7), whole[130:330])
    assert not np.array_equal(latent_noise(0, 500, Z, seed=8), whole)
    assert abs(whole.mean()) < 0.1 and abs(whole.std() - 1) < 0.05
    assert abs(np.corrcoef(whole[:-64].ravel(), whole[64:].ravel())[0, 1]) < 0.1


def test_seed_matters_only_with_temperature(model):
    features = speech(40)
    assert np.array_equal(model.predict(features, seed=1), model.predict(features, seed=2))
    assert not np.array_equal(
        model.predict(features, seed=1, temperature=1.0), model.predict(features, seed=2, temperature=1.0)
    )


def test_person_is_applied_with_context(model):
    class Blur:
        past_frames, future_frames = 3, 0

        def apply(self, generic, first=0, last=None):
            assert len(generic.features) == 2 * len(generic) and generic.hidden.shape == (len(generic), 16)
            padded = np.pad(generic.displacement, ((3, 0), (0, 0), (0, 0)))
            blurred = np.mean([padded[i : i + len(generic)] for i in range(4)], axis=0)
            return (blurred + 0.001 * generic.hidden.sum(1)[:, None, None])[first:last]

    features = speech(120)
    whole = model.predict(features, person=Blur())
    pieces = list(model.predict_windows(features, person=Blur(), window_frames=30))
    assert abs(np.concatenate(pieces) - whole).max() < 1e-5


def test_no_speech_gives_no_frames(model):
    assert model.predict(speech(0)).shape == (0, KEYPOINT_COUNT, 3)


def test_features_of_another_encoder_are_refused(model):
    with pytest.raises(InputError, match="mel"):
        model.predict(SpeechFeatures(np.zeros((4, D), np.float32), "mel"))


@pytest.mark.parametrize("name", ["config.json", "motion.onnx", "stats.safetensors"])
def test_missing_file_is_named(folder, tmp_path, name):
    for path in folder.iterdir():
        if path.name != name:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        MotionModel.load(tmp_path)


def test_damaged_graph_and_other_version_are_refused(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "motion.onnx").write_bytes(b"text")
    with pytest.raises(InputError, match=r"motion\.onnx"):
        MotionModel.load(tmp_path)
    save_tensors(tmp_path / "stats.safetensors", {"basis.mean": np.zeros((2, 3), np.float32)})
    with pytest.raises(InputError, match=r"stats\.safetensors"):
        MotionModel.load(tmp_path)
    write_json(tmp_path / "config.json", {**read_json(tmp_path / "config.json"), "format": 99})
    with pytest.raises(InputError, match="version"):
        MotionModel.load(tmp_path)
