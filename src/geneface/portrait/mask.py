"""The step that turns person mattes into head and torso masks. Runs in worker processes, chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.background import Plate, clean_plate
from geneface.analysis.segmentation import refine_matte, split_head, steady_mattes
from geneface.geometry.pose import smooth_in_time
from geneface.io.tensors import TensorFile, load_tensors, save_tensors
from geneface.portrait.chunks import CHUNK_FRAMES, chunk_path
from geneface.signal.spans import spread_indices
from geneface.types import ByteArray, FloatArray

_PLATE_SAMPLES = 96
_JAW_SMOOTH_FRAMES = 0.7
"""The jaw's outline is smoothed over time by this deviation: the tracker's noise, not speech."""


@dataclass(frozen=True)
class FrameRef:
    """Where a span of frames lies in the chunks of its segment."""

    folder: str
    first: int
    """Row in the segment."""
    frames: int


def read_rows(ref: FrameRef, name: str, start: int, stop: int) -> NDArray[Any]:
    """Rows [start, stop) of one tensor of the span, out of as many chunks as it takes."""
    parts = []
    row, last = ref.first + start, ref.first + stop
    while row < last:
        chunk = row // CHUNK_FRAMES
        end = min(last, (chunk + 1) * CHUNK_FRAMES)
        file = TensorFile(chunk_path(ref.folder, chunk))
        parts.append(file.rows(name, row - chunk * CHUNK_FRAMES, end - chunk * CHUNK_FRAMES))
        row = end
    return np.concatenate(parts)


@dataclass(frozen=True)
class PlateTask:
    """The clean plate of one framing."""

    refs: tuple[FrameRef, ...]
    out: str


def make_plate(task: PlateTask) -> None:
    """Compute a framing's plate and store it as tensors."""
    if Path(task.out).exists():
        return
    counts = np.array([ref.frames for ref in task.refs])
    starts = np.concatenate([[0], np.cumsum(counts)])
    images, mattes = [], []
    for index in spread_indices(int(starts[-1]), _PLATE_SAMPLES):
        span = int(np.searchsorted(starts, index, side="right")) - 1
        row = int(index - starts[span])
        images.append(read_rows(task.refs[span], "frames", row, row + 1)[0])
        mattes.append(read_rows(task.refs[span], "matte", row, row + 1)[0])
    plate = clean_plate(np.stack(images), np.stack(mattes))
    save_tensors(task.out, {"image": plate.image, "known": plate.known, "noise": plate.noise})


def load_plate(path: Path | str) -> Plate:
    """Read what `make_plate` stored."""
    tensors = load_tensors(path)
    return Plate(tensors["image"], tensors["known"], tensors["noise"])


@dataclass(frozen=True)
class MaskTask:
    """Masks of rows [start, stop) of one span."""

    ref: FrameRef
    start: int
    stop: int
    mesh_px: FloatArray
    """[n, 478, 3] meshes of rows [mesh_start, mesh_start + n) of the span."""
    mesh_start: int
    plate: str
    out: str


def make_masks(task: MaskTask) -> int:
    """Compute masks u8 [n, S, S, 2] and store them; returns the number of frames."""
    if Path(task.out).exists():
        return 0
    plate = load_plate(task.plate)
    low, high = max(0, task.start - 1), min(task.ref.frames, task.stop + 1)
    images, mattes = read_rows(task.ref, "frames", low, high), read_rows(task.ref, "matte", low, high)
    outline = task.mesh_px[low - task.mesh_start : high - task.mesh_start]
    refined = [
        refine_matte(image, matte.astype(np.float32) / 255, plate) for image, matte in zip(images, mattes, strict=True)
    ]
    masks = []
    for row in range(task.start, task.stop):
        near = [int(np.clip(row + step, low, high - 1)) - low for step in (-1, 0, 1)]
        person = steady_mattes([refined[index] for index in near], outline[near])
        head, torso = split_head(person, outline[row - low])
        masks.append(_to_bytes(head, torso))
    save_tensors(task.out, {"masks": np.stack(masks)})
    return task.stop - task.start


def mask_tasks(ref: FrameRef, mesh_px: FloatArray, plate: str, folder: Path) -> list[MaskTask]:
    """Tasks for a whole span of meshes [f, 478, 3], in order."""
    flat = mesh_px[:, :, :2].reshape(len(mesh_px), -1)
    outline = smooth_in_time(flat, np.zeros(len(mesh_px)), _JAW_SMOOTH_FRAMES)
    outline = outline.reshape(len(mesh_px), -1, 2).astype(np.float32)
    tasks = []
    for start in range(0, ref.frames, CHUNK_FRAMES):
        stop = min(start + CHUNK_FRAMES, ref.frames)
        first = max(0, start - 1)
        out = str(folder / f"{start:06d}.safetensors")
        tasks.append(MaskTask(ref, start, stop, outline[first : stop + 1], first, plate, out))
    return tasks


def _to_bytes(head: FloatArray, torso: FloatArray) -> ByteArray:
    """[S, S, 2] with head + torso <= 255 also after rounding."""
    head_bytes = np.round(255 * np.clip(head, 0, 1)).astype(np.int32)
    torso_bytes = np.minimum(np.round(255 * np.clip(torso, 0, 1)).astype(np.int32), 255 - head_bytes)
    return np.stack([head_bytes, torso_bytes], axis=-1).astype(np.uint8)
