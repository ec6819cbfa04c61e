import numpy as np
import pytest

from geneface.geometry.landmarks import BROWS, EYES, KEYPOINTS, LEFT_EYE, LIPS, RIGHT_EYE, eye_openness
from geneface.io.face_mesh import mean_face
from geneface.render.condition import (
    EXCESS,
    RARE_FRAMES,
    SOFTNESS,
    TYPICAL_VALUE,
    FaceConditions,
    fit_conditions,
    fit_pose,
    landmark_inputs,
    pose_inputs,
    soft_clip,
)
from geneface.types import FloatArray


def moving_landmarks(frames: int = 200, seed: int = 0) -> FloatArray:
    """The mean face with lips that open, brows that rise, lids that blink now and then, and a little noise."""
    rng = np.random.default_rng(seed)
    points = np.repeat(mean_face()[list(KEYPOINTS)][None], frames, 0).astype(np.float64)
    points[:, LIPS, 1] += 0.03 * rng.normal(size=(frames, 1)) * np.sign(points[:, LIPS, 1] - points[:, LIPS, 1].mean())
    points[:, BROWS, 1] += 0.01 * rng.normal(size=(frames, 1))
    closed = (np.arange(frames) % 40 < 4).astype(float)
    for eye in (LEFT_EYE, RIGHT_EYE):
        lower, upper = eye[1:8], eye[15:8:-1]
        points[:, upper] += 0.8 * closed[:, None, None] * (points[:, lower] - points[:, upper])
    return (points + rng.normal(0, 1e-4, points.shape)).astype(np.float32)


def conditions_of(landmarks: FloatArray, components: int = 6) -> FaceConditions:
    rng = np.random.default_rng(1)
    pose = rng.normal(0, 0.1, (2, len(landmarks), 3)).astype(np.float32)
    return fit_conditions(landmarks, pose[0], pose[1], components)


def test_components_are_uncorrelated_and_ordered_by_variance():
    landmarks = moving_landmarks()
    values = conditions_of(landmarks).mouth.raw(landmark_inputs(landmarks)).astype(np.float64)
    assert values.shape == (200, 6)
    deviation = values.std(0)
    assert deviation[0] == pytest.approx(TYPICAL_VALUE, rel=1e-3)
    assert (np.diff(deviation) <= 1e-6).all()
    assert abs(np.corrcoef(values[:, :2].T)[0, 1]) < 1e-3


@pytest.mark.parametrize(("part", "group"), [("eyes", EYES), ("brows", BROWS), ("mouth", LIPS)])
def test_each_part_answers_to_its_own_landmarks_only(part, group):
    landmarks = moving_landmarks()
    conditions = conditions_of(landmarks)
    moved = landmarks[5].copy()
    moved[group] += np.random.default_rng(2).normal(0, 0.02, moved[group].shape).astype(np.float32)
    before, after = conditions.expression(landmarks[5]), conditions.expression(moved)
    for name, place in conditions.parts.items():
        same = np.array_equal(before.values[place], after.values[place])
        assert same == (name != part)
        if name != part:
            np.testing.assert_array_equal(before.excess[place], after.excess[place])


def test_eyes_are_openness_and_gaze():
    landmarks = moving_landmarks()
    values = conditions_of(landmarks).eyes.raw(landmark_inputs(landmarks))
    for side in range(2):
        assert np.corrcoef(values[:, side], eye_openness(landmarks)[:, side])[0, 1] > 0.999
    looking = landmarks.copy()
    irises = np.setdiff1d(EYES, np.concatenate([LEFT_EYE, RIGHT_EYE]))
    looking[:, irises, 0] += 0.01
    moved = conditions_of(landmarks).eyes.raw(landmark_inputs(looking)) - values
    assert (moved[:, 2] > 0.1).all() and np.abs(moved[:, [0, 1, 3]]).max() < 1e-3


def test_what_was_seen_passes_unchanged():
    landmarks = moving_landmarks()
    conditions = conditions_of(landmarks)
    inputs = landmark_inputs(landmarks)
    for name in ("eyes", "brows", "mouth"):
        one = getattr(conditions, name)
        raw = one.raw(inputs)
        inside = ((raw >= one.lower) & (raw <= one.upper)).all(1)
        inside &= np.sqrt(np.square(raw / one.deviation).sum(1)) <= one.radius
        assert inside.mean() > 0.8
        held, excess = one.split(inputs[inside])
        np.testing.assert_allclose(held, raw[inside], atol=1e-5)
        np.testing.assert_allclose(excess, 0, atol=1e-5)


def test_blinks_that_were_seen_are_inside():
    landmarks = moving_landmarks()
    eyes = conditions_of(landmarks).eyes
    closed = landmarks[(np.arange(200) % 40) == 1]
    held, _ = eyes.split(landmark_inputs(closed))
    np.testing.assert_allclose(held[:, :2], eyes.raw(landmark_inputs(closed))[:, :2], atol=0.05)


def test_combinations_are_held_near_what_was_seen():
    landmarks = moving_landmarks()
    mouth = conditions_of(landmarks).mouth
    corner = np.where(np.arange(mouth.width) % 2, mouth.lower, mouth.upper)
    distance = np.sqrt(np.square(mouth.held(corner) / mouth.deviation).sum())
    assert np.sqrt(np.square(corner / mouth.deviation).sum()) > 1.1 * mouth.radius
    assert distance <= (1 + SOFTNESS) * mouth.radius + 1e-4


def test_values_far_beyond_are_bounded_and_never_come_back():
    landmarks = moving_landmarks()
    conditions = conditions_of(landmarks)
    for name in ("brows", "mouth", "eyes"):
        one = getattr(conditions, name)
        ray = np.linspace(0, 50, 200)[:, None] * one.upper
        held = one.held(ray)
        assert (np.diff(np.linalg.norm(held / one.deviation, axis=1)) >= -1e-4).all()
        assert (np.abs(held) <= np.abs(one.upper) + SOFTNESS * (one.upper - one.lower) + 1e-4).all()
    far = landmarks[0].copy()
    far[LIPS, 1] += np.linspace(-5, 5, len(LIPS))
    _, excess = conditions.mouth.split(landmark_inputs(far))
    reach = EXCESS * (conditions.mouth.upper - conditions.mouth.lower)
    assert (np.abs(excess) <= reach + 1e-5).all() and np.abs(excess).max() > 0.5 * reach.max()


def test_lids_that_never_closed_are_closed_by_the_excess():
    landmarks = moving_landmarks()
    awake = landmarks[(np.arange(200) % 40) >= 4]
    conditions = conditions_of(awake)
    shut = awake[0].copy()
    for eye in (LEFT_EYE, RIGHT_EYE):
        shut[eye[15:8:-1]] = shut[eye[1:8]]
    seen, beyond = conditions.eyes.split(landmark_inputs(shut))
    scale = np.diag(conditions.eyes.projection[-2:, :2])
    openness = conditions.eyes.mean[-2:] + (seen[:2] + beyond[:2]) / scale
    assert (openness < 0.3 * conditions.eyes.mean[-2:]).all()
    assert (conditions.eyes.mean[-2:] + seen[:2] / scale > 0.8 * conditions.eyes.mean[-2:]).all()


def test_a_single_odd_frame_does_not_widen_the_range():
    landmarks = moving_landmarks()
    odd = landmarks.copy()
    odd[7, LIPS, 1] *= 3
    assert RARE_FRAMES > 1
    one, two = conditions_of(landmarks).mouth, conditions_of(odd).mouth
    wild = two.raw(landmark_inputs(odd))[7]
    assert (np.abs(wild) > 1.3 * np.maximum(two.upper, -two.lower)).any()
    assert two.radius[0] < 2 * one.radius[0]


def test_soft_clip_is_smooth_and_the_identity_inside():
    lower, upper = np.array([-1.0]), np.array([2.0])
    values = np.linspace(-6, 7, 4001)[:, None]
    held = soft_clip(values, lower, upper)
    inside = (values >= lower) & (values <= upper)
    np.testing.assert_array_equal(held[inside], values[inside])
    slopes = np.diff(held[:, 0]) / np.diff(values[:, 0])
    assert (slopes >= 0).all() and (slopes <= 1 + 1e-9).all() and np.abs(np.diff(slopes)).max() < 0.02
    assert held.max() <= 2 + SOFTNESS * 3 and held.min() >= -1 - SOFTNESS * 3


def test_few_frames_define_few_components():
    landmarks = moving_landmarks(60)
    assert conditions_of(landmarks, 16).mouth.width == 2
    assert conditions_of(landmarks[:1], 16).mouth.width == 1


def test_one_frame_gives_a_usable_condition():
    landmarks = moving_landmarks(1)
    expression = conditions_of(landmarks, 16).expression(landmarks)
    assert np.isfinite(expression.values).all() and np.abs(expression.values).max() < 1e-3


def test_a_still_head_is_not_blown_up():
    rng = np.random.default_rng(0)
    rotation = rng.normal(0, 1e-5, (50, 3)).astype(np.float32)
    translation = np.array([0, 0, -3], np.float32) + rng.normal(0, 1e-5, (50, 3)).astype(np.float32)
    values = fit_pose(rotation, translation)(pose_inputs(rotation, translation))
    assert np.abs(values).max() < 0.01


def test_tensors_bring_the_conditions_back():
    landmarks = moving_landmarks()
    conditions = conditions_of(landmarks)
    again = FaceConditions.from_tensors(conditions.tensors())
    np.testing.assert_array_equal(conditions.expression(landmarks).values, again.expression(landmarks).values)
    tensors = conditions.tensors()
    del tensors["condition.brows.lower"]
    with pytest.raises(KeyError, match=r"condition\.brows\.lower"):
        FaceConditions.from_tensors(tensors)
