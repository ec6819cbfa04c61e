"""HuBERT features through transformers (extra `[hubert]`), for models of the class of facebook/hubert-large-ls960-ft.

Symbols: T samples at 16 kHz, R rows at 50 Hz, D width (1024 for large).
HuBERT's convolutions have a stride of 320 samples, exactly 50 Hz, but see 400 samples and use no padding: T samples
give floor((T - 400) / 320) + 1 rows (49.95 Hz over 10 s), and row i is centred on sample 320 i + 200. Here every
window gets 40 more samples on both sides: row i is then centred on sample 320 i + 160, the middle of its 20 ms, and
a window of R rows gives R rows, neither stretched nor repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from geneface.analysis.encoder_weights import EncoderWeights
from geneface.analysis.windows import LOOK_AHEAD_SECONDS, WINDOW_ROWS, Windowed
from geneface.errors import InputError, MissingExtraError
from geneface.signal.sound import cut, levelled
from geneface.signal.timing import SAMPLES_PER_ROW
from geneface.types import FloatArray

_RECEPTIVE_SAMPLES = 400
_MARGIN_SAMPLES = (_RECEPTIVE_SAMPLES - SAMPLES_PER_ROW) // 2


class HubertEncoder(Windowed):
    """Last hidden layer of a HuBERT model, in the windows of `analysis.windows`."""

    look_ahead_seconds = LOOK_AHEAD_SECONDS

    def __init__(self, found: EncoderWeights) -> None:
        """Load a transformers folder with safetensors; nothing is downloaded.

        Raises:
            InputError: it is damaged. MissingExtraError: transformers or torch is not installed.
        """
        self._model = _load(found.files[0].parent)
        self.name = found.name
        self.width = int(self._model.config.hidden_size)
        # wav2vec 2's front end: models with layer norm in the convolutions were trained on normalised sound.
        self._normalise = self._model.config.feat_extract_norm == "layer"

    def _window_of(self, samples: FloatArray, rows: int) -> Callable[[int], FloatArray]:
        """The rows [WINDOW_ROWS, D] of the window that begins at a row."""
        import torch

        sound = levelled(samples)

        def window(first_row: int) -> FloatArray:
            begin = first_row * SAMPLES_PER_ROW - _MARGIN_SAMPLES
            piece = cut(sound, begin, WINDOW_ROWS * SAMPLES_PER_ROW + 2 * _MARGIN_SAMPLES)
            if self._normalise:
                piece = (piece - piece.mean()) / np.sqrt(piece.var() + 1e-7)
            with torch.inference_mode():
                hidden = self._model(torch.from_numpy(piece.astype(np.float32))[None]).last_hidden_state
            return hidden[0].numpy()

        return window


def _load(folder: Path) -> Any:
    try:
        import torch  # noqa: F401
        from transformers import HubertModel
        from transformers.utils import logging
    except ImportError as error:
        raise MissingExtraError("transformers", "hubert") from error
    # Bars of its own on standard error, among ours.
    logging.disable_progress_bar()
    try:
        # Never pickle, and no question to a hub.
        return HubertModel.from_pretrained(folder, use_safetensors=True, local_files_only=True).eval()
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(
            f"the HuBERT model {folder} could not be loaded ({str(error).splitlines()[0]})",
            "copy config.json and model.safetensors again",
        ) from error
