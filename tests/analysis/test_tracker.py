"""The tracker on a real face (the astronaut of scikit-image) and on pictures without one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from geneface.analysis import tracker
from geneface.geometry.landmarks import MESH_SIZE

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
data = pytest.importorskip("skimage.data", reason="needs scikit-image")

# Read off the enlarged picture by eye: pupils, middle of the teeth, tip of the chin.
LEFT_PUPIL, RIGHT_PUPIL, TEETH, CHIN_HEIGHT = (203, 101), (246, 103), (224, 145), 177
# What MediaPipe 0.10.21 measures there, for machines on which it can't be installed.
MEDIAPIPE = {
    1: (223.47, 129.96), 10: (226.29, 71.67), 33: (195.20, 100.90), 61: (201.85, 139.24), 105: (198.77, 86.88),
    152: (221.24, 177.39), 159: (202.86, 97.67), 234: (179.36, 109.96), 263: (255.74, 104.35), 291: (245.02, 141.02),
    454: (270.23, 115.48), 468: (203.42, 101.09), 473: (246.57, 103.46),
}  # fmt: skip


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[:300])


def track(*images: np.ndarray) -> list[np.ndarray | None]:
    with tracker.open_tracker() as face_tracker:
        return [face_tracker.track(image) for image in images]


def found(image: np.ndarray) -> np.ndarray:
    (mesh,) = track(image)
    assert mesh is not None and mesh.shape == (MESH_SIZE, 3) and mesh.dtype == np.float32
    return mesh


def test_landmarks_lie_on_the_face(picture: np.ndarray):
    mesh = found(picture)
    for index, place in ((468, LEFT_PUPIL), (473, RIGHT_PUPIL)):
        np.testing.assert_allclose(mesh[index, :2], place, atol=4)
    np.testing.assert_allclose(mesh[[13, 14], :2].mean(0), TEETH, atol=4)
    assert mesh[152, 1] == pytest.approx(CHIN_HEIGHT, abs=4)
    # The nose is nearer to the camera than the ears.
    assert mesh[4, 2] < mesh[[234, 454], 2].min()


def test_landmarks_are_those_of_mediapipe(picture: np.ndarray):
    np.testing.assert_allclose(found(picture)[list(MEDIAPIPE), :2], list(MEDIAPIPE.values()), atol=0.05)


def test_a_black_border_moves_nothing(picture: np.ndarray):
    square = picture[:, 80:380]
    wide = np.zeros((300, 420, 3), np.uint8)
    wide[:, :300] = square
    assert np.abs(found(square)[:, :2] - found(wide)[:, :2]).mean() < 2


@pytest.mark.parametrize("degrees", [-60, -25, 25, 60])
def test_a_turned_face_has_a_turned_mesh(picture: np.ndarray, degrees: float):
    face = picture[:, 70:370]
    move = cv2.getRotationMatrix2D((149.5, 149.5), degrees, 1)
    turned = cv2.warpAffine(face, move, (300, 300), borderMode=cv2.BORDER_REPLICATE)
    expected = (found(face)[:, :2] - 0.5) @ move[:, :2].T + move[:, 2] + 0.5
    assert np.linalg.norm(found(turned)[:, :2] - expected, axis=1).mean() < 1.5


def test_a_picture_twice_as_large_has_a_mesh_twice_as_large(picture: np.ndarray):
    face = picture[:, 70:370]
    large = cv2.resize(face, (2400, 2400), interpolation=cv2.INTER_CUBIC)
    assert np.linalg.norm(found(large) / 8 - found(face), axis=1).mean() < 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 2), (7, 5), (64, 64)])
def test_small_pictures_are_searched(shape: tuple[int, int]):
    image = np.full((*shape, 3), 90, np.uint8)
    assert track(image, image) == [None, None]
    with tracker.open_detector() as detector, tracker.open_segmenter() as segmenter:
        assert detector.boxes(image).shape == (0, 4) and detector.score(image) == 0
        assert segmenter.matte(image).shape == shape


def test_a_small_face_is_found_once_the_picture_shows_nothing_else(picture: np.ndarray):
    small = cv2.resize(picture[:, 70:370], (40, 40), interpolation=cv2.INTER_AREA)
    assert np.abs(found(small)[:, :2] * 7.5 - found(picture[:, 70:370])[:, :2]).mean() < 4


def test_a_face_that_leaves_and_comes_back_is_found_again(picture: np.ndarray):
    face = np.ascontiguousarray(picture[:, 70:370])
    gone = np.zeros_like(face)
    elsewhere = np.roll(face, (40, -60), (0, 1))
    meshes = track(face, face, gone, gone, elsewhere, elsewhere)
    assert [mesh is not None for mesh in meshes] == [True, True, False, False, True, True]
    assert meshes[5] is not None and meshes[1] is not None
    shift = meshes[5][:, :2] - meshes[1][:, :2]
    assert np.abs(shift - (-60, 40)).mean() < 1


def test_a_face_is_followed_where_it_would_not_be_chosen(picture: np.ndarray):
    """Of two faces the one that was there first stays, though the other is the surer one."""
    face = picture[:240, 100:340]
    other = np.zeros((480, 480, 3), np.uint8)
    other[250:450, 20:220] = cv2.resize(face, (200, 200), interpolation=cv2.INTER_AREA)
    both = other.copy()
    both[:240, 240:] = face
    first, second = track(other, both)
    assert first is not None and second is not None and np.abs(first - second).max() < 10
    assert np.abs(found(both) - second).mean() > 50


def test_pictures_are_not_changed_and_need_not_be_contiguous(picture: np.ndarray):
    mirrored = picture[:, ::-1]
    copy = mirrored.copy()
    copy.setflags(write=False)
    np.testing.assert_array_equal(found(mirrored), found(copy))
    assert (mirrored == copy).all()


def test_the_same_pictures_give_the_same_bits(picture: np.ndarray):
    first, second = (np.array(track(picture, picture, picture)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_frames_are_tracked_and_counted(picture: np.ndarray):
    blank = np.zeros_like(picture)
    made = tracker.track_frames([blank, picture, picture, blank], face_check_frames=1)
    assert made.found.tolist() == [False, True, True, False]
    assert made.face_count.tolist() == [0, 1, 1, 0]
    np.testing.assert_array_equal(made.mesh_px[0], made.mesh_px[1])
    np.testing.assert_array_equal(made.mesh_px[3], made.mesh_px[2])


def test_no_frames_and_no_faces_are_no_error():
    assert len(tracker.track_frames([])) == 0
    made = tracker.track_frames([np.zeros((64, 64, 3), np.uint8)] * 2)
    assert not made.found.any() and not made.mesh_px.any()


def test_two_people_are_counted_and_a_small_one_is_not(picture: np.ndarray):
    face = picture[:240, 100:340]
    with tracker.open_detector() as detector:
        both = detector.boxes(np.concatenate([face, face[:, ::-1]], axis=1))
        assert tracker.comparable_faces(both) == 2
        canvas = np.zeros((240, 480, 3), np.uint8)
        canvas[:, :240] = face
        canvas[:80, 300:380] = cv2.resize(face, (80, 80), interpolation=cv2.INTER_AREA)
        assert tracker.comparable_faces(detector.boxes(canvas)) == 1


def test_nothing_is_printed(picture: np.ndarray, capfd: pytest.CaptureFixture[str]):
    tracker.track_frames([picture, picture])
    assert capfd.readouterr() == ("", "")


def test_another_tracker_is_one_class(monkeypatch: pytest.MonkeyPatch):
    class Still:
        def __enter__(self) -> Still:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def track(self, image: np.ndarray) -> np.ndarray:
            return np.full((MESH_SIZE, 3), image.mean(), np.float32)

    def still() -> tracker.FaceTracker:
        return Still()

    monkeypatch.setattr(tracker, "open_tracker", still)
    made = tracker.track_frames([np.full((8, 8, 3), value, np.uint8) for value in (3, 5)], face_check_frames=0)
    assert made.mesh_px[:, 0, 0].tolist() == [3, 5] and made.found.all()


def test_networks_are_opened_when_they_are_needed():
    program = (
        "import sys; from geneface.analysis import tracker; tracker.open_tracker(); print('onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_person_is_found_in_a_picture(picture: np.ndarray):
    with tracker.open_segmenter() as segmenter:
        matte = segmenter.matte(picture[:, 70:370])
    assert matte.shape == (300, 300) and matte.dtype == np.float32
    assert matte.min() == 0 and matte.max() == 1
    assert matte[120, 155] > 0.95 and matte[20, 280] < 0.05
