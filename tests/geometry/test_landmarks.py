"""The named landmarks: counts, symmetry on a mean face, and measures with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.geometry import landmarks as names
from geneface.io.face_mesh import mean_face

FACE = mean_face()[list(names.KEYPOINTS)]
CLASSIC_68 = names.positions(names.CLASSIC_68_MESH)


def test_the_named_set_holds_the_classic_68_and_more():
    assert len(CLASSIC_68) == 68 == len(set(names.CLASSIC_68_MESH))
    assert names.KEYPOINT_COUNT == len(set(names.KEYPOINTS)) == len(FACE)
    assert [names.KEYPOINTS[position] for position in CLASSIC_68] == list(names.CLASSIC_68_MESH)
    with pytest.raises(KeyError):
        names.positions((names.MESH_SIZE,))


def test_groups_lie_where_their_names_say():
    height = {group: FACE[getattr(names, group), 1].mean() for group in ("BROWS", "EYES", "LIPS", "JAW")}
    assert height["BROWS"] > height["EYES"] > height["LIPS"] > height["JAW"]
    assert FACE[names.LEFT_EYE, 0].max() < 0 < FACE[names.RIGHT_EYE, 0].min()
    inner, outer = FACE[names.LIPS_INNER], FACE[names.LIPS_OUTER]
    assert np.ptp(inner[:, 0]) < np.ptp(outer[:, 0]) and np.ptp(inner[:, 1]) < np.ptp(outer[:, 1])


def test_the_classic_68_run_from_left_to_right_and_mirror():
    classic = FACE[CLASSIC_68]
    jaw = classic[:17]
    # The first and last points are at the temples, where the face is a little narrower.
    assert (np.diff(jaw[1:-1, 0]) > 0).all() and jaw[:, 1].argmin() == 8
    np.testing.assert_allclose(jaw[:, 0], -jaw[::-1, 0], atol=0.012)
    np.testing.assert_allclose(jaw[:, 1], jaw[::-1, 1], atol=0.012)
    # iBUG order: 36 and 45 are the outer corners of the eyes, 48 and 54 those of the mouth.
    assert classic[36, 0] < classic[39, 0] < classic[42, 0] < classic[45, 0]
    assert classic[48, 0] == classic[48:60, 0].min() and classic[54, 0] == classic[48:60, 0].max()


def test_the_oval_goes_around_the_face_clockwise():
    oval = FACE[names.OVAL, :2]
    following = np.roll(oval, -1, axis=0)
    area = 0.5 * (oval[:, 0] * following[:, 1] - oval[:, 1] * following[:, 0]).sum()
    # y is up: clockwise areas are negative; the face is some 0.5 x 0.4.
    assert area == pytest.approx(-0.5 * 0.4 * np.pi / 4, rel=0.2)


def test_stable_points_stay_away_from_lips_and_jaw():
    moving = set(names.MESH_LIPS_OUTER + names.MESH_LIPS_INNER + names.MESH_JAW)
    assert not moving & set(names.STABLE_MESH)


def test_lips_open_by_the_distance_they_are_moved():
    points = np.stack([FACE, FACE]).astype(float)
    lower = names.positions((87, 14, 317))
    closed = points.copy()
    closed[:, lower] = closed[:, names.positions((82, 13, 312))]
    opened = closed.copy()
    opened[1, lower, 1] -= 0.05
    np.testing.assert_allclose(names.lip_opening(opened), [0, 0.05], atol=1e-9)


def test_lip_width_and_eye_openness_scale_as_lengths_and_ratios():
    assert names.lip_width(3 * FACE) == pytest.approx(3 * names.lip_width(FACE), rel=1e-5)
    np.testing.assert_allclose(names.eye_openness(3 * FACE), names.eye_openness(FACE), rtol=1e-4)
    assert ((names.eye_openness(FACE) > 0.1) & (names.eye_openness(FACE) < 0.5)).all()


def test_lids_have_closed_where_both_eyes_do_for_some_frames():
    open_face = FACE.astype(np.float64)
    frames = np.repeat(open_face[None], 50, axis=0)
    assert not names.lids_have_closed(frames)
    wink, blink = frames.copy(), frames.copy()
    for number, eye in enumerate((names.LEFT_EYE, names.RIGHT_EYE)):
        lower, upper = eye[1:8], eye[15:8:-1]
        blink[20:24, upper] = open_face[upper] + 0.8 * (open_face[lower] - open_face[upper])
        if number == 0:
            wink[20:24, upper] = open_face[upper] + 0.8 * (open_face[lower] - open_face[upper])
    assert names.lids_have_closed(blink) and not names.lids_have_closed(wink) and not names.lids_have_closed(blink[:22])
    assert not names.lids_have_closed(frames[:2])
