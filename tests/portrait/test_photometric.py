"""Poses refined on pictures of a flat head whose every pixel follows from a closed form."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.geometry.pose import solve_head_poses, with_poses
from geneface.geometry.rotation import rotation_matrix, rotation_vector
from geneface.io.face_mesh import mean_face
from geneface.portrait.photometric import covered, luminance, refine_poses, sample
from geneface.types import Camera, FloatArray, HeadPose

SIZE = 96
CAMERA = Camera(4.5, SIZE, SIZE)
DEPTH = 0.1
HALF = 0.42
"""Half the side of the square that the person covers, head units."""


def flat_face() -> FloatArray:
    mesh = mean_face()
    mesh[:, 2] = DEPTH
    return mesh


def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    waves = np.sin(31 * x + 3) + np.sin(27 * y - 1) + np.sin(19 * (x + y)) + np.sin(23 * (x - y) + 2)
    return 128 + 25 * waves


def picture(rotation: np.ndarray, translation: np.ndarray, gain: float = 1.0) -> tuple[FloatArray, FloatArray]:
    """Brightness and matte: the ray of every pixel meets the head's plane; a still pattern stands behind it."""
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    focal = CAMERA.focal * SIZE
    rays = np.stack([(columns - SIZE / 2) / focal, (SIZE / 2 - rows) / focal, -np.ones((SIZE, SIZE))], -1)
    turn = rotation_matrix(rotation)
    origin, direction = -turn.T @ translation, rays @ turn
    along = (DEPTH - origin[2]) / direction[..., 2]
    x, y = origin[0] + along * direction[..., 0], origin[1] + along * direction[..., 1]
    person = (np.abs(x) < HALF) & (np.abs(y) < HALF)
    behind = 128 + 60 * np.sin(columns * 0.8) * np.sin(rows * 0.7)
    return np.where(person, gain * texture(x, y), behind).astype(np.float32), person.astype(np.float32)


@pytest.fixture(scope="module")
def moving() -> tuple[HeadPose, list[tuple[FloatArray, FloatArray]]]:
    time = np.arange(24) / 24
    rotation = np.stack([0.06 * np.sin(5 * time), 0.09 * np.cos(4 * time), 0.05 * np.sin(7 * time)], 1)
    translation = np.stack([0.04 * np.sin(3 * time), 0.03 * np.cos(5 * time), -4 - 0.1 * time], 1)
    frames = [picture(r, t, 1 + 0.1 * np.sin(i)) for i, (r, t) in enumerate(zip(rotation, translation, strict=True))]
    return HeadPose(rotation.astype(np.float32), translation.astype(np.float32)), frames


def spread(found: HeadPose, true: HeadPose) -> np.ndarray:
    """Deviation of the error of each unknown [6]; a shift that all frames share is the head's own frame."""
    turn = rotation_matrix(found.rotation) @ np.swapaxes(rotation_matrix(true.rotation), -1, -2)
    error = np.concatenate([rotation_vector(turn), found.translation - true.translation], 1)
    return error.std(0)


@pytest.mark.slow
def test_wrong_poses_come_back(moving):
    true, frames = moving
    rng = np.random.default_rng(0)
    wrong = HeadPose(
        (true.rotation + rng.normal(0, 0.01, (24, 3))).astype(np.float32),
        (true.translation + rng.normal(0, [0.004, 0.004, 0.02], (24, 3))).astype(np.float32),
    )
    trusted = np.arange(24) < 18
    seen = []

    def read(frame: int) -> tuple[FloatArray, FloatArray]:
        seen.append(frame)
        return frames[frame]

    found = refine_poses(read, wrong, flat_face(), trusted, CAMERA)
    before, after = spread(wrong, true), spread(found, true)
    assert (after[[2, 3, 4]] < 0.35 * before[[2, 3, 4]]).all()
    assert (after < 0.8 * before).all()
    # Frames that are held out are moved, each once, and never shape the appearance.
    assert sorted(frame for frame in seen if frame >= 18) == list(range(18, 24))


@pytest.mark.slow
def test_what_stands_still_behind_the_head_does_not_hold_it(moving):
    true, frames = moving
    still = [(image, np.ones_like(matte)) for image, matte in frames]
    start = HeadPose(true.rotation.copy(), true.translation.copy())
    everyone = np.ones(24, bool)
    right = refine_poses(lambda frame: frames[frame], start, flat_face(), everyone, CAMERA)
    held = refine_poses(lambda frame: still[frame], start, flat_face(), everyone, CAMERA)
    assert (spread(right, true)[3:5] < 0.002).all()
    assert spread(held, true)[3:5].max() > 2 * spread(right, true)[3:5].max()


@pytest.mark.slow
def test_a_frame_without_the_person_keeps_its_pose(moving):
    true, frames = moving
    hidden = [(image, np.zeros_like(matte) if number == 5 else matte) for number, (image, matte) in enumerate(frames)]
    found = refine_poses(lambda frame: hidden[frame], true, flat_face(), np.ones(24, bool), CAMERA)
    np.testing.assert_allclose(found.rotation[5], true.rotation[5], atol=1e-5)
    np.testing.assert_allclose(found.translation[5], true.translation[5], atol=1e-5)
    nowhere = [(image, np.zeros_like(matte)) for image, matte in frames]
    assert refine_poses(lambda frame: nowhere[frame], true, flat_face(), np.ones(24, bool), CAMERA) is true


def test_samples_and_their_gradients_are_bilinear():
    rng = np.random.default_rng(1)
    image = rng.uniform(0, 255, (9, 11)).astype(np.float32)
    places = rng.uniform(1.1, 8.0, (40, 2))
    values, gradient = sample(image, places)
    for (x, y), value, slope in zip(places, values, gradient, strict=True):
        column, row = int(x - 0.5), int(y - 0.5)
        u, v = x - 0.5 - column, y - 0.5 - row
        patch = image[row : row + 2, column : column + 2].astype(np.float64)
        expected = np.array([1 - v, v]) @ patch @ np.array([1 - u, u])
        assert value == pytest.approx(expected, abs=1e-3)
        assert slope[0] == pytest.approx(np.array([1 - v, v]) @ patch @ np.array([-1, 1]), abs=1e-3)
        assert slope[1] == pytest.approx(np.array([-1, 1]) @ patch @ np.array([1 - u, u]), abs=1e-3)
    assert covered(np.array([[0.0, 1.0]], np.float32), np.array([[0.5, 0.5], [1.5, 0.5], [9.0, 9.0]])).tolist() == [
        False,
        True,
        True,
    ]


def test_luminance_keeps_a_plain_picture():
    grey = luminance(np.full((8, 8, 3), 90, np.uint8))
    np.testing.assert_allclose(grey, 90, atol=1e-3)


def test_meshes_measured_anew_still_project_to_their_pixels():
    """Other poses leave what was tracked where it is."""
    from geneface.geometry.camera import project

    rng = np.random.default_rng(2)
    count = 6
    rotation = rng.normal(0, 0.05, (count, 3))
    translation = np.array([0, 0, -4.0]) + rng.normal(0, 0.01, (count, 3))
    pixels = np.zeros((count, 478, 3))
    for frame in range(count):
        seen = mean_face() @ rotation_matrix(rotation[frame]).T + translation[frame]
        pixels[frame, :, :2] = project(mean_face(), rotation[frame], translation[frame], CAMERA)
        pixels[frame, :, 2] = -seen[:, 2] * CAMERA.focal * SIZE / 4
    track = solve_head_poses(pixels, SIZE, SIZE, focal=CAMERA.focal)
    moved = HeadPose(track.pose.rotation + np.float32(0.01), track.pose.translation + np.float32(0.003))
    again = with_poses(track, moved, pixels, SIZE, SIZE, segments=np.zeros(count), smooth_frames=0)
    np.testing.assert_allclose(again.pose.rotation, moved.rotation, atol=1e-6)
    for frame in range(count):
        back = project(again.mesh[frame], again.pose.rotation[frame], again.pose.translation[frame], CAMERA)
        np.testing.assert_allclose(back, pixels[frame, :, :2], atol=0.01)
    assert np.abs(again.mesh - track.mesh).max() > 1e-3
