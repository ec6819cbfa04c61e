"""From tracked shots to the spans of frames that stay, and which of them are held out. Pure functions.

Symbols: f frames of one shot, F frames of all segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import (
    MESH_FACE_SIDES,
    MESH_HAIRLINE,
    MESH_LIPS_OUTER,
    MESH_NOSE_BRIDGE,
    MESH_SURFACE_SIZE,
)
from geneface.portrait.manifest import DroppedSpan
from geneface.portrait.plan import FACE_LOST, MIN_SEGMENT_SECONDS, TRACKED_TOO_SHORT, Shot, dropped
from geneface.portrait.scan import SourceScan
from geneface.types import VIDEO_RATE_HZ, FloatArray

MAX_GAP_FRAMES = 3
"""Shorter gaps in the tracking are bridged."""
MAX_HELDOUT_FRAMES = 60 * VIDEO_RATE_HZ
_HELDOUT_SHARE = 0.2
_MANY_CLIPS, _HELDOUT_CLIP, _CLIP_SHARE = 10, 9, 0.1
_EVEN_SHARE = 0.05
_SOME_CLIPS, _SHORT_FRAMES = 5, 6 * VIDEO_RATE_HZ
"""Every tenth of many clips is held out where that is a tenth of the time, to within this share of all of it."""
_JUMP_SHARE, _JUMP_SCALE = 0.25, 0.15
"""A face that moves by this share of its width, or changes its size by this share, from frame to frame jumps."""


@dataclass(frozen=True)
class TrackedSpan:
    """Consecutive frames of one shot that are all tracked."""

    shot: int
    """Index into the shots."""
    source: int
    start: int
    """First frame in the source."""
    mesh_px: FloatArray
    """[f, 478, 3] pixels of the source."""
    framing: int = 0
    """Runs of one framing share a crop and a background."""
    scene: int = 1
    """Runs of one scene share the light and the clothes (`sittings`)."""

    @property
    def frames(self) -> int:
        """Its length."""
        return len(self.mesh_px)

    def cut(self, start: int, stop: int) -> TrackedSpan:
        """The part inside frames [start, stop) of the source; may be empty."""
        first, last = (int(np.clip(frame - self.start, 0, self.frames)) for frame in (start, stop))
        return replace(self, start=self.start + first, mesh_px=self.mesh_px[first : max(first, last)])


def tracked_spans(
    index: int,
    shot: Shot,
    scan: SourceScan,
    mesh_px: FloatArray,
    found: NDArray[np.bool_],
    reasons: NDArray[np.object_] | None = None,
) -> tuple[list[TrackedSpan], list[DroppedSpan]]:
    """Split a shot where the face was lost or jumped, or where a judge says why not; bridge short gaps.

    Args:
        reasons: [f] why a frame is not used, "" where it is.
    """
    mesh, known = bridge_gaps(mesh_px, found)
    said = np.full(len(mesh), "", object) if reasons is None else reasons.copy()
    said[~known & (said == "")] = FACE_LOST
    good = said == ""
    breaks = good[1:] & good[:-1] & _jumps(mesh)
    label = np.cumsum(np.concatenate([[False], (said[1:] != said[:-1]) | breaks]))
    spans: list[TrackedSpan] = []
    rest: list[DroppedSpan] = []
    for number in np.unique(label):
        rows = np.flatnonzero(label == number)
        start, stop = int(rows[0]), int(rows[-1]) + 1
        if good[start] and stop - start >= MIN_SEGMENT_SECONDS * VIDEO_RATE_HZ:
            spans.append(TrackedSpan(index, shot.source, shot.start + start, mesh[start:stop]))
        else:
            reason = TRACKED_TOO_SHORT if good[start] else str(said[start])
            rest.append(dropped(scan, shot.start + start, shot.start + stop, reason))
    return spans, rest


def split_span(
    span: TrackedSpan, kept: NDArray[np.bool_], scan: SourceScan, reason: str
) -> tuple[list[TrackedSpan], list[DroppedSpan]]:
    """The parts of a span [f] whose frames are kept; the others are dropped for this reason."""
    edges = [0, *(np.flatnonzero(kept[1:] != kept[:-1]) + 1).tolist(), span.frames]
    spans: list[TrackedSpan] = []
    rest: list[DroppedSpan] = []
    for start, stop in pairwise(edges):
        is_long = stop - start >= MIN_SEGMENT_SECONDS * VIDEO_RATE_HZ
        if kept[start] and is_long:
            spans.append(span.cut(span.start + start, span.start + stop))
        else:
            rest.append(dropped(scan, span.start + start, span.start + stop, reason))
    return spans, rest


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
    left, right = MESH_FACE_SIDES
    width = np.linalg.norm(mesh_px[:, right, :2] - mesh_px[:, left, :2], axis=-1) + 1e-6
    height = np.linalg.norm(mesh_px[:, MESH_HAIRLINE, :2] - mesh_px[:, MESH_NOSE_BRIDGE, :2], axis=-1) + 1e-6
    moved = np.linalg.norm(np.diff(mesh_px[:, :MESH_SURFACE_SIZE, :2].mean(1), axis=0), axis=-1)
    scaled = np.abs(np.diff(np.log(height)))
    return (moved > _JUMP_SHARE * width[1:]) | (scaled > 2 * _JUMP_SCALE)


def heldout_starts(spans: Sequence[TrackedSpan], sources: int) -> list[int]:
    """For each source the first frame that training must not see (a large number where all may be seen).

    Of ten or more clips that are used, every tenth is held out whole, if that is about a tenth of the time; where clips
    differ too much in length, others are chosen so that it is. Of fewer videos, the last 20 % of each, at most 60 s;
    but of five or more that are short, the fifth is held out whole: ends of a second would say little of the lips.
    """
    never = np.iinfo(np.int32).max
    frames = [np.concatenate([_frame_numbers(span) for span in spans if span.source == index] or [np.zeros(0, int)])
              for index in range(sources)]  # fmt: skip
    used = [index for index, own in enumerate(frames) if len(own)]
    if _SOME_CLIPS <= len(used) < _MANY_CLIPS and max(map(len, frames)) < _SHORT_FRAMES:
        counts = [len(own) if index == used[_SOME_CLIPS - 1] else 0 for index, own in enumerate(frames)]
    elif len(used) < _MANY_CLIPS:
        counts = [min(round(_HELDOUT_SHARE * len(own)), MAX_HELDOUT_FRAMES) for own in frames]
    else:
        counts = _heldout_of_clips([len(own) for own in frames])
    return [
        never if count == 0 else 0 if count == len(own) else int(own[-count])
        for own, count in zip(frames, counts, strict=True)
    ]


def _frame_numbers(span: TrackedSpan) -> NDArray[np.int_]:
    return np.arange(span.start, span.start + span.frames)


def _heldout_of_clips(lengths: list[int]) -> list[int]:
    """How many frames of each of many clips are held out, from their ends."""
    total = sum(lengths)
    tenth = [length if index % _MANY_CLIPS == _HELDOUT_CLIP else 0 for index, length in enumerate(lengths)]
    if abs(sum(tenth) - _CLIP_SHARE * total) <= _EVEN_SHARE * total:
        return tenth
    counts = [0] * len(lengths)
    owed = 0.0
    for index, length in enumerate(lengths):
        owed += _CLIP_SHARE * length
        if length > 0 and owed >= length:
            counts[index], owed = length, owed - length
    longest = int(np.argmax([length if count == 0 else 0 for length, count in zip(lengths, counts, strict=True)]))
    # What no clip was short enough for comes from the end of the longest one.
    rest = round(min(owed, _HELDOUT_SHARE * lengths[longest], MAX_HELDOUT_FRAMES))
    if counts[longest] == 0 and rest > 0:
        counts[longest] = rest
    return counts


def mouth_boxes(mesh_px: FloatArray, size: int) -> NDArray[np.int32]:
    """Boxes [F, 4] (x0, y0, x1, y1, ends exclusive) around the lips of meshes [F, 478, 3], with a margin."""
    lips = mesh_px[:, list(MESH_LIPS_OUTER), :2]
    low, high = lips.min(1), lips.max(1)
    # A third of the mouth's width on each side shows lips, teeth and the skin that moves with them.
    margin = 0.3 * (high[:, :1] - low[:, :1])
    box = np.concatenate([np.floor(low - margin), np.ceil(high + margin)], axis=1)
    return np.clip(box, 0, size).astype(np.int32)
