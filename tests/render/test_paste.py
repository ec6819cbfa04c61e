"""A pasted lower face: what is real stays real, and light that differs leaves no edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from geneface.geometry.camera import project
from geneface.geometry.landmarks import EYES, JAW, LIPS, LOWER_FACE
from geneface.render.paste import Recorded, convex_hull, paste, seam_window, spoken_face
from geneface.render.renderer import RenderedFrame, Window
from geneface.types import Camera, FloatArray

from .synthetic import PaintedPortrait, painted_portrait


class PlainRenderer:
    """Draws one colour, or a picture of the camera's size."""

    def __init__(self, colours: FloatArray) -> None:
        self._colours = colours

    def render(
        self,
        landmarks: FloatArray,
        rotation: FloatArray,
        translation: FloatArray,
        camera: Camera,
        window: Window | None = None,
        torso: FloatArray | None = None,
    ) -> RenderedFrame:
        picture = np.broadcast_to(self._colours, (camera.height, camera.width, 3))
        assert window is not None
        part = np.array(picture[window.rows, window.columns], np.float32)
        opacity = np.ones(part.shape[:2], np.float32)
        return RenderedFrame(np.dstack([part, opacity]), opacity, part)


@pytest.fixture(scope="module")
def portrait() -> PaintedPortrait:
    return painted_portrait()


def recorded_frame(portrait: PaintedPortrait, frame: int, **values: Any) -> Recorded:
    pose = portrait.pose
    return Recorded(portrait.landmarks[frame], pose.rotation[frame], pose.translation[frame], **values)


def pasted(portrait: PaintedPortrait, drawn: FloatArray, picture: FloatArray, camera: Camera, **values: Any):
    recorded, spoken = recorded_frame(portrait, 2, **values), portrait.landmarks[9]
    window = seam_window(recorded, spoken_face(recorded.landmarks, spoken), camera)
    assert window is not None
    part = np.ascontiguousarray(picture[window.rows, window.columns])
    return part, paste(part, recorded, spoken, PlainRenderer(drawn), camera, window)


def test_the_spoken_face_moves_the_lower_face_alone(portrait) -> None:
    face = spoken_face(portrait.landmarks[2], portrait.landmarks[9])
    others = np.setdiff1d(np.arange(face.shape[0]), LOWER_FACE)
    assert np.array_equal(face[LOWER_FACE], portrait.landmarks[9][LOWER_FACE])
    assert np.array_equal(face[others], portrait.landmarks[2][others])
    assert set(EYES) <= set(others) and set(LIPS) | set(JAW) <= set(LOWER_FACE)


@pytest.mark.parametrize("size", [128, 200])
def test_both_mouths_are_replaced_and_eyes_are_not(portrait, size) -> None:
    camera = Camera(portrait.camera.focal, size, size)
    picture = np.full((size, size, 3), 0.4, np.float32)
    _, result = pasted(portrait, np.array([0.4, 0.4, 0.4], np.float32), picture, camera)
    mask = np.zeros((size, size), np.float32)
    mask[result.window.rows, result.window.columns] = result.mask
    assert mask.min() >= 0 and mask.max() == 1
    pose = portrait.pose.rotation[2], portrait.pose.translation[2]
    for frame in (2, 9):
        pixels = project(portrait.landmarks[frame], *pose, camera).astype(int)
        assert (mask[pixels[LIPS, 1], pixels[LIPS, 0]] > 0.9).all()
        assert (mask[pixels[EYES, 1], pixels[EYES, 0]] == 0).all()
    # Nothing is cut off at the window's edge.
    edge = np.concatenate([result.mask[0], result.mask[-1], result.mask[:, 0], result.mask[:, -1]])
    assert edge.max() < 0.02


def test_the_drawing_of_the_same_picture_changes_nothing(portrait) -> None:
    camera = Camera(portrait.camera.focal, 128, 128)
    picture = np.random.default_rng(0).random((128, 128, 3), np.float32)
    part, result = pasted(portrait, picture, picture, camera)
    np.testing.assert_allclose(result.image, part, atol=1e-6)


def test_other_light_leaves_no_edge(portrait) -> None:
    camera = Camera(portrait.camera.focal, 256, 256)
    columns = np.linspace(0, 1, 256, dtype=np.float32)
    light = np.repeat((0.5 + 0.08 * columns)[None, :, None], 3, axis=2)
    part, result = pasted(portrait, np.array([0.5, 0.5, 0.5], np.float32), np.repeat(light, 256, axis=0), camera)
    seam = (result.mask > 0.05) & (result.mask < 0.95)
    # Without the field of light there would be an edge of up to .08.
    assert np.abs(result.image - part)[seam].max() < 0.008
    assert np.abs(np.diff(result.image, axis=1))[:, :, 0].max() < 0.01


def test_a_hand_across_the_seam_is_no_light(portrait) -> None:
    camera = Camera(portrait.camera.focal, 256, 256)
    picture = np.full((256, 256, 3), 0.5, np.float32)
    _, plain = pasted(portrait, np.array([0.5, 0.5, 0.5], np.float32), picture, camera)
    window = plain.window
    picture[:, : window.left + window.width // 4] = 0.0
    _, result = pasted(portrait, np.array([0.5, 0.5, 0.5], np.float32), picture, camera)
    inside = plain.mask == 1
    assert result.image[inside].min() > 0.3


def test_a_soft_recording_gets_a_soft_mouth(portrait) -> None:
    camera = Camera(portrait.camera.focal, 128, 128)
    drawing = (np.indices((128, 128)).sum(0) % 2).astype(np.float32)[..., None].repeat(3, axis=2)
    picture = np.full((128, 128, 3), 0.5, np.float32)
    deviations = []
    for blur in (0.0, 0.7, 1.5):
        _, result = pasted(portrait, drawing, picture, camera, blur=blur)
        deviations.append(float(result.image[result.mask == 1].std()))
    assert deviations[0] > 2 * deviations[1] > 4 * deviations[2]


def test_grain_is_put_onto_the_drawing_alone(portrait) -> None:
    camera = Camera(portrait.camera.focal, 256, 256)
    picture = np.full((256, 256, 3), 0.5, np.float32)
    grey = np.array([0.5, 0.5, 0.5], np.float32)
    results = [pasted(portrait, grey, picture, camera, grain=0.02, number=number)[1] for number in (3, 3, 4)]
    inside, outside = results[0].mask == 1, results[0].mask == 0
    assert results[0].image[inside].std() == pytest.approx(0.02, rel=0.1)
    assert (results[0].image[outside] == 0.5).all()
    np.testing.assert_array_equal(results[0].image, results[1].image)
    same, other = (result.image[inside][:, 0] for result in results[1:])
    assert abs(np.corrcoef(same, other)[0, 1]) < 0.1


def test_a_face_outside_of_the_picture_has_no_window(portrait) -> None:
    recorded = recorded_frame(portrait, 2)
    away = Recorded(recorded.landmarks, recorded.rotation, recorded.translation + np.array([9, 0, 0], np.float32))
    assert seam_window(away, recorded.landmarks, portrait.camera) is None


def test_windows_lie_on_the_grid_and_inside(portrait) -> None:
    for shift in np.linspace(-1, 1, 9):
        recorded = recorded_frame(portrait, 2)
        moved = Recorded(
            recorded.landmarks, recorded.rotation, recorded.translation + np.array([shift, 0, 0], np.float32)
        )
        window = seam_window(moved, recorded.landmarks, Camera(portrait.camera.focal, 100, 100))
        if window is not None:
            assert not any(v % 2 for v in (window.left, window.top, window.width, window.height))
            assert window.left >= 0 and window.left + window.width <= 100 and window.width > 0


def test_hulls_are_those_of_another_library() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        points = rng.normal(size=(18, 2))
        ours, theirs = convex_hull(points), points[ConvexHull(points).vertices]
        assert {tuple(p) for p in ours} == {tuple(p) for p in theirs}
