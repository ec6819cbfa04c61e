"""The camera by hand-made numbers and a loop over scipy's rotations."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from geneface.geometry.camera import pixels_to_camera, project, to_camera, to_head
from geneface.types import Camera

CAMERA = Camera(focal=2.0, width=100, height=80)


def test_axes_and_unit():
    # One unit to the right at distance 4 is focal / 4 = half an image width right of the middle; up is a smaller v.
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]])
    pixels = project(points, np.zeros(3), np.array([0, 0, -4.0]), CAMERA)
    np.testing.assert_allclose(pixels, [[50, 40], [100, 40], [50, -10]])


def test_a_head_that_turns_about_y_shows_its_right_side_receding():
    nose = np.array([[0, 0, 0.2]])
    turned = project(nose, np.array([0, 0.3, 0]), np.array([0, 0, -4.0]), CAMERA)
    assert turned[0, 0] > 50


def test_project_equals_a_naive_loop():
    rng = np.random.default_rng(1)
    points, rotation = rng.normal(size=(5, 6, 3)), rng.normal(size=(5, 3))
    translation = rng.normal(size=(5, 3)) - [0, 0, 8]
    found = project(points, rotation, translation, CAMERA)
    for frame in range(5):
        for number in range(6):
            x, y, z = Rotation.from_rotvec(rotation[frame]).apply(points[frame, number]) + translation[frame]
            expected = 50 + 2 * 100 * x / -z, 40 - 2 * 100 * y / -z
            np.testing.assert_allclose(found[frame, number], expected)


def test_lifting_pixels_and_going_back_to_the_head_are_inverses():
    rng = np.random.default_rng(2)
    points, rotation, translation = rng.normal(size=(6, 3)), rng.normal(size=3), np.array([0.1, 0.2, -9.0])
    seen = to_camera(points, rotation, translation)
    lifted = pixels_to_camera(project(points, rotation, translation, CAMERA), -seen[:, 2], CAMERA)
    np.testing.assert_allclose(to_head(lifted, rotation, translation), points, atol=1e-10)
