from __future__ import annotations

import math
from fractions import Fraction

import pytest

from geneface.signal.timing import (
    ROWS_PER_FRAME,
    SAMPLES_PER_FRAME,
    SAMPLES_PER_ROW,
    frames_to_cover,
    rows_to_cover,
    whole_frames,
    whole_rows,
)
from geneface.types import FEATURE_RATE_HZ, SPEECH_RATE_HZ, VIDEO_RATE_HZ


def test_rates_divide_one_another() -> None:
    assert SAMPLES_PER_FRAME * VIDEO_RATE_HZ == SPEECH_RATE_HZ
    assert SAMPLES_PER_ROW * FEATURE_RATE_HZ == SPEECH_RATE_HZ
    assert ROWS_PER_FRAME * SAMPLES_PER_ROW == SAMPLES_PER_FRAME


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 321, 639, 640, 641, 16_000 * 3600 + 1])
def test_counts_are_those_of_exact_durations(samples: int) -> None:
    seconds = Fraction(samples, 16_000)
    assert (whole_frames(samples), frames_to_cover(samples)) == (math.floor(25 * seconds), math.ceil(25 * seconds))
    assert (whole_rows(samples), rows_to_cover(samples)) == (math.floor(50 * seconds), math.ceil(50 * seconds))
