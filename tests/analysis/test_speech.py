from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from geneface.analysis.mel import log_mel
from geneface.analysis.speech import (
    DEFAULT_ENCODER,
    ENCODERS,
    MelEncoder,
    ShippedEncoder,
    SpeechEncoder,
    StreamingEncoder,
    load_encoder,
)
from geneface.analysis.windows import CONTEXT_ROWS, CORE_ROWS, WINDOW_ROWS, encode_in_windows, feature_rows
from geneface.errors import InputError
from geneface.io.assets import asset_path
from geneface.io.atomic import sha256
from geneface.io.audio import read_audio
from geneface.signal.sound import levelled
from geneface.signal.timing import SAMPLES_PER_ROW


@pytest.fixture(scope="module")
def demo() -> np.ndarray:
    return read_audio(asset_path("speech", "demo.flac")).samples


@pytest.fixture(scope="module")
def shipped() -> SpeechEncoder:
    return load_encoder()


@pytest.mark.parametrize("name", ["whisper-2-streaming", "whisper-4-window", "mel"])
@pytest.mark.parametrize(
    ("length", "frames", "rows"),
    [(0, None, 0), (1, None, 2), (640, None, 2), (641, None, 4), (16_000, None, 50), (16_000, 3, 6), (700, 130, 260)],
)
def test_two_rows_a_frame(name: str, length: int, frames: int | None, rows: int) -> None:
    encoder = load_encoder(name)
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, length).astype(np.float32)
    features = encoder.encode(samples, frames)
    assert features.values.shape == (rows, encoder.width)
    assert features.values.dtype == np.float32
    assert features.encoder == encoder.name == name
    assert np.isfinite(features.values).all()


@pytest.mark.parametrize("name", ["whisper-2-streaming", "whisper-4-window", "mel"])
def test_silence_is_finite_and_steady(name: str) -> None:
    values = load_encoder(name).encode(np.zeros(16_000, np.float32)).values
    assert np.isfinite(values).all()
    assert np.abs(values).max() < 20
    assert values.std(axis=0).max() < 2.0


def test_features_of_speech_are_of_order_one(shipped: SpeechEncoder, demo: np.ndarray) -> None:
    values = shipped.encode(demo).values
    assert 0.7 < values.std() < 1.3
    assert np.abs(values.mean()) < 0.2
    assert np.abs(values).max() < 20


def test_the_window_encoder_hears_what_comes_later(demo: np.ndarray) -> None:
    """Against Whisper's layers as they are published: a sound that ends early changes what was before its end."""
    encoder = load_encoder("whisper-4-window")
    values = encoder.encode(demo).values
    assert 0.7 < values.std() < 1.3
    blocks = np.concatenate([block.values for block in encoder.blocks(demo)])
    assert np.array_equal(blocks, values)
    cut_short = demo.copy()
    cut_short[32_000:] = 0.0
    # A second before the change, in the same window.
    assert np.abs(encoder.encode(cut_short).values[40:50] - values[40:50]).max() > 0.1
    assert encoder.look_ahead_seconds > 4


def test_equal_sound_gives_equal_bits_and_volume_does_not_matter(shipped: SpeechEncoder, demo: np.ndarray) -> None:
    sound = demo[: 16_000 * 3]
    first = shipped.encode(sound).values
    shipped.encode(demo[::-1].copy())
    assert np.array_equal(first, shipped.encode(sound).values)
    assert np.allclose(first, shipped.encode(0.1 * sound).values, atol=1e-2)


def test_a_sound_gives_the_same_features_wherever_it_stands(demo: np.ndarray) -> None:
    encoder = ShippedEncoder()
    whole = encoder.encode(demo).values
    shift = 74  # rows; nothing to do with the window
    part = encoder.encode(demo[shift * SAMPLES_PER_ROW :]).values
    inside = slice(20, len(part) - 20)
    difference = np.sqrt(np.mean((whole[shift : shift + len(part)] - part)[inside] ** 2))
    assert difference < 0.4
    # That is what taking each place's mean away achieves: without it the window's pattern dominates.
    pattern = encoder._mean[CONTEXT_ROWS:-CONTEXT_ROWS] * encoder._scale
    assert pattern.std(axis=0).mean() > 0.3


def test_a_sound_changes_only_the_rows_around_it(shipped: SpeechEncoder) -> None:
    """A burst of noise moves the features most at its own time: no shift between sound and rows."""
    rng = np.random.default_rng(3)
    sound = (0.1 * rng.standard_normal(16_000 * 4)).astype(np.float32)
    changed = sound.copy()
    changed[32_000:33_600] = (0.1 * rng.standard_normal(1600)).astype(np.float32)  # 2.0 to 2.1 s, the same level
    for encoder in (shipped, MelEncoder()):
        difference = np.abs(encoder.encode(sound).values - encoder.encode(changed).values).mean(axis=1)
        centre = (difference**2 * np.arange(200)).sum() / (difference**2).sum()
        assert centre == pytest.approx(102, abs=1.5)
        assert set(np.argsort(difference)[-4:]) <= set(range(98, 107))


def test_the_look_ahead_is_as_stated(shipped: SpeechEncoder) -> None:
    rng = np.random.default_rng(4)
    sound = (0.1 * rng.standard_normal(16_000 * 16)).astype(np.float32)
    other = sound.copy()
    edge = 16_000 * 9
    other[edge:] = sound[edge:].reshape(-1, 320)[::-1].ravel()  # the same blocks in reverse: the same level
    first, second = shipped.encode(sound).values, shipped.encode(other).values
    untouched = int((9 - shipped.look_ahead_seconds) * 50)
    assert 0.08 < shipped.look_ahead_seconds < 0.1
    assert np.allclose(first[:untouched], second[:untouched], atol=1e-3)
    assert np.abs(first[untouched : untouched + 3] - second[untouched : untouched + 3]).max() > 1e-3
    assert np.abs(first[-200:] - second[-200:]).mean() > 0.1


@pytest.mark.parametrize("rows", [0, 1, CORE_ROWS - 1, CORE_ROWS, CORE_ROWS + 1, 3 * CORE_ROWS + 7])
def test_windows_tile_the_rows(rows: int) -> None:
    starts = []

    def encode(start: int) -> np.ndarray:
        starts.append(start)
        place = np.arange(WINDOW_ROWS)
        return np.stack([start + place, place], axis=1).astype(np.float32)

    result = encode_in_windows(encode, rows)
    assert result.shape == (rows, 2)
    assert result[:, 0].tolist() == list(range(rows))
    assert ((result[:, 1] >= CONTEXT_ROWS) & (result[:, 1] < WINDOW_ROWS - CONTEXT_ROWS)).all()
    assert len(starts) == max(-(-rows // CORE_ROWS), 1)


def test_mel_is_normalised_over_the_utterance(demo: np.ndarray) -> None:
    values = MelEncoder().encode(demo).values
    assert np.abs(values.mean(axis=0)).max() < 1e-3
    assert values.std() == pytest.approx(1.0, abs=1e-3)


def test_stereo_is_refused(shipped: SpeechEncoder) -> None:
    with pytest.raises(ValueError, match=r"not \[T\]"):
        shipped.encode(np.zeros((100, 2), np.float32))


def test_unknown_names_and_missing_weights_are_named() -> None:
    with pytest.raises(InputError, match=f"choose one of {', '.join(ENCODERS)}"):
        load_encoder("whisper-base")
    with pytest.raises(InputError, match="give the path of its weights with --encoder-path"):
        load_encoder("whisper")


def test_weights_that_are_nowhere_are_named() -> None:
    with pytest.raises(InputError, match="nowhere does not exist"):
        load_encoder("whisper", "nowhere")


def test_a_streaming_encoder_by_path(shipped: SpeechEncoder, demo: np.ndarray, tmp_path: Path) -> None:
    for kind in ("onnx", "safetensors", "json"):
        shutil.copy(asset_path("speech", f"whisper_base_2.{kind}"), tmp_path / f"mine.{kind}")
    encoder = load_encoder("streaming", tmp_path / "mine.onnx")
    assert isinstance(encoder, StreamingEncoder) and encoder.name.startswith("streaming:")
    assert load_encoder(encoder.name, tmp_path / "mine.onnx").name == encoder.name
    piece = demo[:16_000]
    assert np.array_equal(encoder.encode(piece).values, shipped.encode(piece).values)
    with pytest.raises(InputError, match="an encoder of the kind streaming, not hubert"):
        load_encoder("hubert", tmp_path / "mine.onnx")
    (tmp_path / "mine.json").unlink()
    with pytest.raises(InputError, match=r"mine\.json is missing"):
        load_encoder("streaming", tmp_path / "mine.onnx")


@pytest.mark.parametrize("name", [DEFAULT_ENCODER, "whisper-2-streaming", "mel"])
def test_weights_for_a_shipped_encoder_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"encoder {name}, which is part of this package: leave out --encoder-path"):
        load_encoder(name, "model.bin")


def test_the_end_of_a_window_that_no_core_hears_is_not_missed(demo: np.ndarray) -> None:
    encoder = ShippedEncoder()
    sound = levelled(demo[:100_000])

    def whole(first: int) -> np.ndarray:
        return encoder.at_once(log_mel(sound, 2 * first, 2 * WINDOW_ROWS))

    expected = encode_in_windows(whole, feature_rows(sound))
    assert np.abs(encoder.encode(demo[:100_000]).values - expected).max() < 1e-3


def test_the_default_encoder_needs_no_optional_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("torch", "onnx", "transformers", "scipy", "mediapipe"):
        monkeypatch.setitem(sys.modules, package, None)
    assert load_encoder().encode(np.zeros(640, np.float32)).values.shape == (2, 512)


def test_the_shipped_graph_is_the_one_of_its_card() -> None:
    graph = asset_path("speech", "whisper_base_2.onnx")
    card = json.loads(graph.with_suffix(".json").read_text())
    assert sha256(graph) == card["sha256"]
    assert card["check"]["relative_rms"] < 0.02
    # The two parts of Whisper-base as CTranslate2's model.bin.
    assert [digest[:8] for digest in card["source_sha256"]] == ["221b8a89", "c8f550bd"]
    assert card["distillation"]["after"] < 0.2 < 0.6 < card["distillation"]["before"]
    assert 7e6 < graph.stat().st_size < 14e6


def test_the_demo_sentence_is_sane() -> None:
    import soundfile

    samples, rate = soundfile.read(asset_path("speech", "demo.flac"))
    assert rate == 24_000
    assert samples.ndim == 1
    assert 8 < len(samples) / rate < 12
    assert 0.2 < np.abs(samples).max() < 0.95
    assert np.abs(samples[-round(0.25 * rate) :]).max() < 1e-3
