"""Head poses are recovered from projections of a known face with known poses, as a tracker would report them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geneface.geometry.camera import project, to_camera
from geneface.geometry.landmarks import STABLE_MESH
from geneface.geometry.pose import FACE_HEIGHT, orient, smooth_in_time, smooth_rotations, solve_head_poses
from geneface.geometry.rotation import rotation_matrix
from geneface.io.face_mesh import mean_face
from geneface.types import Camera

SIZE = 300
FRAMES = 90


def moving_head(focal: float = 4.5, noise_px: float = 0.0, seed: int = 0):
    """Tracked meshes [F, 478, 3] of the mean face with a jaw that opens, and the truth."""
    rng = np.random.default_rng(seed)
    time = np.arange(FRAMES) / 25
    rotation = np.stack([0.15 * np.sin(2 * time), 0.3 * np.sin(1.1 * time), 0.05 * np.cos(1.7 * time)], axis=-1)
    translation = np.stack([0.05 * np.sin(time), 0.03 * np.cos(2 * time), -focal * (1 + 0.04 * np.sin(0.8 * time))], -1)
    face = np.tile(mean_face().astype(float), (FRAMES, 1, 1))
    chin = face[0, :, 1] < face[0, 14, 1] + 0.001
    face[:, chin, 1] -= 0.03 * (1 - np.cos(5 * time))[:, None] / 2
    camera = Camera(focal, SIZE, SIZE)
    seen = to_camera(face, rotation, translation)
    pixels = project(face, rotation, translation, camera)
    # The tracker's depth: relative, in pixels, smaller nearer to the camera.
    depth = -(seen[..., 2] - seen[:, :1, 2]) * (focal * SIZE / -translation[:, 2])[:, None]
    mesh = np.concatenate([pixels, depth[..., None]], axis=-1)
    return mesh + rng.normal(size=mesh.shape) * noise_px, face, rotation, translation, camera


def turn_error_degrees(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Angles between poses, without the constant turn of one head frame against the other."""
    relative = Rotation.from_rotvec(truth).inv() * Rotation.from_rotvec(found)
    return np.degrees((relative.mean().inv() * relative).magnitude())


def test_poses_of_a_clean_track_are_recovered():
    mesh, _, rotation, translation, camera = moving_head()
    track = solve_head_poses(mesh, SIZE, SIZE, focal=camera.focal, smooth_frames=0, smooth_depth_frames=0)
    assert turn_error_degrees(track.pose.rotation, rotation).max() < 0.4
    np.testing.assert_allclose(track.pose.translation[:, 2], translation[:, 2], rtol=0.02)
    assert track.reprojection_px.max() < 0.2


def test_with_a_known_neutral_face_the_poses_are_exact():
    mesh, _, rotation, translation, camera = moving_head()
    track = solve_head_poses(
        mesh, SIZE, SIZE, focal=camera.focal, neutral=mean_face(), smooth_frames=0, smooth_depth_frames=0
    )
    np.testing.assert_allclose(rotation_matrix(track.pose.rotation), rotation_matrix(rotation), atol=1e-4)
    np.testing.assert_allclose(track.pose.translation, translation, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("smooth", [0.0, 2.0])
def test_projecting_the_canonical_mesh_gives_back_the_tracked_pixels(smooth: float):
    mesh, *_ = moving_head(noise_px=0.5)
    track = solve_head_poses(mesh, SIZE, SIZE, smooth_frames=smooth, smooth_depth_frames=3 * smooth)
    camera = Camera(track.focal, SIZE, SIZE)
    pixels = project(track.mesh, track.pose.rotation, track.pose.translation, camera)
    np.testing.assert_allclose(pixels, mesh[..., :2], atol=0.01)


def test_the_canonical_mesh_keeps_the_jaw_and_drops_the_pose():
    mesh, face, *_, camera = moving_head()
    track = solve_head_poses(mesh, SIZE, SIZE, focal=camera.focal)
    stable = list(STABLE_MESH)
    assert np.std(track.mesh[:, stable], axis=0).max() < 0.004
    opening = track.mesh[:, 13, 1] - track.mesh[:, 14, 1]
    truth = face[:, 13, 1] - face[:, 14, 1]
    assert np.corrcoef(opening, truth)[0, 1] > 0.995
    assert np.std(opening) == pytest.approx(np.std(truth), rel=0.1)


def test_smoothing_halves_the_noise_at_least_and_does_not_lag():
    mesh, _, rotation, _, camera = moving_head(noise_px=1.0)
    known = {"focal": camera.focal, "neutral": mean_face()}
    raw = solve_head_poses(mesh, SIZE, SIZE, smooth_frames=0, smooth_depth_frames=0, **known)
    smooth = solve_head_poses(mesh, SIZE, SIZE, **known)
    assert (
        turn_error_degrees(smooth.pose.rotation, rotation).mean()
        < 0.5 * turn_error_degrees(raw.pose.rotation, rotation).mean()
    )
    # Against the truth delayed by a frame the error is larger, to either side alike.
    inner = slice(5, -5)
    errors = [
        turn_error_degrees(smooth.pose.rotation[inner], np.roll(rotation, lag, axis=0)[inner]).mean()
        for lag in (-1, 0, 1)
    ]
    assert errors[1] < min(errors[0], errors[2])


def test_poses_are_not_smoothed_across_a_change_of_segment():
    mesh, *_ = moving_head()
    rng = np.random.default_rng(0)
    other = mesh.copy()
    other[60:] += rng.normal(size=(1, 1, 3)) * 20
    label = np.arange(FRAMES) >= 60
    known = {"focal": 4.5, "neutral": mean_face(), "segments": label}
    first = solve_head_poses(mesh, SIZE, SIZE, **known)
    second = solve_head_poses(other, SIZE, SIZE, **known)
    np.testing.assert_allclose(first.pose.rotation[:60], second.pose.rotation[:60], atol=1e-6)


def test_outliers_hardly_move_the_pose():
    mesh, _, rotation, _, camera = moving_head()
    mesh[:, list(STABLE_MESH[:5]), :2] += 40
    track = solve_head_poses(mesh, SIZE, SIZE, focal=camera.focal, neutral=mean_face(), smooth_frames=0)
    assert turn_error_degrees(track.pose.rotation, rotation).max() < 1.5


@pytest.mark.slow
def test_focal_length_is_recovered_roughly_where_the_head_moves_much():
    near = solve_head_poses(moving_head(focal=2.0)[0], SIZE, SIZE).focal
    far = solve_head_poses(moving_head(focal=9.0)[0], SIZE, SIZE).focal
    assert near < 3.2 < 6 < far


@pytest.mark.slow
def test_neutral_face_has_the_head_frames_unit_place_and_axes():
    mesh, *_ = moving_head()
    neutral = solve_head_poses(mesh, SIZE, SIZE).neutral
    assert np.linalg.norm(neutral[10] - neutral[152]) == pytest.approx(FACE_HEIGHT, rel=1e-3)
    assert neutral[[234, 454], 0].mean() == pytest.approx(0, abs=1e-3)
    assert neutral[4, 2] == neutral[:468, 2].max() or neutral[4, 2] > 0.9 * neutral[:468, 2].max()
    assert neutral[454, 0] > 0 > neutral[234, 0]
    assert neutral[10, 1] > 0 > neutral[152, 1]


def test_orient_undoes_any_similarity():
    face = orient(mean_face())
    turn = rotation_matrix([0.4, -0.7, 0.2])
    np.testing.assert_allclose(orient(37 * face @ turn.T + [5, 6, 7]), face, atol=1e-9)


def test_a_steady_motion_is_smoothed_to_itself_up_to_the_ends():
    ramp = np.stack([np.arange(30.0), -2 * np.arange(30.0)], axis=-1)
    np.testing.assert_allclose(smooth_in_time(ramp, np.zeros(30), 2.0), ramp, atol=1e-9)


def test_short_and_single_runs_are_smoothed_too():
    values = np.arange(4.0)[:, None] * 10
    np.testing.assert_allclose(smooth_in_time(values, [0, 1, 1, 2], 3.0)[[0, 3]], values[[0, 3]])


def test_rotations_near_half_a_turn_are_smoothed_without_a_flip():
    angles = np.pi + 0.05 * np.sin(np.arange(40))
    rotation = rotation_matrix(np.stack([0 * angles, angles, 0 * angles], axis=-1))
    smooth = rotation_matrix(smooth_rotations(Rotation.from_matrix(rotation).as_rotvec(), np.zeros(40), 1.0))
    assert np.degrees(Rotation.from_matrix(rotation.transpose(0, 2, 1) @ smooth).magnitude()).max() < 4
