"""Judges of what is shown: one living person, before a camera and in a light that stand still, the mouth in view.

What each of them measures is in a module of its own (`identity`, `stillness`, `camera_motion`, `light`, `covered`).
v counts small pictures, one each `VIEW_FRAMES` frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import STABLE_MESH
from geneface.geometry.rotation import umeyama
from geneface.io.face_mesh import mean_face
from geneface.portrait.camera_motion import SHIFT_TOLERANCE, ZOOM_TOLERANCE, follow_on, usual_place
from geneface.portrait.covered import covered
from geneface.portrait.follow import VIEW_FRAMES
from geneface.portrait.identity import Signature, one_person, signature
from geneface.portrait.light import LEVEL_TOLERANCE, face_level, level_steps
from geneface.portrait.plan import (
    CAMERA_MOVES,
    LIGHT_CHANGES,
    MOUTH_COVERED,
    ONLY_A_PICTURE,
    OTHER_PERSON,
    SIZE_CHANGES,
)
from geneface.portrait.sittings import sittings
from geneface.portrait.stillness import is_picture
from geneface.portrait.verdict import Drop, Note, TrackedShot, Verdict
from geneface.signal.spans import true_spans
from geneface.types import VIDEO_RATE_HZ

_PIECE_VIEWS = 4 * VIDEO_RATE_HZ // VIEW_FRAMES
"""Four seconds: shorter pieces say less about who is seen."""
_MIN_PIECE_VIEWS = VIDEO_RATE_HZ // VIEW_FRAMES
_SURE = 1.15
"""Beyond this, of the limit, it is another person even between pieces, in one shot, that show the usual one."""
_SIZE_TOLERANCE = 0.18
"""Natural logarithm of the face's size: a fifth larger or smaller than usual. Lively heads vary by .09 in all."""
_STILL_SHARE = 0.8
"""Where the camera could be seen to stand still for so much of a shot, a face that grows has come nearer."""
_DARK_LEVEL, _BRIGHT_LEVEL = 40.0, 235.0
"""Mean level of a face, of 255: beyond them colours and outlines are mostly noise."""
_REMEDY_DARK = "change the light or the exposure"
_REMEDY_LIGHT, _REMEDY_SHAKE = "keep the light and fix the exposure", "a firm camera gives a sharper background"
_USUAL_SHARE = 0.5
"""A camera that is in its usual place for less of a shot has none."""
_NO_PLATE = "the camera or what is behind the person moves: a drawn body would have a blur for a background"
_REMEDY_MOVES = (
    "the person's own video (render --body source) shows it as it was; else put the camera on something firm"
)
_WANDERS = 0.012
"""Of the picture's longer side: a camera that moves so little is reported, and nothing is dropped."""


def only_a_picture(shots: Sequence[TrackedShot]) -> Verdict:
    """Shots of a poster or a photograph, and pictures made into videos."""
    return Verdict(
        tuple(Drop(number, 0, shot.shot.frames, ONLY_A_PICTURE) for number, shot in enumerate(shots) if _is_dead(shot))
    )


def another_person(shots: Sequence[TrackedShot]) -> Verdict:
    """Spans that do not show the person who is seen longest."""
    return Verdict(tuple(_others(shots)))


def scenes_of(shots: Sequence[TrackedShot]) -> list[int]:
    """For each shot the number of its scene, from 1: those in one light and one set of clothes (`sittings`).

    Shots of somebody else have no say.
    """
    gone = _gone(shots)
    kept = [number for number in range(len(shots)) if number not in gone]
    if not kept:
        return [1] * len(shots)
    paths = sorted({shot.scan.path for shot in shots})
    found = sittings(
        np.stack([shots[number].clues.colours for number in kept]),
        np.array([shots[number].clues.found.sum() for number in kept], np.float64),
        np.array([paths.index(shots[number].scan.path) for number in kept]),
    )
    scene = dict(zip(kept, found.tolist(), strict=True))
    return [scene.get(number, 1) for number in range(len(shots))]


def moving_camera(shots: Sequence[TrackedShot]) -> Verdict:
    """Spans in which the camera points elsewhere than it usually does, or the face has another size.

    A camera that has no usual place moves all the time: nothing is dropped for that, but there is no clean background.
    """
    drops: list[Drop] = []
    notes: list[Note] = []
    tolerance = np.array([SHIFT_TOLERANCE, SHIFT_TOLERANCE, ZOOM_TOLERANCE])
    for number, shot in enumerate(shots):
        camera = shot.clues.camera
        place = follow_on(camera)
        usual = usual_place(place, tolerance)
        if usual.mean() < _USUAL_SHARE:
            notes.append(Note(number, 0, shot.shot.frames, _NO_PLATE, _REMEDY_MOVES))
        else:
            drops += _drops(number, shot, ~usual, CAMERA_MOVES)
        reach = np.ptp(place[usual], axis=0) if usual.any() else np.zeros(3)
        if usual.all() and reach[:2].max() > _WANDERS:
            cause = f"the camera moves a little, by {100 * reach[:2].max():.0f} % of the picture"
            notes.append(Note(number, 0, shot.shot.frames, cause, _REMEDY_SHAKE))
        if camera.known.mean() < _STILL_SHARE:
            found = shot.clues.found
            size = face_size(shot.followed.mesh_px[::VIEW_FRAMES])
            fits = usual_place(size[:, None], np.array([_SIZE_TOLERANCE]), found.astype(float))
            drops += _drops(number, shot, ~fits & found, SIZE_CHANGES)
    return Verdict(tuple(drops), tuple(notes))


def changing_light(shots: Sequence[TrackedShot]) -> Verdict:
    """Spans in which the face is much brighter or darker than usual in the same source and scene.

    Sudden changes are reported, and shots that are dark or glaring throughout.
    """
    drops: list[Drop] = []
    notes: list[Note] = []
    by_source: dict[tuple[str, int], list[int]] = {}
    gone, scenes = _gone(shots), scenes_of(shots)
    for number, shot in enumerate(shots):
        # What shows a poster or somebody else tells nothing of the light on this face.
        if number in gone:
            continue
        by_source.setdefault((shot.scan.path, scenes[number]), []).append(number)
        notes += _extreme_light(number, shot)
    for numbers in by_source.values():
        level = np.concatenate([face_level(shots[number].clues.faces) for number in numbers])
        found = np.concatenate([shots[number].clues.found for number in numbers])
        usual = usual_place(level[:, None], np.array([LEVEL_TOLERANCE]), found.astype(float))
        edges = np.cumsum([0, *(len(shots[number].clues.found) for number in numbers)])
        for number, start, stop in zip(numbers, edges[:-1], edges[1:], strict=True):
            drops += _drops(number, shots[number], ~usual[start:stop] & found[start:stop], LIGHT_CHANGES)
        # Over the borders of shots too: a sudden change of the light looks like a cut.
        for row, change in level_steps(level[found]):
            view = int(np.flatnonzero(found)[row])
            place = int(np.searchsorted(edges, view, side="right")) - 1
            notes.append(_light_note(numbers[place], shots[numbers[place]], view - int(edges[place]), change))
    return Verdict(tuple(drops), tuple(notes))


def _extreme_light(number: int, shot: TrackedShot) -> list[Note]:
    """That a shot is dark or glaring throughout."""
    if not shot.clues.found.any():
        return []
    level = float(np.exp(np.median(face_level(shot.clues.faces[shot.clues.found]))))
    if _DARK_LEVEL < level < _BRIGHT_LEVEL:
        return []
    side = "dark" if level <= _DARK_LEVEL else "bright"
    return [Note(number, 0, shot.shot.frames, f"the face is too {side}", _REMEDY_DARK)]


def _light_note(number: int, shot: TrackedShot, view: int, change: float) -> Note:
    side = "brighter" if change > 0 else "darker"
    cause = f"the face suddenly becomes {100 * abs(np.expm1(change)):.0f} % {side}"
    start = view * VIEW_FRAMES
    return Note(number, start, min(start + VIEW_FRAMES, shot.shot.frames), cause, _REMEDY_LIGHT)


def covered_mouth(shots: Sequence[TrackedShot]) -> Verdict:
    """Spans in which something hides the mouth of the person who is kept."""
    kept = [shot.clues.found.copy() for shot in shots]
    for drop in (*only_a_picture(shots).drops, *another_person(shots).drops):
        kept[drop.shot][drop.start // VIEW_FRAMES : -(-drop.stop // VIEW_FRAMES)] = False
    faces = [shot.clues.faces[keep] for shot, keep in zip(shots, kept, strict=True)]
    if not faces:
        return Verdict()
    counts = [len(some) for some in faces]
    label = np.repeat(np.arange(len(shots)), counts)
    hidden = np.split(covered(np.concatenate(faces), label), np.cumsum(counts)[:-1])
    drops: list[Drop] = []
    for number, (shot, keep, flags) in enumerate(zip(shots, kept, hidden, strict=True)):
        views = np.zeros(len(keep), bool)
        views[keep] = flags
        # A hand comes and goes: the pictures before and after show it on its way.
        views |= np.concatenate([views[1:], [False]]) | np.concatenate([[False], views[:-1]])
        drops += _drops(number, shot, views, MOUTH_COVERED)
    return Verdict(tuple(drops))


def face_size(mesh_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """[f] natural logarithm of the size of tracked faces, whatever their pose."""
    points = np.asarray(mesh_px, np.float64)[:, list(STABLE_MESH)] * [1.0, -1.0, -1.0]
    stable = mean_face()[list(STABLE_MESH)].astype(np.float64)
    return np.log(np.maximum(umeyama(np.broadcast_to(stable, points.shape), points)[0], 1e-9))


def _gone(shots: Sequence[TrackedShot]) -> set[int]:
    """Shots in which the person who is kept is not seen at all."""
    drops = (*only_a_picture(shots).drops, *another_person(shots).drops)
    return {drop.shot for drop in drops if drop.stop - drop.start == shots[drop.shot].shot.frames}


def _is_dead(shot: TrackedShot) -> bool:
    return is_picture(shot.followed.mesh_px, shot.followed.found)


def _others(shots: Sequence[TrackedShot]) -> Iterator[Drop]:
    """Pieces of shots that show somebody else."""
    pieces: list[tuple[int, int, int]] = []
    signatures: list[Signature] = []
    for number, shot in enumerate(shots):
        if _is_dead(shot):
            continue
        meshes = shot.followed.mesh_px[::VIEW_FRAMES]
        for start, stop in _pieces(len(shot.clues.found)):
            seen = start + np.flatnonzero(shot.clues.found[start:stop])
            seconds = len(seen) * VIEW_FRAMES / VIDEO_RATE_HZ
            found = signature(shot.clues.faces[seen], meshes[seen], seconds)
            if found is not None and len(seen) >= _MIN_PIECE_VIEWS:
                pieces.append((number, start, stop))
                signatures.append(found)
    if not signatures:
        return
    shares = one_person(signatures)
    for number, shot in enumerate(shots):
        rows = [row for row, piece in enumerate(pieces) if piece[0] == number]
        if not rows:
            continue
        away = shares[rows] > (1.0 if (shares[rows] > 1.0).all() else _SURE)
        if away.all():
            yield Drop(number, 0, shot.shot.frames, OTHER_PERSON)
            continue
        views = np.zeros(len(shot.clues.found), bool)
        for row in np.array(rows)[away]:
            views[pieces[row][1] : pieces[row][2]] = True
        yield from _drops(number, shot, views, OTHER_PERSON)


def _pieces(views: int) -> list[tuple[int, int]]:
    """[start, stop) of the pieces of a shot, none shorter than `_PIECE_VIEWS` unless the shot is."""
    count = max(1, views // _PIECE_VIEWS)
    edges = np.linspace(0, views, count + 1).round().astype(int)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _drops(number: int, shot: TrackedShot, views: NDArray[np.bool_], reason: str) -> list[Drop]:
    """Drops of the frames that flagged views [v] stand for."""
    last = shot.shot.frames
    return [
        Drop(number, start * VIEW_FRAMES, min(stop * VIEW_FRAMES, last), reason) for start, stop in true_spans(views)
    ]
