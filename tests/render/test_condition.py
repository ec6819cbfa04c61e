import numpy as np
import pytest

from geneface.geometry.landmarks import KEYPOINTS, LIPS, eye_openness
from geneface.geometry.topology import mean_face
from geneface.render.condition import (
    RANGE_MARGIN,
    TYPICAL_VALUE,
    fit_landmark_condition,
    fit_pose_condition,
    landmark_inputs,
    pose_inputs,
)


def moving_landmarks(frames: int = 80, seed: int = 0) -> np.ndarray:
    """The mean face with lips that open (strong) and a chin-to-brow stretch (weak), and a little noise."""
    rng = np.random.default_rng(seed)
    points = np.repeat(mean_face()[list(KEYPOINTS)][None], frames, 0).astype(np.float64)
    points[:, LIPS, 1] += 0.03 * rng.normal(size=(frames, 1)) * np.sign(points[:, LIPS, 1] - points[:, LIPS, 1].mean())
    points[:, :, 1] *= 1 + 0.004 * rng.normal(size=(frames, 1))
    return (points + rng.normal(0, 1e-5, points.shape)).astype(np.float32)


def test_components_are_uncorrelated_and_ordered_by_variance():
    landmarks = moving_landmarks()
    condition = fit_landmark_condition(landmarks, 6)
    values = condition(landmark_inputs(landmarks))[:, :6].astype(np.float64)
    assert condition.width == 8
    deviation = values.std(0)
    assert deviation[0] == pytest.approx(TYPICAL_VALUE, rel=1e-3)
    assert (np.diff(deviation) <= 1e-6).all()
    correlation = np.corrcoef(values[:, :2].T)[0, 1]
    assert abs(correlation) < 1e-3


def test_two_components_rebuild_two_motions():
    landmarks = moving_landmarks()
    condition = fit_landmark_condition(landmarks, 2)
    values = condition(landmark_inputs(landmarks))[:, :2].astype(np.float64)
    flat = landmarks.reshape(len(landmarks), -1).astype(np.float64)
    design = np.column_stack([np.ones(len(values)), values])
    rebuilt = design @ np.linalg.lstsq(design, flat, rcond=None)[0]
    assert np.abs(rebuilt - flat).max() < 5e-4
    assert np.abs(flat - flat.mean(0)).max() > 0.02


def test_eyes_have_values_of_their_own():
    landmarks = moving_landmarks()
    condition = fit_landmark_condition(landmarks, 4)
    values = condition(landmark_inputs(landmarks))
    for side in range(2):
        openness = eye_openness(landmarks)[:, side]
        assert np.corrcoef(values[:, 4 + side], openness)[0, 1] > 0.999


def test_values_are_clipped_a_little_outside_of_the_training_range():
    landmarks = moving_landmarks()
    condition = fit_landmark_condition(landmarks, 3)
    seen = condition(landmark_inputs(landmarks))
    wild = landmarks[0].copy()
    wild[LIPS, 1] += np.linspace(-1, 1, len(LIPS))
    values = condition(landmark_inputs(wild))
    margin = RANGE_MARGIN * np.ptp(seen, axis=0)
    assert (values <= seen.max(0) + margin + 1e-4).all() and (values >= seen.min(0) - margin - 1e-4).all()
    assert (values > seen.max(0) + 1e-6).any() or (values < seen.min(0) - 1e-6).any()


def test_one_frame_gives_a_usable_condition():
    landmarks = moving_landmarks(1)
    values = fit_landmark_condition(landmarks, 16)(landmark_inputs(landmarks))
    assert np.isfinite(values).all() and np.abs(values).max() < 1e-3


def test_a_still_head_is_not_blown_up():
    rng = np.random.default_rng(0)
    rotation = rng.normal(0, 1e-5, (50, 3)).astype(np.float32)
    translation = np.array([0, 0, -3], np.float32) + rng.normal(0, 1e-5, (50, 3)).astype(np.float32)
    values = fit_pose_condition(rotation, translation)(pose_inputs(rotation, translation))
    assert np.abs(values).max() < 0.01
