"""Adaptation to a person: closed form, network only where it wins, nothing read from held-out frames."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from geneface.corpus.dataset import load_corpus_data
from geneface.geometry.landmarks import KEYPOINT_COUNT, lip_opening
from geneface.io.store import read_json
from geneface.motion.alignment import Stretch, closed_form_alignment
from geneface.motion.postnet import PostNet
from geneface.motion.runtime import MotionModel, PostNetRuntime
from geneface.motion.score import correlation
from geneface.training.motion import pretrain_motion
from geneface.training.person import adapt_to_person, runs, training_stretches
from geneface.training.postnet import POSTNET_PRESETS, PostNetTask, train_postnet, validate
from geneface.training.sync import pretrain_sync
from geneface.types import SpeechFeatures

GAIN = 1.7


@pytest.fixture(scope="module")
def motion_folder(small_corpus, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("generic")
    pretrain_sync(small_corpus.folder, out, "tiny")
    pretrain_motion(small_corpus.folder, out, out, "tiny")
    return out


@dataclass
class Person:
    """What adaptation reads of a portrait."""

    landmarks: np.ndarray
    segment: np.ndarray
    heldout: np.ndarray
    neutral: np.ndarray
    speech: list[SpeechFeatures]

    def features(self, segment: int) -> SpeechFeatures:
        return self.speech[segment]


@pytest.fixture
def person(small_corpus) -> Person:
    """Speaker "a" with the mouth open GAIN times as wide, three segments of three clips, the last fifth held out."""
    clips = [clip for clip in load_corpus_data(small_corpus).training if clip.speaker == "a"][:9]
    landmarks = np.concatenate([clip.neutral + GAIN * clip.displacement for clip in clips])
    speech = [
        SpeechFeatures(np.concatenate([c.features for c in clips[i : i + 3]]).astype(np.float32), "numbers")
        for i in (0, 3, 6)
    ]
    heldout = np.tile(np.arange(180) >= 144, 3)
    from geneface.geometry.landmarks import KEYPOINTS

    neutral = np.zeros((478, 3), np.float32)
    neutral[list(KEYPOINTS)] = clips[0].neutral
    return Person(landmarks.astype(np.float32), np.repeat([0, 1, 2], 180), heldout, neutral, speech)


def test_adaptation_finds_the_persons_amplitude(person, motion_folder, tmp_path):
    figures = adapt_to_person(person, motion_folder, tmp_path, "tiny")  # type: ignore[arg-type]
    adapted, generic = PostNetRuntime.load(tmp_path), MotionModel.load(motion_folder)
    assert {"generic", "affine", "aligned", "network"} <= set(figures)
    made, plain, real = [], [], []
    for segment in range(3):
        rows = person.heldout & (person.segment == segment)
        features = person.speech[segment]
        base = generic.predict(features)
        neutral = person.landmarks[0] * 0 + person.neutral[_keypoints()]
        inside = rows[person.segment == segment]
        made.append(lip_opening(neutral + generic.predict(features, person=adapted)[inside]))
        plain.append(lip_opening(neutral + base[inside]))
        real.append(lip_opening(person.landmarks[rows]))
    spread = [np.mean([curve.std() for curve in curves]) for curves in (made, plain, real)]
    assert spread[0] / spread[2] == pytest.approx(1, abs=0.2)
    assert spread[1] / spread[2] < 0.75
    assert np.mean([correlation(a, b) for a, b in zip(made, real, strict=True)]) > 0.8


def _keypoints() -> list[int]:
    from geneface.geometry.landmarks import KEYPOINTS

    return list(KEYPOINTS)


def test_heldout_frames_do_not_reach_the_fit(person, motion_folder, tmp_path):
    adapt_to_person(person, motion_folder, tmp_path / "a", "tiny")  # type: ignore[arg-type]
    person.landmarks[person.heldout] = np.random.default_rng(0).standard_normal(
        (person.heldout.sum(), KEYPOINT_COUNT, 3)
    )
    adapt_to_person(person, motion_folder, tmp_path / "b", "tiny")  # type: ignore[arg-type]
    for name in ("alignment.safetensors", "postnet.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_network_is_used_only_if_it_beats_the_closed_form(person, motion_folder, tmp_path, monkeypatch):
    from geneface.training import postnet

    for needed, used in ((-1.0, True), (2.0, False)):
        preset = POSTNET_PRESETS["tiny"].model_copy(update={"worthwhile": needed})
        monkeypatch.setitem(postnet.POSTNET_PRESETS, "tiny", preset)
        out = tmp_path / str(used)
        adapt_to_person(person, motion_folder, out, "tiny")  # type: ignore[arg-type]
        assert read_json(out / "postnet.json")["network"] is used
        assert (out / "postnet.onnx").is_file() is used


def test_best_checkpoint_is_the_one_that_validates_best(person, motion_folder):
    model = MotionModel.load(motion_folder)
    neutral = person.neutral[_keypoints()]
    stretches = training_stretches(person, model)  # type: ignore[arg-type]
    alignment, _ = closed_form_alignment(stretches[:2], neutral)
    free = [(stretches[0].generic, stretches[0].features)]
    task = PostNetTask("t", alignment, stretches[:2], free, None, POSTNET_PRESETS["tiny"], stretches[2:], neutral)
    scores = []
    for index in range(20):
        task.step(index, 20, torch.Generator().manual_seed(index))
        if (index + 1) % 10 == 0:
            average = task.modules["average"]
            assert isinstance(average, PostNet)
            scores.append(validate(average, alignment, stretches[2:], neutral).correlation)
    assert task.notes["best_score"] == pytest.approx(max(scores))
    assert task.notes["best_step"] == 10 * (1 + int(np.argmax(scores)))


def test_network_learns_what_is_not_linear(person, motion_folder, tmp_path, monkeypatch):
    """Motion that saturates: closed form can't follow, the network can."""
    rng = np.random.default_rng(0)
    from geneface.motion.basis import fit_basis

    model = MotionModel.load(motion_folder)
    neutral = person.neutral[_keypoints()]
    mode = (person.landmarks[:360] - neutral).astype(np.float32)
    basis = fit_basis(mode, 2)
    stretches = []
    for _ in range(8):
        curve = np.convolve(rng.standard_normal(126), np.hanning(7) / 2, "valid").astype(np.float32)
        coefficients = np.zeros((120, basis.width), np.float32)
        coefficients[:, 0] = curve
        bent = coefficients.copy()
        bent[:, 0] = np.abs(curve)
        features = np.zeros((240, 12), np.float32)
        stretches.append(Stretch(basis.displacement(coefficients), basis.displacement(bent), features))
    alignment, figures = closed_form_alignment(stretches, neutral)
    preset = POSTNET_PRESETS["fast"].model_copy(update={"steps": 100, "batch": 4, "samples": 1})
    monkeypatch.setitem(POSTNET_PRESETS, "fast", preset)
    frames, score = train_postnet(stretches, neutral, alignment, model, motion_folder, tmp_path, "fast")
    assert frames > 0 and score > figures["aligned"] + 0.3


@pytest.mark.parametrize("lengths", [[100, 14], [60] * 7 + [30], [60] * 3 + [13] + [60] * 4])
def test_stretches_of_any_length_train_together(person, motion_folder, tmp_path, lengths):
    """A cut leaves a short stretch: it must neither break the training nor shorten everybody's sequences to nothing."""
    model, neutral = MotionModel.load(motion_folder), person.neutral[_keypoints()]
    whole = training_stretches(person, model)  # type: ignore[arg-type]
    stretches = [whole[index % 3][:length] for index, length in enumerate(lengths)]
    alignment, _ = closed_form_alignment(stretches, neutral)
    _, score = train_postnet(stretches, neutral, alignment, model, motion_folder, tmp_path, "tiny")
    assert np.isfinite(score)


def test_without_a_stretch_worth_drawing_from_no_network_is_used(person, motion_folder, tmp_path):
    model, neutral = MotionModel.load(motion_folder), person.neutral[_keypoints()]
    stretches = [stretch[:20] for stretch in training_stretches(person, model)]  # type: ignore[arg-type]
    alignment, _ = closed_form_alignment(stretches, neutral)
    frames, score = train_postnet(stretches, neutral, alignment, model, motion_folder, tmp_path, "tiny")
    assert frames == 0 and np.isfinite(score) and not list(tmp_path.iterdir())


def test_runs_are_half_open():
    assert runs(np.array([1, 1, 0, 1, 0, 0, 1], bool)) == [(0, 2), (3, 4), (6, 7)]
    assert runs(np.zeros(3, bool)) == [] and runs(np.ones(2, bool)) == [(0, 2)]
