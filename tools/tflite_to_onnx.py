"""TensorFlow Lite's standard operators in those of ONNX, activations channels first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import tflite
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tflite import Fields, Model, Operator

OPSET, IR_VERSION = 17, 8
"""Of 2022: what onnxruntime 1.17 reads."""
_SAME = 0
_ACTIVATIONS = {0: None, 1: "Relu"}


class GraphWriter:
    """Nodes and weights of a graph in the order in which they are written."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def node(self, kind: str, *inputs: str, outputs: int = 1, name: str = "", **attributes: Any) -> Any:
        """Write a node; the name of its output, or the names if there are several."""
        names = [name or f"v{len(self.nodes)}" + (f"_{index}" if index else "") for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, values: NDArray[Any]) -> str:
        """The name of a constant; half floats are widened by a node, which is run once when a session is made."""
        values = np.ascontiguousarray(values)
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._known:
            name = f"w{len(self.weights)}"
            self.weights.append(numpy_helper.from_array(values, name))
            self._known[key] = self.node("Cast", name, to=TensorProto.FLOAT) if values.dtype == np.float16 else name
        return self._known[key]

    def floats(self, *values: float) -> str:
        return self.constant(np.array(values, np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def reshape(self, source: str, name: str, *shape: int) -> str:
        return self.node("Reshape", source, self.integers(*shape), name=name)

    def model(self, name: str, side: int, outputs: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
        """The checked model: picture `image` [1, 3, side, side] in, `outputs` by name and shape out."""
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("image", TensorProto.UINT8, (1, 3, side, side))],
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs.items()],
            self.weights,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="geneface"
        )
        onnx.checker.check_model(model, full_check=True)
        return model


class Converter:
    """Writes the operators of a model; `custom` are writers of custom operators by name."""

    def __init__(self, source: Model, writer: GraphWriter, custom: dict[str, Callable[..., str]]) -> None:
        self.source, self.writer = source, writer
        self.names: dict[int, str] = {}
        """Tensors already written. One of four dimensions is [1, C, H, W] there and [1, H, W, C] in the source."""
        self._custom = custom
        self._padded: dict[int, tuple[str, tuple[int, int, int, int]]] = {}

    def write(self) -> None:
        """Write all operators.

        Raises:
            ValueError: one that is not known here.
        """
        writers: dict[int, Callable[[Operator], str | None]] = {
            tflite.ADD: lambda op: self._binary("Add", op),
            tflite.AVERAGE_POOL_2D: self._mean,
            tflite.CONCATENATION: self._concatenation,
            tflite.CONV_2D: self._convolution,
            tflite.DEPTHWISE_CONV_2D: self._convolution,
            tflite.DEPTH_TO_SPACE: self._depth_to_space,
            tflite.LOGISTIC: lambda op: self.writer.node("Sigmoid", self._input(op)),
            tflite.MAX_POOL_2D: self._max_pool,
            tflite.MUL: lambda op: self._binary("Mul", op),
            tflite.RELU: lambda op: self.writer.node("Relu", self._input(op)),
            tflite.RESHAPE: self._reshape,
            tflite.RESIZE_BILINEAR: self._resize,
            tflite.CUSTOM: lambda op: self._custom[op.name](self, op),
            tflite.PAD: self._pad,
            tflite.STRIDED_SLICE: self._identity,
            tflite.PRELU: self._prelu,
            tflite.HARD_SWISH: self._hard_swish,
        }
        for operator in self.source.operators:
            if operator.code not in writers:
                raise ValueError(f"operator {operator.code} is not known here")
            name = writers[operator.code](operator)
            if name is not None:
                self.names[operator.outputs[0]] = name

    def constant(self, number: int) -> NDArray[Any]:
        return self.source.constants[number]

    def _input(self, operator: Operator, place: int = 0) -> str:
        number = operator.inputs[place]
        if number in self.names:
            return self.names[number]
        values = self.constant(number)
        return self.writer.constant(values.transpose(0, 3, 1, 2) if values.ndim == 4 else values)

    def _options(self, operator: Operator) -> Fields:
        assert operator.options is not None
        return operator.options

    def _activated(self, name: str, code: int) -> str:
        kind = _ACTIVATIONS[code]
        return name if kind is None else self.writer.node(kind, name)

    def _binary(self, kind: str, operator: Operator) -> str:
        code = operator.options.byte(0) if operator.options else 0
        return self._activated(self.writer.node(kind, self._input(operator), self._input(operator, 1)), code)

    def _convolution(self, operator: Operator) -> str:
        """A convolution, its kernel [out, h, w, in]; or one by channel, its kernel [1, h, w, channels]."""
        depthwise = operator.code == tflite.DEPTHWISE_CONV_2D
        options, kernel = self._options(operator), self.constant(operator.inputs[1])
        strides = options.integer(2, 1), options.integer(1, 1)
        number = operator.inputs[0]
        if number in self._padded:
            source, pads = self._padded[number]
        else:
            source, pads = self._input(operator), self._same(number, kernel.shape[1:3], strides, options.byte(0))
        assert not depthwise or options.integer(3) == 1, "one filter a channel"
        output = self.writer.node(
            "Conv",
            source,
            self.writer.constant(kernel.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))),
            self.writer.constant(self.constant(operator.inputs[2])),
            kernel_shape=kernel.shape[1:3],
            strides=strides,
            pads=pads,
            group=kernel.shape[3] if depthwise else 1,
        )
        return self._activated(output, options.byte(4 if depthwise else 3))

    def _same(
        self, number: int, kernel: tuple[int, ...], strides: tuple[int, int], padding: int
    ) -> tuple[int, int, int, int]:
        """ONNX's pads for TensorFlow's padding: SAME puts the odd pixel below and to the right."""
        if padding != _SAME:
            return 0, 0, 0, 0
        before, after = [], []
        for side, length, stride in zip(self.source.shapes[number][1:3], kernel, strides, strict=True):
            total = max((-(-side // stride) - 1) * stride + length - side, 0)
            before.append(total // 2)
            after.append(total - total // 2)
        return before[0], before[1], after[0], after[1]

    def _pad(self, operator: Operator) -> str | None:
        """Zeros around a picture become pads of the convolution that follows.

        Channels of zeros are added by a convolution with ones and zeros, as onnxruntime has no Pad in the layout of its
        convolutions.
        """
        (_, top, left, first), (_, bottom, right, last) = self.constant(operator.inputs[1]).T.tolist()
        source = self._input(operator)
        if not first and not last:
            self._padded[operator.outputs[0]] = source, (top, left, bottom, right)
            return None
        assert not (top or left or bottom or right), "channels alone"
        channels = self.source.shapes[operator.inputs[0]][3]
        kernel = np.eye(first + channels + last, channels, -first, dtype=np.float16)[..., None, None]
        return self.writer.node("Conv", source, self.writer.constant(kernel), kernel_shape=(1, 1))

    def _max_pool(self, operator: Operator) -> str:
        options = self._options(operator)
        strides = options.integer(2), options.integer(1)
        size = options.integer(4), options.integer(3)
        pads = self._same(operator.inputs[0], size, strides, options.byte(0))
        return self.writer.node("MaxPool", self._input(operator), kernel_shape=size, strides=strides, pads=pads)

    def _mean(self, operator: Operator) -> str:
        options, shape = self._options(operator), self.source.shapes[operator.inputs[0]]
        assert (options.integer(4), options.integer(3)) == shape[1:3], "the mean of the whole picture"
        return self.writer.node("GlobalAveragePool", self._input(operator))

    def _concatenation(self, operator: Operator) -> str:
        rank, axis = len(self.source.shapes[operator.outputs[0]]), self._options(operator).integer(0)
        assert rank == 3, "of rows"
        inputs = [self._input(operator, place) for place in range(len(operator.inputs))]
        return self.writer.node("Concat", *inputs, axis=axis)

    def _depth_to_space(self, operator: Operator) -> str:
        size = self._options(operator).integer(0)
        return self.writer.node("DepthToSpace", self._input(operator), blocksize=size, mode="DCR")

    def _reshape(self, operator: Operator) -> str:
        """Values keep the order of the source, channels last."""
        name, shape = self._input(operator), self.source.shapes[operator.inputs[0]]
        if len(shape) == 4 and shape[1:3] != (1, 1):
            name = self.writer.node("Transpose", name, perm=(0, 2, 3, 1))
        target = self.source.shapes[operator.outputs[0]]
        return self.writer.node("Reshape", name, self.writer.integers(*(target if len(target) == 3 else (1, -1, 1, 1))))

    def _identity(self, operator: Operator) -> str:
        assert self.source.shapes[operator.inputs[0]] == self.source.shapes[operator.outputs[0]], "nothing cut off"
        return self._input(operator)

    def _resize(self, operator: Operator) -> str:
        options = self._options(operator)
        assert not options.byte(2) and options.byte(3), "pixels counted from their centres"
        old, new = (self.source.shapes[number] for number in (operator.inputs[0], operator.outputs[0]))
        scales = self.writer.floats(1, 1, new[1] / old[1], new[2] / old[2])
        return self.writer.node("Resize", self._input(operator), "", scales, mode="linear")

    def _prelu(self, operator: Operator) -> str:
        """x + (1 - a) max(-x, 0): onnxruntime runs these in the layout of its convolutions, and PRelu outside it."""
        writer, name = self.writer, self._input(operator)
        slope = self.constant(operator.inputs[1]).transpose(2, 0, 1)
        # By channel, as the slopes are: onnxruntime then makes convolutions of the products.
        turned = writer.node("Mul", name, writer.constant(-np.ones_like(slope)))
        rest = writer.node("Sub", writer.floats(1), writer.constant(slope))
        return writer.node("Add", writer.node("Mul", writer.node("Relu", turned), rest), name)

    def _hard_swish(self, operator: Operator) -> str:
        name = self._input(operator)
        return self.writer.node("Mul", name, self.writer.node("HardSigmoid", name, alpha=1 / 6, beta=0.5))
