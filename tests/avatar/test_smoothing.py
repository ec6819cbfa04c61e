"""Smoothing: no delay, lips untouched, windows change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.avatar.smoothing import UPPER_AND_OUTER_FACE, gaussian_kernel, smooth, smooth_landmark_windows
from geneface.geometry.landmarks import BROWS, CHEEKS, JAW, KEYPOINT_COUNT, LIPS


def test_kernel_is_symmetric_and_sums_to_one() -> None:
    taps = gaussian_kernel(1.5)
    assert taps.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(taps, taps[::-1])
    np.testing.assert_array_equal(gaussian_kernel(0.0), [1.0])


def test_against_a_naive_loop() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((23, 2)).astype(np.float32)
    taps, expected = gaussian_kernel(2.0), np.zeros((23, 2))
    radius = len(taps) // 2
    for frame in range(23):
        for offset in range(-radius, radius + 1):
            expected[frame] += taps[offset + radius] * values[min(max(frame + offset, 0), 22)]
    np.testing.assert_allclose(smooth(values, 2.0), expected, atol=1e-6)


def test_a_movement_is_not_delayed() -> None:
    pulse = np.zeros((41, 1), np.float32)
    pulse[20] = 1
    smoothed = smooth(pulse, 2.0)[:, 0]
    assert smoothed.argmax() == 20
    np.testing.assert_allclose(smoothed, smoothed[::-1], atol=1e-7)


@pytest.mark.parametrize("lengths", [[1] * 30, [30], [3, 0, 20, 7], [29, 1]])
def test_windows_do_not_change_a_bit(lengths: list[int]) -> None:
    track = np.random.default_rng(1).standard_normal((30, KEYPOINT_COUNT, 3)).astype(np.float32)
    whole = np.concatenate(list(smooth_landmark_windows([track], 1.5)))
    pieces = np.split(track, np.cumsum(lengths)[:-1])
    np.testing.assert_array_equal(np.concatenate(list(smooth_landmark_windows(pieces, 1.5))), whole)
    assert len(whole) == 30


@pytest.mark.parametrize("frames", [1, 3, 5, 9])
def test_short_tracks_keep_their_length(frames: int) -> None:
    track = np.ones((frames, KEYPOINT_COUNT, 3), np.float32)
    np.testing.assert_allclose(np.concatenate(list(smooth_landmark_windows([track], 1.5))), track, rtol=1e-6)
    assert list(smooth_landmark_windows([], 1.5)) == []


def test_lips_pass_unchanged_and_the_rest_is_calmed() -> None:
    track = np.random.default_rng(2).standard_normal((50, KEYPOINT_COUNT, 3)).astype(np.float32)
    smoothed = np.concatenate(list(smooth_landmark_windows([track], 1.5)))
    np.testing.assert_array_equal(smoothed[:, LIPS], track[:, LIPS])
    assert not set(UPPER_AND_OUTER_FACE) & set(LIPS)
    for group in (BROWS, np.setdiff1d(CHEEKS, LIPS), np.setdiff1d(JAW, LIPS)):
        assert np.diff(smoothed[:, group], axis=0).std() < 0.4 * np.diff(track[:, group], axis=0).std()
