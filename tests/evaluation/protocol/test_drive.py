"""Driven motion reaches the ends that it promises, in the person's own way."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.evaluation.protocol.drive import (
    BEYOND,
    EXPRESSIONS,
    POSES,
    Drive,
    driven_motions,
    seen_motion,
)
from geneface.geometry.landmarks import (
    BROWS,
    JAW,
    KEYPOINTS,
    LEFT_EYE,
    LIPS,
    RIGHT_EYE,
    eye_openness,
    lip_opening,
    lip_width,
    positions,
)
from geneface.io.face_mesh import mean_face
from geneface.types import HeadPose, MotionTrack

from ..doubles import FakePortrait

FRAMES = 400


@pytest.fixture(scope="module")
def seen() -> MotionTrack:
    """A face whose mouth opens (the jaw follows), widens, whose brows rise and whose lids fall, each at random."""
    rng = np.random.default_rng(0)
    points = np.tile(mean_face()[list(KEYPOINTS)], (FRAMES, 1, 1))
    opening, width, brows, lids = rng.uniform(0, 1, (4, FRAMES, 1))
    points[:, positions((87, 14, 317)), 1] -= 0.03 * opening
    points[:, JAW, 1] -= 0.02 * opening
    points[:, positions((61,)), 0] -= 0.02 * width
    points[:, positions((291,)), 0] += 0.02 * width
    points[:, BROWS, 1] += 0.02 * brows
    points[:, positions((160, 159, 158, 385, 386, 387)), 1] -= 0.01 * lids
    pose = HeadPose(
        rng.uniform(-0.2, 0.2, (FRAMES, 3)).astype(np.float32),
        np.array([0, 0, -4], np.float32) + rng.uniform(-0.1, 0.1, (FRAMES, 3)).astype(np.float32),
    )
    return MotionTrack(points.astype(np.float32), pose)


def _measures(points: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "opening": np.asarray(lip_opening(points)),
        "width": np.asarray(lip_width(points)),
        "brows": points[:, BROWS, 1].mean(-1),
        "lids": np.asarray(eye_openness(points)).mean(-1),
    }


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_sweep_reaches_both_ends_and_moves_nothing_else(seen: MotionTrack, name: str) -> None:
    drive = Drive(seen)
    track = drive.sweep(name, 50)
    values = _measures(track.points)
    low, high = np.percentile(_measures(seen.points)[name], [1, 99])
    reach = BEYOND * (high - low)
    assert values[name].max() == pytest.approx(high + reach, abs=0.05 * (high - low))
    # Lips that touch are still apart in depth, so that their distance is not linear near to 0.
    assert values[name].min() == pytest.approx(max(low - reach, 0), abs=0.15 * (high - low))
    assert np.abs(np.diff(values[name])).max() < 0.25 * (high - low), "smooth from frame to frame"
    for other in set(EXPRESSIONS) - {name}:
        spread = np.ptp(np.percentile(_measures(seen.points)[other], [1, 99]))
        assert np.ptp(values[other]) < 0.1 * spread, other
    assert np.ptp(track.pose.rotation, axis=0).max() == 0 and np.ptp(track.pose.translation, axis=0).max() == 0


def test_the_jaw_opens_with_the_mouth_and_the_lids_stay(seen: MotionTrack) -> None:
    points = Drive(seen).sweep("opening", 50).points
    assert np.ptp(points[:, JAW, 1], axis=0).min() > 0.015
    still = np.setdiff1d(np.concatenate([LEFT_EYE, RIGHT_EYE, BROWS]), LIPS)
    assert np.ptp(points[:, still], axis=0).max() == 0


@pytest.mark.parametrize("number", range(6))
def test_poses_are_driven_axis_by_axis(seen: MotionTrack, number: int) -> None:
    track = Drive(seen).sweep(POSES[number], 50)
    values = np.concatenate([track.pose.rotation, track.pose.translation], axis=1)
    source = np.concatenate([seen.pose.rotation, seen.pose.translation], axis=1)
    low, high = np.percentile(source[:, number], [1, 99])
    assert values[:, number].max() == pytest.approx(high + BEYOND * (high - low), rel=0.02)
    assert values[:, number].min() == pytest.approx(low - BEYOND * (high - low), rel=0.02)
    assert np.ptp(np.delete(values, number, axis=1), axis=0).max() == 0
    assert np.ptp(track.points, axis=0).max() == 0


def test_lips_and_lids_never_pass_through_each_other(seen: MotionTrack) -> None:
    drive = Drive(seen)
    assert drive.end("opening", False) == 0.0
    assert drive.end("opening", False, beyond=-0.5) > 0
    assert drive.end("pitch", False) < drive.seen["pitch"][0] < 0


def test_a_measure_that_never_varied_moves_nothing(seen: MotionTrack) -> None:
    still = MotionTrack(np.repeat(seen.points[:1], 50, axis=0), seen.pose[:50])
    drive = Drive(still)
    assert np.ptp(drive.sweep("lids", 10).points, axis=0).max() < 1e-6


def test_all_of_the_motions(seen: MotionTrack) -> None:
    drive = Drive(seen)
    speech = drive.sweep("opening", 60)
    motions = {motion.name: motion.track for motion in driven_motions(seen, speech, speech)}
    assert list(motions)[:10] == [*EXPRESSIONS, *POSES]
    assert all(np.isfinite(track.points).all() for track in motions.values())
    other = motions["speech, other poses"]
    np.testing.assert_array_equal(other.points, speech.points)
    low, high = np.percentile(seen.pose.rotation, [1, 99], axis=0)
    assert (other.pose.rotation >= low - 1e-5).all() and (other.pose.rotation <= high + 1e-5).all(), (
        "inside of what was seen"
    )
    assert np.ptp(other.pose.rotation, axis=0).min() > 0.1
    again = {motion.name: motion.track for motion in driven_motions(seen, speech, speech)}
    for name, track in motions.items():
        np.testing.assert_array_equal(track.points, again[name].points)
        np.testing.assert_array_equal(track.pose.rotation, again[name].pose.rotation)
    assert "speech" not in [motion.name for motion in driven_motions(seen)]


def test_held_out_frames_are_not_what_was_seen() -> None:
    portrait = FakePortrait()
    seen = seen_motion(portrait)
    assert len(seen.points) == len(seen.pose) == int((~portrait.heldout).sum())
