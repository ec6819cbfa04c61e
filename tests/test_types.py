"""Tracks: ranges, choices of frames, and one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.types import HeadPose, MotionTrack


def track(frames: int, start: int = 0) -> MotionTrack:
    """Frame f is filled with f."""
    rows = np.arange(start, start + frames, dtype=np.float32)[:, None]
    filled = np.repeat(rows, 3, axis=1)
    return MotionTrack(np.repeat(filled[:, None], 5, axis=1), HeadPose(filled, -filled))


@pytest.mark.parametrize(
    "frames, expected",
    [
        (slice(2, 5), [2, 3, 4]),
        (slice(None, None, 3), [0, 3, 6]),
        (slice(4, 4), []),
        (np.array([6, 0, 0]), [6, 0, 0]),
        (np.arange(7) % 2 == 1, [1, 3, 5]),
    ],
)
def test_some_frames_of_a_track_are_a_track(frames, expected) -> None:
    some = track(7)[frames]
    assert len(some) == len(some.pose) == len(expected)
    assert some.points[:, 0, 0].tolist() == expected
    assert some.pose.rotation[:, 0].tolist() == expected
    assert some.pose.translation[:, 0].tolist() == [-value for value in expected]


@pytest.mark.parametrize("part", [track(3), track(3).pose])
def test_a_single_frame_is_no_track(part) -> None:
    with pytest.raises(TypeError, match="no track"):
        part[1]
    with pytest.raises(TypeError, match="no track"):
        list(part)


def test_tracks_follow_one_another() -> None:
    whole = MotionTrack.concatenate(part for part in (track(2), track(0), track(3, start=2)))
    for one, other in ((whole.points, track(5).points), (whole.pose.translation, track(5).pose.translation)):
        np.testing.assert_array_equal(one, other)
    assert whole.points.dtype == np.float32


def test_tracks_that_do_not_go_together_are_refused() -> None:
    drawn = track(2)
    filmed = MotionTrack(drawn.points, drawn.pose, np.zeros(2, np.int32))
    with pytest.raises(InputError, match="others are drawn whole"):
        MotionTrack.concatenate([drawn, filmed])
    with pytest.raises(InputError, match="no tracks"):
        MotionTrack.concatenate([])
