"""Jitter, flicker and temporal difference against closed forms and naive loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import signal

from geneface.evaluation.metrics.flicker import temporal_difference_error, torso_flicker
from geneface.evaluation.metrics.stability import (
    JITTER_BAND_HZ,
    band_jitter,
    stability_figures,
    stability_ratio_figures,
)
from geneface.geometry.landmarks import BROWS, KEYPOINT_COUNT
from geneface.types import HeadPose, MotionTrack

BAND = JITTER_BAND_HZ


def noise_power(low: float, high: float, rate: float = 25.0) -> float:
    """1 / pi times the integral of (2 - 2 cos w)^2 over the band: of white noise of variance 1."""
    w = 2 * np.pi * np.array([low, high]) / rate
    integral = 6 * w - 8 * np.sin(w) + np.sin(2 * w)
    return float(integral[1] - integral[0]) / np.pi


def sine(frequency: float, frames: int = 200, phase: float = 0.3) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(frames) / 25 + phase)[:, None]


def trembling(scale: float, frames: int = 400, seed: int = 0) -> MotionTrack:
    rng = np.random.default_rng(seed)
    points = np.zeros((frames, KEYPOINT_COUNT, 3))
    points[:, BROWS] = scale * rng.normal(size=(frames, len(BROWS), 3))
    drift = np.linspace(0, 1, frames)[:, None] * np.ones(3)
    rotation, translation = (k * drift + scale * rng.normal(size=(frames, 3)) for k in (1, 2))
    pose = HeadPose(rotation.astype(np.float32), translation.astype(np.float32))
    return MotionTrack(points.astype(np.float32), pose)


@pytest.mark.parametrize(
    ("frames", "low", "high"),
    [(10, 0.0, 12.5), (10, *BAND), (75, 0.0, 12.5), (75, *BAND), (76, *BAND), (76, 3.0, 7.0), (301, 3.0, 7.0)],
)
def test_white_noise_has_a_closed_form(frames: int, low: float, high: float) -> None:
    rng = np.random.default_rng(frames)
    clips = [0.2 * rng.normal(size=(frames, 4000 // frames, 3)) for _ in range(12)]
    expected = 0.2 * np.sqrt(3 * noise_power(low, high))
    # Ten frames: the window's main lobe is three bins wide, which mixes powers on both sides of a border.
    tolerance = 0.02 if frames > 10 or low == 0 else 0.05
    assert band_jitter(clips, low, high) == pytest.approx(expected, rel=tolerance)


def test_all_of_the_band_is_the_familiar_second_difference() -> None:
    """1 + 4 + 1 = 6 times the variance of white noise."""
    assert noise_power(0, 12.5) == pytest.approx(6)


@pytest.mark.parametrize("frequency", [5.0, 7.3, 11.0])
def test_a_sine_inside_the_band_counts_by_its_second_difference(frequency: float) -> None:
    w = 2 * np.pi * frequency / 25
    expected = 0.7 * (2 - 2 * np.cos(w)) / np.sqrt(2)
    assert band_jitter([0.7 * sine(frequency)], *BAND) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("frequency", [0.2, 1.0, 2.5, 3.4])
def test_slow_gestures_are_no_jitter(frequency: float) -> None:
    w = 2 * np.pi * frequency / 25
    assert band_jitter([sine(frequency)], *BAND) < 0.01 * (2 - 2 * np.cos(w))
    assert band_jitter([sine(frequency)], 0.0, 12.5) == pytest.approx((2 - 2 * np.cos(w)) / np.sqrt(2), rel=0.05)


def test_large_slow_motion_does_not_hide_small_trembling() -> None:
    noise = 1e-3 * np.random.default_rng(0).normal(size=(200, 1))
    moving = sine(0.5) + np.linspace(0, 40, 200)[:, None] + noise
    assert band_jitter([moving], *BAND) == pytest.approx(band_jitter([noise], *BAND), rel=0.01)


@pytest.mark.parametrize("frames", [9, 40, 41])
def test_band_equals_the_periodogram_of_scipy(frames: int) -> None:
    values = np.random.default_rng(1).normal(size=frames).cumsum()
    second = np.array([values[t + 1] - 2 * values[t] + values[t - 1] for t in range(1, frames - 1)])
    window = np.sin(np.pi * (np.arange(frames - 2) + 0.5) / (frames - 2)) ** 2
    # Its stubs know neither windows as arrays nor "no detrending".
    periodogram: Any = signal.periodogram
    frequency, density = periodogram(second, fs=25.0, window=window, detrend=False)
    width = np.full(len(frequency), frequency[1])
    low = frequency[2] - 0.5 * width[2]
    expected = np.sqrt((density * width)[2:].sum())
    assert band_jitter([values[:, None]], low, 12.5) == pytest.approx(expected, rel=1e-9)


def test_a_parabola_has_constant_second_differences() -> None:
    """All of their power is at frequency 0 and next to it, where the window spreads it."""
    parabola = 1.5 * np.arange(40.0)[:, None] ** 2
    assert band_jitter([parabola], 0, 12.5) == pytest.approx(3)
    assert band_jitter([parabola], *BAND) < 1e-2


def test_bands_add_up() -> None:
    clip = np.random.default_rng(2).normal(size=(60, 5, 2))
    parts = [band_jitter([clip], low, high) for low, high in ((0, 3.3), (3.3, 7.1), (7.1, 12.5))]
    assert np.sqrt(np.square(parts).sum()) == pytest.approx(band_jitter([clip], 0, 12.5))


def test_clips_are_not_joined_and_weigh_by_their_frames() -> None:
    low, high = np.zeros((20, 3)), np.full((20, 3), 5.0)
    assert band_jitter([low, high]) == pytest.approx(0, abs=1e-12)
    assert band_jitter([np.concatenate([low, high])]) > 1
    one, two = (np.random.default_rng(s).normal(size=(n, 3)) for s, n in ((0, 30), (1, 90)))
    pooled = np.sqrt((28 * band_jitter([one]) ** 2 + 88 * band_jitter([two]) ** 2) / 116)
    assert band_jitter([one, two]) == pytest.approx(pooled)


def test_too_short_clips_have_no_jitter() -> None:
    clip = np.random.default_rng(0).normal(size=(7, 3))
    assert np.isnan(band_jitter([clip]))
    assert np.isnan(band_jitter([]))
    longer = np.random.default_rng(0).normal(size=(8, 3))
    assert band_jitter([clip, longer]) == band_jitter([longer])


def test_figures_of_trembling_motion() -> None:
    figures = {key: item.value for key, item in stability_figures([trembling(0.01)]).items()}
    expected = 0.01 * np.sqrt(3 * noise_power(*BAND))
    assert figures["brow_jitter"] == pytest.approx(expected, rel=0.03)
    assert figures["rotation_jitter"] == pytest.approx(np.degrees(expected), rel=0.1)
    assert figures["translation_jitter"] == pytest.approx(expected, rel=0.1)


def test_ratio_is_evaluated_over_reference() -> None:
    figures = stability_ratio_figures([trembling(0.01)], [trembling(0.03)])
    assert [item.value for item in figures.values()] == pytest.approx([3, 3, 3], rel=1e-2)
    still = stability_ratio_figures([trembling(0.0)], [trembling(0.01)])
    assert "still" in (still["brow_jitter_ratio"].reason or "")
    assert all(item.reason == "no held-out frames" for item in stability_ratio_figures([], []).values())


def film(frames: int = 24, size: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(90, 170, (frames, size, size, 3)).astype(np.uint8)


def test_flicker_equals_a_loop_over_pixels() -> None:
    images = film()
    torso = np.zeros((12, 12), bool)
    torso[5:, 2:9] = True
    powers = []
    for y, x in zip(*np.nonzero(torso), strict=True):
        luma = images[:, y, x].astype(np.float64) @ [0.299, 0.587, 0.114]
        powers.append(band_jitter([luma[:, None]]) ** 2)
    assert torso_flicker(list(images), torso) == pytest.approx(np.sqrt(np.mean(powers)), rel=1e-4)


def test_flicker_sees_only_what_flickers_in_the_mask() -> None:
    torso = np.zeros((12, 12), bool)
    torso[6:] = True
    still = np.repeat(film(1), 30, axis=0)
    elsewhere, darker, fading = still.copy(), still.copy(), still.copy()
    elsewhere[::2, :6] += 20
    fading += np.arange(30, dtype=np.uint8)[:, None, None, None]
    darker[::2, 6:] -= 20
    assert torso_flicker(list(still), torso) == 0
    assert torso_flicker(list(elsewhere), torso) == 0
    assert torso_flicker(list(fading), torso) == pytest.approx(0, abs=1e-3)
    # Alternating by 20 levels is a sine of 12.5 Hz and amplitude 10, its second differences 40.
    assert torso_flicker(list(darker), torso) == pytest.approx(40, rel=1e-3)


def test_flicker_needs_a_torso_and_time() -> None:
    assert np.isnan(torso_flicker(list(film()), np.zeros((12, 12), bool)))
    assert np.isnan(torso_flicker(list(film(7)), np.ones((12, 12), bool)))


def test_temporal_difference_equals_a_loop() -> None:
    a, b = film(5, 4, 1).astype(int), film(5, 4, 2).astype(int)
    terms = [
        abs((a[t + 1, y, x, c] - a[t, y, x, c]) - (b[t + 1, y, x, c] - b[t, y, x, c]))
        for t in range(4)
        for y in range(4)
        for x in range(4)
        for c in range(3)
    ]
    got = temporal_difference_error(list(a.astype(np.uint8)), list(b.astype(np.uint8)))
    assert got == pytest.approx(np.mean(terms), rel=1e-6)


def test_temporal_difference_ignores_a_constant_error() -> None:
    images = film()
    assert temporal_difference_error(list(images), list(images + np.uint8(40))) == 0
    assert np.isnan(temporal_difference_error(list(images[:1]), list(images[:1])))
    with pytest.raises(ValueError, match="zip"):
        temporal_difference_error(list(images), list(images[1:]))
