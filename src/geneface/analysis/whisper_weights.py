"""Whisper's encoder weights, read from the two formats they are published in, with numpy only.

- CTranslate2's `model.bin` (Systran/faster-whisper-*), whole or in parts that are read one after the other;
- a transformers folder: `config.json` and `model*.safetensors` (openai/whisper-*).

Symbols: D width, B mel bins, P positions (1500 for 30 s), H heads.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geneface.analysis.encoder_weights import weight_files
from geneface.errors import InputError
from geneface.types import FloatArray

_CT2_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


@dataclass(frozen=True)
class Layer:
    """One pre-norm transformer layer. Matrices are [outputs, inputs]; a missing bias is zeros."""

    attention_norm: tuple[FloatArray, FloatArray]
    """Scale and shift, [D] each."""
    query: tuple[FloatArray, FloatArray]
    key: tuple[FloatArray, FloatArray]
    value: tuple[FloatArray, FloatArray]
    out: tuple[FloatArray, FloatArray]
    feed_norm: tuple[FloatArray, FloatArray]
    up: tuple[FloatArray, FloatArray]
    down: tuple[FloatArray, FloatArray]


@dataclass(frozen=True)
class WhisperWeights:
    """The encoder. Convolutions are [outputs, inputs, 3]; the second one has stride 2."""

    heads: int
    conv1: tuple[FloatArray, FloatArray]
    conv2: tuple[FloatArray, FloatArray]
    positions: FloatArray
    """[P, D], added to the rows before the first layer."""
    layers: tuple[Layer, ...]
    final_norm: tuple[FloatArray, FloatArray]

    @property
    def width(self) -> int:
        """Width of a row of features."""
        return self.positions.shape[1]

    @property
    def bins(self) -> int:
        """Mel bins of the spectrogram that it takes."""
        return self.conv1[0].shape[1]


def read_whisper(paths: Path | Sequence[Path]) -> WhisperWeights:
    """Read a model (`encoder_weights.weight_files`), or the parts of a `model.bin` that are named one by one.

    Raises:
        InputError: there is none, or it is damaged.
    """
    files = weight_files(paths) if isinstance(paths, Path) else tuple(paths)
    if files[0].suffix == ".safetensors":
        return _from_transformers(files)
    try:
        return _from_ctranslate2(_read_ctranslate2(b"".join(part.read_bytes() for part in files)))
    except (struct.error, KeyError, ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"{files[0]} is not a complete CTranslate2 Whisper model ({error})", "download it again, with all its parts"
        ) from error


def _read_ctranslate2(data: bytes) -> dict[str, np.ndarray]:
    """The encoder's variables of a CTranslate2 model file (binary version 6)."""
    position = 0

    def number(kind: str) -> int:
        nonlocal position
        (value,) = struct.unpack_from("<" + kind, data, position)
        position += struct.calcsize(kind)
        return value

    def text() -> str:
        nonlocal position
        length = number("H")
        value = data[position : position + length - 1].decode()  # ends in a zero byte
        position += length
        return value

    version = number("I")
    name = text()
    if version != 6 or name != "WhisperSpec":
        raise ValueError(f"version {version}, {name[:40]!r}")
    number("I")  # revision of the specification
    variables: dict[str, np.ndarray] = {}
    for _ in range(number("I")):
        key = text()
        shape = [number("I") for _ in range(number("B"))]
        kind = np.dtype(_CT2_TYPES[number("B")])
        size = number("I")
        if key.startswith("encoder/"):
            variables[key] = np.frombuffer(data, kind, size // kind.itemsize, position).reshape(shape)
        position += size
    return variables


def _from_ctranslate2(variables: dict[str, np.ndarray]) -> WhisperWeights:
    def pair(name: str, weight: str = "weight", bias: str = "bias") -> tuple[FloatArray, FloatArray]:
        found = variables[f"encoder/{name}/{weight}"]
        if found.dtype == np.int8:
            raise ValueError("8-bit weights; the float16 or float32 conversion is needed")
        return found.astype(np.float32), variables[f"encoder/{name}/{bias}"].astype(np.float32)

    def norm(name: str) -> tuple[FloatArray, FloatArray]:
        return pair(name, "gamma", "beta")

    layers = []
    while f"encoder/layer_{len(layers)}/ffn/layer_norm/gamma" in variables:
        prefix = f"layer_{len(layers)}"
        weight, bias = pair(f"{prefix}/self_attention/linear_0")  # query, key and value in one matrix
        query, key, value = zip(np.split(weight, 3), np.split(bias, 3), strict=True)
        layers.append(
            Layer(
                attention_norm=norm(f"{prefix}/self_attention/layer_norm"),
                query=query,
                key=key,
                value=value,
                out=pair(f"{prefix}/self_attention/linear_1"),
                feed_norm=norm(f"{prefix}/ffn/layer_norm"),
                up=pair(f"{prefix}/ffn/linear_0"),
                down=pair(f"{prefix}/ffn/linear_1"),
            )
        )
    positions = variables["encoder/position_encodings/encodings"].astype(np.float32)
    heads = int(variables["encoder/num_heads"])
    return WhisperWeights(heads, pair("conv1"), pair("conv2"), positions, tuple(layers), norm("layer_norm"))


def _from_transformers(files: Sequence[Path]) -> WhisperWeights:
    from safetensors import SafetensorError, safe_open

    folder = files[0].parent
    found: dict[str, np.ndarray] = {}
    try:
        for file in files:
            with safe_open(str(file), framework="numpy") as tensors:
                for key in tensors.keys():  # noqa: SIM118  (safe_open is not a mapping)
                    name = key.removeprefix("model.")
                    if name.startswith("encoder."):
                        found[name.removeprefix("encoder.")] = tensors.get_tensor(key).astype(np.float32)
    except SafetensorError as error:
        raise InputError(f"the weights in {folder} are damaged ({error})", "copy or download them again") from error

    def pair(name: str) -> tuple[FloatArray, FloatArray]:
        weight = found[f"{name}.weight"]
        return weight, found.get(f"{name}.bias", np.zeros(len(weight), np.float32))  # keys have no bias

    try:
        layers = []
        while f"layers.{len(layers)}.fc1.weight" in found:
            prefix = f"layers.{len(layers)}"
            attention = f"{prefix}.self_attn"
            layers.append(
                Layer(
                    attention_norm=pair(f"{prefix}.self_attn_layer_norm"),
                    query=pair(f"{attention}.q_proj"),
                    key=pair(f"{attention}.k_proj"),
                    value=pair(f"{attention}.v_proj"),
                    out=pair(f"{attention}.out_proj"),
                    feed_norm=pair(f"{prefix}.final_layer_norm"),
                    up=pair(f"{prefix}.fc1"),
                    down=pair(f"{prefix}.fc2"),
                )
            )
        heads = int(json.loads((folder / "config.json").read_text())["encoder_attention_heads"])
        positions = found["embed_positions.weight"]
        return WhisperWeights(heads, pair("conv1"), pair("conv2"), positions, tuple(layers), pair("layer_norm"))
    except KeyError as error:
        raise InputError(
            f"{folder} holds no Whisper encoder (no {error})", "give the folder of a Whisper model"
        ) from error
