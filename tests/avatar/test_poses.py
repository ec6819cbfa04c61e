"""The head-pose path: only training frames, no jump in position, bounded jump in velocity, any length."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.avatar import poses
from geneface.avatar.poses import PATH_LIMIT_FRAMES, amplified, as_pose, build_path, pose_values, training_runs
from geneface.types import HeadPose


def replay(path: HeadPose, start: int, stop: int) -> HeadPose:
    return as_pose(poses.replay(pose_values(path), np.arange(start, stop, dtype=np.float64)))


def build_pose_path(pose: HeadPose, runs: list[slice]) -> HeadPose:
    return build_path(pose, runs, np.zeros((len(pose), 0), np.float32))[0]


def _values(pose: HeadPose) -> np.ndarray:
    return np.concatenate([pose.rotation, pose.translation], axis=1)


def _swaying(frames: int, seed: int = 0, noise: float = 0.0) -> HeadPose:
    rng = np.random.default_rng(seed)
    time = np.arange(frames)[:, None] / 25
    rotation = 0.12 * np.sin(2 * np.pi * time * np.array([0.21, 0.33, 0.13]) + rng.uniform(0, 6, 3))
    translation = np.array([0.0, 0.0, -4.0]) + 0.05 * np.sin(2 * np.pi * time * np.array([0.17, 0.11, 0.07]))
    rotation = rotation + noise * rng.standard_normal((frames, 3))
    return HeadPose(rotation.astype(np.float32), translation.astype(np.float32))


def test_runs_are_cut_at_segments_and_at_heldout_frames() -> None:
    segment = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    usable = np.array([True, True, False, True, True, False, True, True])
    assert training_runs(segment, usable) == [slice(0, 2), slice(3, 5), slice(6, 7), slice(7, 8)]


def test_heldout_frames_do_not_matter() -> None:
    pose = _swaying(400)
    segment, usable = np.zeros(400, int), np.arange(400) < 300
    spoiled = HeadPose(pose.rotation.copy(), pose.translation.copy())
    spoiled.rotation[300:] = 2.0
    runs = training_runs(segment, usable)
    np.testing.assert_array_equal(_values(build_pose_path(pose, runs)), _values(build_pose_path(spoiled, runs)))


def test_tracking_noise_is_removed_and_amplitude_stays() -> None:
    clean, noisy = _swaying(500), _swaying(500, noise=0.012)
    path = build_pose_path(noisy, [slice(0, 500)])
    assert np.abs(path.rotation[20:-20] - clean.rotation[20:-20]).std() < 0.006
    assert path.rotation.std(0) == pytest.approx(clean.rotation.std(0), rel=0.1)


@pytest.mark.parametrize("frames", [1, 2, 7, 40, 300])
def test_replay_has_no_jump_in_position_or_velocity(frames: int) -> None:
    path = _swaying(frames)
    speed = np.abs(np.diff(_values(path), axis=0)).max(initial=0)
    acceleration = np.abs(np.diff(_values(path), n=2, axis=0)).max(initial=0)
    replayed = _values(replay(path, 0, 4 * frames + 200))
    assert np.isfinite(replayed).all()
    assert np.abs(np.diff(replayed, axis=0)).max() <= 1.3 * speed + 1e-6
    # At an end the path's own velocity is brought to zero over the turn: at most pi / 2 / turn of it a frame.
    assert (
        np.abs(np.diff(replayed, n=2, axis=0)).max()
        <= 1.3 * (acceleration + speed * np.pi / 2 / min(24, max(frames - 1, 1))) + 1e-6
    )


def test_plain_ping_pong_would_fail_that_bound() -> None:
    path = HeadPose(np.linspace(0, 1, 50, dtype=np.float32)[:, None].repeat(3, 1), np.zeros((50, 3), np.float32))
    plain = np.concatenate([_values(path), _values(path)[-2::-1]])
    ours = _values(replay(path, 0, 400))
    assert np.abs(np.diff(ours, n=2, axis=0)).max() < 0.1 * np.abs(np.diff(plain, n=2, axis=0)).max()


def test_replay_visits_the_whole_path_and_returns() -> None:
    path = _swaying(200)
    leg = 199 + 24
    replayed = _values(replay(path, 0, 2 * leg + 1))
    ends = _values(path)[[0, -1]]
    np.testing.assert_allclose(replayed[[0, leg, 2 * leg]], ends[[0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(replayed[leg : 2 * leg + 1], replayed[leg::-1], atol=1e-5)


def test_replay_in_pieces_is_the_replay_in_one() -> None:
    path = _swaying(90)
    whole = _values(replay(path, 5, 1005))
    pieces = [_values(replay(path, start, min(start + 130, 1005))) for start in range(5, 1005, 130)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_clips_are_joined_smoothly() -> None:
    clips = [_swaying(75, seed) for seed in range(12)]
    pose = HeadPose(np.concatenate([c.rotation for c in clips]), np.concatenate([c.translation for c in clips]))
    runs = [slice(75 * index, 75 * index + 75) for index in range(12)]
    path = _values(build_pose_path(pose, runs))
    natural = np.concatenate([np.diff(_values(clip), axis=0) for clip in clips])
    # Cut end to end, the clips would jump by many times the fastest natural step.
    jump = np.abs(np.diff(_values(pose), axis=0)).max()
    fastest = np.abs(np.diff(path, axis=0)).max()
    assert jump > 3 * np.abs(natural).max()
    assert fastest < 1.6 * np.abs(natural).max()
    assert np.abs(np.diff(path, n=2, axis=0)).max() < 0.35 * fastest


def test_path_is_bounded_and_too_short_runs_give_a_still_head() -> None:
    long = build_pose_path(_swaying(5000), [slice(0, 5000)])
    assert len(long) == PATH_LIMIT_FRAMES
    still = build_pose_path(_swaying(5), [slice(0, 5)])
    assert len(still) == 1
    assert np.ptp(_values(replay(still, 0, 100)), axis=0).max() == 0


def test_the_torso_goes_along_the_path_with_the_head() -> None:
    head = _swaying(200)
    torso = np.stack([head.rotation[:, :2], 0.5 * head.translation[:, :2]], axis=1)
    path = build_pose_path(HeadPose(head.rotation, head.translation, torso), [slice(0, 80), slice(90, 200)])
    played = replay(path, 30, 700)
    assert played.torso is not None and played.torso.shape == (670, 2, 2)
    # Whatever is done to the head's pose is done to them: they stay what they were made of.
    np.testing.assert_allclose(played.torso[:, 0], played.rotation[:, :2], atol=1e-5)
    np.testing.assert_allclose(played.torso[:, 1], 0.5 * played.translation[:, :2], atol=1e-5)
    assert replay(build_pose_path(head, [slice(0, 200)]), 0, 9).torso is None


def test_what_is_recorded_along_the_path_stays_with_its_frames_and_chooses_none() -> None:
    clips = [_swaying(75, seed) for seed in range(6)]
    pose = HeadPose(np.concatenate([c.rotation for c in clips]), np.concatenate([c.translation for c in clips]))
    runs = [slice(75 * index, 75 * index + 75) for index in range(6)]
    path, along = build_path(pose, runs, 100 * pose.rotation[:, :2])
    np.testing.assert_allclose(along, 100 * path.rotation[:, :2], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(_values(path), _values(build_pose_path(pose, runs)))


def test_a_gain_scales_the_movement_about_its_middle() -> None:
    path, times = _swaying(200), np.arange(400.0)
    plain, half = (poses.replay(amplified(_values(path), gain), times) for gain in (1.0, 0.5))
    middle = np.median(_values(path), axis=0)
    np.testing.assert_allclose(half - middle, 0.5 * (plain - middle), atol=1e-5)
