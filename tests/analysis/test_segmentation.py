"""Mattes against composites whose matte is known; head and torso against a drawn jaw."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.analysis.background import Plate
from geneface.analysis.segmentation import refine_matte, split_head, steady_mattes
from geneface.geometry.camera import project
from geneface.geometry.landmarks import MESH_OVAL
from geneface.imaging.filters import erode, gaussian_blur, square
from geneface.imaging.shapes import pixels_inside_polygon
from geneface.io.face_mesh import mean_face
from geneface.types import Camera

SIZE = 128
Y, X = np.mgrid[:SIZE, :SIZE] + 0.5


def blob(radius: float, center: tuple[float, float] = (SIZE / 2, SIZE / 2)) -> np.ndarray:
    return np.clip(radius + 0.5 - np.hypot(X - center[0], Y - center[1]), 0, 1).astype(np.float32)


def scene(back: np.ndarray, matte: np.ndarray) -> tuple[np.ndarray, Plate]:
    rng = np.random.default_rng(0)
    person = np.array([180, 120, 90]) + rng.normal(size=(SIZE, SIZE, 3)) * 6
    image = back * (1 - matte[..., None]) + person * matte[..., None] + rng.normal(size=(SIZE, SIZE, 3)) * 2
    plate = Plate(back.astype(np.float32), np.ones((SIZE, SIZE), np.float32), np.full((SIZE, SIZE), 2, np.float32))
    return np.clip(image, 0, 255).astype(np.uint8), plate


def test_the_plate_sharpens_a_blurred_and_shifted_matte():
    truth = blob(40)
    image, plate = scene(np.tile([20.0, 110, 200], (SIZE, SIZE, 1)), truth)
    rough = gaussian_blur(blob(41.5, (65, 64)), 2)
    refined = refine_matte(image, rough, plate)
    assert np.abs(refined - truth).mean() < 0.25 * np.abs(rough - truth).mean()


def test_a_change_of_light_is_no_person():
    truth = blob(40)
    image, plate = scene(np.tile([20.0, 110, 200], (SIZE, SIZE, 1)), truth)
    brighter = np.clip(image.astype(int) + 15, 0, 255).astype(np.uint8)
    refined = refine_matte(brighter, gaussian_blur(truth, 1.5), plate)
    assert refined[truth == 0].max() < 0.2


def test_a_background_like_the_person_leaves_the_matte_alone():
    truth = blob(40)
    image, plate = scene(np.tile([175.0, 125, 95], (SIZE, SIZE, 1)), truth)
    rough = gaussian_blur(truth, 1.5)
    np.testing.assert_allclose(refine_matte(image, rough, plate), rough, atol=0.06)


@pytest.fixture(scope="module")
def mesh() -> np.ndarray:
    return project(mean_face(), np.zeros(3), np.array([0, 0.05, -4.0]), Camera(2.6, SIZE, SIZE))


@pytest.fixture(scope="module")
def person() -> np.ndarray:
    """A head with ears and a neck on shoulders."""
    shoulders = ((Y > 104) & (np.abs(X - 64) < 50)).astype(np.float32)
    neck = ((Y > 60) & (np.abs(X - 64) < 14)).astype(np.float32)
    return np.maximum(np.maximum(blob(36, (64, 50)), shoulders), neck)


def test_head_and_torso_are_the_whole_person(mesh: np.ndarray, person: np.ndarray):
    head, torso = split_head(person, mesh)
    assert (head + torso).max() <= 1 + 1e-6
    assert np.abs(head + torso - person).mean() < 0.02


def test_face_and_hair_are_head_and_neck_and_clothes_are_torso(mesh: np.ndarray, person: np.ndarray):
    head, torso = split_head(person, mesh)
    chin = mesh[152]
    assert head[int(chin[1]) - 3, int(chin[0])] > 0.95
    assert head[17, 64] > 0.95
    assert torso[int(chin[1]) + 3, int(chin[0])] > 0.95
    assert torso[120, 30] > 0.95
    inside = erode(pixels_inside_polygon(mesh[list(MESH_OVAL), :2], SIZE, SIZE), square(2))
    assert head[inside].min() > 0.95


def test_the_face_is_whole_where_the_matte_has_a_hole(mesh: np.ndarray, person: np.ndarray):
    holed = person.copy()
    holed[55:66, 56:72] = 0
    assert split_head(holed, mesh)[0][55:66, 56:72].min() > 0.95


def test_a_raised_hand_is_not_head(mesh: np.ndarray, person: np.ndarray):
    hand = np.maximum(person, blob(6, (115, 20)))
    assert split_head(hand, mesh)[0][20, 115] == 0


def test_the_jaw_line_moves_by_parts_of_a_pixel(mesh: np.ndarray, person: np.ndarray):
    areas = [float(split_head(person, mesh + np.array([0, step]))[0].sum()) for step in (0, 0.25, 0.5, 0.75, 1.0)]
    steps = np.diff(areas)
    assert (steps > 0).all() and steps.max() < 2 * steps.min()


def test_averaging_follows_the_head(mesh: np.ndarray):
    steps = np.array([[-3.0, 0], [0, 0], [3.0, 1]])
    meshes = np.stack([mesh[:, :2] + step for step in steps])
    mattes = [blob(30, (64 + dx, 64 + dy)) for dx, dy in steps]
    np.testing.assert_allclose(steady_mattes(mattes, meshes), mattes[1], atol=0.1)
    noisy = [matte.copy() for matte in mattes]
    noisy[1][60:70, 60:70] = 0
    assert steady_mattes(noisy, meshes)[65, 65] == pytest.approx(0.5, abs=0.05)
