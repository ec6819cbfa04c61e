"""Cutting, level and rate of sound: against loops, closed forms and what a level means."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.signal.sound import LEVEL_DB, MAX_GAIN_DB, covered_frames, cut, cut_frames, percentile, speech_gain
from geneface.signal.timing import SAMPLES_PER_FRAME
from geneface.types import Waveform


def noise(seconds: float, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(round(16_000 * seconds))).astype(np.float32)


def test_level_is_independent_of_volume_and_pauses() -> None:
    speech = noise(2.0)
    with_pauses = np.concatenate([np.zeros(48_000, np.float32), speech, np.zeros(48_000, np.float32)])
    gain = speech_gain(speech)
    assert 20 * np.log10(np.sqrt(np.mean((gain * speech) ** 2))) == pytest.approx(LEVEL_DB, abs=0.01)
    assert speech_gain(0.1 * speech) == pytest.approx(10 * gain, rel=1e-4)
    assert speech_gain(with_pauses) == pytest.approx(gain, rel=1e-4)


@pytest.mark.parametrize("percent", [0.0, 20.0, 95.0, 100.0])
def test_percentiles_are_those_of_numpy_to_the_bit(percent: float) -> None:
    rng = np.random.default_rng(0)
    for count in (*range(1, 60), 333, 750):
        values = rng.exponential(1.0, count) ** 3
        assert percentile(values, percent) == np.percentile(values, percent)


def test_silence_is_not_blown_up() -> None:
    assert speech_gain(np.zeros(16_000, np.float32)) == 1.0
    assert speech_gain(np.empty(0, np.float32)) == 1.0
    assert speech_gain(noise(1.0, level=1e-6)) == pytest.approx(10 ** (MAX_GAIN_DB / 20))
    assert np.isfinite(speech_gain(noise(0.001)))


@pytest.mark.parametrize(("begin", "length"), [(-5, 3), (-5, 8), (-5, 30), (4, 3), (8, 10), (50, 4), (0, 0)])
def test_cut_continues_with_silence(begin: int, length: int) -> None:
    samples = np.arange(1, 11, dtype=np.float32)
    expected = [samples[i] if 0 <= i < 10 else 0 for i in range(begin, begin + length)]
    assert cut(samples, begin, length).tolist() == expected


def test_samples_follow_the_video_clock():
    sound = Waveform(np.arange(1, 16001, dtype=np.float32), start_seconds=-0.1)
    samples = cut_frames(sound, 0, 10)
    assert len(samples) == 6400 and samples[0] == 1601
    late = cut_frames(Waveform(sound.samples, 0.25), 0, 10)
    assert late[3999] == 0 and late[4000] == 1
    short = cut_frames(Waveform(sound.samples[:100], 0.0), 1, 2)
    assert not short.any()
    assert cut_frames(sound, 12.5, 25)[-1] == 0


def test_sound_is_cut_to_the_sample_and_padded_with_silence():
    samples = np.arange(1, 16_001, dtype=np.float32)
    late = Waveform(samples, start_seconds=0.1)
    piece = cut_frames(late, 0, 5)
    assert len(piece) == 5 * SAMPLES_PER_FRAME
    assert (piece[:1600] == 0).all() and piece[1600] == 1
    early = cut_frames(Waveform(samples, start_seconds=-0.1), 0, 26)
    assert early[0] == 1601 and early[-1] == 0
    assert covered_frames(late) == (2, 28) and covered_frames(Waveform(samples)) == (0, 25)


def test_sound_is_moved_by_parts_of_a_frame():
    samples = np.arange(16_000, dtype=np.float32)
    assert cut_frames(Waveform(samples), 2.5, 3)[0] == 2.5 * SAMPLES_PER_FRAME
    assert cut_frames(Waveform(samples), -0.25, 3)[160] == 0 and cut_frames(Waveform(samples), -0.25, 3)[161] == 1


@pytest.mark.parametrize("ppm", [100.0, -2000.0])
def test_drifting_sound_is_brought_to_the_pace_of_its_pictures(ppm: float):
    """A tone that is sampled at another pace, against the tone itself."""
    time = np.arange(10 * 16_000) / 16_000
    sound = Waveform(np.sin(2 * np.pi * 440 * time))
    piece = cut_frames(sound, 50, 125, ppm)
    wanted = np.sin(2 * np.pi * 440 * (2 + np.arange(len(piece)) / 16_000 * (1 + 1e-6 * ppm)))
    assert len(piece) == 125 * SAMPLES_PER_FRAME
    # Within a sample: the first one is rounded.
    assert np.abs(piece - wanted).max() < 2 * np.pi * 440 / 16_000


def test_drifting_sound_ends_in_silence_where_the_recording_does():
    piece = cut_frames(Waveform(np.full(16_000, 0.5)), 20, 10, 500.0)
    assert len(piece) == 10 * SAMPLES_PER_FRAME
    assert piece[1000] == pytest.approx(0.5, abs=1e-3) and np.abs(piece[3400:]).max() < 1e-3
