"""Distillation into a band: the module against the functional layers, what it changes, windows of speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geneface.analysis.whisper import encode_layers
from geneface.analysis.whisper_weights import Layer, WhisperWeights
from geneface.analysis.windows import WINDOW_ROWS
from geneface.errors import InputError

torch = pytest.importorskip("torch")

from geneface.training.speech import distillation as streaming  # noqa: E402
from geneface.training.speech.distillation import BandLayers, SpeechWindows, distil  # noqa: E402

pytestmark = pytest.mark.slow

D, H, BINS = 16, 2, 12


@pytest.fixture(scope="module")
def weights() -> WhisperWeights:
    rng = np.random.default_rng(0)

    def pair(*shape: int) -> tuple[np.ndarray, np.ndarray]:
        scale = 1.5 / np.sqrt(np.prod(shape[1:]))
        return (scale * rng.standard_normal(shape)).astype(np.float32), 0.1 * rng.standard_normal(shape[0]).astype("f4")

    def norm() -> tuple[np.ndarray, np.ndarray]:
        return np.ones(D, np.float32), np.zeros(D, np.float32)

    layers = tuple(
        Layer(norm(), pair(D, D), pair(D, D), pair(D, D), pair(D, D), norm(), pair(2 * D, D), pair(D, 2 * D))
        for _ in range(3)
    )
    positions = 0.1 * rng.standard_normal((WINDOW_ROWS, D)).astype(np.float32)
    return WhisperWeights(H, pair(D, BINS, 3), pair(D, D, 3), positions, layers, norm())


@pytest.fixture
def recordings(make_wav) -> list[Path]:
    rng = np.random.default_rng(0)
    loudness = np.repeat(rng.uniform(0.0, 0.3, 80), 1600)
    return [
        make_wav("long.wav", (loudness * rng.standard_normal(128_000)).astype(np.float32)),
        make_wav("short.wav", (0.2 * np.sin(np.arange(8000) / 9)).astype(np.float32)),
    ]


@pytest.mark.parametrize("band", [None, (5, 1)])
def test_the_module_equals_the_layers(weights, band):
    mel = np.random.default_rng(1).standard_normal((2 * WINDOW_ROWS, BINS)).astype(np.float32)
    past = band[0] if band else None
    rows = encode_layers(weights, mel, 2, past, [band[1], band[1]] if band else [])
    place = torch.arange(WINDOW_ROWS)
    ahead = place[None] - place[:, None]
    mask = (ahead >= -band[0]) & (ahead <= band[1]) if band else None
    with torch.no_grad():
        found = BandLayers(weights, 2)(torch.from_numpy(rows[0])[None], mask)[0].numpy()
    np.testing.assert_allclose(found, rows[2], atol=1e-4)
    assert BandLayers(weights, 2).into(weights).layers[1].up[0].tolist() == weights.layers[1].up[0].tolist()


def test_distillation_brings_the_band_nearer_to_the_whole_window(weights, recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "PEAK_RATE", 3e-3)
    distilled, error = distil(weights, recordings, 2, 3, 1, tmp_path, ["a"], steps=40)
    assert error["after"] < 0.8 * error["before"]
    # Only the distilled layers have changed.
    assert distilled.layers[2] is weights.layers[2] and distilled.conv1 is weights.conv1
    assert np.abs(distilled.layers[0].query[0] - weights.layers[0].query[0]).max() > 0
    again, _ = distil(weights, recordings, 2, 3, 1, tmp_path, ["a"], steps=40, resume=True)
    assert np.array_equal(again.layers[1].down[0], distilled.layers[1].down[0])
    with pytest.raises(InputError, match="other settings"):
        distil(weights, recordings, 2, 3, 1, tmp_path, ["b"], steps=40, resume=True)


def test_windows_are_drawn_from_all_recordings_and_short_ones_strung_together(recordings, monkeypatch):
    windows = SpeechWindows(recordings, 80)
    first = windows.draw(3, seed=4)
    assert first.shape == (3, 2 * WINDOW_ROWS, 80) and np.isfinite(first).all()
    assert np.array_equal(first, windows.draw(3, seed=4)) and not np.array_equal(first, windows.draw(3, seed=5))
    monkeypatch.setattr(streaming, "_AUGMENTED", 0.0)
    short = SpeechWindows(recordings[1:], 80).draw(1, seed=0)[0]
    # Half a second strung together twelve times: no silence in it.
    assert short.max(axis=1).min() > short.max() - 1
