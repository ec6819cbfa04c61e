"""Judges of what is shown, asked about shots whose clues are drawn: what they drop, where, and why."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_covered import hand, speaking
from test_stillness import meshes

from geneface.portrait.camera_motion import CameraPath
from geneface.portrait.clues import Clues
from geneface.portrait.follow import VIEW_FRAMES, Followed
from geneface.portrait.plan import (
    CAMERA_MOVES,
    LIGHT_CHANGES,
    MOUTH_COVERED,
    ONLY_A_PICTURE,
    OTHER_PERSON,
    SIZE_CHANGES,
    Shot,
    remedy_for,
)
from geneface.portrait.quality import (
    another_person,
    changing_light,
    covered_mouth,
    face_size,
    moving_camera,
    only_a_picture,
    scenes_of,
)
from geneface.portrait.scan import SourceScan
from geneface.portrait.verdict import TrackedShot

VIEWS = 40
FRAMES = VIEWS * VIEW_FRAMES
TALK = 0.01 * (1 + np.sin(np.arange(FRAMES) / 2))
STILL = np.zeros((VIEWS, 3))
COLOURS = np.log([[190.0, 140, 110], [50, 70, 100]])


def shot(
    faces: np.ndarray | None = None,
    lips: np.ndarray = TALK,
    place: np.ndarray = STILL,
    known: float = 1.0,
    path: str = "a.mp4",
    growth: np.ndarray | float = 1.0,
    colours: np.ndarray = COLOURS,
) -> TrackedShot:
    """Eight seconds of one face."""
    mesh = meshes(lips, np.zeros(FRAMES)) * np.reshape(growth, (-1, 1, 1)).astype(np.float32)
    box = (0.0, 0.0, 200.0, 200.0)
    scan = SourceScan(path, 640, 480, FRAMES, 25.0, False, 0, (), (), "")
    plan = Shot(0, 0, FRAMES, (0, 0, 640, 480), ((0, *box),), (box,))
    tracked = TrackedShot(scan, plan, Path("nowhere"), None)
    found = np.ones(FRAMES, bool)
    flags = np.arange(VIEWS) < round(known * VIEWS)
    tracked.__dict__["followed"] = Followed(mesh, found, np.zeros((0, 3), np.float32))
    shown = speaking(VIEWS) if faces is None else faces
    tracked.__dict__["clues"] = Clues(shown, found[::VIEW_FRAMES], CameraPath(place, flags), colours)
    return tracked


def dropped(verdict, shots: list[TrackedShot], reason: str) -> list[np.ndarray]:
    """Flags [f] of each shot; every drop is for this reason."""
    flags = [np.zeros(FRAMES, bool) for _ in shots]
    for drop in verdict.drops:
        assert drop.reason == reason and remedy_for(reason) != remedy_for("no such reason")
        assert 0 <= drop.start < drop.stop <= FRAMES
        flags[drop.shot][drop.start : drop.stop] = True
    return flags


@pytest.mark.parametrize("judge", [only_a_picture, another_person, moving_camera, changing_light, covered_mouth])
def test_nobody_minds_a_good_recording(judge):
    verdict = judge([shot(), shot(path="b.mp4")])
    assert verdict.drops == () and verdict.notes == ()
    assert judge([]).drops == ()


def test_a_photograph_is_dropped_and_is_not_the_person():
    other = speaking(VIEWS)[:, ::-1]
    shots = [shot(), shot(other, lips=0 * TALK), shot(other, lips=0 * TALK)]
    flags = dropped(only_a_picture(shots), shots, ONLY_A_PICTURE)
    assert [flag.mean() for flag in flags] == [0, 1, 1]
    # Though it is seen for longer than the person who speaks.
    assert another_person(shots).drops == ()


def test_the_person_who_is_seen_less_is_dropped():
    other = speaking(VIEWS)[:, ::-1]
    shots = [shot(other), shot(), shot(path="b.mp4")]
    flags = dropped(another_person(shots), shots, OTHER_PERSON)
    assert [flag.mean() for flag in flags] == [1, 0, 0]
    # In one shot, without a cut, only where the other one is.
    mixed = [shot(np.concatenate([speaking(20), other[:20]])), shot()]
    flags = dropped(another_person(mixed), mixed, OTHER_PERSON)
    assert flags[0][100:].all() and not flags[0][:100].any() and not flags[1].any()


def test_another_shirt_is_another_scene_and_a_photograph_has_no_say():
    """A shot that is dropped anyway has no say in which scene lasts longest."""
    shirt = COLOURS + np.array([[0], [0.6]])
    shots = [shot(), shot(path="b.mp4", colours=shirt), shot(path="c.mp4")]
    assert scenes_of(shots) == [1, 2, 1]
    # Also inside one file, but there a cut may show another part of the clothes.
    assert scenes_of([shot(), shot(colours=shirt), shot(), shot(path="b.mp4", colours=shirt)]) == [1, 2, 1, 2]
    collar = COLOURS + np.array([[0], [0.4]])
    assert scenes_of([shot(), shot(colours=collar)]) == [1, 1]
    assert scenes_of([shot(), shot(path="b.mp4", colours=collar)]) == [1, 2]
    other = speaking(VIEWS)[:, ::-1]
    photographs = [shot(other, lips=0 * TALK, colours=shirt) for _ in range(2)]
    assert only_a_picture([shot(), *photographs]).drops
    assert scenes_of([shot(), *photographs]) == [1, 1, 1] and scenes_of(photographs) == [1, 1]


def test_a_pan_is_dropped_and_a_shake_is_told():
    pan = STILL.copy()
    pan[25:, 0] = np.linspace(0, 0.3, VIEWS - 25)
    flags = dropped(moving_camera([shot(place=pan)]), [shot()], CAMERA_MOVES)[0]
    assert not flags[: 25 * VIEW_FRAMES].any() and flags[32 * VIEW_FRAMES :].all()
    shake = 0.01 * np.stack([np.sin(np.arange(VIEWS)), np.cos(np.arange(VIEWS)), 0 * np.arange(VIEWS)], axis=1)
    verdict = moving_camera([shot(place=shake)])
    assert verdict.drops == ()
    assert "2 % of the picture" in verdict.notes[0].cause


def test_a_camera_that_always_moves_is_told_and_nothing_is_dropped():
    """The person's own pictures need no clean background."""
    pan = STILL.copy()
    pan[:, 0] = np.linspace(0, 0.4, VIEWS)
    verdict = moving_camera([shot(), shot(place=pan)])
    assert verdict.drops == ()
    (note,) = verdict.notes
    assert (note.shot, note.start, note.stop) == (1, 0, FRAMES) and "blur for a background" in note.cause


def test_a_face_that_doubles_is_dropped_unless_the_camera_is_seen_to_stand():
    growth = np.exp(np.linspace(0, np.log(2), FRAMES))
    flags = dropped(moving_camera([shot(growth=growth, known=0.0)]), [shot()], SIZE_CHANGES)[0]
    assert 0.4 < flags.mean() < 0.55
    assert moving_camera([shot(growth=growth)]).drops == ()
    size = face_size(shot(growth=growth).followed.mesh_px)
    np.testing.assert_allclose(size - size[0], np.log(growth), atol=0.02)


def test_a_dark_room_and_glare_are_told():
    faces = speaking(VIEWS)
    dark, glare = (faces * 0.2).astype(np.uint8), (faces * 0.1 + 230).astype(np.uint8)
    assert changing_light([shot(faces)]).notes == ()
    # The last two show no face any more: they are nobody's, and nothing breaks.
    white, black = np.full_like(faces, 255), np.zeros_like(faces)
    for some, side in ((dark, "dark"), (glare, "bright"), (white, "bright"), (black, "dark")):
        verdict = changing_light([shot(some)])
        assert [note.cause for note in verdict.notes] == [f"the face is too {side}"] and verdict.drops == ()


@pytest.mark.slow
def test_strong_light_is_dropped_and_a_step_is_told_with_its_time():
    faces = speaking(VIEWS).astype(float)
    faces[30:] *= 1.4
    verdict = changing_light([shot(faces.clip(0, 255).astype(np.uint8))])
    flags = dropped(verdict, [shot()], LIGHT_CHANGES)[0]
    assert flags[150:].all() and not flags[:150].any()
    (note,) = verdict.notes
    assert note.start == 150 and "brighter" in note.cause
    # Also where the change was taken for a cut.
    little = (0.84 * speaking(VIEWS, 1)).astype(np.uint8)
    (note,) = changing_light([shot(), shot(little)]).notes
    assert (note.shot, note.start) == (1, 0) and "darker" in note.cause
    # Recordings may differ: another source is in another light.
    dark = (0.5 * speaking(VIEWS)).astype(np.uint8)
    assert changing_light([shot(), shot(dark, path="b.mp4")]).drops == ()
    flags = dropped(changing_light([shot(), shot(), shot(dark)]), [shot()] * 3, LIGHT_CHANGES)
    assert [flag.mean() for flag in flags] == [0, 0, 1]


def test_a_hand_before_the_mouth_is_dropped():
    faces = speaking(VIEWS)
    faces[20:26] = hand(faces[20:26], (30, 30, 35))
    shots = [shot(faces), shot()]
    flags = dropped(covered_mouth(shots), shots, MOUTH_COVERED)
    assert flags[0][100:130].all() and not flags[0][:90].any() and not flags[0][140:].any()
    assert not flags[1].any()


def test_a_lost_face_is_nobody():
    lost = shot()
    nothing = np.zeros(FRAMES, bool)
    lost.__dict__["followed"] = replace(lost.followed, found=nothing)
    lost.__dict__["clues"] = replace(lost.clues, found=nothing[::VIEW_FRAMES])
    for judge in (only_a_picture, another_person, moving_camera, changing_light, covered_mouth):
        assert judge([lost]).drops == ()
