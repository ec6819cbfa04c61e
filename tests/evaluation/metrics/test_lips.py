"""Lip metrics on curves whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from geneface.evaluation.metrics.lips import (
    CONSTANT,
    LipClip,
    best_offset,
    face_width,
    lagged_correlations,
    lip_figures,
    lip_landmark_distance,
    pearson,
)
from geneface.geometry.landmarks import KEYPOINT_COUNT, LIPS, MESH_LIPS_INNER, lip_opening, positions

LOWER = positions((87, 14, 317))


def speech_like(frames: int, seed: int = 0) -> np.ndarray:
    """A smooth non-negative curve that does not repeat."""
    noise = ndimage.gaussian_filter1d(np.random.default_rng(seed).normal(size=frames + 40), 1.5)[20:-20]
    return 0.05 * np.abs(noise)


def talking(opening: np.ndarray, seed: int = 0) -> np.ndarray:
    """Landmarks [F, K, 3] whose lip opening is the curve, the mouth's width following its half."""
    rng = np.random.default_rng(seed)
    points = np.tile(rng.normal(0, 0.2, (KEYPOINT_COUNT, 3)), (len(opening), 1, 1))
    upper = positions((82, 13, 312))
    points[:, LOWER] = points[:, upper]
    points[:, LOWER, 1] -= opening[:, None]
    left, right = positions((61, 291))
    points[:, right] = points[:, left]
    points[:, right, 0] += 0.3 + opening / 2
    return points


def values(clips: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float | None]:
    return {key: item.value for key, item in lip_figures([LipClip(*clip) for clip in clips]).items()}


def test_the_face_is_as_wide_as_its_cheek_bones_are_apart() -> None:
    points = np.zeros((2, KEYPOINT_COUNT, 3))
    left, right = positions((234, 454))
    points[0, right] = (3, 4, 0)
    points[1, left] = (0, -2, 0)
    np.testing.assert_allclose(face_width(points), [5, 2])


def test_pearson_equals_numpy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=50), rng.normal(size=50)
    assert pearson(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-9)
    assert np.isnan(pearson(a, np.full(50, 0.1, np.float32)))


def test_a_perfect_track_scores_perfectly() -> None:
    track = talking(speech_like(75))
    scores = values([(track, track)])
    assert scores["opening_correlation"] == pytest.approx(1)
    assert scores["width_correlation"] == pytest.approx(1)
    assert scores["opening_amplitude_ratio"] == pytest.approx(1)
    assert scores["offset_frames"] == 0
    assert scores["lip_landmark_distance"] == 0


@pytest.mark.parametrize("delay", [-5, -1, 2, 12])
def test_a_late_track_has_a_positive_offset(delay: int) -> None:
    curve = speech_like(140)
    base = 20
    reference = talking(curve[base : base + 100])
    late = talking(curve[base - delay : base - delay + 100])
    scores = values([(reference, late)])
    assert scores["offset_frames"] == delay
    assert (scores["opening_correlation"] or 0) < 0.95


def test_offset_is_searched_in_the_mean_over_clips() -> None:
    """One clip alone may match by chance elsewhere; two agree on where the peak is."""
    late = [lagged_correlations(speech_like(63, s)[3:], speech_like(63, s)[:60]) for s in range(4)]
    chance = lagged_correlations(speech_like(60, 8), speech_like(60, 9))
    assert best_offset([*late, chance]) == 3


def test_without_a_lag_that_all_clips_know_there_is_no_offset() -> None:
    row = np.full(31, np.nan)
    left, right = row.copy(), row.copy()
    left[3], right[20] = 0.9, 0.9
    assert best_offset([left]) == -12
    assert np.isnan(best_offset([left, right]))


def test_distance_is_in_the_unit_of_the_points() -> None:
    """One function serves the fraction of the face's width and pixels: a displaced corner of 32 lip points."""
    width_px = 92.0
    track = talking(speech_like(5))
    moved = track.copy()
    moved[:, positions((61,)), 0] += 0.02
    # The centre follows by 1 / N, so that the corner is off by (N - 1) / N and N - 1 points by 1 / N.
    count = len(LIPS)
    expected = 0.02 * 2 * (count - 1) / count**2
    assert lip_landmark_distance(track, moved) == pytest.approx(expected)
    assert lip_landmark_distance(track * width_px, moved * width_px) == pytest.approx(expected * width_px)


def test_lags_that_leave_too_little_are_unknown() -> None:
    curve = speech_like(20)
    known = np.isfinite(lagged_correlations(curve, curve))
    assert known.tolist() == [abs(lag) <= 10 for lag in range(-15, 16)]


def test_amplitude_is_independent_of_correlation() -> None:
    curve = speech_like(90)
    scores = values([(talking(curve), talking(0.6 * curve + 0.01))])
    assert scores["opening_correlation"] == pytest.approx(1)
    assert scores["opening_amplitude_ratio"] == pytest.approx(0.6, rel=1e-6)


def test_clips_are_scored_alone_and_averaged() -> None:
    """Two clips, each anticorrelated within, but with the right means: over both together it would look good."""
    clips = []
    for level in (0.1, 1.0):
        wave = 0.02 * np.sin(np.arange(60) / 3)
        clips.append((talking(level + wave), talking(level - wave)))
    joined = pearson(*(np.concatenate([lip_opening(c[i]) for c in clips]) for i in (0, 1)))
    assert joined > 0.9
    assert values(clips)["opening_correlation"] == pytest.approx(-1)


def test_distance_ignores_where_the_mouth_is_but_not_its_shape() -> None:
    track = talking(speech_like(10))
    moved = track + np.array([0.1, -0.2, 0.05])
    assert lip_landmark_distance(track, moved) == pytest.approx(0, abs=1e-9)
    stretched = track.copy()
    stretched[:, LIPS] = 1.5 * stretched[:, LIPS]
    centred = track[:, LIPS] - track[:, LIPS].mean(1, keepdims=True)
    assert lip_landmark_distance(track, stretched) == pytest.approx(0.5 * np.linalg.norm(centred, axis=-1).mean())


def test_clips_in_which_the_lips_froze_count_against_them() -> None:
    """Three frozen clips beside a perfect one: a quarter of the correlation, not all of it."""
    tracks = [talking(speech_like(60, seed)) for seed in range(4)]
    frozen = [np.broadcast_to(track.mean(0), track.shape) for track in tracks[1:]]
    figures = lip_figures(list(map(LipClip, tracks, [tracks[0], *frozen])))
    assert figures["opening_correlation"].value == pytest.approx(0.25)
    assert figures["width_correlation"].value == pytest.approx(0.25, abs=0.01)
    still_truth = lip_figures([LipClip(tracks[0], tracks[0]), LipClip(frozen[0], tracks[1])])
    assert still_truth["opening_correlation"].value == pytest.approx(1), "a truth that does not move tells nothing"


def test_still_lips_have_no_correlation_and_no_offset() -> None:
    track = talking(speech_like(50))
    figures = lip_figures([LipClip(track, np.broadcast_to(track.mean(0), track.shape))])
    assert figures["opening_correlation"].value == 0
    assert figures["offset_frames"].reason == CONSTANT
    assert figures["opening_amplitude_ratio"].value == pytest.approx(0, abs=1e-9)
    assert (figures["lip_landmark_distance"].value or 0) > 0
    assert all(item.reason == "no held-out frames" for item in lip_figures([]).values())


def test_the_inner_lips_are_part_of_the_lips() -> None:
    assert set(positions(MESH_LIPS_INNER)) <= set(LIPS)
