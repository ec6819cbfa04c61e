"""Which frames can be shown again as they were recorded: the face in them was seen, whole, sharp and from the front.

A frame that is not clear is good for learning; an avatar's body loop, in which the mouth is drawn anew, goes without.
Symbols: F frames of all segments, f frames of one, v small pictures of a shot, S size of the portrait's pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import MESH_SURFACE_SIZE
from geneface.portrait.clues import load_clues
from geneface.portrait.covered import covered
from geneface.portrait.follow import VIEW_FRAMES, load_followed
from geneface.portrait.plan import Shot
from geneface.portrait.segments import Segment
from geneface.types import ByteArray, FloatArray

_BLURRED = 0.4
"""Share of the usual detail in the direction that has least left. Faces of five people that speak and blink keep .6;
a streak of 4 % of the face's height leaves .26 to .49, of 6 % .14 to .36."""
_USUAL_FRAMES = 25
"""On each side of a frame: what is usual there."""
_OUTER, _SLACK_RADIANS = 0.01, np.radians(4.0)
"""Of the poses that training sees this share at either end is rare; a little beyond them a face is still as usual."""


def face_boxes(mesh_px: FloatArray, size: int) -> NDArray[np.int32]:
    """[f, 4] x0, y0, x1, y1 (ends excluded) of meshes [f, 478, 3] in pictures of so many pixels."""
    points = np.asarray(mesh_px)[:, :MESH_SURFACE_SIZE, :2]
    box = np.concatenate([np.floor(points.min(1)), np.ceil(points.max(1))], axis=1)
    return np.clip(box, 0, size).astype(np.int32)


def detail(picture: ByteArray, box: NDArray[np.integer]) -> FloatArray:
    """[4] mean squares of the differences of neighbouring pixels: across, down and along both diagonals.

    Args:
        picture: [S, S, 3]
        box: x0, y0, x1, y1 of the face.
    """
    x0, y0, x1, y1 = (int(value) for value in box)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return np.zeros(4, np.float32)
    level = picture[y0:y1, x0:x1].mean(-1, dtype=np.float32)
    here, right, below, beyond = level[:-1, :-1], level[:-1, 1:], level[1:, :-1], level[1:, 1:]
    steps = right - here, below - here, beyond - here, right - below
    return np.array([np.mean(step**2) for step in steps], np.float32)


def blurred(details: FloatArray) -> NDArray[np.bool_]:
    """[f] which frames of a segment with these details [f, 4] are smeared by motion."""
    flags = np.zeros(len(details), bool)
    for index, own in enumerate(details):
        usual = np.median(details[max(0, index - _USUAL_FRAMES) : index + _USUAL_FRAMES + 1], axis=0)
        flags[index] = (own < _BLURRED * usual).any()
    return flags


def turned_away(rotation: FloatArray, trained: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[F] which poses (rotation vectors [F, 3]) lie beyond the usual range of those that training sees [F]."""
    seen = rotation[trained] if trained.any() else rotation
    low, high = np.quantile(seen, [_OUTER, 1 - _OUTER], axis=0)
    return ((rotation < low - _SLACK_RADIANS) | (rotation > high + _SLACK_RADIANS)).any(1)


def near_views(flags: NDArray[np.bool_], frames: int) -> NDArray[np.bool_]:
    """[frames] of a shot that are nearer than one step to a flagged small picture [v]: what comes and goes moves."""
    near = np.zeros(frames, bool)
    for view in np.flatnonzero(flags):
        near[max(0, (view - 1) * VIEW_FRAMES + 1) : (view + 1) * VIEW_FRAMES] = True
    return near


def hidden_mouths(folders: Mapping[int, Path], shots: Sequence[Shot]) -> dict[int, NDArray[np.bool_]]:
    """Of each of these shots, [frames] where something seems to cover the mouth, be it in one small picture only.

    Args:
        folders: where `follow` and `gather_clues` left what they found, by index into the shots.
    """
    clues = {number: load_clues(folder) for number, folder in folders.items()}
    faces = np.concatenate([own.faces[own.found] for own in clues.values()])
    label = np.repeat(list(clues), [int(own.found.sum()) for own in clues.values()])
    flags = covered(faces, label, alone=True)
    hidden = {}
    for number, own in clues.items():
        views = np.zeros(len(own.found), bool)
        views[own.found] = flags[label == number]
        hidden[number] = near_views(views, shots[number].frames)
    return hidden


def clear_frames(
    folders: Mapping[int, Path],
    shots: Sequence[Shot],
    segments: Sequence[Segment],
    details: Sequence[FloatArray],
    rotation: FloatArray,
) -> NDArray[np.bool_]:
    """[F] the frames that can be shown again.

    Args:
        folders: as `hidden_mouths`, of all shots with a segment.
        details: of each segment, [f, 4], see `detail`.
        rotation: [F, 3] head poses.
    """
    hidden = hidden_mouths(folders, shots)
    good = []
    for segment, own in zip(segments, details, strict=True):
        shot, first = segment.span.shot, segment.span.start - shots[segment.span.shot].start
        rows = slice(first, first + segment.span.frames)
        # Where it was not found, the mesh is that of its neighbours.
        found = load_followed(folders[shot], shots[shot].frames).found
        good.append(found[rows] & ~hidden[shot][rows] & ~blurred(own))
    trained = ~np.concatenate([segment.heldout_flags for segment in segments])
    scene = np.repeat([segment.span.scene for segment in segments], [segment.span.frames for segment in segments])
    away = np.zeros(len(rotation), bool)
    for number in np.unique(scene):
        away[scene == number] = turned_away(rotation[scene == number], trained[scene == number])
    return np.concatenate(good) & ~away
