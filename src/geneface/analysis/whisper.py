"""Whisper's encoder in PyTorch (the extra `[train]`), for the full model and as the reference of the exported one.

Symbols: M spectrogram rows at 100 Hz (even), R = M / 2 rows at 50 Hz, D width.
Radford et al. 2022, "Robust speech recognition via large-scale weak supervision", section 2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from geneface.analysis.encoder_weights import EncoderWeights
from geneface.analysis.mel import log_mel
from geneface.analysis.whisper_weights import Layer, WhisperWeights, read_whisper
from geneface.analysis.windows import LOOK_AHEAD_SECONDS, WINDOW_ROWS, Windowed
from geneface.errors import InputError, MissingExtraError
from geneface.signal.sound import levelled
from geneface.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor


class WhisperEncoder(Windowed):
    """Whisper's encoder in the windows of `analysis.windows`: all layers and the final norm, or the first layers.

    Nothing is taken off the rows for their place in the window, as `analysis.speech.ShippedEncoder` does: in the first
    two layers it would help, in the others the mean of a place measured on a sentence does harm.
    """

    look_ahead_seconds = LOOK_AHEAD_SECONDS

    def __init__(self, found: EncoderWeights) -> None:
        """Load the weights.

        Raises:
            InputError: they are damaged or have fewer layers. MissingExtraError: torch is not installed.
        """
        _require_torch()
        self._weights = read_whisper(found.files)
        self.name = found.name
        self.width = self._weights.width
        self._layers = found.layers
        have = len(self._weights.layers)
        if found.layers is not None and found.layers > have:
            raise InputError(
                f"the Whisper model {found.path} has {have} layers, not {found.layers}", f"choose up to whisper-{have}"
            )

    def _window_of(self, samples: FloatArray, rows: int) -> Callable[[int], FloatArray]:
        """The rows [WINDOW_ROWS, D] of the window that begins at a row."""
        sound = levelled(samples)

        def window(first_row: int) -> FloatArray:
            mel = log_mel(sound, 2 * first_row, 2 * WINDOW_ROWS, self._weights.bins)
            hidden = encode_layers(self._weights, mel, self._layers)[-1]
            return hidden if self._layers else _final_norm(hidden, self._weights.final_norm)

        return window


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

    with torch.inference_mode():
        rows = stem(weights, torch.from_numpy(np.ascontiguousarray(mel))[None])
        hidden = [rows]
        count = rows.shape[1]
        place = torch.arange(count)
        ahead = place[None] - place[:, None]
        for index, layer in enumerate(weights.layers[:layers]):
            future = future_rows[index] if index < len(future_rows) else count
            mask = (ahead <= future) & (ahead >= -(count if past_rows is None else past_rows))
            parts = {part.name: _tensors(getattr(layer, part.name)) for part in fields(Layer)}
            hidden.append(apply_layer(parts, hidden[-1], weights.heads, mask))
        return [values[0].numpy() for values in hidden]


def stem(weights: WhisperWeights, mel: Tensor) -> Tensor:
    """Convolutions and positions: mel [B, M, bins] -> rows before the first layer [B, R, D]."""
    from torch.nn import functional

    rows = mel.transpose(1, 2)
    for pair, stride in ((weights.conv1, 1), (weights.conv2, 2)):
        kernel, bias = _tensors(pair)
        rows = functional.gelu(functional.conv1d(rows, kernel, bias, stride=stride, padding=1))
    (positions,) = _tensors([weights.positions[: rows.shape[2]]])
    return rows.transpose(1, 2) + positions


def apply_layer(parts: Mapping[str, Sequence[Tensor]], rows: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """[B, R, D] -> [B, R, D].

    Args:
        parts: weight and bias (or scale and shift) by the names of `Layer`'s fields.
        mask: [R, R], true where a row attends to a column; everywhere by default.
    """
    from torch.nn import functional

    def norm(values: Tensor, name: str) -> Tensor:
        scale, shift = parts[name]
        return functional.layer_norm(values, [values.shape[-1]], scale, shift)

    def linear(values: Tensor, name: str) -> Tensor:
        weight, bias = parts[name]
        return functional.linear(values, weight, bias)

    normed = norm(rows, "attention_norm")
    query, key, value = (
        linear(normed, name).unflatten(-1, (heads, -1)).transpose(1, 2) for name in ("query", "key", "value")
    )
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
    rows = rows + linear(mixed, "out")
    return rows + linear(functional.gelu(linear(norm(rows, "feed_norm"), "up")), "down")


def _tensors(arrays: Sequence[FloatArray]) -> tuple[Tensor, ...]:
    import torch

    return tuple(torch.from_numpy(np.asarray(values, np.float32)) for values in arrays)
