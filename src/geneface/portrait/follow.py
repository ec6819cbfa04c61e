"""The step that follows the face through every frame of a shot: meshes in source pixels. Runs in worker processes.

What it finds decides which frames are used and which square is cut out; `measure` then cuts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.tracker import PersonSegmenter, fill_missing, open_segmenter, open_tracker
from geneface.geometry.landmarks import MESH_CHIN, MESH_HAIRLINE, MESH_SURFACE_SIZE
from geneface.imaging.resize import resize_area
from geneface.io.tensors import TensorFile, save_tensors
from geneface.portrait.chunks import CHUNK_FRAMES, ChunkTask, chunk_count, chunk_path, missing_chunks
from geneface.types import ByteArray, FloatArray

VIEW_FRAMES = 5
"""A small picture of the region is kept of every fifth frame, from the shot's first one on."""
VIEW_PX = 256
"""Longest side of these pictures."""
STILL_FRAMES, STILL_FIRST, STILL_PX = 50, 10, 720
"""The whole picture of every fiftieth frame is kept, from the shot's tenth one on, with this longest side, to be looked
at by people."""
_TRACKED_FACE_PX = 240.0
"""Faces wider than this are tracked smaller: FaceMesh itself sees the face at 192 pixels."""
_HAIR_FRAMES = 25
"""How often the outline of the hair is measured."""
_UNKNOWN = -1.0
_MAX_REACH = (0.5, 1.0, 0.5)
"""No hair stands further out, in heights of the face: what does is a hand, or somebody behind."""


@dataclass(frozen=True)
class FollowTask(ChunkTask):
    """Chunks of one shot.

    Files hold `mesh` [n, 478, 3] in pixels of the source, `found` [n], `hair` [h, 3] (see `hair_reach`; -1: not
    known), `views` [v, a, b, 3] and `stills` [s, A, B, 3].
    """

    region: tuple[int, int, int, int]
    face_px: float


def follow(task: FollowTask) -> int:
    """Follow the face through the chunks that are not there yet; returns their number."""
    done = 0
    with open_segmenter() as segmenter:
        for chunk, pictures in missing_chunks(task):
            start = task.chunk_frames(chunk)[0] - task.start
            save_tensors(chunk_path(task.folder, chunk), _follow_chunk(task, start, pictures, segmenter))
            done += 1
    return done


def _follow_chunk(
    task: FollowTask, start: int, pictures: Iterator[tuple[bool, ByteArray]], segmenter: PersonSegmenter
) -> dict[str, NDArray[Any]]:
    """Tensors of one chunk, whose first frame is the shot's frame `start`."""
    x0, y0, x1, y1 = task.region
    zoom = min(1.0, _TRACKED_FACE_PX / task.face_px)
    meshes: list[FloatArray | None] = []
    hair: list[tuple[float, float, float]] = []
    views: list[ByteArray] = []
    stills: list[ByteArray] = []
    with open_tracker() as tracker:
        for is_warm_up, picture in pictures:
            part = shrink(picture[y0:y1, x0:x1], zoom)
            mesh = tracker.track(part)
            if is_warm_up:
                continue
            frame = start + len(meshes)
            meshes.append(None if mesh is None else _to_source(mesh, task.region, part))
            if frame % VIEW_FRAMES == 0:
                views.append(shrink(part, VIEW_PX / max(part.shape[:2])))
            if frame % STILL_FRAMES == STILL_FIRST:
                stills.append(shrink(picture, STILL_PX / max(picture.shape[:2])))
            if frame % _HAIR_FRAMES == 0 and mesh is not None:
                hair.append(hair_reach(segmenter.matte(part), mesh))
    return {
        "mesh": fill_missing(meshes),
        "found": np.array([mesh is not None for mesh in meshes], bool),
        "hair": np.array(hair, np.float32).reshape(-1, 3),
        "views": _stack(views),
        "stills": _stack(stills),
    }


def _stack(images: list[ByteArray]) -> ByteArray:
    return np.stack(images) if images else np.zeros((0, 1, 1, 3), np.uint8)


def _to_source(mesh: FloatArray, region: tuple[int, int, int, int], part: ByteArray) -> FloatArray:
    """A mesh [478, 3] in pixels of the region's (scaled) picture, in pixels of the source."""
    x0, y0, x1, y1 = region
    across, down = (x1 - x0) / part.shape[1], (y1 - y0) / part.shape[0]
    return mesh * np.array([across, down, across], np.float32) + np.array([x0, y0, 0], np.float32)


def shrink(image: ByteArray, scale: float) -> ByteArray:
    """A picture [H, W, 3] scaled by at most 1, by area means."""
    if scale >= 1:
        return np.ascontiguousarray(image)
    return resize_area(image, *(max(1, round(side * scale)) for side in image.shape[:2]))


def hair_reach(matte: FloatArray, mesh_px: NDArray[np.floating]) -> tuple[float, float, float]:
    """How far the head reaches beyond its mesh to the left, above and to the right, in heights of the face.

    Args:
        matte: [H, W] of the person.
        mesh_px: [478, 3] in its pixels.
    """
    points = np.asarray(mesh_px, np.float64)[:MESH_SURFACE_SIZE, :2]
    low, high = points.min(0), points.max(0)
    face = float(np.linalg.norm(points[MESH_CHIN] - points[MESH_HAIRLINE]))
    person = np.pad(matte > 0.5, 1)
    x0, x1 = (1 + int(np.clip(value, 0, matte.shape[1])) for value in (low[0], high[0]))
    # Above the middle of the face: below it the hair falls on the shoulders.
    y0, y1 = (1 + int(np.clip(value, 0, matte.shape[0])) for value in (low[1], (low[1] + high[1]) / 2))
    if x1 <= x0 or y1 <= y0:
        return _UNKNOWN, _UNKNOWN, _UNKNOWN
    # What is beyond a gap is somebody else, and what only a few rows or columns reach is no outline of a head.
    above = _length(person[:y0, x0:x1].mean(1)[::-1])
    beside = person[y0 - min(above, y0 - 1) : y1].mean(0)
    reach = np.array([_length(beside[:x0][::-1]), above, _length(beside[x1:])]) / face
    return tuple(np.minimum(reach, _MAX_REACH).tolist())


def _length(share: NDArray[np.floating]) -> int:
    """How many of the first values are above a fifth."""
    gaps = np.flatnonzero(share < 0.2)
    return int(gaps[0]) if len(gaps) else len(share)


@dataclass(frozen=True)
class Followed:
    """What `follow` found in one shot of f frames."""

    mesh_px: FloatArray
    """[f, 478, 3] source pixels; where nothing was found, those of the nearest frame."""
    found: NDArray[np.bool_]
    """[f]"""
    hair: FloatArray
    """[h, 3], see `hair_reach`; only where known."""


def load_followed(folder: Path, frames: int) -> Followed:
    """Read the chunks of one shot."""
    files = [TensorFile(chunk_path(folder, chunk)) for chunk in range(chunk_count(frames))]
    hair = np.concatenate([file.get("hair") for file in files])
    return Followed(
        np.concatenate([file.get("mesh") for file in files]),
        np.concatenate([file.get("found") for file in files]).astype(bool),
        hair[hair[:, 0] >= 0],
    )


def load_views(folder: Path, frames: int) -> ByteArray:
    """[v, a, b, 3] the small pictures of one shot's region, one each `VIEW_FRAMES` frames."""
    parts = [TensorFile(chunk_path(folder, chunk)).get("views") for chunk in range(chunk_count(frames))]
    return np.concatenate([part for part in parts if len(part)])


def load_still(folder: Path, frame: int) -> ByteArray:
    """[A, B, 3] the whole picture of one frame of a shot; `frame % STILL_FRAMES` is `STILL_FIRST`."""
    chunk = frame // CHUNK_FRAMES
    first = -(-(chunk * CHUNK_FRAMES - STILL_FIRST) // STILL_FRAMES)
    row = (frame - STILL_FIRST) // STILL_FRAMES - max(0, first)
    return TensorFile(chunk_path(folder, chunk)).rows("stills", row, row + 1)[0]
