"""Closures, fast lag and silence on curves whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import ndimage

from geneface.evaluation.metrics.articulation import (
    FAST_LAG_FRAMES,
    LEAD_FRAMES,
    TAIL_FRAMES,
    articulation_figures,
    closing_frame,
    closures,
    fast_offset,
    opening_levels,
    silent_frames,
)
from geneface.evaluation.metrics.lips import LipClip, best_offset, lagged_correlations
from geneface.geometry.landmarks import KEYPOINT_COUNT, LIPS, lip_opening, positions

SILENCE = np.zeros(640 * 200, np.float32)


def mouth(opening: np.ndarray) -> np.ndarray:
    """Landmarks [F, K, 3] whose lip opening is the curve."""
    points = np.tile(np.random.default_rng(0).normal(0, 0.2, (KEYPOINT_COUNT, 3)), (len(opening), 1, 1))
    upper, lower = positions((82, 13, 312)), positions((87, 14, 317))
    points[:, lower] = points[:, upper]
    points[:, lower, 1] -= opening[:, None]
    return points


def speech(frames: int = 100, closed: Sequence[int] = (20, 45, 70), seed: int = 0) -> np.ndarray:
    """An open mouth that moves, with closures of three frames around the given ones."""
    wander = ndimage.gaussian_filter1d(np.random.default_rng(seed).normal(size=frames), 2)
    opening = 0.07 + 0.02 * wander / np.abs(wander).max()
    for frame in closed:
        opening[frame - 1 : frame + 2] = 0.001
    return opening


def figures(
    reference: np.ndarray, other: np.ndarray, words: Sequence[tuple[float, float, str]] | None = None
) -> dict[str, float | None]:
    clip = LipClip(mouth(reference), mouth(other), None, words)
    return {key: item.value for key, item in articulation_figures([clip]).items()}


def late(curve: np.ndarray, frames: int) -> np.ndarray:
    return np.concatenate([np.repeat(curve[:1], frames), curve[: len(curve) - frames]])


def test_levels_lie_between_the_percentiles_of_all_clips() -> None:
    curves = [np.linspace(0, 0.5, 51), np.linspace(0.5, 1, 50)]
    levels = opening_levels(curves)
    low, high = np.percentile(np.concatenate(curves), [5, 95])
    assert levels is not None
    assert levels.closed == pytest.approx(low + 0.15 * (high - low))
    assert low < levels.closure < levels.closed < levels.open < high
    assert opening_levels([np.full(9, 0.3)]) is None
    assert opening_levels([]) is None


def test_a_perfect_track_scores_perfectly() -> None:
    curve = speech()
    assert figures(curve, curve) == {
        "fast_offset_frames": 0,
        "closure_rate": 1,
        "closure_count": 3,
        "false_closure_rate": 0,
        "silence_motion_ratio": None,
    }


def test_still_mouths_close_nothing() -> None:
    curve = speech()
    is_open, closed = figures(curve, np.full(100, 0.07)), figures(curve, np.zeros(100))
    assert (is_open["closure_rate"], is_open["false_closure_rate"]) == (0, 0)
    assert (closed["closure_rate"], closed["false_closure_rate"]) == (0, 1)
    assert is_open["fast_offset_frames"] is None


def test_missed_closures_are_counted() -> None:
    curve = speech(closed=(15, 30, 45, 60, 75))
    lazy = curve.copy()
    for frame in (30, 60):
        lazy[frame - 1 : frame + 2] = 0.03
    assert figures(curve, lazy)["closure_rate"] == pytest.approx(3 / 5)


@pytest.mark.parametrize(("delay", "rate"), [(1, 1), (2, 1), (3, 0)])
def test_a_closure_counts_inside_the_true_one(delay: int, rate: float) -> None:
    curve = speech()
    assert figures(curve, late(curve, delay))["closure_rate"] == rate


def test_closing_where_the_truth_is_open_is_false() -> None:
    curve = speech()
    levels = opening_levels([curve])
    assert levels is not None
    false = curve.copy()
    false[[30, 55, 56]] = 0
    # Two frames on both sides of a closure do not count.
    false[[23, 17]] = 0
    is_open = 100 - 3 * 7
    assert (np.delete(curve, np.flatnonzero(curve < levels.closed)) > levels.open).all()
    assert figures(curve, false)["false_closure_rate"] == pytest.approx(3 / is_open)


def test_pauses_and_shallow_dips_are_no_closures() -> None:
    curve = speech(closed=(20,))
    curve[40:55] = 0.001
    curve[70] = 0.01
    levels = opening_levels([curve])
    assert levels is not None and levels.closure < 0.01 < levels.closed
    assert closures(curve, levels, None) == [(19, 22)]


@pytest.mark.parametrize("word", ["bin", "please", "Mary", "b", "p", "'by", "Pa"])
def test_bilabial_initials(word: str) -> None:
    assert closing_frame(1.0, 1.4, word) == 25


@pytest.mark.parametrize("word", ["sil", "sp", "phone", "psalm", "pneu", "Ptolemy", "mnemonic", "lamp", "white", ""])
def test_other_words_close_nothing(word: str) -> None:
    assert closing_frame(1.0, 1.4, word) is None


def test_the_letter_m_closes_at_its_end() -> None:
    assert closing_frame(1.0, 1.4, "m") == 35


def test_with_words_only_their_closures_count() -> None:
    """Three closures, words at two of them and one more where the ground truth stays open."""
    curve = speech(closed=(20, 45, 70))
    words = [(0.0, 0.8, "sil"), (0.8, 1.2, "bin"), (1.8, 2.0, "at"), (2.4, 2.6, "by"), (2.8, 3.2, "place")]
    levels = opening_levels([curve])
    assert levels is not None
    # The second is found from a word that starts at frame 70; frame 60 shows nothing.
    assert closures(curve, levels, words) == [(19, 22), (69, 72)]
    lazy = curve.copy()
    lazy[69:72] = 0.05
    lazy[44:47] = 0.05
    assert figures(curve, lazy, words)["closure_rate"] == 0.5


def test_words_at_the_border_of_a_clip_are_left_out() -> None:
    curve = speech(closed=(20,))
    levels = opening_levels([curve])
    assert levels is not None
    curve[:2] = curve[-2:] = 0
    assert closures(curve, levels, [(-3.0, 0.2, "bin"), (0.0, 0.2, "bin"), (3.96, 4.4, "by"), (5.0, 5.1, "by")]) == []


def test_counts_are_pooled_over_clips_of_any_length() -> None:
    one, three = speech(60, (20,)), speech(140, (30, 60, 90), 1)
    clips = [LipClip(mouth(one), mouth(np.full(60, 0.07))), LipClip(mouth(three), mouth(three))]
    assert articulation_figures(clips)["closure_rate"].value == pytest.approx(3 / 4)


def fluent(frames: int, seed: int) -> np.ndarray:
    noise = ndimage.gaussian_filter1d(np.random.default_rng(seed).normal(size=frames + 40), 1.5)[20:-20]
    return 0.05 + 0.02 * noise / noise.std()


def test_the_lag_of_fast_motion_is_found_to_a_fraction_of_a_frame() -> None:
    whole = [fluent(120, seed) for seed in range(4)]
    reference = [curve[20:100] for curve in whole]
    for delay in (-3, 0, 2):
        shifted = [curve[20 - delay : 100 - delay] for curve in whole]
        assert fast_offset(reference, shifted) == pytest.approx(delay, abs=0.05)
    half = [ndimage.shift(curve, 1.5, order=5)[20:100] for curve in whole]
    assert fast_offset(reference, half) == pytest.approx(1.5, abs=0.05)


def test_smoothed_lips_are_late_where_they_are_fast() -> None:
    curves = [fluent(90, seed) for seed in range(4)]
    smoothed = []
    for curve in curves:
        ema = curve.copy()
        for t in range(1, len(ema)):
            ema[t] = 0.5 * curve[t] + 0.5 * ema[t - 1]
        smoothed.append(ema)
    # The delay of this filter is .5 / (1 - .5) = 1 frame for slow motion, less for fast.
    assert 0.3 < fast_offset(curves, smoothed) < 1.0


def test_only_fast_frames_set_the_lag() -> None:
    """Long slow parts that are 10 frames late do not hide fast parts that are in time."""
    slow = 0.05 + 0.03 * np.sin(np.arange(250) / 12)
    reference = np.concatenate([slow, fluent(60, 3)])
    other = np.concatenate([late(slow, 10), fluent(60, 3)])
    assert best_offset([lagged_correlations(reference, other)]) > 4
    assert fast_offset([reference], [other]) == pytest.approx(0, abs=0.3)


def test_no_lag_without_motion_or_a_peak() -> None:
    curve = fluent(60, 0)
    assert np.isnan(fast_offset([curve], [np.full(60, 0.1)]))
    assert np.isnan(fast_offset([np.full(60, 0.1)], [curve]))
    whole = [fluent(140, seed) for seed in range(4)]
    at_the_end = [curve[20 - FAST_LAG_FRAMES : 120 - FAST_LAG_FRAMES] for curve in whole]
    assert np.isnan(fast_offset([curve[20:120] for curve in whole], at_the_end))


def test_silence_is_where_no_word_is() -> None:
    words = [(0.0, 1.0, "sil"), (1.0, 2.0, "bin"), (2.0, 2.2, "sp"), (2.2, 2.4, "now")]
    silent = silent_frames(100, words, None)
    assert np.flatnonzero(silent).tolist() == [*range(25 - LEAD_FRAMES), *range(60 + TAIL_FRAMES, 100)]


def test_silence_is_heard_where_words_are_not_known() -> None:
    rng = np.random.default_rng(0)
    sound = 1e-4 * rng.normal(size=640 * 100)
    sound[640 * 40 : 640 * 70] += 0.2 * rng.normal(size=640 * 30)
    silent = silent_frames(120, None, sound.astype(np.float32))
    # Nothing is known of the frames after the sound's end.
    assert np.flatnonzero(silent).tolist() == [*range(40 - LEAD_FRAMES), *range(70 + TAIL_FRAMES, 100 - LEAD_FRAMES)]
    assert not silent_frames(50, None, None).any()


def restless(frames: int, scale: float, head: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(1)
    points = np.tile(rng.normal(0, 0.2, (KEYPOINT_COUNT, 2)), (frames, 1, 1))
    points[:, LIPS] += scale * rng.normal(size=(frames, len(LIPS), 2))
    return points + head * np.random.default_rng(2).normal(size=(frames, 1, 2))


def test_motion_in_silence_is_a_ratio_of_the_lips_alone() -> None:
    words = [(0.0, 4.0, "sil")]
    clip = LipClip(restless(100, 0.01), restless(100, 0.03, head=0.5), None, words)
    assert articulation_figures([clip])["silence_motion_ratio"].value == pytest.approx(3, rel=1e-6)
    heard = LipClip(restless(100, 0.01), restless(100, 0.03), SILENCE[: 640 * 100], None)
    assert articulation_figures([heard])["silence_motion_ratio"].value == pytest.approx(3, rel=1e-6)


def test_speech_is_no_part_of_motion_in_silence() -> None:
    words = [(0.0, 1.6, "sil"), (1.6, 2.4, "bin"), (2.4, 4.0, "sil")]
    other = restless(100, 0.01)
    other[40:61, LIPS] *= 1 + np.arange(21)[:, None, None]
    clip = LipClip(restless(100, 0.01), other, None, words)
    assert articulation_figures([clip])["silence_motion_ratio"].value == pytest.approx(1, rel=1e-9)


def test_too_little_silence_has_no_figure() -> None:
    words = [(0.0, 0.8, "sil"), (0.8, 4.0, "bin")]
    clip = LipClip(restless(100, 0.01), restless(100, 0.03), None, words)
    assert "0.5 s of silence" in (articulation_figures([clip])["silence_motion_ratio"].reason or "")
    twice = articulation_figures([clip, clip])["silence_motion_ratio"].value
    assert twice == pytest.approx(3, rel=1e-6)


def test_what_is_missing_says_why() -> None:
    assert all(item.reason == "no held-out frames" for item in articulation_figures([]).values())
    still = LipClip(mouth(np.full(50, 0.05)), mouth(speech(50, (20,))))
    reasons = articulation_figures([still])
    assert reasons["closure_rate"].reason == "the ground truth's lips do not move"
    paused = np.repeat([0.001, 0.07, 0.001], 20)
    figures_of_pause = articulation_figures([LipClip(mouth(paused), mouth(paused))])
    assert figures_of_pause["closure_rate"].reason == "the ground truth shows no closure"
    assert figures_of_pause["false_closure_rate"].value == 0
    with pytest.raises(ValueError, match="different shapes"):
        articulation_figures([LipClip(mouth(np.ones(4)), mouth(np.ones(5)))])


def test_the_helper_opens_the_mouth_as_told() -> None:
    curve = speech(30, (10,))
    np.testing.assert_allclose(lip_opening(mouth(curve)), curve, atol=1e-12)
