from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from geneface.analysis.mel import log_mel
from geneface.analysis.speech import ShippedEncoder, StreamingEncoder, open_graph
from geneface.analysis.whisper import encode_layers
from geneface.analysis.whisper_run import PieceRunner, nothing_before
from geneface.analysis.windows import CONTEXT_ROWS, LOOK_AHEAD_SECONDS, WINDOW_ROWS
from geneface.errors import InputError, MissingExtraError
from geneface.io.session import open_session
from geneface.signal.sound import levelled
from geneface.training.speech import export as speech
from geneface.training.speech import graph as speech_graph
from geneface.training.speech.export import export_speech_encoder
from geneface.training.speech.graph import build_graph, quantise

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
transformers = pytest.importorskip("transformers")

LAYERS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=40, d_model=64, encoder_layers=3, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=48, pad_token_id=1, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    model = transformers.WhisperModel(config)
    for parameter in model.encoder.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    path = tmp_path_factory.mktemp("models") / "tiny"
    model.save_pretrained(path, safe_serialization=True)
    return path


@pytest.fixture
def recording(make_wav) -> Path:
    rng = np.random.default_rng(0)
    loudness = np.repeat(rng.uniform(0.0, 0.3, 80), 1600)  # a syllable every 0.1 s
    return make_wav("speech.wav", (loudness * rng.standard_normal(128_000)).astype(np.float32))


def full_layer(folder: Path, mel: np.ndarray) -> np.ndarray:
    """Hidden layer of the published implementation; its window is always 30 s."""
    model = transformers.WhisperModel.from_pretrained(folder).encoder.eval()
    with torch.inference_mode():
        return model(torch.from_numpy(mel.T)[None], output_hidden_states=True).hidden_states[LAYERS][0].numpy()


def test_the_graph_equals_the_full_models_layer(folder: Path) -> None:
    mel = np.random.default_rng(1).standard_normal((3000, 80)).astype(np.float32)
    model = build_graph(speech.read_whisper(folder), LAYERS, 1500, (1500, 1500), positions=1500)
    session = open_session(model.SerializeToString())
    nothing = nothing_before(LAYERS, 64)
    hidden = np.asarray(session.run(["hidden"], {"mel": mel, **nothing})[0])
    expected = full_layer(folder, mel)
    error = np.sqrt(np.mean((hidden - expected) ** 2)) / expected.std()
    assert error < 0.01  # 8-bit weights
    # The time axis is dynamic.
    assert np.asarray(session.run(["hidden"], {"mel": mel[:84], **nothing})[0]).shape == (42, 64)


def test_a_row_hears_its_band_and_nothing_else(folder: Path) -> None:
    past, future = 6, (2, 1)
    model = build_graph(speech.read_whisper(folder), LAYERS, past, future, positions=100)
    session = open_session(model.SerializeToString())
    mel = np.random.default_rng(1).standard_normal((160, 80)).astype(np.float32)

    def rows(values: np.ndarray, place: int = 0) -> np.ndarray:
        inputs = {**nothing_before(LAYERS, 64), "mel": values, "first": np.array([place], np.int64)}
        return np.asarray(session.run(["hidden"], inputs)[0])

    changed = mel.copy()
    changed[80] += 1.0
    moved = np.flatnonzero(np.abs(rows(changed) - rows(mel)).max(1) > 1e-6)
    # Spectrogram row 80 enters the convolutions of rows 39 to 41.
    assert (moved.min(), moved.max()) == (39 - sum(future), 41 + LAYERS * past)
    # A stretch in the middle of a window gives the window's rows, but for those that its ends cut off.
    part = rows(mel[40:120], 20)
    inside = slice(LAYERS * past + 1, 40 - sum(future) - 1)
    assert np.allclose(part[inside], rows(mel)[20:60][inside], atol=1e-5)
    assert np.abs(rows(mel[40:120], 0)[inside] - part[inside]).max() > 1e-3


@pytest.mark.parametrize("sizes", [[4], [1, 2, 3], [40, 1, 7]])
def test_pieces_give_the_rows_of_the_window_at_once(folder: Path, sizes: list[int]) -> None:
    past, future = 6, (2, 1)
    model = build_graph(speech.read_whisper(folder), LAYERS, past, future, positions=100)
    runner = PieceRunner(open_session(model.SerializeToString()), 64, past, future)
    mel = np.random.default_rng(1).standard_normal((160, 80)).astype(np.float32)
    expected = runner.at_once(mel)
    states, pieces, heard = [runner.start], [], 0
    piece = mel
    while heard < 79:
        count = min(sum(future) + 1 if heard == 0 else sizes[len(pieces) % len(sizes)], 79 - heard)
        piece = mel[2 * max(heard - 1, 0) : 2 * (heard + count + 1)]
        rows, state = runner.run(piece, states[-1])
        pieces, states, heard = [*pieces, rows], [*states, state], heard + count
        assert sum(map(len, pieces)) == heard - sum(future) and state.rows == heard
    found = np.concatenate(pieces)
    assert np.abs(found - expected[: len(found)]).max() < 1e-4
    # A state is a value: going on from it again gives the same. It does not grow.
    assert np.array_equal(runner.run(piece, states[-2])[0], pieces[-1])
    assert all(len(value) <= past + max(future) for value in states[-1].memory.values())


def test_an_exported_encoder_is_normalised_over_its_recordings(folder: Path, recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "encoder.onnx"
    card = export_speech_encoder(folder, out, [recording], LAYERS)
    assert (card["past_rows"], card["future_rows"]) == (speech.PAST_ROWS, [speech.FUTURE_ROWS] * LAYERS)
    assert json.loads(out.with_suffix(".json").read_text()) == card
    assert (card["layers"], card["width"], card["check"]["recordings"]) == (LAYERS, 64, ["speech.wav"])
    assert 0 < card["check"]["relative_rms"] < speech.MAX_RELATIVE_ERROR
    encoder = ShippedEncoder(out)
    samples = speech.read_audio(recording).samples
    values = encoder.encode(samples).values
    assert encoder.width == values.shape[1] == 64
    # Channel by channel: deviation one, mean zero, on the sound that the statistics are of.
    assert np.abs(values.mean(axis=0)).mean() < 0.3
    assert np.median(values.std(axis=0)) == pytest.approx(1.0, abs=0.3)
    # Undoing the normalisation gives the graph's rows of the first window.
    mel = log_mel(levelled(samples), -2 * CONTEXT_ROWS, 2 * WINDOW_ROWS)
    hidden = np.asarray(encoder._pieces.at_once(mel))
    restored = values[:200] / encoder._scale + encoder._mean[CONTEXT_ROWS : CONTEXT_ROWS + 200]
    assert np.allclose(restored, hidden[CONTEXT_ROWS : CONTEXT_ROWS + 200], atol=1e-3)


def test_a_whole_window_hears_all_of_it_and_does_not_stream(folder: Path, recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "window.onnx"
    card = export_speech_encoder(folder, out, [recording], 3, whole_window=True)
    assert (card["name"], card["outputs"], card["width"]) == ("whisper-3-window", [2, 3], 128)
    encoder = open_graph(out, "window")
    assert not isinstance(encoder, StreamingEncoder) and encoder.look_ahead_seconds > LOOK_AHEAD_SECONDS
    samples = speech.read_audio(recording).samples
    mel = log_mel(levelled(samples), -2 * CONTEXT_ROWS, 2 * WINDOW_ROWS)
    core = slice(CONTEXT_ROWS, CONTEXT_ROWS + 200)
    found = encoder.encode(samples).values[:200] / encoder._scale + encoder._mean[core]
    # The layers as published have no band at all.
    exact = encode_layers(speech.read_whisper(folder), mel, 3)
    for hidden, part in zip((exact[2], exact[3]), np.split(found, 2, axis=1), strict=True):
        assert np.sqrt(np.square(part - hidden[core]).mean()) < 0.03 * hidden[core].std()
    with pytest.raises(InputError, match="nothing to learn"):
        export_speech_encoder(folder, out, [recording], 3, whole_window=True, distillation=[recording])


def test_a_distilled_encoder_is_checked_against_its_own_layers(folder: Path, recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "encoder.onnx"
    card = export_speech_encoder(folder, out, [recording], LAYERS, distillation=[recording], steps=20)
    assert card["name"] == f"whisper-{LAYERS}-streaming"
    assert card["distillation"]["after"] < card["distillation"]["before"] and card["distillation"]["recordings"] == 1
    assert card["check"]["relative_rms"] < speech.MAX_RELATIVE_ERROR
    plain = tmp_path / "plain.onnx"
    assert export_speech_encoder(folder, plain, [recording], LAYERS)["distillation"] is None
    samples = speech.read_audio(recording).samples
    assert (
        np.abs(ShippedEncoder(out).encode(samples).values - ShippedEncoder(plain).encode(samples).values).max() > 0.01
    )
    assert {path.suffix for path in tmp_path.iterdir()} == {".onnx", ".safetensors", ".json", ".wav"}


def test_the_command_distils_and_an_interrupted_distillation_is_not_lost(
    folder: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from geneface.apps.cli import app

    out, empty = tmp_path / "out" / "encoder.onnx", tmp_path / "empty"
    out.parent.mkdir()
    empty.mkdir()

    def run(*more: str) -> tuple[int, str]:
        words = ["pretrain", "speech", folder, "--recordings", recording, "--layers", LAYERS, "--steps", 4, "-o", out]
        result = CliRunner().invoke(app, [str(word) for word in (*words, *more)])
        return result.exit_code, result.output + result.stderr

    code, text = run("--distillation", str(empty))
    assert code == 2 and "holds no recording" in text
    with monkeypatch.context() as patch:
        patch.setattr(speech, "build_graph", lambda *_, **__: (_ for _ in ()).throw(InputError("stopped", "go on")))
        assert run("--distillation", str(recording))[0] == 2
    code, text = run("--distillation", str(recording))
    assert code == 2 and "holds a training already" in text and not out.exists()
    code, text = run("--distillation", str(recording), "--resume", "--json")
    assert code == 0 and json.loads(text)["steps"] == 4
    assert {path.suffix for path in out.parent.iterdir()} == {".onnx", ".safetensors", ".json"}


def test_a_graph_that_differs_is_refused(
    folder: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def coarse(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes, scales = quantise(weight)
        return codes // 32, scales * 32

    monkeypatch.setattr(speech_graph, "quantise", coarse)
    out = tmp_path / "out" / "encoder.onnx"
    with pytest.raises(InputError, match="differ from the exact ones"):
        export_speech_encoder(folder, out, [recording], LAYERS)
    assert not out.parent.exists()


@pytest.mark.parametrize("layers", [0, 4])
def test_layers_that_the_model_lacks_are_refused(folder: Path, tmp_path: Path, layers: int) -> None:
    with pytest.raises(InputError, match="the model has 3"):
        export_speech_encoder(folder, tmp_path / "encoder.onnx", [], layers)


def test_too_little_speech_is_refused(folder: Path, make_wav, tmp_path: Path, tone: np.ndarray) -> None:
    with pytest.raises(InputError, match="too little speech"):
        export_speech_encoder(folder, tmp_path / "encoder.onnx", [make_wav("short.wav", tone)])


def test_without_onnx_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"\.\[train\]"):
        build_graph(speech.read_whisper(folder), 1, 4, (1,))


@pytest.mark.parametrize("shape", [(5, 128), (3, 48), (1, 64)])
def test_quantised_weights_stay_within_half_a_step(shape: tuple[int, int]) -> None:
    weight = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    weight[0] = 0.0
    codes, scales = quantise(weight)
    restored = (codes * scales).reshape(shape)
    assert codes.dtype == np.int8
    # The scale itself is rounded to 16 bits: the largest code may be off by a little more than half a step.
    assert (np.abs(restored - weight).reshape(codes.shape) <= 0.57 * scales + 1e-7).all()
    assert not restored[0].any()
