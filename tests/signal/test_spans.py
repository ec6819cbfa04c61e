from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest

from geneface.signal.spans import spread_indices, true_spans


@pytest.mark.parametrize("seed", range(8))
def test_true_spans_are_those_of_a_walk_over_the_flags(seed: int) -> None:
    flags = np.random.default_rng(seed).random(seed * 5) < 0.6
    expected = []
    for value, group in groupby(enumerate(flags), lambda pair: bool(pair[1])):
        places = [place for place, _ in group]
        if value:
            expected.append((places[0], places[-1] + 1))
    assert true_spans(flags) == expected


def test_spread_indices_reach_both_ends_and_repeat_none() -> None:
    assert spread_indices(10, 4).tolist() == [0, 3, 6, 9]
    assert spread_indices(3, 10).tolist() == [0, 1, 2]
    assert spread_indices(0, 5).tolist() == []
    for length in range(1, 60):
        for count in range(1, 60):
            chosen = spread_indices(length, count)
            assert len(chosen) == min(length, count) == len(set(chosen.tolist()))
            gaps = np.diff(chosen)
            assert not len(gaps) or (chosen[-1] == length - 1 and gaps.max() - gaps.min() <= 2)
