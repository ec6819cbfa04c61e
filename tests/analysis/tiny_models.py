"""Random speech models of a few thousand weights, saved as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def tiny_hubert(folder: Path, norm: str = "layer") -> Path:
    """HuBERT's strides and kernels, 24 features: "layer" as in large-ls960-ft, "group" as in base."""
    import torch
    import transformers

    torch.manual_seed(0)
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
