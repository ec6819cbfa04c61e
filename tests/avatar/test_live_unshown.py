"""Frames that were made and never seen: a performance goes on as if they had not been made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geneface.analysis.live import LevelFollower
from geneface.avatar.avatar import Avatar
from geneface.avatar.live import EASE_FRAMES, MOST_UNSHOWN, LivePerformance
from geneface.avatar.performance import Performance
from geneface.avatar.smoothing import LiveSmoother
from geneface.types import FloatArray, MotionTrack

from .avatar_fixtures import make_avatar
from .body_fixtures import write_body

FRAME = 640
SOUND = np.random.default_rng(2).normal(0, 0.1, 120 * FRAME).astype(np.float32)
NEXT = np.random.default_rng(3).normal(0, 0.1, 40 * FRAME).astype(np.float32)
PERFORMANCE = Performance(seed=3, temperature=0.7, mouth_gain=1.2)


@pytest.fixture(scope="module", params=["drawn", "source"])
def avatar(request: pytest.FixtureRequest, hearing: Avatar, tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    """One whose head follows its path, and one on the person's own video."""
    if request.param == "drawn":
        return hearing
    work: Path = tmp_path_factory.mktemp("unshown")
    write_body(work / "body")
    return Avatar.load(make_avatar(work / "tiny", work / "work", "whisper-2-streaming", 512, body=work / "body"))


@pytest.fixture(autouse=True)
def one_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound as it comes: what was heard and never shown still tells of the speaker's level, here it must not."""
    monkeypatch.setattr(LevelFollower, "push", lambda self, samples: samples)


def heard(live: LivePerformance, sound: FloatArray) -> list[MotionTrack]:
    """A frame at a time."""
    return [live.push(sound[start : start + FRAME]) for start in range(0, len(sound), FRAME)]


def count(tracks: list[MotionTrack]) -> int:
    return sum(map(len, tracks))


def assert_same(tracks: list[MotionTrack], others: list[MotionTrack]) -> None:
    for values in (lambda t: t.points, lambda t: t.pose.rotation, lambda t: t.pose.translation):
        found, expected = (np.concatenate([values(track) for track in part]) for part in (tracks, others))
        np.testing.assert_array_equal(found, expected)
    bodies = [[track.body for track in part if track.body is not None] for part in (tracks, others)]
    assert len(bodies[0]) == len(bodies[1]) and all(np.array_equal(*pair) for pair in zip(*bodies, strict=True))


@pytest.mark.parametrize("unshown", [0, 1, 3, 17, 50])
@pytest.mark.parametrize("how", ["interrupt", "restart"])
def test_it_goes_on_as_if_unshown_frames_had_never_been_made(avatar: Avatar, unshown: int, how: str) -> None:
    after = []
    for more in (unshown, 0):
        live = avatar.live(PERFORMANCE)
        assert count(heard(live, SOUND[: (60 + more) * FRAME])) == 55 + more
        stopped = live.interrupt(more) if how == "interrupt" else live.restart(more)
        assert stopped is None or len(stopped) == EASE_FRAMES
        after.append([*([] if stopped is None else [stopped]), *heard(live, NEXT), live.finish()])
    assert count(after[0]) >= 40
    assert_same(*after)


def test_all_that_was_made_may_be_taken_back(avatar: Avatar) -> None:
    live = avatar.live(PERFORMANCE)
    made = count([*heard(live, SOUND), live.finish(), *heard(live, NEXT)])
    live.restart(made)
    fresh = avatar.live(PERFORMANCE)
    # The next is its second utterance: the first had begun before its first frame.
    fresh.restart()
    assert_same(
        [*heard(live, SOUND[: 20 * FRAME]), live.finish()], [*heard(fresh, SOUND[: 20 * FRAME]), fresh.finish()]
    )


def test_utterances_that_nobody_saw_are_not_counted(avatar: Avatar) -> None:
    after = []
    for is_longer in (True, False):
        live = avatar.live(PERFORMANCE)
        heard(live, SOUND[: 30 * FRAME])
        unshown = 0
        if is_longer:
            unshown = count([*heard(live, SOUND[30 * FRAME : 35 * FRAME]), live.finish()])
            unshown += count([*heard(live, NEXT), live.finish(), live.interrupt(), *heard(live, SOUND)])
        after.append([live.interrupt(unshown), *heard(live, NEXT), live.finish()])
    assert_same(*after)


def test_nothing_jumps_where_frames_were_dropped(hearing: Avatar) -> None:
    live = hearing.live(PERFORMANCE)
    before = heard(live, SOUND[: 50 * FRAME])
    live.push(SOUND[50 * FRAME :])
    live.restart(70)
    after = [*heard(live, NEXT), live.finish()]
    seen = np.concatenate([track.points for track in [*before, *after]])
    steps = np.abs(np.diff(seen, axis=0)).max(axis=(1, 2))
    assert steps[count(before) - 1] <= 1.01 * np.delete(steps, count(before) - 1).max()
    turns = np.concatenate([track.pose.rotation for track in [*before, *after]])
    speeds = np.abs(np.diff(turns, n=2, axis=0)).max(axis=1)
    seam = slice(count(before) - 2, count(before) + 1)
    assert speeds[seam].max() <= 1.5 * np.delete(speeds, np.arange(seam.start, seam.stop)).max()


@pytest.mark.parametrize("unshown", [-1, 100])
def test_more_than_was_made_is_refused_and_changes_nothing(hearing: Avatar, unshown: int) -> None:
    live, other = hearing.live(PERFORMANCE), hearing.live(PERFORMANCE)
    heard(live, SOUND[: 30 * FRAME])
    heard(other, SOUND[: 30 * FRAME])
    with pytest.raises(ValueError, match="unshown"):
        live.interrupt(unshown)
    with pytest.raises(ValueError, match="unshown"):
        live.restart(unshown)
    assert_same(heard(live, NEXT), heard(other, NEXT))


def test_five_minutes_can_be_taken_back_and_no_more_are_kept() -> None:
    columns = np.arange(3)
    points = np.random.default_rng(0).standard_normal((2 * MOST_UNSHOWN + 100, 5, 3)).astype(np.float32)
    smoother = LiveSmoother(1.5, columns, MOST_UNSHOWN)
    expected = LiveSmoother(1.5, columns).push(points)
    for start in range(0, len(points), 999):
        smoother.push(points[start : start + 999])
    assert smoother.reach == MOST_UNSHOWN
    last = smoother.step_back(MOST_UNSHOWN)
    assert last is not None
    np.testing.assert_array_equal(last, expected[-1 - MOST_UNSHOWN])
    with pytest.raises(ValueError, match="0 to 0"):
        smoother.step_back(1)
    np.testing.assert_array_equal(smoother.push(points[-MOST_UNSHOWN:]), expected[-MOST_UNSHOWN:])
