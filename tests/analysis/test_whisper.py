from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from geneface.analysis import whisper
from geneface.analysis.mel import log_mel
from geneface.analysis.speech import encoder_name, load_encoder
from geneface.analysis.whisper import encode_layers
from geneface.analysis.whisper_weights import read_whisper
from geneface.analysis.windows import CONTEXT_ROWS, WINDOW_ROWS
from geneface.errors import InputError, MissingExtraError
from geneface.io.atomic import sha256
from geneface.signal.sound import levelled

from .tiny_models import ctranslate2_bytes, tiny_whisper

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def model():
    return tiny_whisper()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny-whisper"
    model.save_pretrained(path, safe_serialization=True)
    return path


def test_every_layer_equals_the_transformers_model(model, folder: Path) -> None:
    mel = np.random.default_rng(0).standard_normal((3000, 80)).astype(np.float32)
    with torch.inference_mode():
        theirs = model.encoder(torch.from_numpy(mel.T)[None], output_hidden_states=True)
    ours = encode_layers(read_whisper(folder), mel)
    assert len(ours) == 4
    # transformers applies the final norm to the last hidden state only.
    for mine, reference in zip(ours[:-1], theirs.hidden_states[:-1], strict=True):
        assert np.allclose(mine, reference[0].numpy(), atol=2e-4)


def test_the_encoder_gives_the_models_last_state(model, folder: Path) -> None:
    samples = (0.1 * np.random.default_rng(1).standard_normal(16_000 * 2)).astype(np.float32)
    encoder = load_encoder("whisper", folder)
    digest = sha256(folder / "model.safetensors")[:12]
    values = encoder.encode(samples).values
    assert (encoder.name, encoder.width, values.shape) == (f"whisper:{digest}", 32, (100, 32))
    mel = log_mel(levelled(samples), -2 * CONTEXT_ROWS, 2 * WINDOW_ROWS)
    weights = read_whisper(folder)
    with torch.inference_mode():
        last = torch.from_numpy(encode_layers(weights, mel)[-1])
        expected = model.encoder.layer_norm(last)[CONTEXT_ROWS : CONTEXT_ROWS + 100].numpy()
    assert np.allclose(values, expected, atol=1e-4)


def test_pieces_are_made_as_they_are_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = (0.1 * np.random.default_rng(1).standard_normal(16_000 * 9)).astype(np.float32)
    encoder = load_encoder("whisper-1", folder)
    whole, windows = encoder.encode(samples).values, []
    monkeypatch.setattr(whisper, "encode_layers", lambda *args: windows.append(0) or encode_layers(*args))
    pieces = encoder.blocks(samples)
    first = next(pieces)
    assert len(windows) == 1
    assert np.array_equal(np.concatenate([first.values, *(piece.values for piece in pieces)]), whole)


def test_the_first_layers_alone(folder: Path) -> None:
    samples = (0.1 * np.random.default_rng(1).standard_normal(16_000)).astype(np.float32)
    mel = log_mel(levelled(samples), -2 * CONTEXT_ROWS, 2 * WINDOW_ROWS)
    states = encode_layers(read_whisper(folder), mel)
    for layers in (1, 3):
        encoder = load_encoder(f"whisper-{layers}", folder)
        expected = states[layers][CONTEXT_ROWS : CONTEXT_ROWS + 50]
        assert np.array_equal(encoder.encode(samples).values, expected)
        assert encoder.name.startswith(f"whisper-{layers}:")
    with pytest.raises(InputError, match=r"has 3 layers, not 4: choose up to whisper-3"):
        load_encoder("whisper-4", folder)


def test_ctranslate2_files_hold_the_same_model(folder: Path, tmp_path: Path) -> None:
    weights = read_whisper(folder)
    data = ctranslate2_bytes(weights)
    parts = [tmp_path / "model.bin.part1", tmp_path / "model.bin.part2"]
    parts[0].write_bytes(data[: len(data) // 2])
    parts[1].write_bytes(data[len(data) // 2 :])
    (tmp_path / "model.bin").write_bytes(data)
    mel = np.random.default_rng(2).standard_normal((100, 80)).astype(np.float32)
    expected = encode_layers(weights, mel)[-1]
    (tmp_path / "split").mkdir()
    split = [part.rename(tmp_path / "split" / part.name) for part in parts]
    for source in (split, tmp_path / "model.bin", tmp_path, tmp_path / "split", split[0], split[1]):
        read = read_whisper(source)
        assert read.heads == 4
        assert np.array_equal(encode_layers(read, mel)[-1], expected)
    names = {encoder_name("whisper", source) for source in (tmp_path, tmp_path / "split", split[1])}
    assert names == {f"whisper:{sha256(tmp_path / 'model.bin')[:12]}"}
    split[0].unlink()
    with pytest.raises(InputError, match=r"lacks parts of model\.bin"):
        load_encoder("whisper", tmp_path / "split")


def test_a_truncated_file_is_named(folder: Path, tmp_path: Path) -> None:
    data = ctranslate2_bytes(read_whisper(folder))
    path = tmp_path / "model.bin"
    for content in (data[: len(data) // 2], b"", b"a text, not a model, but long enough for a header"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a complete CTranslate2 Whisper model"):
            read_whisper(path)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no model: give a folder with config"):
        read_whisper(tmp_path)


def test_damaged_safetensors_are_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "cut")
    whole = (folder / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="are damaged"):
        load_encoder("whisper", tmp_path / "cut")


def test_without_torch_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"\.\[train\]"):
        load_encoder("whisper", folder)
