"""The path, frame by frame, against the rules that it states: naive checks of every step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from geneface.avatar.body_path import CYCLE_FRAMES, body_frames
from geneface.avatar.body_track import BodyTrack

from .body_fixtures import body_track

LONG = 3 * CYCLE_FRAMES


def check_steps(track: BodyTrack, path: np.ndarray) -> int:
    """Every step is one that the track allows; returns how often the path turned.

    A turn is b, a, b: back over the step between them.
    """
    jumps = {tuple(pair) for pair in track.jumps.tolist()}
    turns, turned, direction = set(track.turns.tolist()), 0, 0
    for a, b in itertools.pairwise(path.tolist()):
        if abs(b - a) == 1 and track.run[a] == track.run[b]:
            if direction == a - b:
                assert min(a, b) in turns, (a, b)
                turned += 1
            direction = b - a
        else:
            assert (a, b) in jumps or (b, a) in jumps, (a, b)
            # A jump keeps the direction: by it, "a then b" is played forwards, "b then a" backwards.
            assert direction in (0, 1 if (a, b) in jumps else -1)
            direction = 1 if (a, b) in jumps else -1
    return turned


TRACKS = {
    "two turns": body_track(400, turns=np.array([4, 390], np.int32)),
    "many turns": body_track(400, turns=np.arange(3, 400, 17, dtype=np.int32)),
    "turns at both ends": body_track(200, turns=np.array([0, 198], np.int32)),
    "a loop by a jump": body_track(300, turns=np.zeros(0, np.int32), jumps=np.array([[280, 11]], np.int32)),
    "runs that are joined": body_track(
        300,
        run=np.repeat([0, 1, 2], 100),
        turns=np.array([2, 97, 105, 295], np.int32),
        jumps=np.array([[60, 130], [190, 20], [170, 240], [80, 220]], np.int32),
    ),
}


@pytest.mark.parametrize("track", TRACKS.values(), ids=TRACKS)
@pytest.mark.parametrize("seed", [0, 7])
def test_every_step_is_allowed_for_ever(track: BodyTrack, seed: int) -> None:
    path = body_frames(track, seed, 0, LONG)
    assert path.dtype == np.int32 and path.min() >= 0 and path.max() < len(track)
    turned = check_steps(track, path)
    assert turned > 10 or len(track.turns) == 0


@pytest.mark.parametrize("track", TRACKS.values(), ids=TRACKS)
def test_windows_are_parts_of_one_path(track: BodyTrack) -> None:
    whole = body_frames(track, 3, 0, 5000)
    edges = [0, 1, 1, 40, 2222, 5000]
    parts = [body_frames(track, 3, a, b) for a, b in itertools.pairwise(edges)]
    assert np.array_equal(np.concatenate(parts), whole)
    later = body_frames(track, 3, 10**7, 10**7 + 50)
    assert len(later) == 50
    check_steps(track, later)


def test_all_of_the_loop_between_the_outer_turns_is_shown() -> None:
    shown = np.unique(body_frames(TRACKS["many turns"], 0, 0, CYCLE_FRAMES))
    assert np.array_equal(shown, np.arange(3, 396))


def test_other_runs_are_reached_by_jumps() -> None:
    track = TRACKS["runs that are joined"]
    assert set(track.run[body_frames(track, 0, 0, CYCLE_FRAMES)].tolist()) == {0, 1, 2}


def test_the_path_is_a_function_of_the_seed() -> None:
    paths = [body_frames(body_track(400, turns=np.arange(3, 400, 17)), seed, 0, 500) for seed in (0, 0, 1, 2)]
    assert np.array_equal(paths[0], paths[1])
    assert len({path.tobytes() for path in paths}) == 3
    assert len({int(path[0]) for path in paths}) == 3


def test_dead_ends_are_not_entered() -> None:
    """A jump into a run that has no way back is never taken."""
    track = body_track(
        200,
        run=np.repeat([0, 1], 100),
        turns=np.array([10, 90], np.int32),
        jumps=np.array([[50, 150]], np.int32),
    )
    path = body_frames(track, 0, 0, LONG)
    assert path.max() < 100
    check_steps(track, path)


@pytest.mark.parametrize("frames", [1, 2, 30])
def test_a_loop_without_turns_is_played_from_end_to_end(frames: int) -> None:
    track = body_track(frames, turns=np.zeros(0, np.int32))
    path = body_frames(track, 0, 0, 200)
    assert set(path.tolist()) == set(range(frames))
    assert np.abs(np.diff(path)).max() <= 1


def test_legs_are_long_where_they_may_be() -> None:
    """A head that turned back every second would look restless."""
    path = body_frames(TRACKS["many turns"], 0, 0, CYCLE_FRAMES)
    changes = np.flatnonzero(np.diff(np.diff(path)) != 0)
    assert np.median(np.diff(changes)) >= 50
