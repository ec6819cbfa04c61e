"""Random speech models of a few thousand weights, saved as transformers saves them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from geneface.analysis.whisper_weights import WhisperWeights


def tiny_hubert(folder: Path, norm: str = "layer", seed: int = 0) -> Path:
    """HuBERT's strides and kernels, 24 features: "layer" as in large-ls960-ft, "group" as in base."""
    import torch
    import transformers

    torch.manual_seed(seed)
    config = transformers.HubertConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=32, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer", vocab_size=10,
    )  # fmt: skip
    transformers.HubertModel(config).eval().save_pretrained(folder, safe_serialization=True)
    return folder


def tiny_whisper() -> Any:
    """Three layers, 32 features."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=40, d_model=32, encoder_layers=3, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, pad_token_id=1, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    model = transformers.WhisperModel(config).eval()
    for parameter in model.encoder.parameters():  # the initial biases are zero: nothing would notice a lost one
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


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
