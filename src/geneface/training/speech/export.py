"""Export of the default speech encoder: Whisper's first transformer layers as one ONNX graph.

Symbols: M spectrogram rows at 100 Hz, R = M / 2 rows at 50 Hz, B mel bins, D width, H heads, P positions.
The graph maps `mel` [M, B], whose first row is at place `first` [1] of its window, to `hidden` [R, D], the sum of the
residual stream after the last kept layer. Attention is narrowed to a band around each row, so that live speech has
the features of recorded speech: rows far away say little about the lips, and those to come have not been spoken yet.
The layers are distilled for it (`training.speech.distillation`).
Matrices are stored in 8 bits with one scale for 64 inputs of an output, the convolutions in 16, and
everything is computed in 32: the runtime expands the constants once, when it loads the graph.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geneface.analysis.mel import log_mel
from geneface.analysis.whisper import encode_layers
from geneface.analysis.whisper_weights import Layer, WhisperWeights, read_whisper
from geneface.analysis.windows import CONTEXT_ROWS, CORE_ROWS, WINDOW_ROWS
from geneface.errors import InputError, MissingExtraError
from geneface.io.atomic import atomic_path, sha256
from geneface.io.audio import read_audio
from geneface.io.records import write_json
from geneface.io.session import open_session
from geneface.io.tensors import save_tensors
from geneface.signal.sound import levelled
from geneface.signal.timing import whole_rows
from geneface.types import FEATURE_RATE_HZ, FloatArray, ProgressFn, no_progress

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17
GROUP = 64
"""Inputs that share a scale."""
MAX_RELATIVE_ERROR = 0.02
"""Root-mean-square difference to the exact layers with the same band, over their deviation, that is accepted."""
PAST_ROWS = 50
"""Rows before itself that a row attends to: a second."""
FUTURE_ROWS = 2
"""Rows after itself that it attends to in each layer: 40 ms."""
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
        distillation: any speech, on which the layers learn to work with their band of attention in `steps` updates;
            none: they are narrowed without. Checkpoints are kept next to `out` until it is written.
        resume: go on with an interrupted distillation.

    Raises:
        InputError: too few or many layers, too little speech, a distillation to resume, or too inexact a graph.
    """
    full, source = _read_weights(weights, layers), [sha256(part) for part in _parts(weights)]
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
    future_rows = (FUTURE_ROWS,) * layers
    model = build_graph(full, layers, PAST_ROWS, future_rows)
    hidden, errors = _compare(model, (full, layers, PAST_ROWS, future_rows), windows, progress)
    with atomic_path(out) as temporary:
        temporary.write_bytes(model.SerializeToString())
    save_tensors(out.with_suffix(".safetensors"), _statistics(hidden))
    check = {**errors, "windows": len(windows), "recordings": [path.name for path in recordings]}
    name = f"whisper-{layers}-{'streaming' if distillation else 'band'}"
    card = {"name": name, **_card(out, full, future_rows)}
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


def _card(out: Path, weights: WhisperWeights, future_rows: Sequence[int]) -> dict[str, Any]:
    """What the run time must know of the graph that was written to `out`."""
    return {
        "graph": out.name,
        "sha256": sha256(out),
        "layers": len(future_rows),
        "width": weights.width,
        "bins": weights.bins,
        "rate_hz": FEATURE_RATE_HZ,
        "window_rows": WINDOW_ROWS,
        "past_rows": PAST_ROWS,
        "future_rows": list(future_rows),
        "licence": "MIT, Copyright (c) 2022 OpenAI (github.com/openai/whisper)",
    }


def _work(out: Path) -> Path:
    """Where the checkpoints of the distillation are kept."""
    return out.with_name(f"{out.name}.distillation")


def build_graph(
    weights: WhisperWeights,
    layers: int,
    past_rows: int,
    future_rows: Sequence[int],
    positions: int = WINDOW_ROWS,
) -> ModelProto:
    """The first `layers` layers as an ONNX model for up to `positions` rows."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("onnx", "train") from error
    graph = _Graph()
    rows = graph.add("Transpose", "mel", perm=[1, 0])
    rows = graph.add("Unsqueeze", rows, graph.constant(np.array([0])))
    for (kernel, bias), stride in ((weights.conv1, 1), (weights.conv2, 2)):
        rows = graph.add("Conv", rows, graph.half(kernel), graph.half(bias), strides=[stride], pads=[1, 1])
        rows = graph.gelu(rows)
    rows = graph.add("Squeeze", rows, graph.constant(np.array([0])))
    rows = graph.add("Transpose", rows, perm=[1, 0])
    count = graph.add("Gather", graph.add("Shape", rows), graph.constant(np.array(0)))
    place = graph.add("Range", graph.constant(np.array(0)), count, graph.constant(np.array(1)))
    positions_heard = graph.half(weights.positions[:positions])
    rows = graph.add("Add", rows, graph.add("Gather", positions_heard, graph.add("Add", place, "first")))
    column = graph.add("Unsqueeze", place, graph.constant(np.array([0])))
    ahead = graph.add("Sub", column, graph.add("Unsqueeze", place, graph.constant(np.array([1]))))
    past = graph.add("GreaterOrEqual", ahead, graph.constant(np.array(-past_rows)))
    bands: dict[int, str] = {}
    for layer, future in zip(weights.layers[:layers], future_rows, strict=True):
        if future not in bands:
            seen = graph.add("And", past, graph.add("LessOrEqual", ahead, graph.constant(np.array(future))))
            bands[future] = graph.add("Where", seen, graph.constant(np.float32(0.0)), graph.constant(_UNSEEN))
        rows = _add_layer(graph, rows, layer, weights.heads, bands[future])
    graph.add("Identity", rows, output="hidden")
    return graph.model(weights.bins, weights.width)


_UNSEEN = np.float32(-1e9)
"""Added to the score of a row outside of the band."""


def _add_layer(graph: _Graph, rows: str, layer: Layer, heads: int, band: str) -> str:
    normed = graph.norm(rows, layer.attention_norm)
    # [R, D] -> [H, R, D / H]; keys as [H, D / H, R]
    shape = graph.constant(np.array([0, heads, -1]))
    query, key, value = (
        graph.add("Transpose", graph.add("Reshape", graph.linear(normed, pair), shape), perm=perm)
        for pair, perm in ((layer.query, [1, 0, 2]), (layer.key, [1, 2, 0]), (layer.value, [1, 0, 2]))
    )
    head_width = layer.query[0].shape[0] // heads
    scores = graph.add("Mul", graph.add("MatMul", query, key), graph.constant(np.float32(head_width**-0.5)))
    scores = graph.add("Add", scores, band)
    mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
    mixed = graph.add("Reshape", graph.add("Transpose", mixed, perm=[1, 0, 2]), graph.constant(np.array([0, -1])))
    rows = graph.add("Add", rows, graph.linear(mixed, layer.out))
    raised = graph.gelu(graph.linear(graph.norm(rows, layer.feed_norm), layer.up))
    return graph.add("Add", rows, graph.linear(raised, layer.down))


class _Graph:
    """Nodes and constants of an ONNX graph under construction; values are referred to by name."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        name = output or f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: np.ndarray | np.generic) -> str:
        from onnx import numpy_helper

        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def half(self, value: FloatArray) -> str:
        from onnx import TensorProto

        return self.add("Cast", self.constant(value.astype(np.float16)), to=TensorProto.FLOAT)

    def linear(self, rows: str, pair: tuple[FloatArray, FloatArray]) -> str:
        from onnx import TensorProto

        weight, bias = pair
        codes, scales = quantise(weight)
        expanded = self.add("Cast", self.constant(codes), to=TensorProto.FLOAT)
        expanded = self.add("Mul", expanded, self.half(scales))
        expanded = self.add("Reshape", expanded, self.constant(np.array(weight.shape)))
        product = self.add("MatMul", rows, self.add("Transpose", expanded, perm=[1, 0]))
        return self.add("Add", product, self.half(bias))

    def norm(self, rows: str, pair: tuple[FloatArray, FloatArray]) -> str:
        return self.add("LayerNormalization", rows, self.half(pair[0]), self.half(pair[1]), axis=-1, epsilon=1e-5)

    def gelu(self, rows: str) -> str:
        """x (1 + erf(x / sqrt 2)) / 2: the form that runtimes recognise and fuse."""
        scaled = self.add("Div", rows, self.constant(np.float32(np.sqrt(2.0))))
        raised = self.add("Add", self.add("Erf", scaled), self.constant(np.float32(1.0)))
        return self.add("Mul", self.add("Mul", rows, raised), self.constant(np.float32(0.5)))

    def model(self, bins: int, width: int) -> ModelProto:
        import onnx
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            self._nodes,
            "whisper_layers",
            [
                helper.make_tensor_value_info("mel", TensorProto.FLOAT, ["mel_rows", bins]),
                helper.make_tensor_value_info("first", TensorProto.INT64, [1]),
            ],
            [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["rows", width])],
            self._constants,
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="geneface")
        onnx.checker.check_model(model, full_check=True)
        return model


def quantise(weight: FloatArray) -> tuple[np.ndarray, FloatArray]:
    """[outputs, inputs] -> codes int8 [outputs, groups, GROUP], scales [outputs, groups, 1] exact in 16 bits."""
    size = GROUP if weight.shape[1] % GROUP == 0 else weight.shape[1]
    grouped = weight.reshape(len(weight), -1, size)
    scales = (np.abs(grouped).max(axis=-1, keepdims=True) / 127.0).astype(np.float16).astype(np.float32)
    codes = np.rint(grouped / np.maximum(scales, np.finfo(np.float16).tiny))
    return np.clip(codes, -127, 127).astype(np.int8), scales


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
    reference: tuple[WhisperWeights, int, int, Sequence[int]],
    windows: Sequence[FloatArray],
    progress: ProgressFn,
) -> tuple[FloatArray, dict[str, float]]:
    """Run the graph and the exact layers with the same band of attention.

    Args:
        reference: weights, layers, past and future rows.

    Returns:
        the graph's rows [windows, R, D]; errors relative to the deviation of the exact rows.

    Raises:
        InputError: the errors are larger than `MAX_RELATIVE_ERROR`.
    """
    session = open_session(model.SerializeToString(), threads=0)
    full, layers, past_rows, future_rows = reference
    first = np.zeros(1, np.int64)
    hidden = np.empty((len(windows), WINDOW_ROWS, full.width), np.float32)
    largest, squares, deviation_squares = 0.0, 0.0, 0.0
    for index, window in enumerate(windows):
        hidden[index] = np.asarray(session.run(None, {"mel": window, "first": first})[0])
        expected = encode_layers(full, window, layers, past_rows, future_rows)[layers]
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
