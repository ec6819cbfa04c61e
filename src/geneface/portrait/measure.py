"""The step that cuts out every frame that is used: picture, person matte, the whole picture as it was recorded.

Runs in worker processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.tracker import PersonSegmenter, open_segmenter
from geneface.imaging.resize import shrink_or_grow
from geneface.io.recorded import join_recorded, write_recorded
from geneface.io.tensors import save_tensors
from geneface.portrait.chunks import ChunkTask, chunk_path, missing_chunks
from geneface.portrait.clear import detail
from geneface.portrait.crops import Square
from geneface.portrait.source import SourceSize
from geneface.types import ByteArray

_MAX_MATTE_PX = 640
"""Mattes of larger crops are made at this size: the network itself sees 256 pixels."""


def source_chunk(folder: Path | str, chunk: int) -> Path:
    """The whole pictures of one chunk."""
    return chunk_path(folder, chunk).with_suffix(".mp4")


@dataclass(frozen=True)
class MeasureTask(ChunkTask):
    """Chunks of one segment of f frames.

    Files hold `frames` [n, S, S, 3], `matte` [n, S, S] and `detail` [n, 4] (`clear.detail`); the whole pictures are in
    those of `source_chunk`.
    """

    square: Square
    size: int
    """S, pixels of the stored pictures."""
    source_size: SourceSize
    faces: NDArray[np.int32]
    """[f, 4] boxes of the face in the stored pictures."""

    def missing(self) -> list[int]:
        """Chunks that lack a file; a run that an older version began has no whole pictures."""
        chunks = range(self.first, self.last)
        folder = self.folder
        return [i for i in chunks if not (chunk_path(folder, i).exists() and source_chunk(folder, i).exists())]


def measure(task: MeasureTask) -> int:
    """Cut out the chunks of a task that are not there yet; returns their number."""
    done = 0
    with open_segmenter() as segmenter:
        for chunk, pictures in missing_chunks(task):
            frames: list[ByteArray] = []
            mattes: list[ByteArray] = []
            write_recorded(source_chunk(task.folder, chunk), _cut(task, segmenter, pictures, frames, mattes))
            boxes = task.faces[task.chunk_frames(chunk)[0] - task.start :]
            details = [detail(frame, box) for frame, box in zip(frames, boxes, strict=False)]
            found = {"frames": np.stack(frames), "matte": np.stack(mattes), "detail": np.stack(details)}
            save_tensors(chunk_path(task.folder, chunk), found)
            done += 1
    return done


def _cut(
    task: MeasureTask,
    segmenter: PersonSegmenter,
    pictures: Iterator[tuple[bool, ByteArray]],
    frames: list[ByteArray],
    mattes: list[ByteArray],
) -> Iterator[ByteArray]:
    """Append the crop and the matte of each picture to the lists and hand the picture on, while it is encoded."""
    square, size = task.square, task.size
    matte_px = min(square.side, _MAX_MATTE_PX)
    for is_warm_up, picture in pictures:
        if is_warm_up:
            continue
        yield task.source_size.fit(picture)
        crop = picture[square.y : square.y + square.side, square.x : square.x + square.side]
        matte = np.round(segmenter.matte(shrink_or_grow(crop, matte_px, matte_px)) * 255).astype(np.uint8)
        mattes.append(shrink_or_grow(matte, size, size))
        frames.append(shrink_or_grow(crop, size, size))


@dataclass(frozen=True)
class JoinTask:
    """The whole pictures of one segment: its pieces, in their order, and their common file."""

    pieces: tuple[str, ...]
    out: str


def join(task: JoinTask) -> None:
    """Make the file, if it is not there yet."""
    if not Path(task.out).exists():
        join_recorded(Path(task.out), [Path(piece) for piece in task.pieces])
