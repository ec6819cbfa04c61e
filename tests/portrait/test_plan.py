"""Which frames and which square are chosen, from scans written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.imaging.cuts import find_cuts, picture_change
from geneface.portrait.plan import refuse_too_little, steady_boxes, usable_shots
from geneface.portrait.scan import (
    FACE_CHECK_FRAMES,
    FaceCheck,
    SourceScan,
    choose_turns,
)

FACE = (100.0, 80.0, 200.0, 180.0)


def scan(frames: int = 250, name: str = "a.mp4", **changes) -> SourceScan:
    checks = tuple(FaceCheck(frame, FACE, 1) for frame in range(0, frames, FACE_CHECK_FRAMES))
    plain = SourceScan(f"/videos/{name}", 640, 480, frames, 25.0, False, 0, (), checks, "")
    return replace(plain, **changes)


def with_checks(plain: SourceScan, first: int, last: int, box, count: int) -> SourceScan:
    """Checks of frames [first, last) replaced."""
    return replace(
        plain,
        checks=tuple(FaceCheck(c.frame, box, count) if first <= c.frame < last else c for c in plain.checks),
    )


def plan_shots(scans: list[SourceScan]):
    shots, rest = usable_shots(scans)
    refuse_too_little(sum(shot.frames for shot in shots), rest, [scan.path for scan in scans])
    return shots, rest


def test_a_good_video_is_one_shot():
    shots, rest = plan_shots([scan()])
    assert [(shot.start, shot.stop) for shot in shots] == [(0, 250)]
    assert rest == []


def test_a_cut_splits_and_short_rests_are_dropped_with_a_reason():
    shots, rest = plan_shots([scan(cuts=(120, 240))])
    assert [(shot.start, shot.stop) for shot in shots] == [(0, 120), (120, 240)]
    assert [(span.start, span.stop) for span in rest] == [(9.6, 10.0)]
    assert "shorter than 1 s" in rest[0].reason


def test_a_stretch_without_a_face_is_dropped_and_never_inside_a_shot():
    shots, rest = plan_shots([with_checks(scan(), 100, 150, None, 0)])
    assert [(shot.start, shot.stop) for shot in shots] == [(0, 96), (150, 250)]
    assert [(span.start, span.stop, span.reason) for span in rest] == [(3.84, 6.0, "no face is seen")]


def test_one_missed_check_is_forgiven():
    shots, rest = plan_shots([with_checks(scan(), 100, 101, None, 0)])
    assert len(shots) == 1 and rest == []


def test_two_faces_are_dropped():
    shots, rest = plan_shots([with_checks(scan(), 0, 100, FACE, 2)])
    assert [(shot.start, shot.stop) for shot in shots] == [(100, 250)]
    assert rest[0].reason == "two faces are seen"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (with_checks(scan(), 0, 250, None, 0), "no face is seen from 0.00 to 10.00 s"),
        (with_checks(scan(), 0, 250, FACE, 2), "two faces are seen"),
        (with_checks(scan(), 0, 250, (10.0, 10.0, 40.0, 40.0), 1), "narrower than 48 pixels"),
        (scan(sound="it has no sound"), "it has no sound"),
        (scan(sound="it is silent"), "it is silent"),
        (scan(frames=70), "only 2.8 s of usable video"),
        (scan(frames=60, cuts=(20, 40)), "shorter than 1 s"),
    ],
)
def test_what_can_not_be_used_is_refused_by_its_name_and_reason(bad: SourceScan, words: str):
    with pytest.raises(InputError) as caught:
        plan_shots([bad])
    assert words in str(caught.value) and bad.path in str(caught.value)
    assert caught.value.remedy


def test_many_short_clips_together_are_enough():
    shots, _ = plan_shots([scan(75, f"{index}.mp4") for index in range(4)])
    assert sum(shot.frames for shot in shots) == 300


def test_false_boxes_leave_no_trace():
    false = (0.0, 0.0, 600.0, 470.0)
    clean = usable_shots([scan()])[0]
    # The first, the last, and two in the middle: hands, a pattern on a curtain.
    for first, last in ((0, 5), (245, 250), (100, 110)):
        shots, rest = usable_shots([with_checks(scan(), first, last, false, 1)])
        assert rest == [] and len(shots) == 1
        assert shots[0].region == clean[0].region and shots[0].boxes == clean[0].boxes
        assert shots[0].face_px == 100


def test_a_face_that_is_suddenly_elsewhere_begins_another_shot():
    for other in ((400.0, 80.0, 500.0, 180.0), (75.0, 55.0, 225.0, 205.0)):
        shots, rest = usable_shots([with_checks(scan(), 120, 250, other, 1)])
        assert [(shot.start, shot.stop) for shot in shots] == [(0, 120), (120, 250)] and rest == []
        assert shots[1].face_px == other[2] - other[0]
        assert shots[0].boxes[-1][1:] == FACE and shots[1].boxes[0][1:] == other


def test_a_face_that_walks_stays_one_shot_and_its_region_holds_all_its_places():
    checks = tuple(FaceCheck(f, (100.0 + f, 80.0, 200.0 + f, 180.0), 1) for f in range(0, 250, FACE_CHECK_FRAMES))
    (shot,), rest = usable_shots([scan(checks=checks)])
    x0, y0, x1, y1 = shot.region
    assert rest == [] and x0 <= 10 and x1 >= 535 and y0 == 0 and y1 >= 270


def test_steady_boxes_are_medians_of_a_second():
    boxes = np.random.default_rng(0).normal(size=(9, 4))
    steady = steady_boxes(boxes)
    for row in range(9):
        first = min(max(row - 2, 0), 4)
        np.testing.assert_allclose(steady[row], np.median(boxes[first : first + 5], axis=0))
    np.testing.assert_allclose(steady_boxes(boxes[:3]), np.median(boxes[:3], axis=0) + np.zeros((3, 1)))


UPRIGHT, LYING, UNSURE = [0.95, 0.8, 0.7, 0.82], [0.77, 0.94, 0.81, 0.76], [0.6, 0.62, 0.61, 0.5]


@pytest.mark.parametrize(
    ("scores", "turns"),
    [
        ([UPRIGHT] * 3, 0),
        ([LYING] * 3, 1),
        ([np.roll(LYING, 1)] * 2, 2),
        ([np.roll(LYING, 2)], 3),
        ([LYING, UPRIGHT, LYING], 0),
        ([UNSURE] * 3, 0),
        ([], 0),
    ],
)
def test_pictures_are_turned_only_where_all_agree_that_the_face_lies(scores: list, turns: int):
    assert choose_turns(scores) == turns


def blurred_noise(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, size=(9, 9, 3))
    return np.kron(small, np.ones((6, 6, 1))).astype(np.float32)


def test_motion_is_no_change_of_the_picture_but_another_picture_is():
    picture = blurred_noise(0)
    assert picture_change(picture, np.roll(picture, (2, -1), axis=(0, 1))) < 0.5
    assert picture_change(picture, blurred_noise(1)) > 20


def test_cuts_stand_out_from_what_is_usual():
    calm = 0.5 + 0.2 * np.sin(np.arange(100))
    calm[0] = 0
    cut = calm.copy()
    cut[40] = 12
    assert find_cuts(calm) == []
    assert find_cuts(cut) == [40]
    # A picture that changes all the time (a shaking camera) is not cut in each frame.
    assert find_cuts(np.full(50, 6.0)) == []
    assert find_cuts([0.0]) == []
