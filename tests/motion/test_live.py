"""Motion of live speech equals motion of the whole, and waits for no more than it must."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from geneface.geometry.landmarks import KEYPOINT_COUNT
from geneface.io.records import write_json
from geneface.motion.basis import fit_basis
from geneface.motion.live import LiveMotion
from geneface.motion.runtime import MotionModel
from geneface.motion.vae import AudioToMotion, AudioToMotionConfig
from geneface.training.motion.train import save_model
from geneface.types import SpeechFeatures

D, Z = 12, 4


def model_of(folder: Path, stride: int = 2, goes_on: bool = True) -> MotionModel:
    torch.manual_seed(0)
    sizes = AudioToMotionConfig(
        feature_width=D, motion_width=6, latent_channels=Z, latent_stride=stride, speech_channels=16, channels=16,
        flow_channels=8, future_frames=stride if goes_on else stride + 1,
    )  # fmt: skip
    network = AudioToMotion(sizes).eval()
    for parameter in network.prior.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    rng = np.random.default_rng(0)
    basis = fit_basis(0.01 * rng.standard_normal((50, KEYPOINT_COUNT, 3)).astype(np.float32), 6)
    save_model(network, basis, "numbers", folder)
    write_json(folder / "metrics.json", {})
    model = MotionModel.load(folder)
    assert model.goes_on == network.goes_on == goes_on
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MotionModel:
    return model_of(tmp_path_factory.mktemp("motion"))


@pytest.fixture(scope="module", params=[(2, True), (4, True), (2, False)], ids=["steps", "long-steps", "windows"])
def any_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MotionModel:
    """Models that go on, and one whose layers look ahead, so that it sees its past anew."""
    return model_of(tmp_path_factory.mktemp("motion"), *request.param)


class Trail:
    """Half of the motion of the last three frames, and the mean of the features a frame ahead."""

    past_frames, future_frames = 2, 1

    def apply(self, generic, first=0, last=None):
        padded = np.pad(generic.displacement, ((2, 0), (0, 0), (0, 0)))
        moved = sum(padded[step : step + len(generic)] for step in range(3)) / 6
        ahead = np.append(generic.features[2::2].mean(1), 0.0)
        return (moved + 0.001 * ahead[:, None, None])[first:last]


@pytest.mark.slow
@pytest.mark.parametrize("person", [None, Trail()])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("sizes", [[1], [2, 3], [10, 1, 40]])
def test_pieces_of_any_length_give_the_motion_of_the_whole(any_model, person, temperature, sizes):
    model = any_model
    rows = np.random.default_rng(1).standard_normal((2 * 230, D)).astype(np.float32)
    whole = model.predict(SpeechFeatures(rows, "numbers"), temperature=temperature, seed=3, person=person)
    live = LiveMotion(model, person, temperature, 3)
    made, place = [], 0
    while place < len(rows):
        size = 2 * sizes[len(made) % len(sizes)]
        made.append(live.push(rows[place : place + size]))
        place += size
        # Everything that can be known is given at once.
        assert sum(map(len, made)) == max(0, min(place, len(rows)) // 2 - live.future_frames)
    made.append(live.finish())
    assert np.abs(np.concatenate(made) - whole).max() < 1e-5 * max(1.0, np.abs(whole).max())
    assert live.future_frames == model.config.future_frames


def test_a_step_is_computed_once(model, monkeypatch):
    steps = []
    go_on = model.go_on

    def counted(rows, first_step, *rest):
        result = go_on(rows, first_step, *rest)
        steps.extend(range(first_step, first_step + len(result[0]) // 2))
        return result

    monkeypatch.setattr(model, "go_on", counted)
    live = LiveMotion(model, Trail())
    made = sum(len(live.push(np.zeros((2, D), np.float32))) for _ in range(300))
    assert made == 298 and steps == list(range(149))


def test_speeches_of_one_model_do_not_hear_each_other(model):
    speeches = [np.random.default_rng(seed).standard_normal((200, D)).astype(np.float32) for seed in range(3)]

    def motion(rows):
        live = LiveMotion(model, temperature=0.7)
        return np.concatenate([*(live.push(rows[place : place + 2]) for place in range(0, 200, 2)), live.finish()])

    alone = [motion(rows) for rows in speeches]
    with ThreadPoolExecutor(3) as pool:
        assert all(map(np.array_equal, pool.map(motion, speeches), alone))


def test_memory_does_not_grow(model):
    live = LiveMotion(model, Trail())
    for _ in range(60):
        live.push(np.zeros((20, D), np.float32))
    assert len(live._rows) < 2 * (model.config.past_frames + 20)
    assert len(live._ways[0]._displacement) < 20


def test_nothing_gives_nothing(model):
    live = LiveMotion(model)
    assert live.push(np.zeros((0, D), np.float32)).shape == (0, KEYPOINT_COUNT, 3)
    assert live.finish().shape == (0, KEYPOINT_COUNT, 3)
