"""Silence and blinks, on synthetic sound and a schematic face."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.avatar.idle import (
    DEFAULT_BLINKS_PER_MINUTE,
    REFRACTORY_SECONDS,
    Blinker,
    BlinkStatistics,
    blink,
    close_mouth,
    closing_weight,
    frame_energy_db,
    measure_blinks,
    scale_mouth,
    voice_activity,
)
from geneface.geometry.landmarks import BROWS, EYES, IRISES, LOWER_FACE, eye_openness, lip_opening

from .avatar_fixtures import face_points, with_closed_eyes


def _speech(pattern: list[tuple[float, float]], noise_db: float = -70.0, seed: int = 0) -> np.ndarray:
    """Bursts: (seconds, level in dB of full scale or -inf) after each other, over white noise."""
    rng = np.random.default_rng(seed)
    parts = [10 ** (level / 20) * rng.standard_normal(round(16000 * seconds)) for seconds, level in pattern]
    samples = np.concatenate(parts)
    return (samples + 10 ** (noise_db / 20) * rng.standard_normal(len(samples))).astype(np.float32)


def test_energy_of_a_sine_is_its_mean_power() -> None:
    sine = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000 + 100) / 16000)).astype(np.float32)
    energy = frame_energy_db(sine)
    assert len(energy) == 26
    assert energy[:25] == pytest.approx(10 * np.log10(0.125), abs=0.05)


@pytest.mark.parametrize("noise_db", [-90, -60, -45])
@pytest.mark.parametrize("loudness_db", [-12, -26])
def test_voice_activity_follows_the_recordings_own_levels(noise_db: float, loudness_db: float) -> None:
    samples = _speech([(1, -np.inf), (2, loudness_db), (1, -np.inf), (2, loudness_db), (0.6, -np.inf)], noise_db)
    expected = np.repeat([False, True, False, True, False], [25, 50, 25, 50, 15])
    assert (voice_activity(samples) != expected).sum() <= 2


def test_a_stop_consonant_is_not_silence() -> None:
    samples = _speech([(1, -20), (0.16, -np.inf), (1, -20), (0.8, -np.inf), (1, -20)])
    voiced = voice_activity(samples)
    assert voiced[:54].all()
    assert not voiced[56:72].any()


@pytest.mark.parametrize("samples", [np.zeros(16000), np.full(16000, 1e-5)])
def test_nothing_to_hear_is_silence(samples: np.ndarray) -> None:
    assert not voice_activity(samples.astype(np.float32)).any()
    assert (closing_weight(voice_activity(samples.astype(np.float32))) == 1).all()


def test_steady_speech_is_all_speech() -> None:
    assert voice_activity(_speech([(3, -20)])).all()
    assert len(voice_activity(np.zeros(0, np.float32))) == 0


def test_closing_never_touches_speech_and_is_smooth() -> None:
    voiced = np.repeat([False, True, False, True, False], [40, 30, 45, 30, 20])
    weight = closing_weight(voiced)
    assert (weight[voiced] == 0).all()
    # The person breathes in before speaking: the last half second before an onset is free.
    assert (weight[27:40] == 0).all() and (weight[102:115] == 0).all()
    assert weight[0] == 1 and weight[-1] == 1 and weight[80:90].max() == 1
    assert np.abs(np.diff(weight)).max() < 0.3


def test_short_pauses_are_left_to_the_motion_model() -> None:
    voiced = np.repeat([True, False, True], [20, 15, 20])
    assert (closing_weight(voiced) == 0).all()


def test_close_and_scale_move_only_the_mouth() -> None:
    rest = face_points()
    points = rest[None] + 0.01 * np.random.default_rng(0).standard_normal((4, *rest.shape)).astype(np.float32)
    weight = np.array([0, 0.25, 0.5, 1], np.float32)
    closed = close_mouth(points, rest, weight)
    others = np.setdiff1d(np.arange(len(rest)), LOWER_FACE)
    np.testing.assert_array_equal(closed[:, others], points[:, others])
    np.testing.assert_array_equal(closed[0], points[0])
    np.testing.assert_allclose(closed[3, LOWER_FACE], rest[LOWER_FACE], atol=1e-6)
    np.testing.assert_allclose(scale_mouth(points, rest, 1.0), points, atol=1e-6)
    doubled = scale_mouth(points, rest, 2.0) - rest
    np.testing.assert_allclose(doubled[:, LOWER_FACE], 2 * (points - rest)[:, LOWER_FACE], atol=1e-6)
    assert not set(LOWER_FACE) & (set(EYES) | set(BROWS))


STATISTICS = BlinkStatistics(18.0, 5.0, np.zeros((len(face_points()), 3), np.float32))


def blink_closure(frames: int, statistics: BlinkStatistics, seed: int) -> np.ndarray:
    """Of somebody who says nothing."""
    return Blinker(statistics, seed).closure(np.ones(frames, bool), np.zeros(frames, bool))


def test_blinks_are_a_poisson_process_with_a_refractory_time() -> None:
    closure = blink_closure(25 * 60 * 60, STATISTICS, seed=3)
    starts = np.flatnonzero((closure[1:] > 0) & (closure[:-1] == 0))
    assert len(starts) / 60 == pytest.approx(18, rel=0.1)
    gaps = np.diff(starts) / 25
    assert gaps.min() >= REFRACTORY_SECONDS - 0.08
    # After the refractory second the waiting time is exponential: its deviation is its mean.
    assert (gaps - REFRACTORY_SECONDS).std() == pytest.approx((gaps - REFRACTORY_SECONDS).mean(), rel=0.15)


def test_blinks_close_the_eyes_for_the_persons_duration() -> None:
    closure = blink_closure(25 * 60 * 20, STATISTICS, seed=0)
    stretches = np.split(closure, np.flatnonzero(np.diff(closure > 0)) + 1)
    blinks = [stretch for stretch in stretches if stretch[0] > 0][1:-1]
    assert min(stretch.max() for stretch in blinks) > 0.97
    assert np.mean([(stretch > 0.5).sum() for stretch in blinks]) == pytest.approx(5, abs=0.6)
    # Lids fall faster than they rise.
    assert np.mean([stretch.argmax() / len(stretch) for stretch in blinks]) < 0.5


def test_blinks_depend_on_the_seed_and_not_on_the_length() -> None:
    np.testing.assert_array_equal(blink_closure(2000, STATISTICS, 7), blink_closure(5000, STATISTICS, 7)[:2000])
    assert not np.array_equal(blink_closure(2000, STATISTICS, 7), blink_closure(2000, STATISTICS, 8))


def _phrases(minutes: int) -> tuple[np.ndarray, np.ndarray]:
    """Pauses of .4 s after phrases of 1.2 to 4 s: which frames are pauses, and which begin one."""
    rng = np.random.default_rng(4)
    pauses = np.zeros(1500 * minutes, bool)
    start = 0
    while (start := start + int(rng.integers(30, 100))) < len(pauses):
        pauses[start : start + 10] = True
        start += 10
    return pauses, pauses & ~np.concatenate([[False], pauses[:-1]])


def test_blinks_fall_into_pauses_at_the_persons_rate() -> None:
    pauses, ends = _phrases(60)
    closure = Blinker(STATISTICS, 5).closure(pauses, ends)
    starts = np.flatnonzero((closure[1:] > 0) & (closure[:-1] == 0)) + 1
    assert len(starts) / 60 == pytest.approx(18, rel=0.1)
    assert np.diff(starts).min() >= 25 * REFRACTORY_SECONDS - 1
    share = np.mean([pauses[max(start - 2, 0) : start + 2].any() for start in starts])
    by_chance = np.mean([pauses[max(start - 2, 0) : start + 2].any() for start in range(len(pauses))])
    assert by_chance < 0.25 and share > 0.6
    twice = Blinker(STATISTICS, 5, rate=2.0).closure(pauses, ends)
    assert np.sum((twice[1:] > 0) & (twice[:-1] == 0)) / 60 == pytest.approx(36, rel=0.1)


def test_blinks_in_pieces_and_after_steps_back_are_those_of_the_whole() -> None:
    pauses, ends = _phrases(4)
    whole = Blinker(STATISTICS, 6).closure(pauses, ends)
    blinker, made, rng = Blinker(STATISTICS, 6), 0, np.random.default_rng(0)
    while made < len(pauses):
        stop = min(made + int(rng.integers(1, 200)), len(pauses))
        np.testing.assert_array_equal(blinker.closure(pauses[made:stop], ends[made:stop]), whole[made:stop])
        back = int(rng.integers(0, stop - made))
        # Others would have followed, had they been seen.
        blinker.closure(np.ones(300, bool), np.zeros(300, bool))
        blinker.step_back(300 + back)
        made = stop - back


def _track_with_blinks(onsets: list[int], frames: int, slope: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    closure = np.zeros(frames)
    for onset in onsets:
        closure[onset : onset + 6] = [0.5, 1, 1, 0.9, 0.7, 0.3]
    track = np.stack([with_closed_eyes(face_points(), slope * amount) for amount in closure])
    return (track + 2e-4 * rng.standard_normal(track.shape)).astype(np.float32)


def test_measured_blinks_have_the_tracks_rate_and_shape() -> None:
    onsets = [40, 150, 260, 420, 600, 700]
    statistics = measure_blinks(_track_with_blinks(onsets, 750), [slice(0, 750)])
    assert statistics.per_minute == pytest.approx(12, rel=0.05)
    assert 4 <= statistics.duration_frames <= 6
    closed = blink(face_points()[None], statistics.closing, np.ones(1, np.float32))[0]
    assert eye_openness(closed).mean() < 0.35 * eye_openness(face_points()).mean()
    assert np.abs(statistics.closing[IRISES]).max() == 0
    assert lip_opening(closed) == pytest.approx(lip_opening(face_points()))


def test_blinks_of_heldout_frames_are_not_counted() -> None:
    track = _track_with_blinks([100, 200, 300, 500, 540, 580, 620, 660, 700], 750)
    assert measure_blinks(track, [slice(0, 450)]).per_minute == pytest.approx(10, rel=0.05)


def test_without_blinks_the_literatures_rate_and_a_plausible_closing_are_taken() -> None:
    statistics = measure_blinks(_track_with_blinks([], 300), [slice(0, 300)])
    assert statistics.per_minute == DEFAULT_BLINKS_PER_MINUTE
    closed = face_points() + statistics.closing
    assert eye_openness(closed).mean() < 0.25 * eye_openness(face_points()).mean()
