"""Frames of one source in chunks, each stored as a file of its own. Runs in worker processes.

A chunk's file depends only on the source and the plan: a run that was killed is resumed with the chunks that are
missing and ends with the same bytes. Pictures are handed on one at a time, so memory does not grow with their size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geneface.portrait.scan import read_pictures
from geneface.types import ByteArray
from geneface.workers import advance

CHUNK_FRAMES = 125
WARM_UP_FRAMES = 5
"""Frames before a chunk that a tracker sees first, so that no seam shows between chunks."""


@dataclass(frozen=True)
class ChunkTask:
    """Chunks [first, last) of frames [start, stop) of one source."""

    source: str
    turns: int
    """Quarter turns counterclockwise that set the pictures upright."""
    start: int
    stop: int
    folder: str
    """Where the chunks go."""
    first: int
    last: int

    @property
    def frames(self) -> int:
        """Frames of all its chunks, those that are there already included."""
        return self.chunk_frames(self.last - 1)[1] - self.chunk_frames(self.first)[0]

    def missing(self) -> list[int]:
        """Chunks that have no file yet."""
        return [chunk for chunk in range(self.first, self.last) if not chunk_path(self.folder, chunk).exists()]

    def chunk_frames(self, chunk: int) -> tuple[int, int]:
        """Source frames [start, stop) of a chunk."""
        start = self.start + chunk * CHUNK_FRAMES
        return start, min(start + CHUNK_FRAMES, self.stop)


def chunk_count(frames: int) -> int:
    """How many chunks so many frames make."""
    return -(-frames // CHUNK_FRAMES)


def chunk_path(folder: Path | str, chunk: int) -> Path:
    """File of one chunk."""
    return Path(folder) / f"{chunk:04d}.safetensors"


def missing_chunks(task: ChunkTask) -> Iterator[tuple[int, Iterator[tuple[bool, ByteArray]]]]:
    """Yield (chunk, its pictures) for each chunk that has no file; pictures are (is warm-up, picture).

    Each chunk's pictures must be taken before the next chunk is asked for. Frames count as work done (`advance`).
    """
    todo = task.missing()
    advance(task.frames - sum(stop - start for start, stop in map(task.chunk_frames, todo)))
    if not todo:
        return
    pictures = enumerate(frame.image for frame in read_pictures(task.source, task.turns))
    recent: list[tuple[int, ByteArray]] = []
    for chunk in todo:
        start, stop = task.chunk_frames(chunk)
        yield chunk, _chunk_pictures(pictures, recent, max(task.start, start - WARM_UP_FRAMES), start, stop)


def _chunk_pictures(
    pictures: Iterator[tuple[int, ByteArray]],
    recent: list[tuple[int, ByteArray]],
    warm_up: int,
    start: int,
    stop: int,
) -> Iterator[tuple[bool, ByteArray]]:
    """Pictures of frames [warm_up, stop). `recent`: the last ones of the chunk before, gone from the stream."""
    yield from ((True, picture) for index, picture in recent if index >= warm_up)
    recent.clear()
    for index, picture in pictures:
        if index < warm_up:
            continue
        if index >= stop - WARM_UP_FRAMES:
            recent.append((index, picture))
        if index >= start:
            advance(1)
        yield index < start, picture
        if index + 1 == stop:
            return
