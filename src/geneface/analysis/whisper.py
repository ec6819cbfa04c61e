"""Whisper's encoder in PyTorch (`geneface[train]`), for the full model and as the reference of the exported one.

Symbols: M spectrogram rows at 100 Hz (even), R = M / 2 rows at 50 Hz, D width.
Radford et al. 2022, "Robust speech recognition via large-scale weak supervision", section 2.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geneface.analysis.whisper_weights import Layer, WhisperWeights
from geneface.errors import MissingExtraError
from geneface.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor


def encode_layers(weights: WhisperWeights, mel: FloatArray, layers: int | None = None) -> list[FloatArray]:
    """Rows before the first layer and after each of the first `layers` (all, by default).

    Args:
        mel: [M, B], M even and at most twice the model's positions.

    Returns:
        layers + 1 arrays [R, D]; the final layer norm is not applied.
    """
    try:
        import torch
        from torch.nn import functional
    except ImportError as error:
        raise MissingExtraError("torch", "train") from error

    def tensors(pair: tuple[FloatArray, FloatArray]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(pair[0]), torch.from_numpy(pair[1])

    with torch.inference_mode():
        rows = torch.from_numpy(np.ascontiguousarray(mel.T))[None]
        rows = functional.gelu(functional.conv1d(rows, *tensors(weights.conv1), padding=1))
        rows = functional.gelu(functional.conv1d(rows, *tensors(weights.conv2), stride=2, padding=1))
        rows = rows[0].T
        rows = rows + torch.from_numpy(weights.positions[: len(rows)])
        hidden = [rows]
        for layer in weights.layers[:layers]:
            hidden.append(_apply_layer(layer, hidden[-1], weights.heads))
        return [values.numpy() for values in hidden]


def _apply_layer(layer: Layer, rows: Tensor, heads: int) -> Tensor:
    """[R, D] -> [R, D]."""
    import torch
    from torch.nn import functional

    def norm(values: Tensor, pair: tuple[FloatArray, FloatArray]) -> Tensor:
        return functional.layer_norm(values, values.shape[-1:], *(torch.from_numpy(part) for part in pair))

    def linear(values: Tensor, pair: tuple[FloatArray, FloatArray]) -> Tensor:
        return functional.linear(values, *(torch.from_numpy(part) for part in pair))

    def split(values: Tensor) -> Tensor:
        return values.unflatten(-1, (heads, -1)).transpose(0, 1)[None]

    normed = norm(rows, layer.attention_norm)
    query, key, value = (split(linear(normed, pair)) for pair in (layer.query, layer.key, layer.value))
    mixed = functional.scaled_dot_product_attention(query, key, value)[0].transpose(0, 1).flatten(1)
    rows = rows + linear(mixed, layer.out)
    raised = functional.gelu(linear(norm(rows, layer.feed_norm), layer.up))
    return rows + linear(raised, layer.down)
