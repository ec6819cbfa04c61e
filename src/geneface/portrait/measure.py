"""The step that looks at every frame: crop, face mesh, person matte. Runs in worker processes.

Work is stored in chunks of `CHUNK_FRAMES` frames, each a file that depends only on the source and the plan: a run
that was killed goes on with the chunks that are missing and ends with the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geneface.analysis.segmentation import PersonSegmenter
from geneface.analysis.tracker import FaceTracker, fill_missing, opencv
from geneface.io.store import save_tensors
from geneface.io.video import read_frames
from geneface.portrait.plan import Square
from geneface.types import ByteArray, FloatArray

CHUNK_FRAMES = 125
_WARM_UP_FRAMES = 5
"""Frames before a chunk that the tracker sees first, so that no seam shows between chunks."""
_MAX_TRACKED_PX = 640
"""Larger crops are tracked at this size: FaceMesh itself sees the face at 192 pixels."""


@dataclass(frozen=True)
class MeasureTask:
    """Chunks [first, last) of one shot."""

    source: str
    shot_start: int
    shot_stop: int
    square: Square
    size: int
    """Pixels of the stored pictures."""
    folder: str
    """Where the chunks of this shot go."""
    first: int
    last: int

    def chunk_frames(self, chunk: int) -> tuple[int, int]:
        """Source frames [start, stop) of a chunk."""
        start = self.shot_start + chunk * CHUNK_FRAMES
        return start, min(start + CHUNK_FRAMES, self.shot_stop)


def chunk_count(frames: int) -> int:
    """How many chunks a shot has."""
    return -(-frames // CHUNK_FRAMES)


def chunk_path(folder: Path | str, chunk: int) -> Path:
    """File of one chunk: frames [n, S, S, 3], matte [n, S, S], mesh [n, 478, 3] in pixels of S, found [n]."""
    return Path(folder) / f"{chunk:04d}.safetensors"


def measure(task: MeasureTask) -> int:
    """Measure the chunks of a task that are not there yet; returns the number of frames measured."""
    todo = [chunk for chunk in range(task.first, task.last) if not chunk_path(task.folder, chunk).exists()]
    if not todo:
        return 0
    recent: deque[ByteArray] = deque(maxlen=_WARM_UP_FRAMES)
    frames: list[ByteArray] = []
    done = 0
    with PersonSegmenter() as segmenter:
        for index, crop in _crops(task, task.chunk_frames(todo[0])[0] - _WARM_UP_FRAMES):
            chunk = (index - task.shot_start) // CHUNK_FRAMES
            if index < task.shot_start or chunk not in todo:
                recent.append(crop)
                continue
            frames.append(crop)
            if index + 1 == task.chunk_frames(chunk)[1]:
                warm_up = list(recent) if index >= task.shot_start + CHUNK_FRAMES else []
                _measure_chunk(task, chunk, warm_up, frames, segmenter)
                done += len(frames)
                recent.extend(frames)
                frames = []
                if chunk == todo[-1]:
                    break
    return done


def _crops(task: MeasureTask, first: int) -> Iterator[tuple[int, ByteArray]]:
    square = task.square
    for index, frame in enumerate(read_frames(task.source)):
        if index >= task.shot_stop:
            return
        if index >= first:
            crop = frame.image[square.y : square.y + square.side, square.x : square.x + square.side]
            yield index, np.ascontiguousarray(crop)


def resize(image: ByteArray, size: int) -> ByteArray:
    """Resize a square picture: area mean when it shrinks, cubic when it grows."""
    cv2 = opencv()
    if image.shape[0] == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_CUBIC)


def _measure_chunk(
    task: MeasureTask, chunk: int, warm_up: list[ByteArray], crops: list[ByteArray], segmenter: PersonSegmenter
) -> None:
    tracked_px = min(task.square.side, _MAX_TRACKED_PX)
    meshes: list[FloatArray | None] = []
    mattes, frames = [], []
    with FaceTracker() as tracker:
        for crop in warm_up:
            tracker.track(resize(crop, tracked_px))
        for crop in crops:
            view = resize(crop, tracked_px)
            mesh = tracker.track(view)
            meshes.append(None if mesh is None else mesh * np.float32(task.size / tracked_px))
            matte = np.round(segmenter.matte(view) * 255).astype(np.uint8)
            mattes.append(resize(matte, task.size))
            frames.append(resize(crop, task.size))
    found = np.array([mesh is not None for mesh in meshes], bool)
    save_tensors(
        chunk_path(task.folder, chunk),
        {"frames": np.stack(frames), "matte": np.stack(mattes), "mesh": fill_missing(meshes), "found": found},
    )
