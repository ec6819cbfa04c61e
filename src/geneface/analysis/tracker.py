"""Faces and persons in pictures, whatever tracker finds them: what a tracker is, where one is opened, frames in a row.

Mesh pixels are (x, y, z): x right, y down, the first pixel's centre at (0.5, 0.5); z is the mesh's relative depth in
the same unit, smaller nearer to the camera. Points are those of MediaPipe FaceMesh (Kartynnik et al. 2019) with refined
lips and irises. Another tracker is a class for each protocol below, named in `open_tracker` and its siblings.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.face.detection import BlazeFaceDetector
from geneface.analysis.face.mesh import AttentionMeshTracker
from geneface.analysis.face.person import SelfieSegmenter
from geneface.geometry.landmarks import MESH_SIZE
from geneface.types import ByteArray, FloatArray

if TYPE_CHECKING:
    from typing_extensions import Self


class FaceTracker(Protocol):
    """Tracks one face through consecutive pictures; a context manager. Start a new one after a cut."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def track(self, image: ByteArray) -> FloatArray | None:
        """The face's mesh [478, 3] in pixels of the RGB image [H, W, 3], or None."""
        ...


class FaceDetector(Protocol):
    """Finds all faces in a picture; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def boxes(self, image: ByteArray) -> FloatArray:
        """[N, 4] boxes (x0, y0, x1, y1) in pixels of the RGB image, the largest first."""
        ...

    def score(self, image: ByteArray) -> float:
        """How sure it is of the face it is surest of, 0 to 1; 0 if there is none."""
        ...


class PersonSegmenter(Protocol):
    """Tells persons from what is behind them, each picture by itself; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def matte(self, image: ByteArray) -> FloatArray:
        """Person matte [H, W] in [0, 1] of an RGB picture [H, W, 3]."""
        ...


def open_tracker() -> FaceTracker:
    """A tracker that has seen nothing yet.

    Raises:
        InputError: a file of the package is missing or damaged; raised by what it opens at the first picture, too.
    """
    return AttentionMeshTracker()


def open_detector() -> FaceDetector:
    """A detector of faces."""
    return BlazeFaceDetector()


def open_segmenter() -> PersonSegmenter:
    """A segmenter."""
    return SelfieSegmenter()


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
    with open_tracker() as tracker, open_detector() if face_check_frames else nullcontext() as detector:
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
