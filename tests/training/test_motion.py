"""AudioToMotion learns a known filter; what is written is what was trained; regression is the same decoder."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geneface.corpus.dataset import load_corpus_data
from geneface.motion.basis import fit_basis
from geneface.motion.runtime import MotionModel
from geneface.motion.score import score_lips
from geneface.motion.vae import AudioToMotionConfig
from geneface.training.motion.train import (
    MOTION_PRESETS,
    MotionTask,
    MotionTrainConfig,
    build_model,
    lip_functionals,
    predict_clip,
    pretrain_motion,
    save_model,
    score_model,
)
from geneface.types import SpeechFeatures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(small_corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("motion")
    return out, pretrain_motion(small_corpus.folder, None, out, "tiny")


def test_heldout_lips_follow_the_speech(trained):
    for speaker in ("a", "b"):
        assert trained[1][speaker]["temperature_0"]["opening_correlation"] > 0.8
        assert trained[1][speaker]["temperature_0"]["best_lag_frames"] == 0


def test_folder_predicts_what_was_scored(small_corpus, trained):
    out, metrics = trained
    model = MotionModel.load(out)
    clips = [clip for clip in load_corpus_data(small_corpus).heldout if clip.speaker == "b"]
    corpus_clips = {clip.name: clip for clip in small_corpus.clips(heldout=True)}
    predicted = [
        clip.neutral + clip.gain * model.predict(small_corpus.features(corpus_clips[clip.name])) for clip in clips
    ]
    score = score_lips(predicted, [clip.landmarks for clip in clips])
    assert score.opening_correlation == pytest.approx(metrics["b"]["temperature_0"]["opening_correlation"], abs=2e-3)
    assert score.amplitude_ratio == pytest.approx(metrics["b"]["temperature_0"]["amplitude_ratio"], abs=1e-2)


def test_resumed_training_is_the_same(small_corpus, trained, tmp_path):
    """A second run from the finished checkpoint changes nothing; a fresh one gives the same graph."""
    again = pretrain_motion(small_corpus.folder, None, trained[0], "tiny", resume=True)
    assert again == trained[1]
    fresh = pretrain_motion(small_corpus.folder, None, tmp_path, "tiny")
    assert fresh == trained[1]


def test_lip_functionals_are_the_derivative_of_the_opening(small_corpus):
    data = load_corpus_data(small_corpus)
    displacement = np.concatenate([clip.displacement for clip in data.training if clip.speaker == "a"])
    basis = fit_basis(displacement, 16)
    coefficients = basis.coefficients(displacement)
    curve = coefficients @ lip_functionals(basis, coefficients).numpy()
    from geneface.geometry.landmarks import lip_opening, lip_protrusion

    opening = lip_opening(data.training[0].neutral + basis.displacement(coefficients))
    # Not quite 1: the made-up lips sometimes cross, where the distance folds.
    assert np.corrcoef(curve[:, 0], opening)[0, 1] > 0.95
    # These lips hardly protrude.
    assert np.allclose(curve[:, :2].std(0), 1, atol=1e-3) and curve[:, 2].std() < 0.1
    assert np.corrcoef(curve[:, 2], lip_protrusion(basis.displacement(coefficients)))[0, 1] > 0.999


def test_regression_has_no_flow_and_leaves_the_encoder_untouched(small_corpus):
    data = load_corpus_data(small_corpus)
    config = MOTION_PRESETS["tiny"].model_copy(update={"objective": "regression"})
    basis = fit_basis(np.concatenate([clip.displacement for clip in data.training]), 8)
    torch.manual_seed(0)
    task = MotionTask(data, basis, None, config)
    assert build_model(data, basis, config).config.flow_steps == 0
    before = {key: value.clone() for key, value in task.modules["model"].state_dict().items()}
    for index in range(3):
        figures = task.step(index, 40, torch.Generator().manual_seed(index))
    changed = {
        key.split(".")[0]
        for key, value in task.modules["model"].state_dict().items()
        if not torch.equal(value, before[key])
    }
    assert changed == {"speech", "decoder_in", "decoder", "decoder_out"}
    assert figures["loss"] > 0
    assert score_model(task.modules["average"], basis, data.heldout).amplitude_ratio >= 0


def test_temperature_zero_is_repeatable_and_samples_differ(small_corpus):
    data = load_corpus_data(small_corpus)
    basis = fit_basis(np.concatenate([clip.displacement for clip in data.training]), 8)
    torch.manual_seed(0)
    model = build_model(data, basis, MOTION_PRESETS["tiny"])
    clip = data.heldout[0]
    assert np.array_equal(predict_clip(model, basis, clip), predict_clip(model, basis, clip, seed=3))
    samples = [predict_clip(model, basis, clip, 1.0, seed) for seed in (0, 1)]
    assert abs(samples[0] - samples[1]).max() > 0


def test_what_can_be_switched_is_ours_by_default():
    sizes, training = AudioToMotionConfig(feature_width=1, motion_width=1), MotionTrainConfig(steps=1)
    for config in (sizes, training):
        assert (config.dilations, config.latent_stride, config.flow_steps) == ((1, 2, 4, 8), 2, 4)
    assert training.motion_penalty == 0
    assert MotionModel.load().config.latent_stride == 2


@pytest.mark.parametrize(
    "changes", [{"latent_stride": 4, "future_frames": 4}, {"flow_steps": 0}, {"dilations": (1, 1, 1, 1)}]
)
def test_switched_models_are_exported_as_they_are(small_corpus, tmp_path, changes):
    """The folder predicts what torch does, also for lengths that are no multiple of the stride, and in windows."""
    data = load_corpus_data(small_corpus)
    basis = fit_basis(np.concatenate([clip.displacement for clip in data.training]), 8)
    torch.manual_seed(0)
    model = build_model(data, basis, MOTION_PRESETS["tiny"].model_copy(update=changes)).eval()
    for parameter in model.prior.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    save_model(model, basis, "numbers", tmp_path)
    loaded = MotionModel.load(tmp_path)
    rows = np.concatenate([clip.features for clip in data.heldout] * 2)[: 2 * 299]
    long = replace(data.heldout[0], features=rows, displacement=np.zeros((299, *basis.mean.shape), np.float32))
    speech = SpeechFeatures(rows.astype(np.float32), "numbers")
    whole = loaded.predict(speech)
    assert len(whole) == 299
    # Weights are stored in half precision.
    assert np.allclose(long.neutral + long.gain * whole, predict_clip(model, basis, long), atol=2e-4)
    for temperature in (0.0, 1.0):
        whole = loaded.predict(speech, temperature=temperature, seed=3)
        pieces = list(loaded.predict_windows(speech, temperature=temperature, seed=3, window_frames=10))
        assert len(pieces) > 3
        assert np.allclose(np.concatenate(pieces), whole, atol=1e-5)


def test_motion_penalty_is_the_speed_of_all_landmarks_and_makes_lips_lazy(small_corpus):
    data = load_corpus_data(small_corpus)
    basis = fit_basis(np.concatenate([clip.displacement for clip in data.training]), 8)
    spreads = []
    for penalty in (0.0, 3.0):
        torch.manual_seed(0)
        task = MotionTask(data, basis, None, MOTION_PRESETS["tiny"].model_copy(update={"motion_penalty": penalty}))
        for index in range(40):
            task.step(index, 40, torch.Generator().manual_seed(index))
        spreads.append(score_model(task.modules["model"], basis, data.heldout).amplitude_ratio)
    assert spreads[1] < 0.9 * spreads[0]
    # Against plain differences of landmarks: the measured motion itself costs the weight, on average over clips.
    points = [basis.displacement(basis.coefficients(clip.displacement)) for clip in data.training]
    speeds = [np.linalg.norm(np.diff(clip, axis=0), axis=-1).mean() for clip in points]
    moving = torch.from_numpy(basis.coefficients(data.training[0].displacement).T[None])
    assert float(task._motion_penalty(moving)) == pytest.approx(3.0 * speeds[0] / np.mean(speeds), rel=1e-3)
