"""The offset of sound and picture where it is known: lips driven by features that were moved in time."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.analysis.sync_offset import estimate_offset


def recording(frames: int, late: int, seed: int, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Features [2F, 24] of sound that is late by `late` frames, and openings [F]."""
    mixing = np.random.default_rng(99).normal(size=(6, 24))
    rng = np.random.default_rng(seed)
    total = 2 * (frames + 60)
    sources = rng.normal(size=(total, 6))
    kernel = np.hanning(9) / np.hanning(9).sum()
    speech = np.stack([np.convolve(source, kernel, "same") for source in sources.T], axis=-1)
    opening = speech[:, 0] + 0.5 * speech[:, 1]
    opening = opening[::2][30 : 30 + frames]
    start = 2 * (30 - late)
    features = speech[start : start + 2 * frames] @ mixing
    return features + 0.1 * rng.normal(size=features.shape), opening + noise * opening.std() * rng.normal(size=frames)


@pytest.mark.parametrize("late", [-9, 0, 3, 6])
def test_a_single_take_tells_its_offset(late: int):
    features, opening = recording(400, late, seed=1)
    found = estimate_offset([features], [opening])
    assert (found.frames, found.confident) == (late, True)
    assert found.correlation > 0.6


def test_many_short_clips_are_pooled():
    clips = [recording(75, 4, seed, noise=1.0) for seed in range(8)]
    found = estimate_offset([features for features, _ in clips], [opening for _, opening in clips])
    assert (found.frames, found.confident) == (4, True)


def test_lips_that_do_not_follow_the_sound_give_no_answer():
    rng = np.random.default_rng(0)
    confident = 0
    for seed in range(6):
        features, _ = recording(300, 0, seed)
        opening = np.convolve(rng.normal(size=304), np.ones(5) / 5, "valid")
        found = estimate_offset([features], [opening])
        assert found.frames == 0 or found.confident
        confident += found.confident
    assert confident == 0


def test_too_little_speech_gives_no_answer():
    features, opening = recording(50, 3, 0)
    found = estimate_offset([features], [opening])
    assert (found.frames, found.confident) == (0, False)


def test_still_lips_give_no_answer():
    features, _ = recording(300, 0, 0)
    assert not estimate_offset([features], [np.ones(300)]).confident


def test_an_offset_that_only_one_half_of_the_recording_shows_is_not_believed():
    """As music does that rises and falls with the lips for some seconds."""
    strong, weak = recording(300, 4, seed=3, noise=0.2), recording(200, 4, seed=4)
    unrelated = np.convolve(np.random.default_rng(5).normal(size=204), np.ones(5) / 5, "valid")
    alone = estimate_offset([strong[0]], [strong[1]])
    assert alone.confident and alone.frames == 4
    for order in (1, -1):
        features, openings = [strong[0], weak[0]][::order], [strong[1], unrelated][::order]
        found = estimate_offset([np.concatenate(features)], [np.concatenate(openings)])
        assert found.correlation > 0.45 and found.best_lag == 4
        assert (found.frames, found.confident) == (0, False)
