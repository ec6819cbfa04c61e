"""Meshes, boxes and mattes against MediaPipe itself, frame by frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from geneface.analysis import tracker
from geneface.analysis.face import detection
from geneface.analysis.face.person import raw_matte

from ..portrait.faces import astronaut, moving_face

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
solutions: Any = pytest.importorskip("mediapipe", reason="needs MediaPipe").solutions

MEAN_PX, WORST_PX = 0.1, 0.5


def mediapipe_meshes(images: list[np.ndarray]) -> list[np.ndarray | None]:
    meshes: list[np.ndarray | None] = []
    with solutions.face_mesh.FaceMesh(max_num_faces=1, refine_landmarks=True) as mesh:
        for image in images:
            faces = mesh.process(image).multi_face_landmarks
            points = faces and len(image) * np.array([(p.x, p.y, p.z) for p in faces[0].landmark], np.float32)
            meshes.append(points if faces else None)
    return meshes


def squared(image: np.ndarray) -> np.ndarray:
    side = max(image.shape[:2])
    square = np.zeros((side, side, 3), np.uint8)
    square[: image.shape[0], : image.shape[1]] = image
    return square


def compare(images: list[np.ndarray]) -> np.ndarray:
    """Distances [n, 478] of the meshes where there is a face; both must find it in the same frames."""
    with tracker.open_tracker() as face_tracker:
        own = [face_tracker.track(image) for image in images]
    theirs = mediapipe_meshes([squared(image) for image in images])
    assert [mesh is None for mesh in own] == [mesh is None for mesh in theirs]
    pairs = [(a, b) for a, b in zip(own, theirs, strict=True) if a is not None and b is not None]
    return np.array([np.linalg.norm(a - b, axis=1) for a, b in pairs])


@pytest.mark.slow
def test_meshes_of_a_moving_face():
    distances = compare(moving_face(40, size=300))
    assert len(distances) == 40
    assert distances[0].max() < 0.02 and distances.mean() < MEAN_PX and distances.max() < WORST_PX


@pytest.mark.parametrize("degrees, shape", [(0, (300, 200)), (35, (260, 300)), (-70, (300, 300)), (150, (300, 300))])
def test_meshes_of_turned_faces_in_other_shapes(degrees: float, shape: tuple[int, int]):
    move = cv2.getRotationMatrix2D((150, 120), degrees, 0.9)
    move[0, 2] -= (300 - shape[1]) / 2
    image = cv2.warpAffine(astronaut(), move, shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    distances = compare([image, image, image])
    assert not distances.size or distances.max() < WORST_PX


def test_a_face_that_slides_out_of_the_picture_is_lost_and_found_in_the_same_frames():
    face = astronaut()
    steps = [*range(0, 300, 25), *range(275, -25, -25)]
    images = []
    for step in steps:
        image = np.full_like(face, 40)
        image[:, step:] = face[:, : 300 - step]
        images.append(image)
    distances = compare(images)
    assert 6 < len(distances) < len(steps)
    assert distances.mean() < MEAN_PX and distances.max() < WORST_PX


def test_one_of_two_faces_is_followed():
    face = cv2.resize(astronaut(), (200, 200), interpolation=cv2.INTER_AREA)
    images = [np.concatenate([face, face[:, ::-1]], axis=1), np.concatenate([face[:, ::-1], face], axis=1)]
    assert compare([images[0], images[0], images[1], images[1]]).max() < WORST_PX


@pytest.mark.parametrize("side", [24, 48, 1500])
def test_tiny_and_large_pictures(side: int):
    kind = cv2.INTER_AREA if side < 300 else cv2.INTER_CUBIC
    image = cv2.resize(astronaut(), (side, side), interpolation=kind)
    distances = compare([image, image])
    assert not distances.size or distances.max() < 0.5 * max(1, side / 300)


@pytest.mark.parametrize("model, network", [(0, detection.NEAR), (1, detection.FAR)])
def test_detections(model: int, network: str):
    face = astronaut()
    crowd = np.zeros((400, 640, 3), np.uint8)
    for x, y, side in ((0, 0, 300), (320, 80, 200), (540, 300, 100)):
        crowd[y : y + side, x : x + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    with solutions.face_detection.FaceDetection(model_selection=model) as detector:
        for image in (face, crowd, crowd[:, ::-1], face[:200], face[:, 90:210], np.zeros_like(face)):
            image = np.ascontiguousarray(image)
            theirs = detector.process(image).detections or []
            own = detection.detect(network, image)
            assert len(own) == len(theirs)
            scale = np.array(image.shape[1::-1])
            for a, b in zip(own, theirs, strict=True):
                box = b.location_data.relative_bounding_box
                corners = [box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height]
                np.testing.assert_allclose(a.box, corners * np.tile(scale, 2), atol=0.02)
                points = [(point.x, point.y) for point in b.location_data.relative_keypoints]
                np.testing.assert_allclose(a.points, points * scale, atol=0.02)
                assert a.score == pytest.approx(b.score[0], abs=1e-4)


def test_mattes():
    face = astronaut()
    with solutions.selfie_segmentation.SelfieSegmentation(model_selection=0) as segmenter:
        for image in (face, face[:, 60:200], face[100:180], cv2.resize(face, (900, 700)), face[::6, ::6], 255 - face):
            image = np.ascontiguousarray(image)
            difference = np.abs(raw_matte(image) - segmenter.process(image).segmentation_mask)
            # Where rows or columns fall halfway between two steps, OpenCV's rounding errors decide.
            exact = not any(32 * side / 256 % 1 == 0.5 for side in image.shape[:2])
            assert difference.mean() < 1 / 255 and (not exact or difference.max() < 1e-4)
