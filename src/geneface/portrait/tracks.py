"""From measured chunks to the tracks of a portrait: which runs of frames stay, and their pixels. Mostly pure.

Symbols: f frames of one shot, F frames of all segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import MESH_LIPS_OUTER
from geneface.io.store import TensorFile
from geneface.portrait.manifest import DroppedSpan
from geneface.portrait.measure import chunk_count, chunk_path
from geneface.portrait.plan import MIN_SEGMENT_SECONDS, Shot, dropped
from geneface.portrait.scan import SourceScan
from geneface.types import VIDEO_RATE_HZ, FloatArray

MAX_GAP_FRAMES = 3
"""Shorter gaps in the tracking are bridged."""
MAX_HELDOUT_FRAMES = 60 * VIDEO_RATE_HZ
_HELDOUT_SHARE = 0.2
_MANY_CLIPS, _HELDOUT_CLIP = 10, 9
_JUMP_SHARE, _JUMP_SCALE = 0.25, 0.15
"""A face that moves by this share of its width, or changes its size by this share, from frame to frame jumps."""


@dataclass(frozen=True)
class Run:
    """Consecutive frames of one shot that are all tracked."""

    shot: int
    """Index into the shots."""
    source: int
    start: int
    """First frame in the source."""
    mesh_px: FloatArray
    """[f, 478, 3] pixels of the portrait's pictures."""

    @property
    def frames(self) -> int:
        return len(self.mesh_px)

    def cut(self, start: int, stop: int) -> Run:
        """The part inside frames [start, stop) of the source; may be empty."""
        first, last = (int(np.clip(frame - self.start, 0, self.frames)) for frame in (start, stop))
        return Run(self.shot, self.source, self.start + first, self.mesh_px[first : max(first, last)])


def measured_runs(
    shots: Sequence[Shot], scans: Sequence[SourceScan], folders: Sequence[Path]
) -> tuple[list[Run], list[DroppedSpan]]:
    """Tracked runs of all shots, whose chunks are in `folders`, and what is lost between them."""
    runs: list[Run] = []
    rest: list[DroppedSpan] = []
    for index, (shot, folder) in enumerate(zip(shots, folders, strict=True)):
        kept, lost = tracked_runs(index, shot, scans[shot.source], *load_measured(folder, shot))
        runs += kept
        rest += lost
    return runs, rest


def load_measured(folder: Path, shot: Shot) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Meshes [f, 478, 3] and found flags [f] of one shot's chunks."""
    files = [TensorFile(chunk_path(folder, chunk)) for chunk in range(chunk_count(shot.frames))]
    meshes = np.concatenate([file.get("mesh") for file in files])
    return meshes, np.concatenate([file.get("found") for file in files]).astype(bool)


def tracked_runs(
    index: int, shot: Shot, scan: SourceScan, mesh_px: FloatArray, found: NDArray[np.bool_]
) -> tuple[list[Run], list[DroppedSpan]]:
    """Split a shot where the face was lost or jumped; bridge short gaps."""
    mesh, known = bridge_gaps(mesh_px, found)
    breaks = known[1:] & known[:-1] & _jumps(mesh)
    label = np.cumsum(np.concatenate([[False], (known[1:] != known[:-1]) | breaks]))
    runs: list[Run] = []
    rest: list[DroppedSpan] = []
    for number in np.unique(label):
        rows = np.flatnonzero(label == number)
        start, stop = int(rows[0]), int(rows[-1]) + 1
        if not known[start]:
            rest.append(dropped(scan, shot.start + start, shot.start + stop, "the face is lost"))
        elif stop - start < MIN_SEGMENT_SECONDS * VIDEO_RATE_HZ:
            reason = f"the face is tracked for less than {MIN_SEGMENT_SECONDS:g} s"
            rest.append(dropped(scan, shot.start + start, shot.start + stop, reason))
        else:
            runs.append(Run(index, shot.source, shot.start + start, mesh[start:stop]))
    return runs, rest


def bridge_gaps(mesh_px: FloatArray, found: NDArray[np.bool_]) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Fill gaps of at most `MAX_GAP_FRAMES` between tracked frames by linear interpolation."""
    mesh, known = mesh_px.copy(), found.copy()
    seen = np.flatnonzero(found)
    for before, after in pairwise(seen.tolist()):
        if 1 < after - before <= MAX_GAP_FRAMES + 1:
            share = (np.arange(1, after - before) / (after - before))[:, None, None].astype(np.float32)
            mesh[before + 1 : after] = (1 - share) * mesh[before] + share * mesh[after]
            known[before + 1 : after] = True
    return mesh, known


def _jumps(mesh_px: FloatArray) -> NDArray[np.bool_]:
    """[f - 1] whether the face jumps between frames."""
    width = np.linalg.norm(mesh_px[:, 454, :2] - mesh_px[:, 234, :2], axis=-1) + 1e-6
    height = np.linalg.norm(mesh_px[:, 10, :2] - mesh_px[:, 168, :2], axis=-1) + 1e-6
    moved = np.linalg.norm(np.diff(mesh_px[:, :468, :2].mean(1), axis=0), axis=-1)
    scaled = np.abs(np.diff(np.log(height)))
    return (moved > _JUMP_SHARE * width[1:]) | (scaled > 2 * _JUMP_SCALE)


def heldout_starts(shots: Sequence[Shot], sources: int) -> list[int]:
    """For each source the first frame that training must not see (a large number where all may be seen).

    Of ten or more clips, every tenth is held out whole; of fewer, the last 20 % of each, at most 60 s.
    """
    never = np.iinfo(np.int32).max
    if sources >= _MANY_CLIPS:
        return [0 if source % _MANY_CLIPS == _HELDOUT_CLIP else never for source in range(sources)]
    starts = []
    for source in range(sources):
        frames = np.concatenate([np.zeros(0, int), *(np.arange(s.start, s.stop) for s in shots if s.source == source)])
        count = min(round(_HELDOUT_SHARE * len(frames)), MAX_HELDOUT_FRAMES)
        starts.append(int(frames[-count]) if count else never)
    return starts


def mouth_boxes(mesh_px: FloatArray, size: int) -> NDArray[np.int32]:
    """Boxes [F, 4] (x0, y0, x1, y1, ends exclusive) around the lips of meshes [F, 478, 3], with a margin."""
    lips = mesh_px[:, list(MESH_LIPS_OUTER), :2]
    low, high = lips.min(1), lips.max(1)
    # A third of the mouth's width on each side shows lips, teeth and the skin that moves with them.
    margin = 0.3 * (high[:, :1] - low[:, :1])
    box = np.concatenate([np.floor(low - margin), np.ceil(high + margin)], axis=1)
    return np.clip(box, 0, size).astype(np.int32)
