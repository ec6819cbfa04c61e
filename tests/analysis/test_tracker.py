"""The tracker on a real face (the astronaut of scikit-image) and on pictures without one."""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pytest

from geneface.analysis import tracker
from geneface.errors import MissingExtraError

cv2 = pytest.importorskip("cv2", reason="needs the [prepare] extra")
pytest.importorskip("mediapipe", reason="needs the [prepare] extra")
data = pytest.importorskip("skimage.data", reason="needs scikit-image")

# Read off the enlarged picture by eye: pupils, middle of the teeth, tip of the chin.
LEFT_PUPIL, RIGHT_PUPIL, TEETH, CHIN_HEIGHT = (203, 101), (246, 103), (224, 145), 177


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[:300])


def test_landmarks_lie_on_the_face(picture: np.ndarray):
    with tracker.FaceTracker() as face_tracker:
        mesh = face_tracker.track(picture)
    assert mesh is not None and mesh.shape == (478, 3)
    for index, place in ((468, LEFT_PUPIL), (473, RIGHT_PUPIL)):
        np.testing.assert_allclose(mesh[index, :2], place, atol=4)
    np.testing.assert_allclose(mesh[[13, 14], :2].mean(0), TEETH, atol=4)
    assert mesh[152, 1] == pytest.approx(CHIN_HEIGHT, abs=4)
    # The nose is nearer to the camera than the ears.
    assert mesh[4, 2] < mesh[[234, 454], 2].min()


def test_a_black_border_moves_nothing(picture: np.ndarray):
    square = picture[:, 80:380]
    wide = np.zeros((300, 420, 3), np.uint8)
    wide[:, :300] = square
    with tracker.FaceTracker() as first, tracker.FaceTracker() as second:
        plain, padded = first.track(square), second.track(wide)
    assert plain is not None and padded is not None
    assert np.abs(plain[:, :2] - padded[:, :2]).mean() < 2


def test_frames_are_tracked_and_counted(picture: np.ndarray):
    blank = np.zeros_like(picture)
    track = tracker.track_frames([blank, picture, picture, blank], face_check_frames=1)
    assert track.found.tolist() == [False, True, True, False]
    assert track.face_count.tolist() == [0, 1, 1, 0]
    np.testing.assert_array_equal(track.mesh_px[0], track.mesh_px[1])
    np.testing.assert_array_equal(track.mesh_px[3], track.mesh_px[2])


def test_no_frames_and_no_faces_are_no_error():
    assert len(tracker.track_frames([])) == 0
    track = tracker.track_frames([np.zeros((64, 64, 3), np.uint8)] * 2)
    assert not track.found.any() and not track.mesh_px.any()


def test_two_people_are_counted_and_a_small_one_is_not(picture: np.ndarray):
    face = picture[:240, 100:340]
    with tracker.FaceDetector() as detector:
        both = detector.boxes(np.concatenate([face, face[:, ::-1]], axis=1))
        assert tracker.comparable_faces(both) == 2
        canvas = np.zeros((240, 480, 3), np.uint8)
        canvas[:, :240] = face
        canvas[:80, 300:380] = cv2.resize(face, (80, 80), interpolation=cv2.INTER_AREA)
        assert tracker.comparable_faces(detector.boxes(canvas)) == 1


def test_nothing_is_printed(picture: np.ndarray, capfd: pytest.CaptureFixture[str]):
    tracker.track_frames([picture, picture])
    assert capfd.readouterr() == ("", "")


def test_missing_mediapipe_is_named(monkeypatch: pytest.MonkeyPatch):
    real_import = builtins.__import__

    def refuse(name: str, *args, **kwargs):
        if name == "mediapipe":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real_import(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "mediapipe", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"geneface\[prepare\]"):
        tracker.mediapipe_solutions()
