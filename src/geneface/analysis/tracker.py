"""Faces in pictures: MediaPipe FaceMesh (Kartynnik et al. 2019) with refined lips and irises. [prepare] extra.

Mesh pixels are (x, y, z): x right, y down, the first pixel's centre at (0.5, 0.5); z is FaceMesh's relative depth
in the same unit, smaller nearer to the camera.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.errors import MissingExtraError
from geneface.geometry.landmarks import MESH_SIZE
from geneface.types import ByteArray, FloatArray

_BLANK = np.zeros((64, 64, 3), np.uint8)
"""MediaPipe's threads log on their first picture: give them this one while nobody listens."""


class _Silence:
    """The standard error of the process, put aside while anybody wants quiet; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users, self._saved = 0, -1

    def begin(self) -> None:
        with self._lock:
            if self._users == 0:
                self._saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
                os.dup2(sink, 2)
                os.close(sink)
            self._users += 1

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                os.dup2(self._saved, 2)
                os.close(self._saved)


_SILENCE = _Silence()


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what MediaPipe's C++ side writes to the standard error while it starts."""
    _SILENCE.begin()
    try:
        yield
    finally:
        _SILENCE.end()


def mediapipe_solutions() -> ModuleType:
    """MediaPipe's `solutions`, imported quietly.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet():
            import mediapipe
    except ImportError as error:
        raise MissingExtraError("mediapipe", "prepare") from error
    return mediapipe.solutions


def opencv() -> Any:
    """OpenCV, which MediaPipe brings; on one thread, since frames are shared out among processes.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("opencv-contrib-python", "prepare") from error
    cv2.setNumThreads(1)
    return cv2


class FaceTracker:
    """Tracks one face through consecutive pictures; a context manager. Start a new one after a cut."""

    def __init__(self) -> None:
        solutions: Any = mediapipe_solutions()
        with quiet():
            self._mesh = solutions.face_mesh.FaceMesh(
                static_image_mode=False,
                max_num_faces=1,
                refine_landmarks=True,
                min_detection_confidence=0.5,
                min_tracking_confidence=0.5,
            )
            self._mesh.process(_BLANK)
        self._seen = False

    def __enter__(self) -> FaceTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self._mesh.close()

    def track(self, image: ByteArray) -> FloatArray | None:
        """The face's mesh [478, 3] in pixels of the RGB image [H, W, 3], or None."""
        side = max(image.shape[:2])
        # MediaPipe logs once more when it sees its first face.
        with nullcontext() if self._seen else quiet():
            result = self._mesh.process(_square(image, side))
        if not result.multi_face_landmarks:
            return None
        self._seen = True
        return side * np.array([(p.x, p.y, p.z) for p in result.multi_face_landmarks[0].landmark], np.float32)


def _square(image: ByteArray, side: int) -> ByteArray:
    """The image with black below or beside it: FaceMesh measures turned faces right in square pictures only."""
    height, width = image.shape[:2]
    if height == width:
        return np.ascontiguousarray(image)
    padded = np.zeros((side, side, 3), np.uint8)
    padded[:height, :width] = image
    return padded


class FaceDetector:
    """Boxes of all faces in a picture (BlazeFace); a context manager."""

    def __init__(self, min_confidence: float = 0.6) -> None:
        solutions: Any = mediapipe_solutions()
        with quiet():
            # Model 0 finds faces within some 2 m (large ones), model 1 smaller ones: together they see both.
            self._models = [
                solutions.face_detection.FaceDetection(model_selection=model, min_detection_confidence=min_confidence)
                for model in (0, 1)
            ]
            for model in self._models:
                model.process(_BLANK)

    def __enter__(self) -> FaceDetector:
        return self

    def __exit__(self, *_: object) -> None:
        for model in self._models:
            model.close()

    def boxes(self, image: ByteArray) -> FloatArray:
        """[N, 4] boxes (x0, y0, x1, y1) in pixels of the RGB image, the largest first."""
        image = np.ascontiguousarray(image)
        height, width = image.shape[:2]
        found: list[tuple[float, float, float, float]] = []
        for detection in (d for model in self._models for d in model.process(image).detections or ()):
            box = detection.location_data.relative_bounding_box
            found.append((box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height))
        boxes = np.array(found, np.float32).reshape(-1, 4) * np.array([width, height, width, height], np.float32)
        return _merge_boxes(boxes)

    def score(self, image: ByteArray) -> float:
        """How sure it is of the face it is surest of, 0 to 1; 0 if there is none."""
        image = np.ascontiguousarray(image)
        found = [d.score[0] for model in self._models for d in model.process(image).detections or ()]
        return float(max(found, default=0.0))


def _merge_boxes(boxes: FloatArray) -> FloatArray:
    """Drop boxes that overlap a larger one by half of their own area; the largest first."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    for index in np.argsort(-area, kind="stable"):
        low = np.maximum(boxes[kept, :2], boxes[index, :2])
        high = np.minimum(boxes[kept, 2:], boxes[index, 2:])
        overlap = np.prod(np.clip(high - low, 0, None), axis=-1)
        if not (overlap > 0.5 * area[index]).any():
            kept.append(int(index))
    return boxes[kept]


@dataclass(frozen=True)
class FaceTrack:
    """Raw measurements of consecutive frames."""

    mesh_px: FloatArray
    """[F, 478, 3]; frames without a face repeat the nearest one with (all zero if there is none at all)."""
    found: NDArray[np.bool_]
    """[F] bool: the face was seen in this frame."""
    face_count: NDArray[np.int64]
    """[F] int: faces of comparable size in the picture, looked for every `face_check_frames` frames and held."""

    def __len__(self) -> int:
        return len(self.mesh_px)


def track_frames(frames: Iterable[ByteArray], *, face_check_frames: int = 25) -> FaceTrack:
    """Track the face through consecutive RGB frames [H, W, 3] without a cut.

    Args:
        frames: pictures of one size.
        face_check_frames: how often other faces are looked for; 0: never (the count is then 1 where found).
    """
    meshes: list[FloatArray | None] = []
    counts: list[int] = []
    with FaceTracker() as tracker, FaceDetector() if face_check_frames else nullcontext() as detector:
        for index, frame in enumerate(frames):
            meshes.append(tracker.track(frame))
            if detector is not None and index % face_check_frames == 0:
                counts.append(comparable_faces(detector.boxes(frame)))
            else:
                counts.append(counts[-1] if counts else 0)
    found = np.array([mesh is not None for mesh in meshes], bool)
    count = np.maximum(np.array(counts, int), found) if len(found) else np.zeros(0, int)
    return FaceTrack(fill_missing(meshes), found, count)


def comparable_faces(boxes: FloatArray, ratio: float = 0.5) -> int:
    """How many boxes [N, 4] are at least `ratio` times as wide as the widest."""
    widths = boxes[:, 2] - boxes[:, 0]
    return int((widths >= ratio * widths.max()).sum()) if len(widths) else 0


def fill_missing(meshes: list[FloatArray | None]) -> FloatArray:
    """Meshes as [F, 478, 3], gaps filled from the nearest frame that has a face (zeros if none has)."""
    filled = np.zeros((len(meshes), MESH_SIZE, 3), np.float32)
    seen = np.flatnonzero([mesh is not None for mesh in meshes])
    for index in range(len(meshes)):
        if len(seen):
            nearest = meshes[seen[np.abs(seen - index).argmin()]]
            assert nearest is not None
            filled[index] = nearest
    return filled
