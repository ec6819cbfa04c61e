from __future__ import annotations

import numpy as np
import pytest

from geneface.analysis.mel import FLOOR, HOP, WINDOW, log_mel, mel_filters


def noise(seconds: float, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(round(16_000 * seconds))).astype(np.float32)


def naive_row(samples: np.ndarray, row: int, bins: int) -> np.ndarray:
    """One row by the definitions, in loops: the Fourier sum, and each triangle from its three corner frequencies."""

    def to_hz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * np.exp((mel - 15) * np.log(6.4) / 27)

    padded = np.concatenate([np.zeros(WINDOW), samples, np.zeros(WINDOW)])
    begin = WINDOW + row * HOP - WINDOW // 2
    window = [0.5 - 0.5 * np.cos(2 * np.pi * n / WINDOW) for n in range(WINDOW)]
    piece = padded[begin : begin + WINDOW] * window
    top = 15 + np.log(8) / (np.log(6.4) / 27)
    result = []
    powers = []
    for k in range(WINDOW // 2 + 1):
        wave = np.exp(-2j * np.pi * k * np.arange(WINDOW) / WINDOW)
        powers.append(abs((piece * wave).sum()) ** 2)
    for b in range(bins):
        low, mid, high = (to_hz(top * (b + j) / (bins + 1)) for j in range(3))
        total = 0.0
        for k, power in enumerate(powers):
            hz = k * 16_000 / WINDOW
            weight = (hz - low) / (mid - low) if hz <= mid else (high - hz) / (high - mid)
            total += max(weight, 0.0) * 2 / (high - low) * power
        result.append((max(np.log10(max(total, 1e-30)), FLOOR) + 4) / 4)
    return np.array(result)


@pytest.mark.parametrize(("row", "bins"), [(0, 80), (7, 80), (20, 128), (-1, 80)])
def test_rows_follow_the_definitions(row: int, bins: int) -> None:
    samples = noise(0.21)
    assert np.allclose(log_mel(samples, row, 1, bins)[0], naive_row(samples, row, bins), atol=1e-5)


def test_whispers_own_front_end_agrees_where_its_clamp_does_not_act() -> None:
    transformers = pytest.importorskip("transformers")
    samples = noise(1.0)
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    theirs = extractor(samples, sampling_rate=16_000, padding="do_not_pad", return_tensors="np").input_features[0].T
    ours = log_mel(samples, 0, len(theirs))
    # The first and last rows differ on purpose: silence outside, not a mirror.
    assert np.abs(ours - theirs)[2:-2].max() < 1e-4
    assert np.allclose(mel_filters().T, extractor.mel_filters, atol=1e-6)


def test_a_row_does_not_depend_on_where_the_request_begins() -> None:
    samples = noise(30.0)
    whole = log_mel(samples, -3, 3010)
    assert np.allclose(whole[1500:1520], log_mel(samples, 1497, 20), atol=1e-6)


def test_a_tone_rises_in_its_own_bin_at_its_own_time() -> None:
    samples = np.zeros(32_000, np.float32)
    samples[16_000:] = 0.1 * np.sin(2 * np.pi * 2000 * np.arange(16_000) / 16_000)
    mel = log_mel(samples, 0, 200)
    centres = mel_filters() @ np.linspace(0, 8000, 201) / mel_filters().sum(axis=1)
    assert abs(centres[mel[150].argmax()] - 2000) < 80
    assert (mel[:98] == (FLOOR + 4) / 4).all()
    assert mel[102].max() > 0.5
