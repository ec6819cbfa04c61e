"""The default speech encoder as an ONNX graph: Whisper's first transformer layers, which go on where they stopped.

Symbols: M spectrogram rows at 100 Hz, R = M / 2 rows at 50 Hz, B mel bins, D width, H heads, P positions.
`analysis.whisper_run` says what goes in and comes out, and runs it. Matrices are stored in 8 bits with one scale for 64
inputs of an output, the convolutions in 16, and everything is computed in 32: the runtime expands the constants once,
when it loads the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from geneface.analysis.whisper_run import memory_names, next_name, plan_inputs
from geneface.analysis.whisper_weights import Layer, WhisperWeights
from geneface.analysis.windows import WINDOW_ROWS
from geneface.errors import MissingExtraError
from geneface.types import FloatArray

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17
GROUP = 64
"""Inputs that share a scale."""
_UNSEEN = np.float32(-1e9)
"""Added to the score of a row outside of the band."""


def build_graph(
    weights: WhisperWeights,
    layers: int,
    past_rows: int,
    future_rows: Sequence[int],
    positions: int = WINDOW_ROWS,
    outputs: Sequence[int] = (),
) -> ModelProto:
    """The first `layers` layers as an ONNX model for up to `positions` rows.

    Args:
        past_rows: rows before itself that a row attends to, in every layer.
        future_rows: rows after itself, by layer.
        outputs: layers, from 1 on, whose rows stand beside one another in `hidden`; by default the last. Where there
            are several the graph can't run in pieces: the rows of the first would come earlier.
    """
    outputs = outputs or (layers,)
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("onnx", "train") from error
    graph = _Graph()
    rows = _add_stem(graph, weights, positions)
    kept = []
    for index, (layer, future) in enumerate(zip(weights.layers[:layers], future_rows, strict=True)):
        rows = _add_layer(graph, rows, layer, weights.heads, index, (past_rows, future))
        if index + 1 in outputs:
            kept.append(rows)
    graph.add("Concat", *kept, output="hidden", axis=1)
    return graph.model(weights.bins, weights.width, layers, len(kept))


def _add_stem(graph: _Graph, weights: WhisperWeights, positions: int) -> str:
    """Convolutions and positions of the rows that no edge spoils: [N, D]."""
    rows = graph.add("Transpose", "mel", perm=[1, 0])
    rows = graph.add("Unsqueeze", rows, graph.integers(0))
    for (kernel, bias), stride in ((weights.conv1, 1), (weights.conv2, 2)):
        rows = graph.add("Conv", rows, graph.half(kernel), graph.half(bias), strides=[stride], pads=[1, 1])
        rows = graph.gelu(rows)
    rows = graph.add("Squeeze", rows, graph.integers(0))
    rows = graph.add("Transpose", rows, perm=[1, 0])
    place = graph.range("0", graph.count(rows))
    positions_heard = graph.half(weights.positions[:positions])
    rows = graph.add("Add", rows, graph.add("Gather", positions_heard, graph.add("Add", place, "first")))
    before, after = (graph.add("Gather", "edges", graph.integers(side)) for side in (0, 1))
    return graph.slice(rows, before, graph.add("Sub", graph.vector(graph.count(rows)), after))


def _add_layer(graph: _Graph, rows: str, layer: Layer, heads: int, index: int, band: tuple[int, int]) -> str:
    """Rows [N, D] that come in -> rows [Q, D] of the layer: of those that waited and of these, but for the last."""
    rows_before, keys_before, values_before = memory_names(index)
    waiting = graph.joined(rows_before, rows)
    total = graph.count(waiting)
    normed = graph.norm(waiting, layer.attention_norm)
    # Those that waited have theirs already.
    fresh = graph.slice(normed, graph.vector(graph.count(rows_before)), graph.vector(total))
    keys = graph.joined(keys_before, graph.linear(fresh, layer.key))
    values = graph.joined(values_before, graph.linear(fresh, layer.value))
    heard = graph.count(keys)
    asked = graph.add("Sub", total, graph.add("Gather", "held", graph.constant(np.array(index))))
    rows, normed = (graph.slice(part, "zero", graph.vector(asked)) for part in (waiting, normed))
    # [R, D] -> [H, R, D / H]; keys as [H, D / H, R]
    shape = graph.integers(0, heads, -1)
    query, key, value = (
        graph.add("Transpose", graph.add("Reshape", part, shape), perm=perm)
        for part, perm in ((graph.linear(normed, layer.query), [1, 0, 2]), (keys, [1, 2, 0]), (values, [1, 0, 2]))
    )
    head_width = layer.query[0].shape[0] // heads
    scores = graph.add("Mul", graph.add("MatMul", query, key), graph.constant(np.float32(head_width**-0.5)))
    scores = graph.add("Add", scores, _add_band(graph, asked, total, heard, band))
    mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
    mixed = graph.add("Reshape", graph.add("Transpose", mixed, perm=[1, 0, 2]), graph.integers(0, -1))
    rows = graph.add("Add", rows, graph.linear(mixed, layer.out))
    raised = graph.gelu(graph.linear(graph.norm(rows, layer.feed_norm), layer.up))
    return graph.add("Add", rows, graph.linear(raised, layer.down))


def _add_band(graph: _Graph, asked: str, total: str, heard: str, band: tuple[int, int]) -> str:
    """[Q, keys] what is added to the scores. Rows and keys end at the same row; there are more keys before."""
    past, future = band
    row = graph.add("Add", graph.range("0", asked), graph.add("Sub", heard, total))
    ahead = graph.add(
        "Sub",
        graph.add("Unsqueeze", graph.range("0", heard), "zero"),
        graph.add("Unsqueeze", row, graph.integers(1)),
    )
    seen = graph.add(
        "And",
        graph.add("GreaterOrEqual", ahead, graph.constant(np.array(-past))),
        graph.add("LessOrEqual", ahead, graph.constant(np.array(future))),
    )
    return graph.add("Where", seen, graph.constant(np.float32(0.0)), graph.constant(_UNSEEN))


class _Graph:
    """Nodes and constants of an ONNX graph under construction; values are referred to by name."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self.constant(np.array([0]), "zero")
        self.constant(np.array(0), "0")
        self.constant(np.array(1), "1")

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        name = output or f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: np.ndarray | np.generic, name: str | None = None) -> str:
        from onnx import numpy_helper

        name = name or f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values))

    def count(self, rows: str) -> str:
        """How many rows there are, a scalar."""
        return self.add("Gather", self.add("Shape", rows), "0")

    def vector(self, scalar: str) -> str:
        """[] -> [1]."""
        return self.add("Unsqueeze", scalar, "zero")

    def range(self, start: str, stop: str) -> str:
        return self.add("Range", start, stop, "1")

    def slice(self, rows: str, start: str, stop: str) -> str:
        """Rows from `start` [1] to `stop` [1]."""
        return self.add("Slice", rows, start, stop, "zero")

    def joined(self, before: str, rows: str) -> str:
        """What came before and the rows after it, which the next piece gets as what came before."""
        return self.add("Concat", before, rows, output=next_name(before), axis=0)

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

    def model(self, bins: int, width: int, layers: int, outputs: int) -> ModelProto:
        import onnx
        from onnx import TensorProto, helper

        def tensor(name: str, kind: int, *shape: str | int) -> Any:
            return helper.make_tensor_value_info(name, kind, shape)

        memory = [name for index in range(layers) for name in memory_names(index)]
        graph = helper.make_graph(
            self._nodes,
            "whisper_layers",
            [
                tensor("mel", TensorProto.FLOAT, "mel_rows", bins),
                *(tensor(name, TensorProto.INT64, size) for name, size in plan_inputs(layers).items()),
                *(tensor(name, TensorProto.FLOAT, f"{name}.count", width) for name in memory),
            ],
            [
                tensor("hidden", TensorProto.FLOAT, "rows", outputs * width),
                *(tensor(next_name(name), TensorProto.FLOAT, f"{next_name(name)}.count", width) for name in memory),
            ],
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
