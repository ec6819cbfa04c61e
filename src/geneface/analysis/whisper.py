"""Whisper's encoder in PyTorch (`geneface[train]`), for the full model and as the reference of the exported one.

Symbols: M spectrogram rows at 100 Hz (even), R = M / 2 rows at 50 Hz, D width.
Radford et al. 2022, "Robust speech recognition via large-scale weak supervision", section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geneface.analysis.mel import levelled, log_mel
from geneface.analysis.whisper_weights import Layer, WhisperWeights, read_whisper
from geneface.analysis.windows import LOOK_AHEAD_SECONDS, WINDOW_ROWS, encode_in_windows, feature_rows
from geneface.errors import MissingExtraError
from geneface.types import FloatArray, SpeechFeatures

if TYPE_CHECKING:
    from torch import Tensor


class WhisperEncoder:
    """All layers of a Whisper encoder and its final norm, in the windows of `analysis.windows`."""

    look_ahead_seconds = LOOK_AHEAD_SECONDS

    def __init__(self, path: Path) -> None:
        """Load a CTranslate2 `model.bin` or a transformers folder (`read_whisper`)."""
        _require_torch()
        self._weights = read_whisper(path)
        self.name = f"whisper:{path.parent.name if path.name == 'model.bin' else path.name}"
        self.width = self._weights.width

    def encode(self, samples: FloatArray, frames: int | None = None) -> SpeechFeatures:
        sound, rows = levelled(samples), feature_rows(samples, frames)

        def window(first_row: int) -> FloatArray:
            mel = log_mel(sound, 2 * first_row, 2 * WINDOW_ROWS, self._weights.bins)
            return _final_norm(encode_layers(self._weights, mel)[-1], self._weights.final_norm)

        return SpeechFeatures(encode_in_windows(window, rows), self.name)


def _final_norm(rows: FloatArray, norm: tuple[FloatArray, FloatArray]) -> FloatArray:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + 1e-5)
    return centred / deviation * norm[0] + norm[1]


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("torch", "train") from error


def encode_layers(
    weights: WhisperWeights,
    mel: FloatArray,
    layers: int | None = None,
    past_rows: int | None = None,
    future_rows: Sequence[int] = (),
) -> list[FloatArray]:
    """Rows before the first layer and after each of the first `layers` (all, by default).

    Args:
        mel: [M, B], M even and at most twice the model's positions.
        past_rows: rows before itself that a row attends to in every layer, all by default.
        future_rows: rows after itself that it attends to, by layer; all where there is no entry.

    Returns:
        layers + 1 arrays [R, D]; the final layer norm is not applied.
    """
    _require_torch()
    import torch
    from torch.nn import functional

    def tensors(pair: tuple[FloatArray, FloatArray]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(pair[0]), torch.from_numpy(pair[1])

    with torch.inference_mode():
        rows = torch.from_numpy(np.ascontiguousarray(mel.T))[None]
        rows = functional.gelu(functional.conv1d(rows, *tensors(weights.conv1), padding=1))
        rows = functional.gelu(functional.conv1d(rows, *tensors(weights.conv2), stride=2, padding=1))
        rows = rows[0].T
        rows = rows + torch.from_numpy(weights.positions[: len(rows)])
        hidden = [rows]
        place = torch.arange(len(rows))
        ahead = place[None] - place[:, None]
        for index, layer in enumerate(weights.layers[:layers]):
            future = future_rows[index] if index < len(future_rows) else len(rows)
            past = len(rows) if past_rows is None else past_rows
            mask = (ahead <= future) & (ahead >= -past)
            hidden.append(_apply_layer(layer, hidden[-1], weights.heads, mask))
        return [values.numpy() for values in hidden]


def _apply_layer(layer: Layer, rows: Tensor, heads: int, mask: Tensor) -> Tensor:
    """[R, D] -> [R, D]; a row attends to the columns of `mask` [R, R] that are true."""
    import torch
    from torch.nn import functional

    def norm(values: Tensor, pair: tuple[FloatArray, FloatArray]) -> Tensor:
        return functional.layer_norm(values, [values.shape[-1]], torch.from_numpy(pair[0]), torch.from_numpy(pair[1]))

    def linear(values: Tensor, pair: tuple[FloatArray, FloatArray]) -> Tensor:
        return functional.linear(values, torch.from_numpy(pair[0]), torch.from_numpy(pair[1]))

    def split(values: Tensor) -> Tensor:
        return values.unflatten(-1, (heads, -1)).transpose(0, 1)[None]

    normed = norm(rows, layer.attention_norm)
    query, key, value = (split(linear(normed, pair)) for pair in (layer.query, layer.key, layer.value))
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)[0].transpose(0, 1).flatten(1)
    rows = rows + linear(mixed, layer.out)
    raised = functional.gelu(linear(norm(rows, layer.feed_norm), layer.up))
    return rows + linear(raised, layer.down)
