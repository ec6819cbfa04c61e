"""Closed-form alignment recovers what was done to the motion, and uses speech only where it helps."""

from dataclasses import replace

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.geometry.landmarks import CHEEKS, JAW, KEYPOINT_COUNT, LIPS_INNER, LIPS_OUTER, lip_opening, positions
from geneface.io.store import load_tensors, save_tensors
from geneface.motion.alignment import Alignment, Stretch, closed_form_alignment, split_folds
from geneface.motion.score import correlation
from geneface.types import SpeechFeatures

UPPER, LOWER = positions((82, 13, 312)), positions((87, 14, 317))
NEUTRAL = np.random.default_rng(7).uniform(-0.2, 0.2, (KEYPOINT_COUNT, 3)).astype(np.float32)
NEUTRAL[UPPER] = NEUTRAL[LOWER]


def face(opening: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    displacement = 1e-4 * rng.standard_normal((len(opening), KEYPOINT_COUNT, 3))
    for group, share in ((LIPS_INNER, 0.5), (LIPS_OUTER, 0.4), (JAW, 0.6), (CHEEKS, 0.2)):
        displacement[:, group, 1] -= share * opening[:, None]
    displacement[:, UPPER, 1] += opening[:, None]
    return displacement.astype(np.float32)


def smooth(rng: np.random.Generator, frames: int) -> np.ndarray:
    return np.convolve(rng.standard_normal(frames + 6), np.hanning(7) / 2, "valid")


def make_stretch(frames: int, seed: int, gain: float, offset: float, hidden: float) -> Stretch:
    """Measured motion = gain * generic + offset + hidden * something that only the features tell."""
    rng = np.random.default_rng(seed)
    generic, secret = smooth(rng, frames), smooth(rng, frames)
    features = rng.standard_normal((2 * frames, 6)).astype(np.float32)
    features[:, 2] = np.repeat(secret, 2)
    opening = 0.03 + 0.01 * (gain * generic + offset + hidden * secret)
    return Stretch(face(0.03 + 0.01 * generic, rng), face(opening, rng), features)


def correlations(alignment: Alignment, stretch: Stretch) -> float:
    predicted = NEUTRAL + alignment.apply(stretch.generic, SpeechFeatures(stretch.features, ""))
    return correlation(lip_opening(predicted), lip_opening(NEUTRAL + stretch.measured))


def test_gain_and_offset_are_recovered_without_speech():
    train = [make_stretch(200, seed, 1.6, 0.5, 0.0) for seed in range(2)]
    alignment, figures = closed_form_alignment(train, NEUTRAL)
    assert figures["share"] == 0 and alignment.speech is None
    test = make_stretch(100, 99, 1.6, 0.5, 0.0)
    error = alignment.apply(test.generic) - test.measured
    assert abs(error[:, UPPER, 1]).mean() < 0.05 * abs(test.generic - test.measured)[:, UPPER, 1].mean()
    assert figures["amplitude"] == pytest.approx(1, abs=0.05)


def test_speech_is_used_when_it_explains_what_the_generic_model_misses():
    train = [make_stretch(400, 1, 1.0, 0.0, 1.0)]
    alignment, figures = closed_form_alignment(train, NEUTRAL)
    assert figures["share"] > 0 and figures["aligned"] > figures["affine"] + 0.05
    test = make_stretch(200, 98, 1.0, 0.0, 1.0)
    alone = replace(alignment, share=0.0)
    assert correlations(alignment, test) > correlations(alone, test) + 0.05


def test_amplitude_that_regression_shrinks_is_restored():
    rng = np.random.default_rng(3)
    train = []
    for seed in range(8):
        stretch = make_stretch(80, seed, 1.0, 0.0, 0.0)
        # Half of the generic motion is wrong.
        train.append(replace(stretch, generic=stretch.generic + face(0.01 * smooth(rng, 80), rng)))
    alignment, figures = closed_form_alignment(train, NEUTRAL)
    assert figures["amplitude"] > 1.15
    made = np.mean([lip_opening(NEUTRAL + alignment.apply(s.generic)).std() for s in train])
    real = np.mean([lip_opening(NEUTRAL + s.measured).std() for s in train])
    assert made / real == pytest.approx(1, abs=0.1)


def test_folds_never_validate_on_what_they_fit():
    long = [make_stretch(100, 1, 1, 0, 0)]
    for fitted, validated in split_folds(long):
        known = {row.tobytes() for stretch in fitted for row in stretch.measured}
        assert validated and not any(row.tobytes() in known for stretch in validated for row in stretch.measured)
    assert sum(len(stretch) for _, validated in split_folds(long) for stretch in validated) == 100
    many = [make_stretch(20, seed, 1, 0, 0) for seed in range(9)]
    assert sum(len(validated) for _, validated in split_folds(many)) == 9


def test_short_stretches_are_fitted_but_never_judge():
    """Three frames correlate by chance: they must not weigh as much as a hundred."""
    mixed = [make_stretch(200, 1, 1, 0, 0), make_stretch(14, 2, 1, 0, 0)]
    for fitted, validated in split_folds(mixed):
        assert [len(stretch) for stretch in validated] == [50]
        assert any(stretch is mixed[1] for stretch in fitted)
    # Where all are short there is nothing else to judge by, and something must be left to fit.
    for fitted, validated in [*split_folds([make_stretch(20, 3, 1, 0, 0)] * 3), *split_folds([mixed[1]])]:
        assert sum(map(len, fitted)) >= 8 and sum(map(len, validated)) >= 3


def test_lips_never_pass_through_each_other():
    train = [make_stretch(200, seed, 1.0, 0.0, 0.0) for seed in range(2)]
    alignment, _ = closed_form_alignment(train, NEUTRAL)
    seen = np.concatenate([gap(stretch.measured) for stretch in train])
    # Lips pressed through each other by more than the person ever closed them.
    rng = np.random.default_rng(0)
    pressed = alignment.apply(face(np.full(20, -0.05), rng))
    loose = alignment.basis.displacement(alignment.coefficients(face(np.full(20, -0.05), rng)))
    assert gap(loose).max() < seen.min() - 0.01
    assert gap(pressed).min() >= np.percentile(seen, 0.5, axis=0).min() - 1e-4
    # The middle of the mouth stays where it was; open lips are left alone.
    assert np.allclose(pressed[:, UPPER, 1] + pressed[:, LOWER, 1], loose[:, UPPER, 1] + loose[:, LOWER, 1], atol=2e-3)
    wide = face(np.full(20, 0.05), rng)
    assert np.array_equal(alignment.apply(wide), alignment.basis.displacement(alignment.coefficients(wide)))


def gap(displacement: np.ndarray) -> np.ndarray:
    return (NEUTRAL + displacement)[:, UPPER, 1] - (NEUTRAL + displacement)[:, LOWER, 1]


@pytest.mark.parametrize("damage", ["gain", "basis.synthesis", "speech.weights", "nan"])
def test_damaged_file_is_an_input_error(tmp_path, damage):
    alignment, _ = closed_form_alignment([make_stretch(400, 1, 1.0, 0.0, 1.0)], NEUTRAL)
    alignment.save(tmp_path / "a.safetensors")
    tensors = load_tensors(tmp_path / "a.safetensors")
    if damage == "nan":
        tensors["offset"][0] = np.nan
    else:
        tensors[damage] = tensors[damage][:-1]
    save_tensors(tmp_path / "a.safetensors", tensors)
    with pytest.raises(InputError, match="damaged"):
        Alignment.load(tmp_path / "a.safetensors")


def test_save_and_load(tmp_path):
    stretch = make_stretch(400, 1, 1.0, 0.0, 1.0)
    alignment, _ = closed_form_alignment([stretch], NEUTRAL)
    alignment.save(tmp_path / "a.safetensors")
    again = Alignment.load(tmp_path / "a.safetensors")
    features = SpeechFeatures(stretch.features, "")
    assert np.array_equal(again.apply(stretch.generic, features), alignment.apply(stretch.generic, features))
    assert (again.past_frames, again.future_frames) == (alignment.past_frames, alignment.future_frames) == (6, 2)
