"""Which frames and which square are chosen, from scans written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.portrait.plan import plan_crops, plan_shots
from geneface.portrait.scan import FACE_CHECK_FRAMES, FaceCheck, SourceScan, find_cuts, picture_change

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
        (scan(frames=75), "only 3.0 s of usable video"),
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


def test_clips_of_one_framing_share_a_crop_that_holds_the_whole_head():
    scans = [scan(75, f"{index}.mp4") for index in range(3)]
    scans[1] = with_checks(scans[1], 0, 75, (120.0, 80.0, 220.0, 180.0), 1)
    shots, squares = plan_crops(plan_shots(scans)[0], scans)
    assert len(squares) == 1 and {shot.scene for shot in shots} == {0}
    square = squares[0]
    # Hair above and ears aside reach beyond the detector's box by some 40 % and 15 % of its width.
    assert square.x <= 85 and square.x + square.side >= 235
    assert square.y <= 40 and square.y + square.side >= 188
    assert 0.35 < 145 / square.side < 0.65


def test_another_size_or_place_of_the_face_is_another_scene():
    scans = [scan(name="a.mp4"), with_checks(scan(name="b.mp4"), 0, 250, (100.0, 80.0, 260.0, 240.0), 1)]
    scans.append(with_checks(scan(name="c.mp4"), 0, 250, (400.0, 80.0, 500.0, 180.0), 1))
    scans.append(scan(name="d.mp4", width=1280, height=720))
    shots, squares = plan_crops(plan_shots(scans)[0], scans)
    assert [shot.scene for shot in shots] == [0, 1, 2, 3] and len(squares) == 4


@pytest.mark.parametrize("size", [(360, 288), (240, 320), (230, 230)])
def test_the_crop_never_leaves_a_small_picture(size: tuple[int, int]):
    scans = [scan(width=size[0], height=size[1])]
    _, squares = plan_crops(plan_shots(scans)[0], scans)
    square = squares[0]
    assert square.x >= 0 and square.y >= 0
    assert square.x + square.side <= size[0] and square.y + square.side <= size[1]
    assert square.side == min(*size, 270)


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
