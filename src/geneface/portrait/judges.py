"""Why tracked frames are not used after all: the list `JUDGES`, asked in turn about all shots. Add a judge there.

A judge is a function of all tracked shots together (identity is a question about all of them) that names spans to
drop, each with its reason, and things that the user should know. Judges neither write nor print. The first judge to
name a frame gives it its reason; remedies stand in `plan`'s table. What is dropped here is dropped before squares are
chosen, so it widens none; `check` and `prepare` ask the same judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import MESH_SURFACE_SIZE
from geneface.portrait.crops import face_heights
from geneface.portrait.plan import FACE_LEAVES, OTHER_FACE
from geneface.portrait.quality import (
    another_person,
    changing_light,
    covered_mouth,
    moving_camera,
    only_a_picture,
)
from geneface.portrait.verdict import Drop, Judge, Note, TrackedShot, Verdict
from geneface.signal.spans import true_spans
from geneface.types import FloatArray

_EDGE_SHARE = 0.04
"""Of the face's height: so far its mesh may reach beyond the picture, which is the mesh's own error."""
_TOP_SHARE = 0.01
"""Of the face's height: hair this near to the picture's upper edge is cut off by it."""
_CUT_OFF_SHARE = 0.2
_FAR_SHARE, _SIZE_RATIO = 0.6, 1.7
"""A mesh whose centre is this far from the detector's box, in its widths, or larger or smaller than it by this factor,
lies on another face."""


def judge_all(shots: Sequence[TrackedShot]) -> tuple[list[NDArray[np.object_]], list[Note]]:
    """Ask all judges.

    Returns:
        for each shot the reasons [f] why its frames are not used ("": they are); the notes.
    """
    reasons = [np.full(shot.shot.frames, "", object) for shot in shots]
    notes: list[Note] = []
    for judge in JUDGES:
        verdict = judge(shots)
        for drop in verdict.drops:
            span = reasons[drop.shot][drop.start : drop.stop]
            span[span == ""] = drop.reason
        notes += verdict.notes
    return reasons, notes


def other_face(shots: Sequence[TrackedShot]) -> Verdict:
    """Frames in which the tracker follows another face than the detector's largest."""
    drops: list[Drop] = []
    for number, shot in enumerate(shots):
        boxes = np.array(shot.shot.boxes, np.float64)
        frames = boxes[:, 0].astype(int) - shot.shot.start
        mesh = shot.followed.mesh_px[frames, :MESH_SURFACE_SIZE, :2]
        # One false box leaves the steadied ones right; a fast head is where it was seen.
        off = _off_box(mesh, boxes[:, 1:]) & _off_box(mesh, np.array(shot.shot.seen, np.float64))
        off &= shot.followed.found[frames]
        wrong = np.zeros(shot.shot.frames, bool)
        edges = np.concatenate([[0], (frames[1:] + frames[:-1] + 1) // 2, [shot.shot.frames]])
        for flag, (start, stop) in zip(off, pairwise(edges.tolist()), strict=True):
            wrong[start:stop] = flag
        drops += [Drop(number, start, stop, OTHER_FACE) for start, stop in true_spans(wrong)]
    return Verdict(tuple(drops))


def _off_box(points: FloatArray, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[n] whether meshes [n, M, 2] lie elsewhere than boxes [n, 4] or are of another size."""
    low, high = points.min(1), points.max(1)
    width = boxes[:, 2] - boxes[:, 0]
    distance = np.linalg.norm((low + high - boxes[:, :2] - boxes[:, 2:]) / 2, axis=-1)
    scale = np.abs(np.log(np.maximum((high - low)[:, 1], 1e-6) / width))
    return (distance > _FAR_SHARE * width) | (scale > np.log(_SIZE_RATIO))


def leaves_picture(shots: Sequence[TrackedShot]) -> Verdict:
    """Frames in which a part of the face is outside the picture; where only hair is, that is reported."""
    drops: list[Drop] = []
    notes: list[Note] = []
    for number, shot in enumerate(shots):
        mesh, face = shot.followed.mesh_px, face_heights(shot.followed.mesh_px)
        points = mesh[:, :MESH_SURFACE_SIZE, :2]
        size = np.array([shot.scan.width, shot.scan.height])
        beyond = np.maximum(-points.min(1), points.max(1) - size).max(1)
        outside = (beyond > _EDGE_SHARE * face) & shot.followed.found
        drops += [Drop(number, start, stop, FACE_LEAVES) for start, stop in true_spans(outside)]
        hair = float(np.median(shot.followed.hair[:, 1])) if len(shot.followed.hair) else 0.0
        top = points[..., 1].min(1) - hair * face
        cut_off = (top < _TOP_SHARE * face) & shot.followed.found
        if cut_off.mean() > _CUT_OFF_SHARE:
            cause = "the top of the head is outside the picture and will be missing"
            notes.append(Note(number, 0, shot.shot.frames, cause, "leave room above the hair"))
    return Verdict(tuple(drops), tuple(notes))


JUDGES: tuple[Judge, ...] = (
    other_face,
    leaves_picture,
    only_a_picture,
    another_person,
    moving_camera,
    changing_light,
    covered_mouth,
)
