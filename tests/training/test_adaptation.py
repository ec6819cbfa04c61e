"""The adaptation recovers what was done to the motion, uses speech where it helps, and weighs its members rightly."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.geometry.landmarks import CHEEKS, JAW, KEYPOINT_COUNT, LIPS_INNER, LIPS_OUTER, lip_opening, positions
from geneface.io.tensors import load_tensors, save_tensors
from geneface.motion.adaptation import Adaptation
from geneface.motion.generic import GenericMotion
from geneface.motion.score import correlation
from geneface.training.adaptation.fit import MEMBERS, PersonClip, fit_adaptation, split_folds, stack

UPPER, LOWER = positions((82, 13, 312)), positions((87, 14, 317))
NEUTRAL = np.random.default_rng(7).uniform(-0.2, 0.2, (KEYPOINT_COUNT, 3)).astype(np.float32)
NEUTRAL[UPPER] = NEUTRAL[LOWER]
WIDTH, HIDDEN = 6, 5


def face(opening: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    displacement = 1e-4 * rng.standard_normal((len(opening), KEYPOINT_COUNT, 3))
    for group, share in ((LIPS_INNER, 0.5), (LIPS_OUTER, 0.4), (JAW, 0.6), (CHEEKS, 0.2)):
        displacement[:, group, 1] -= share * opening[:, None]
    displacement[:, UPPER, 1] += opening[:, None]
    return displacement.astype(np.float32)


def smooth(rng: np.random.Generator, frames: int) -> np.ndarray:
    return np.convolve(rng.standard_normal(frames + 6), np.hanning(7) / 2, "valid")


def make_clip(frames: int, seed: int, gain: float, offset: float, secret: float, known: float = 0.0) -> PersonClip:
    """Measured = gain * generic + offset + secret * what only the features tell + known * what the hidden layer does."""
    rng = np.random.default_rng(seed)
    generic, told, felt = (smooth(rng, frames) for _ in range(3))
    features = rng.standard_normal((2 * frames, WIDTH)).astype(np.float32)
    features[:, 2] = np.repeat(told, 2)
    hidden = rng.standard_normal((frames, HIDDEN)).astype(np.float32)
    hidden[:, 1] = felt
    opening = 0.03 + 0.01 * (gain * generic + offset + secret * told + known * felt)
    return PersonClip(GenericMotion(face(0.03 + 0.01 * generic, rng), hidden, features), face(opening, rng))


def fitted_correlation(adaptation: Adaptation, clip: PersonClip) -> float:
    predicted = NEUTRAL + adaptation.apply(clip.generic)
    return correlation(lip_opening(predicted), lip_opening(NEUTRAL + clip.measured))


def generic_correlation(clip: PersonClip) -> float:
    generic = NEUTRAL + clip.generic.displacement
    return correlation(lip_opening(generic), lip_opening(NEUTRAL + clip.measured))


def test_few_seconds_give_gain_and_offset_only():
    train = [make_clip(90, 1, 1.6, 0.5, 1.0)]
    adaptation, figures = fit_adaptation(train, NEUTRAL)
    assert not len(adaptation.speech) and not adaptation.nets and set(figures) == {"generic", "adapted", "amplitude"}
    clean, _ = fit_adaptation([make_clip(90, 2, 1.6, 0.5, 0.0)], NEUTRAL)
    test = make_clip(100, 99, 1.6, 0.5, 0.0)
    error = clean.apply(test.generic) - test.measured
    before = test.generic.displacement - test.measured
    assert abs(error[:, UPPER, 1]).mean() < 0.05 * abs(before[:, UPPER, 1]).mean()


@pytest.mark.slow
def test_speech_is_used_when_it_explains_what_the_generic_model_misses():
    adaptation, figures = fit_adaptation([make_clip(400, 1, 1.0, 0.0, 1.0)], NEUTRAL)
    assert figures["adapted"] > figures["generic"] + 0.05
    test = make_clip(200, 98, 1.0, 0.0, 1.0)
    assert fitted_correlation(adaptation, test) > generic_correlation(test) + 0.05


@pytest.mark.slow
def test_the_hidden_layer_is_used_when_it_explains_what_the_generic_model_misses():
    adaptation, figures = fit_adaptation([make_clip(400, 1, 1.0, 0.0, 0.0, known=1.0)], NEUTRAL)
    assert figures["weight_last"] > figures["weight_affine"]
    test = make_clip(200, 98, 1.0, 0.0, 0.0, known=1.0)
    without = replace(adaptation, last=np.zeros_like(adaptation.last), nets=())
    assert fitted_correlation(adaptation, test) > fitted_correlation(without, test) + 0.05


@pytest.mark.slow
def test_where_nothing_is_to_be_learnt_the_generic_motion_stays():
    adaptation, _ = fit_adaptation([make_clip(250, 1, 1.0, 0.0, 0.0)], NEUTRAL)
    test = make_clip(200, 97, 1.0, 0.0, 0.0)
    assert fitted_correlation(adaptation, test) > generic_correlation(test) - 0.01


@pytest.mark.slow
def test_amplitude_that_regression_shrinks_is_restored():
    rng = np.random.default_rng(3)
    train = []
    for seed in range(8):
        clip = make_clip(80, seed, 1.0, 0.0, 0.0)
        # Half of the generic motion is wrong.
        wrong = clip.generic.displacement + face(0.01 * smooth(rng, 80), rng)
        train.append(replace(clip, generic=replace(clip.generic, displacement=wrong)))
    adaptation, figures = fit_adaptation(train, NEUTRAL)
    assert figures["amplitude"] > 1.15
    made = np.mean([lip_opening(NEUTRAL + adaptation.apply(s.generic)).std() for s in train])
    real = np.mean([lip_opening(NEUTRAL + s.measured).std() for s in train])
    assert made / real == pytest.approx(1, abs=0.15)


@pytest.mark.slow
def test_equal_frames_give_equal_adaptations():
    first, second = (fit_adaptation([make_clip(150, 4, 1.2, 0.1, 0.5)], NEUTRAL)[0] for _ in range(2))
    assert np.array_equal(first.nets[3].layers, second.nets[3].layers) and first.amplitude == second.amplitude


def test_stacked_weights_are_the_best_of_a_fine_grid():
    rng = np.random.default_rng(0)
    target = rng.standard_normal((60, 3))
    noise = rng.standard_normal((3, 60, 3))
    predicted = np.stack([0.5 * target + noise[0], target + 0.6 * noise[1], -30 * target + noise[2]])
    blocks = [(predicted[:, :25], target[:25]), (predicted[:, 25:], target[25:])]
    weights = stack(blocks, prior_seconds=0.0)
    grid = [w for w in itertools.product(np.linspace(0, 1, 101), repeat=2) if sum(w) <= 1 + 1e-9]
    best = min(grid, key=lambda w: ((np.tensordot([*w, 1 - sum(w)], predicted, 1) - target) ** 2).sum())
    assert weights == pytest.approx([*best, 1 - sum(best)], abs=0.011)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    # What contradicts the target is left out, unless the prior says otherwise.
    assert weights[2] == 0 and stack(blocks, prior_seconds=1e6) == pytest.approx([1 / 3] * 3, abs=1e-3)


@pytest.mark.slow
def test_what_is_saved_is_one_sum_of_the_members():
    """The mix of all members' own predictions, against the single linear map and networks that run."""
    train = [make_clip(200, 1, 1.3, 0.2, 0.7, known=0.4)]
    adaptation, figures = fit_adaptation(train, NEUTRAL)
    assert sum(figures[f"weight_{name}"] for name in MEMBERS) == pytest.approx(1)
    test = make_clip(60, 90, 1.3, 0.2, 0.7, known=0.4)
    parts = adaptation.basis.coefficients(test.generic.displacement) * adaptation.gain + adaptation.offset
    frames = test.generic.features.reshape(60, 2, -1).mean(1)
    for f in range(60):
        window = np.concatenate([frames[min(max(f + tap, 0), 59)] for tap in (-1, 0, 1)])
        parts[f] += window @ adaptation.speech + test.generic.hidden[f] @ adaptation.last
    late = np.concatenate([test.generic.hidden[[0, 0]], test.generic.hidden[:-2]])
    inputs = np.concatenate([frames, late], axis=1)
    expected = adaptation.amplitude * (parts + sum(net(inputs) for net in adaptation.nets))
    # Ten seconds and more are held to shapes that were seen; that comes after the sum.
    assert not len(adaptation.seen)
    assert abs(adaptation.coefficients(test.generic) - expected).max() < 1e-4


@pytest.mark.slow
def test_ten_seconds_are_held_to_what_was_seen():
    train = [make_clip(260, 1, 1.0, 0.0, 1.0)]
    adaptation, _ = fit_adaptation(train, NEUTRAL)
    assert len(adaptation.seen) == 260
    wild = make_clip(50, 3, 1.0, 0.0, 1.0).generic
    wild = replace(wild, displacement=wild.displacement + 0.05 * np.random.default_rng(0).standard_normal((50, 1, 3)))
    shown, free = (replace(adaptation, seen=seen).coefficients(wild) for seen in (adaptation.seen, adaptation.seen[:0]))
    known = adaptation.basis.coefficients(train[0].measured)[:, : adaptation.seen.shape[1]]
    nearest = [
        np.linalg.norm(known[None] - made[:, None, : known.shape[1]], axis=-1).min(1).mean() for made in (shown, free)
    ]
    assert nearest[0] < 0.7 * nearest[1]


@pytest.mark.slow
def test_windows_with_their_context_give_the_frames_of_the_whole():
    adaptation, _ = fit_adaptation([make_clip(200, 1, 1.0, 0.0, 1.0)], NEUTRAL)
    generic = make_clip(120, 5, 1.0, 0.0, 1.0).generic
    whole = adaptation.apply(generic)
    past, future = adaptation.past_frames, adaptation.future_frames
    assert (past, future) == (14, 2)
    piece = adaptation.apply(generic[50 - past : 70 + future])[past : past + 20]
    assert abs(piece - whole[50:70]).max() < 1e-6
    assert abs(adaptation.apply(generic[50 - past + 1 : 70 + future])[past - 1 : past] - whole[50:51]).max() > 1e-6


def test_folds_never_validate_on_what_they_fit():
    long = [make_clip(100, 1, 1, 0, 0)]
    for fitted, validated in split_folds(long):
        known = {row.tobytes() for clip in fitted for row in clip.measured}
        assert validated and not any(row.tobytes() in known for clip in validated for row in clip.measured)
    assert sum(len(clip) for _, validated in split_folds(long) for clip in validated) == 100
    many = [make_clip(20, seed, 1, 0, 0) for seed in range(9)]
    assert sum(len(validated) for _, validated in split_folds(many)) == 9


def test_short_clips_are_fitted_but_never_validated():
    """Three frames correlate by chance: they must not weigh as much as a hundred."""
    mixed = [make_clip(200, 1, 1, 0, 0), make_clip(14, 2, 1, 0, 0)]
    for fitted, validated in split_folds(mixed):
        assert [len(clip) for clip in validated] == [50]
        assert any(clip is mixed[1] for clip in fitted)
    # Where all are short there is nothing else to judge by, and something must be left to fit.
    for fitted, validated in [*split_folds([make_clip(20, 3, 1, 0, 0)] * 3), *split_folds([mixed[1]])]:
        assert sum(map(len, fitted)) >= 8 and sum(map(len, validated)) >= 3


def test_lips_never_pass_through_each_other():
    train = [make_clip(45, seed, 1.0, 0.0, 0.0) for seed in range(2)]
    adaptation, _ = fit_adaptation(train, NEUTRAL)
    seen = np.concatenate([gap(clip.measured) for clip in train])
    # Lips pressed through each other by more than the person ever closed them.
    rng = np.random.default_rng(0)
    other = make_clip(20, 0, 1, 0, 0).generic
    pressed, wide = (replace(other, displacement=face(np.full(20, opening), rng)) for opening in (-0.05, 0.05))
    shown = adaptation.apply(pressed)
    loose = adaptation.basis.displacement(adaptation.coefficients(pressed))
    assert gap(loose).max() < seen.min() - 0.01
    assert gap(shown).min() >= np.percentile(seen, 0.5, axis=0).min() - 1e-4
    # The middle of the mouth stays where it was; open lips are left alone.
    assert np.allclose(shown[:, UPPER, 1] + shown[:, LOWER, 1], loose[:, UPPER, 1] + loose[:, LOWER, 1], atol=2e-3)
    assert np.array_equal(adaptation.apply(wide), adaptation.basis.displacement(adaptation.coefficients(wide)))


def gap(displacement: np.ndarray) -> np.ndarray:
    return (NEUTRAL + displacement)[:, UPPER, 1] - (NEUTRAL + displacement)[:, LOWER, 1]


@pytest.fixture(scope="module")
def fitted() -> tuple[Adaptation, PersonClip]:
    clip = make_clip(260, 1, 1.0, 0.0, 1.0)
    return fit_adaptation([clip], NEUTRAL)[0], clip


@pytest.mark.slow
def test_lips_of_another_sound_teach_nothing():
    """Twelve seconds of noise with lips that move otherwise: gain and offset, and nothing that was learnt."""
    clip = make_clip(300, 1, 1.0, 0.0, 0.0)
    other = replace(clip, generic=make_clip(300, 2, 1.0, 0.0, 0.0).generic)
    adaptation, figures = fit_adaptation([other], NEUTRAL)
    assert not adaptation.nets and not len(adaptation.speech) and "weight_nets" not in figures
    assert (adaptation.gain > 0).all()


@pytest.mark.parametrize(
    "damage",
    ["gain", "basis.synthesis", "speech", "last", "net.0.enter", "net.2.layers", "nan", "seen", "huge", "many"],
)
def test_damaged_file_is_an_input_error(tmp_path, fitted, damage):
    fitted[0].save(tmp_path / "a.safetensors")
    tensors = load_tensors(tmp_path / "a.safetensors")
    if damage == "nan":
        tensors["offset"][0] = np.nan
    elif damage == "huge":
        # Finite as it stands in the file, infinite in the precision that is used.
        tensors["gain"] = tensors["gain"].astype(np.float64) + 1e300
    elif damage == "many":
        tensors["seen"] = np.zeros((3000, tensors["seen"].shape[1]), np.float16)
    else:
        tensors[damage] = tensors[damage][..., :-1] if damage == "seen" else tensors[damage][:-1]
    save_tensors(tmp_path / "a.safetensors", tensors)
    with pytest.raises(InputError, match="damaged"):
        Adaptation.load(tmp_path / "a.safetensors")


def test_save_and_load(tmp_path, fitted):
    adaptation, clip = fitted
    adaptation.save(tmp_path / "a.safetensors")
    again = Adaptation.load(tmp_path / "a.safetensors")
    assert np.array_equal(again.apply(clip.generic), adaptation.apply(clip.generic))
    assert (again.past_frames, again.future_frames) == (adaptation.past_frames, adaptation.future_frames)
