"""Turns and jumps are found where a plain loop over the definition finds them, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.training.body.ways import (
    Look,
    find_jumps,
    find_turns,
    look_at,
    picture_cells,
    turn_costs,
)

GROUPS = (3, 5, 2)


def look_of(features: np.ndarray, run: np.ndarray | None = None, limit: float = 1.0) -> Look:
    """A look of given features [F, 10], in groups of 3, 5 and 2."""
    run = np.zeros(len(features)) if run is None else run
    return Look(features.astype(np.float32), np.array([0, 3, 8]), run.astype(np.int32), limit)


def naive_distance(a: np.ndarray, b: np.ndarray) -> float:
    return max(float(np.sqrt(((a[i:j] - b[i:j]) ** 2).sum())) for i, j in ((0, 3), (3, 8), (8, 10)))


@pytest.fixture
def wandering() -> Look:
    """Numbers that rest now and then, in two runs, parts of which are alike."""
    rng = np.random.default_rng(2)
    speed = np.abs(np.sin(np.arange(200) / 9))[:, None] * rng.standard_normal((200, 10)) / 3
    features = np.cumsum(speed, axis=0)
    features[150:180] = features[20:50] + 0.01 * rng.standard_normal((30, 10))
    return look_of(features, np.repeat([0, 1], 100))


def test_costs_of_turns(wandering: Look) -> None:
    x, costs = wandering.features, turn_costs(wandering)
    assert np.isinf(costs[[99, 199]]).all()
    for frame in (*range(99), *range(100, 199)):
        assert costs[frame] == pytest.approx(3**0.5 * naive_distance(x[frame], x[frame + 1]), rel=1e-4)


def test_jerks(wandering: Look) -> None:
    x, jerks = wandering.features, wandering.jerks()
    for frame in range(200):
        expected = 0.0
        if frame % 100 not in (0, 99):
            expected = naive_distance(x[frame - 1] + x[frame + 1], 2 * x[frame])
        assert jerks[frame] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_turns_are_the_best_that_are_allowed_and_not_crowded(wandering: Look) -> None:
    turns, costs = find_turns(wandering), turn_costs(wandering)
    assert len(turns) > 3 and (costs[turns] <= 1).all() and (np.diff(turns) > 10).all()
    for frame in np.flatnonzero(costs <= 1):
        nearest = turns[np.abs(turns - frame) <= 10]
        assert len(nearest) and costs[nearest].min() <= costs[frame]


def test_jumps_are_allowed_by_the_definition(wandering: Look) -> None:
    x, jumps = wandering.features, find_jumps(wandering)
    assert len(jumps) > 0
    for a, b in jumps.tolist():
        assert naive_distance(x[b], x[a + 1]) <= 1.001 and naive_distance(x[a], x[b - 1]) <= 1.001
        assert a // 100 == (a + 1) // 100 and b // 100 == (b - 1) // 100
        assert a // 100 != b // 100 or abs(a + 1 - b) >= 50


def test_jumps_are_the_best_of_their_neighbourhoods(wandering: Look) -> None:
    x, run = wandering.features, wandering.run
    ends = [frame for frame in range(199) if run[frame] == run[frame + 1]]
    found = []
    for a in ends:
        for b in (frame + 1 for frame in ends):
            cost = max(naive_distance(x[b], x[a + 1]), naive_distance(x[a], x[b - 1]))
            if cost <= 1 and (run[a] != run[b] or abs(a + 1 - b) >= 50):
                found.append((cost, a, b))
    chosen: list[tuple[int, int]] = []
    for _, a, b in sorted(found):
        if all(max(abs(a - c), abs(b - d)) > 12 for c, d in chosen):
            chosen.append((a, b))
    assert len(chosen) > 3 and find_jumps(wandering).tolist() == [list(pair) for pair in sorted(chosen)]


def test_no_more_jumps_than_a_file_may_hold(wandering: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = find_jumps(wandering)
    monkeypatch.setattr("geneface.training.body.ways.MOST_JUMPS", 2)
    fewer = find_jumps(wandering)
    assert len(fewer) == 2 and set(map(tuple, fewer.tolist())) < set(map(tuple, everything.tolist()))


def test_what_is_alike_is_joined_and_what_is_not_is_not(wandering: Look) -> None:
    jumps = find_jumps(wandering)
    assert any(20 <= a < 50 and abs(b - a - 131) <= 1 for a, b in jumps.tolist())
    apart = look_of(wandering.features + 100.0 * (wandering.run == 1)[:, None], wandering.run)
    jumps = find_jumps(apart)
    assert (apart.run[jumps[:, 0]] == apart.run[jumps[:, 1]]).all()


def test_a_single_frame_has_neither() -> None:
    look = look_of(np.zeros((1, 10)))
    assert len(find_turns(look)) == 0 and find_jumps(look).shape == (0, 2)


def made_look(cells: np.ndarray, places: np.ndarray | None = None) -> Look:
    frames = len(cells)
    places = np.tile(np.random.default_rng(0).uniform(100, 156, (190, 2)), (frames, 1, 1)) if places is None else places
    return look_at(cells, places.astype(np.float32), (0, 0, 256), (256, 256), np.zeros(frames, np.int32))


def test_the_limit_is_the_jerk_of_three_quarters_of_the_frames() -> None:
    cells = 128 + np.cumsum(np.random.default_rng(1).normal(0, 4, (120, 1, 1)), axis=0) * np.ones((1, 32, 32))
    look = made_look(cells.astype(np.float32))
    assert (look.jerks()[1:-1] <= look.limit).mean() == pytest.approx(0.75, abs=0.02)


def test_a_hand_that_moves_forbids_a_turn_though_the_head_is_still() -> None:
    cells = np.full((100, 32, 32), 120.0)
    cells[:, 28:, 28:] += 25 * np.sin(np.arange(100) / 6)[:, None, None]
    turns = find_turns(made_look(cells))
    # It is at rest at 9.4, 28.3 ... frames.
    assert len(turns) > 3
    assert all(np.abs(turn - 6 * np.pi * (np.arange(6) + 0.5)).min() < 4 for turn in turns)


def test_the_mouth_takes_no_part() -> None:
    cells = np.full((60, 32, 32), 120.0)
    cells[:, 12:20, 12:20] += np.random.default_rng(0).normal(0, 50, (60, 8, 8))
    assert len(find_turns(made_look(cells))) >= 4


def test_noise_that_nobody_sees_forbids_nothing() -> None:
    cells = 120 + np.random.default_rng(0).normal(0, 0.2, (60, 32, 32))
    assert len(find_turns(made_look(cells))) >= 4


@pytest.mark.parametrize("shape, side", [((256, 256), 256), ((108, 192), 100), ((72, 120), 64.5), ((20, 12), 12)])
def test_cells_are_means(shape: tuple[int, int], side: float) -> None:
    luma = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    cells = picture_cells(luma, side)
    assert cells.shape[0] % 4 == 0 and cells.shape[1] % 4 == 0
    assert cells.mean() == pytest.approx(luma.mean(), abs=0.5)
