"""The definitions against closed forms, and the bundled lip-sync classifier on bundled speech and the motion made of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.evaluation.metrics.lip_sync import LipSyncClassifier, LipSyncScore, combine, lag_distances
from geneface.geometry.landmarks import KEYPOINT_COUNT, KEYPOINTS
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.io.face_mesh import mean_face
from geneface.io.records import read_json, write_json
from geneface.motion.runtime import MotionModel
from geneface.types import SpeechFeatures

LAGS = np.arange(-15, 16)
NEUTRAL = mean_face()[list(KEYPOINTS)]


def delayed(track: np.ndarray, frames: int) -> np.ndarray:
    """The track [F, ...], so many frames late."""
    return track[np.clip(np.arange(len(track)) - frames, 0, len(track) - 1)]


# ---- definitions


@pytest.mark.parametrize("late", [-15, -3, 0, 7])
def test_known_shift_in_closed_form(late):
    """Each moment has an axis of its own: distance 0 where lips meet their speech, the root of 2 elsewhere.

    Of 50 windows as many as the lips are late have lost their speech over the end.
    """
    speech = np.eye(80, dtype=np.float32)[:, 15:65]
    lips = np.eye(80, dtype=np.float32)[:, 15 - late : 65 - late]
    distances = lag_distances(lips, speech)
    assert distances.shape == (50, 31)
    score = combine([distances])
    least = np.sqrt(2) * abs(late) / 50
    assert np.allclose(score.curve, np.where(late == LAGS, least, np.sqrt(2)))
    assert score.offset_frames == late
    assert score.distance == pytest.approx(least, abs=1e-7)
    assert score.confidence == pytest.approx(np.sqrt(2) - least)
    assert score.distance_unshifted == pytest.approx(0 if late == 0 else np.sqrt(2))


def test_distances_equal_a_naive_loop():
    rng = np.random.default_rng(2)
    lips, speech = rng.standard_normal((2, 6, 40)).astype(np.float32)
    found = lag_distances(lips, speech)
    for window in range(40):
        for column, lag in enumerate(range(-15, 16)):
            expected = np.sqrt(sum((lips[e, window] - speech[e, (window - lag) % 40]) ** 2 for e in range(6)))
            assert found[window, column] == pytest.approx(expected, rel=1e-5)


def test_windows_count_the_same_whichever_clip_they_are_of():
    rng = np.random.default_rng(3)
    long, short = rng.random((30, 31)), rng.random((2, 31))
    expected = (30 * long.mean(0) + 2 * short.mean(0)) / 32
    score = combine([long, short, np.zeros((0, 31))])
    assert np.allclose(score.curve, expected) and score.windows == 32 and score.clips == 2
    assert score.distance == pytest.approx(expected.min())
    assert score.confidence == pytest.approx(np.sort(expected)[15] - expected.min())
    assert score.offset_frames == expected.argmin() - 15


def test_a_flat_curve_is_not_late_and_not_sure():
    score = combine([np.full((5, 31), 1.25)])
    assert (score.offset_frames, score.confidence, score.distance) == (0, 0, 1.25)


def test_constant_lips_fit_no_lag_better_than_another():
    """Speech that is silent at its ends, as clips are: the lips of silence must not look late."""
    rng = np.random.default_rng(5)
    speech = rng.standard_normal((6, 60)).astype(np.float32)
    speech[:, :20] = speech[:, -20:] = 0.1
    score = combine([lag_distances(np.full((6, 60), 0.1, np.float32), speech)])
    assert np.ptp(score.curve) < 1e-12 and score.distance > 0.5
    assert score.offset_frames == 0 and score.confidence == pytest.approx(0, abs=1e-12)


def test_windows_without_landmarks_are_left_out():
    rng = np.random.default_rng(4)
    lips, speech = rng.standard_normal((2, 6, 60)).astype(np.float32)
    whole = lag_distances(lips, speech)
    lips[2, 20] = np.nan
    assert np.array_equal(lag_distances(lips, speech), np.delete(whole, 20, axis=0))


# ---- the bundled classifier


@pytest.fixture(scope="module")
def classifier() -> LipSyncClassifier:
    return LipSyncClassifier.load()


@pytest.fixture(scope="module")
def speech(classifier: LipSyncClassifier) -> SpeechFeatures:
    return classifier.encode(read_audio(asset_path("speech", "demo.flac")).samples)


@pytest.fixture(scope="module")
def lips(speech: SpeechFeatures) -> np.ndarray:
    """What the bundled motion model makes of the bundled speech."""
    return NEUTRAL + MotionModel.load().predict(speech)


@pytest.fixture(scope="module")
def truth(classifier: LipSyncClassifier, speech: SpeechFeatures, lips: np.ndarray) -> LipSyncScore:
    return classifier.score([(lips, speech)], NEUTRAL)


def test_motion_is_in_sync_with_the_speech_it_was_made_of(truth):
    assert truth.offset_frames == 0 and truth.distance == truth.distance_unshifted == truth.curve[15]
    assert truth.curve.shape == (31,) and truth.confidence > 0.3


@pytest.mark.parametrize("late", [4, -4])
def test_a_shift_is_detected(classifier, speech, lips, truth, late):
    score = classifier.score([(delayed(lips, late), speech)], NEUTRAL)
    assert score.offset_frames == late
    assert score.distance == pytest.approx(truth.distance, abs=0.05)
    assert score.distance_unshifted > truth.distance_unshifted + 0.2


def test_wrong_lips_are_ordered_behind_the_right_ones(classifier, speech, lips, truth):
    still = classifier.score([(np.broadcast_to(lips.mean(0), lips.shape), speech)], NEUTRAL)
    assert np.isfinite(still.curve).all()
    assert still.confidence < 1e-5 and still.distance > truth.distance + 0.2
    backwards = classifier.score([(lips[::-1], speech)], NEUTRAL)
    assert backwards.confidence < 0.5 * truth.confidence and backwards.distance > truth.distance + 0.2


def test_a_small_mouth_is_forgiven_only_if_the_gain_says_so(classifier, speech, lips, truth):
    small = NEUTRAL + 0.25 * (lips - NEUTRAL)
    assert classifier.score([(small, speech)], NEUTRAL).confidence < 0.8 * truth.confidence
    forgiven = classifier.score([(small, speech)], NEUTRAL, gain=0.25)
    assert np.allclose(forgiven.curve, truth.curve, atol=1e-4)


def test_gain_is_the_ratio_of_the_openings(classifier, lips):
    assert classifier.gain_of([2 * lips, 4 * lips]) == pytest.approx(3 * classifier.gain_of([lips]), rel=1e-5)
    assert classifier.gain_of([np.broadcast_to(lips[:1], lips.shape)]) == classifier.gain_of([]) == 1.0


def test_samples_are_heard_as_their_features(classifier, lips, truth):
    samples = read_audio(asset_path("speech", "demo.flac")).samples
    assert np.allclose(classifier.score([(lips, samples)], NEUTRAL).curve, truth.curve, atol=1e-6)


def test_clips_together_are_all_their_windows(classifier, speech, lips):
    def clip(start: int, stop: int):
        return lips[start:stop], SpeechFeatures(speech.values[2 * start : 2 * stop], speech.encoder)

    parts = [clip(0, 60), clip(60, 140), clip(140, 178)]
    together = classifier.score(parts, NEUTRAL)
    first, second = (classifier.score([part], NEUTRAL) for part in parts[:2])
    assert (first.windows, second.windows) == (60 - 8, 80 - 8)
    # The last clip has 38 frames: one too few.
    assert together.windows == 124 and together.clips == 2
    assert np.allclose(together.curve, (52 * first.curve + 72 * second.curve) / 124)


def test_too_short_clips_give_no_number(classifier, speech, lips):
    for clips in ([], [(lips[:38], SpeechFeatures(speech.values[:76], speech.encoder))]):
        score = classifier.score(clips, NEUTRAL)
        assert np.isnan([score.distance, score.distance_unshifted, score.confidence, score.offset_frames]).all()
        assert np.isnan(score.curve).all() and score.windows == score.clips == 0


def test_a_lost_face_costs_its_windows_only(classifier, speech, lips, truth):
    holed = lips.copy()
    holed[100] = np.nan
    score = classifier.score([(holed, speech)], NEUTRAL)
    assert score.windows == truth.windows - 9 and score.offset_frames == 0
    assert score.distance == pytest.approx(truth.distance, abs=0.05)


def test_wrong_inputs_are_refused(classifier, speech, lips):
    with pytest.raises(InputError, match="mel"):
        classifier.score([(lips, SpeechFeatures(speech.values, "mel"))], NEUTRAL)
    with pytest.raises(ValueError, match="rows"):
        classifier.score([(lips[:-1], speech)], NEUTRAL)


@pytest.mark.parametrize("name", ["lip_sync.json", "lips.onnx", "speech.onnx"])
def test_damaged_folders_name_the_file(tmp_path: Path, name):
    folder = tmp_path / "lip_sync"
    shutil.copytree(asset_path("lip_sync"), folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        LipSyncClassifier.load(folder)
    if name.endswith(".json"):
        record = read_json(asset_path("lip_sync") / name)
        for wrong, words in (
            ({"format": 9}, "version"),
            ({"cats": 1}, "damaged: train the lip-sync classifier again"),
            ({"landmarks": [3]}, "landmarks"),
        ):
            write_json(folder / name, {**record, **wrong})
            with pytest.raises(InputError, match=words):
                LipSyncClassifier.load(folder)


def test_bundled_classifier_is_small_honest_and_of_the_default_encoder(classifier):
    assert sum(path.stat().st_size for path in asset_path("lip_sync").iterdir()) < 1_000_000
    assert classifier.config.encoder == "whisper-2-streaming" and classifier.config.heldout["lag_accuracy"] > 0.9
    assert len(classifier.config.landmarks) < KEYPOINT_COUNT
    card = (asset_path("lip_sync") / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in card and "never a training loss" in card
