"""Export of the default speech encoder: Whisper's first transformer layers as one ONNX graph.

Symbols: R rows at 50 Hz, B mel bins, D width.
Attention is narrowed to a band around each row, so that live speech has the features of recorded speech: rows far away
say little about the lips, and those to come have not been spoken yet. The layers are distilled for it
(`training.speech.distillation`). `training.speech.graph` builds the graph.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geneface.analysis.mel import log_mel
from geneface.analysis.whisper import encode_layers
from geneface.analysis.whisper_run import nothing_before
from geneface.analysis.whisper_weights import WhisperWeights, read_whisper
from geneface.analysis.windows import CONTEXT_ROWS, CORE_ROWS, WINDOW_ROWS
from geneface.errors import InputError
from geneface.io.atomic import atomic_path, sha256
from geneface.io.audio import read_audio
from geneface.io.records import write_json
from geneface.io.session import open_session
from geneface.io.tensors import save_tensors
from geneface.signal.sound import levelled
from geneface.signal.timing import whole_rows
from geneface.training.speech.graph import build_graph
from geneface.types import FEATURE_RATE_HZ, FloatArray, ProgressFn, no_progress

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_RELATIVE_ERROR = 0.02
"""Root-mean-square difference to the exact layers with the same band, over their deviation, that is accepted."""
PAST_ROWS = 50
"""Rows before itself that a row attends to: a second."""
FUTURE_ROWS = 2
"""Rows after itself that it attends to in each layer: 40 ms."""
EARLY_LAYER = 2
"""With the whole window, its rows are kept beside the last layer's: the sound itself, and what was made of it."""
DISTILLATION_STEPS = 400
"""Updates of `training.speech.distillation`."""
STATISTICS_STEP_ROWS = 37
"""Windows of the statistics start so far apart: no multiple of a rhythm in the recordings or of the window."""


def export_speech_encoder(
    weights: Path | Sequence[Path],
    out: Path,
    speech: Iterable[Path],
    layers: int = 2,
    progress: ProgressFn = no_progress,
    *,
    whole_window: bool = False,
    distillation: Sequence[Path] = (),
    steps: int = DISTILLATION_STEPS,
    seed: int = 0,
    resume: bool = False,
) -> dict[str, Any]:
    """Write `out` (.onnx), its statistics (.safetensors) and its card (.json); return the card.

    Args:
        weights: Whisper as CTranslate2 `model.bin`, its parts in order, or a transformers folder.
        speech: recordings of speech, of many voices: the exported graph is checked against the exact layers (those
            after their distillation) on them, and the features are normalised by their statistics.
        layers: transformer layers to keep.
        whole_window: rows attend to all of their window, as in Whisper: better features, for recorded speech alone.
        distillation: any speech, on which the layers learn to work with their band of attention in `steps` updates;
            none: they are narrowed without. Checkpoints are kept next to `out` until it is written.
        resume: go on with an interrupted distillation.

    Raises:
        InputError: too few or many layers, too little speech, a distillation to resume, or too inexact a graph.
    """
    if whole_window and distillation:
        raise InputError("layers with their whole window have nothing to learn", "leave out the distillation")
    full, source = _read_weights(weights, layers), [sha256(part) for part in _parts(weights)]
    past_rows, ahead = (WINDOW_ROWS, WINDOW_ROWS) if whole_window else (PAST_ROWS, FUTURE_ROWS)
    future_rows = (ahead,) * layers
    outputs = (EARLY_LAYER, layers) if whole_window and layers > EARLY_LAYER else (layers,)
    recordings = list(speech)
    windows = _speech_windows(recordings, full.bins, progress)
    distilled: dict[str, Any] | None = None
    if distillation:
        from geneface.training.speech.distillation import distil

        full, distilled = distil(
            full,
            distillation,
            layers,
            PAST_ROWS,
            FUTURE_ROWS,
            _work(out),
            source,
            steps=steps,
            seed=seed,
            resume=resume,
            progress=progress,
        )
    model = build_graph(full, layers, past_rows, future_rows, outputs=outputs)
    hidden, errors = _compare(model, (full, outputs, past_rows, future_rows), windows, progress)
    with atomic_path(out) as temporary:
        temporary.write_bytes(model.SerializeToString())
    save_tensors(out.with_suffix(".safetensors"), _statistics(hidden))
    check = {**errors, "windows": len(windows), "recordings": [path.name for path in recordings]}
    kind = "window" if whole_window else "streaming" if distillation else "band"
    card = {"name": f"whisper-{layers}-{kind}", **_card(out, full, past_rows, future_rows, outputs)}
    card |= {"source_sha256": source, "distillation": distilled, "check": check}
    write_json(out.with_suffix(".json"), card)
    if distillation:
        shutil.rmtree(_work(out), ignore_errors=True)
    return card


def _read_weights(weights: Path | Sequence[Path], layers: int) -> WhisperWeights:
    """Whisper's encoder, if it has so many layers."""
    full = read_whisper(weights)
    if not 1 <= layers <= len(full.layers):
        raise InputError(f"layers is {layers}, the model has {len(full.layers)}", "keep between 1 and all of them")
    return full


def _statistics(hidden: FloatArray) -> dict[str, np.ndarray]:
    """Mean [R, D] over windows of speech [windows, R, D], and deviation [D] around it.

    The residual stream carries a pattern of the row's place in the window, of the size of speech itself. Its mean over
    speech is taken away, so that a sound gives the same features wherever it is cut.
    """
    mean = hidden.mean(axis=0)
    deviation = (hidden - mean)[:, CONTEXT_ROWS : CONTEXT_ROWS + CORE_ROWS].std(axis=(0, 1))
    return {"mean": mean.astype(np.float16), "deviation": deviation}


def _card(
    out: Path, weights: WhisperWeights, past_rows: int, future_rows: Sequence[int], outputs: Sequence[int]
) -> dict[str, Any]:
    """What the run time must know of the graph that was written to `out`."""
    return {
        "graph": out.name,
        "sha256": sha256(out),
        "layers": len(future_rows),
        "outputs": list(outputs),
        "layer_width": weights.width,
        "width": weights.width * len(outputs),
        "bins": weights.bins,
        "rate_hz": FEATURE_RATE_HZ,
        "window_rows": WINDOW_ROWS,
        "past_rows": past_rows,
        "future_rows": list(future_rows),
        "licence": "MIT, Copyright (c) 2022 OpenAI (github.com/openai/whisper)",
    }


def _work(out: Path) -> Path:
    """Where the checkpoints of the distillation are kept."""
    return out.with_name(f"{out.name}.distillation")


def _speech_windows(recordings: Sequence[Path], bins: int, progress: ProgressFn) -> list[FloatArray]:
    """Log-mel windows [2 WINDOW_ROWS, bins] whose core lies inside the recordings.

    Raises:
        InputError: there are none.
    """
    windows: list[FloatArray] = []
    for done, path in enumerate(recordings):
        sound = levelled(read_audio(path).samples)
        rows = whole_rows(len(sound))
        for first in range(-CONTEXT_ROWS, rows - CONTEXT_ROWS - CORE_ROWS + 1, STATISTICS_STEP_ROWS):
            windows.append(log_mel(sound, 2 * first, 2 * WINDOW_ROWS, bins))
        progress("read speech", done + 1, len(recordings))
    if not windows:
        raise InputError("the recordings hold too little speech", f"give at least {CORE_ROWS // FEATURE_RATE_HZ} s")
    return windows


def _compare(
    model: ModelProto,
    reference: tuple[WhisperWeights, Sequence[int], int, Sequence[int]],
    windows: Sequence[FloatArray],
    progress: ProgressFn,
) -> tuple[FloatArray, dict[str, float]]:
    """Run the graph and the exact layers with the same band of attention.

    Args:
        reference: weights, layers whose rows are compared, past and future rows.

    Returns:
        the graph's rows [windows, R, D]; errors relative to the deviation of the exact rows.

    Raises:
        InputError: the errors are larger than `MAX_RELATIVE_ERROR`.
    """
    session = open_session(model.SerializeToString(), threads=0)
    full, outputs, past_rows, future_rows = reference
    layers = len(future_rows)
    nothing = nothing_before(layers, full.width)
    hidden = np.empty((len(windows), WINDOW_ROWS, full.width * len(outputs)), np.float32)
    largest, squares, deviation_squares = 0.0, 0.0, 0.0
    for index, window in enumerate(windows):
        hidden[index] = np.asarray(session.run(["hidden"], {"mel": window, **nothing})[0])
        exact = encode_layers(full, window, layers, past_rows, future_rows)
        expected = np.concatenate([exact[layer] for layer in outputs], axis=1)
        difference = hidden[index].astype(np.float64) - expected
        largest = max(largest, float(np.abs(difference).max() / expected.std()))
        squares += float(np.square(difference).sum())
        deviation_squares += float(np.square(expected - expected.mean(axis=0)).sum())
        progress("check against the exact layers", index + 1, len(windows))
    errors = {"relative_rms": (squares / deviation_squares) ** 0.5, "largest": largest}
    if errors["relative_rms"] > MAX_RELATIVE_ERROR:
        raise InputError(
            f"the exported layers differ from the exact ones by {errors['relative_rms']:.3f} of their deviation",
            "these weights do not survive 8 bits: export fewer layers or other weights",
        )
    return hidden, errors


def _parts(weights: Path | Sequence[Path]) -> list[Path]:
    parts = [weights] if isinstance(weights, Path) else list(weights)
    if parts[0].is_dir():
        return sorted(parts[0].glob("*.safetensors")) or [parts[0] / "model.bin"]
    return parts
