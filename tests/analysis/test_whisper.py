from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from geneface.analysis.mel import log_mel
from geneface.analysis.speech import load_encoder
from geneface.analysis.whisper import encode_layers
from geneface.analysis.whisper_weights import WhisperWeights, read_whisper
from geneface.analysis.windows import CONTEXT_ROWS, WINDOW_ROWS
from geneface.errors import InputError, MissingExtraError
from geneface.signal.sound import levelled

from .tiny_models import tiny_whisper

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


def ctranslate2_bytes(weights: WhisperWeights) -> bytes:
    """The encoder as CTranslate2 stores it, in 32-bit floats, with a foreign variable and an alias table."""
    variables: dict[str, np.ndarray] = {
        "decoder/other": np.zeros((2, 3), np.int8),
        "encoder/num_heads": np.array(weights.heads, np.int16),
        "encoder/position_encodings/encodings": weights.positions,
    }

    def put(name: str, pair: tuple[np.ndarray, np.ndarray], kinds: tuple[str, str] = ("weight", "bias")) -> None:
        variables.update({f"encoder/{name}/{kind}": value for kind, value in zip(kinds, pair, strict=True)})

    put("conv1", weights.conv1)
    put("conv2", weights.conv2)
    put("layer_norm", weights.final_norm, ("gamma", "beta"))
    for index, layer in enumerate(weights.layers):
        attention, feed = f"layer_{index}/self_attention", f"layer_{index}/ffn"
        joined = [np.concatenate(parts) for parts in zip(layer.query, layer.key, layer.value, strict=True)]
        put(f"{attention}/linear_0", (joined[0], joined[1]))
        put(f"{attention}/linear_1", layer.out)
        put(f"{attention}/layer_norm", layer.attention_norm, ("gamma", "beta"))
        put(f"{feed}/linear_0", layer.up)
        put(f"{feed}/linear_1", layer.down)
        put(f"{feed}/layer_norm", layer.feed_norm, ("gamma", "beta"))

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    codes = {"float32": 0, "int8": 1, "int16": 2}
    data = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for name, value in variables.items():
        data += text(name) + struct.pack("<B", value.ndim) + struct.pack(f"<{value.ndim}I", *value.shape)
        data += struct.pack("<BI", codes[str(value.dtype)], value.nbytes) + value.tobytes()
    return data + struct.pack("<I", 0)


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
    values = encoder.encode(samples).values
    assert (encoder.name, encoder.width, values.shape) == ("whisper:tiny-whisper", 32, (100, 32))
    mel = log_mel(levelled(samples), -2 * CONTEXT_ROWS, 2 * WINDOW_ROWS)
    weights = read_whisper(folder)
    with torch.inference_mode():
        last = torch.from_numpy(encode_layers(weights, mel)[-1])
        expected = model.encoder.layer_norm(last)[CONTEXT_ROWS : CONTEXT_ROWS + 100].numpy()
    assert np.allclose(values, expected, atol=1e-4)


def test_ctranslate2_files_hold_the_same_model(folder: Path, tmp_path: Path) -> None:
    weights = read_whisper(folder)
    data = ctranslate2_bytes(weights)
    parts = [tmp_path / "model.bin.part1", tmp_path / "model.bin.part2"]
    parts[0].write_bytes(data[: len(data) // 2])
    parts[1].write_bytes(data[len(data) // 2 :])
    (tmp_path / "model.bin").write_bytes(data)
    mel = np.random.default_rng(2).standard_normal((100, 80)).astype(np.float32)
    expected = encode_layers(weights, mel)[-1]
    for source in (parts, tmp_path / "model.bin", tmp_path):
        read = read_whisper(source)
        assert read.heads == 4
        assert np.array_equal(encode_layers(read, mel)[-1], expected)


def test_a_truncated_file_is_named(folder: Path, tmp_path: Path) -> None:
    data = ctranslate2_bytes(read_whisper(folder))
    path = tmp_path / "model.bin"
    for content in (data[: len(data) // 2], b"", b"a text, not a model, but long enough for a header"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a complete CTranslate2 Whisper model"):
            read_whisper(path)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no Whisper model"):
        read_whisper(tmp_path)


def test_without_torch_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"\.\[train\]"):
        load_encoder("whisper", folder)
