"""MediaPipe's own operators in those of ONNX, as its sources define them (mediapipe/util/tflite/operations).

A transform matrix [1, 4, 4] takes points of a crop to points of the picture it is cut from. Points are counted from
the edges there: the first pixel's centre is (0.5, 0.5).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import onnx
from tflite import Operator
from tflite_to_onnx import Converter


def landmarks_to_matrix(converter: Converter, operator: Operator) -> str:
    """The crop around some of the landmarks [1, L, 3], turned so that the line through two of them is level.

    With the line's direction (c, s), B = [[c, -s], [s, c]] turns the crop's axes into those of the picture, and
    p B are the landmarks (rows) seen in the crop's axes.
    """
    writer, options = converter.writer, operator.map()
    assert options["target_rotation_radians"] == 0, "a level crop"
    size = np.array([options["output_width"], options["output_height"]], np.float32)
    scales = np.array([options["scale_x"], options["scale_y"]], np.float32) / size

    points = writer.node("Reshape", converter.names[operator.inputs[0]], writer.integers(-1, 3))
    points = writer.node("Gather", points, writer.integers(0, 1), axis=1)
    ends = [options["left_rotation_idx"], options["right_rotation_idx"]]
    left, right = (writer.node("Gather", points, writer.integers(index), axis=0) for index in ends)
    line = writer.node("Sub", right, left)
    direction = writer.node("Div", line, writer.node("ReduceL2", line, axes=[1]))
    turns = writer.constant(np.array([[1, 0, 0, 1], [0, -1, 1, 0]], np.float32))
    basis = writer.node("Reshape", writer.node("MatMul", direction, turns), writer.integers(2, 2))

    subset = writer.node("Gather", points, writer.integers(*options["subset_idxs"]), axis=0)
    subset = writer.node("MatMul", subset, basis)
    low, high = (writer.node(kind, subset, axes=[0]) for kind in ("ReduceMin", "ReduceMax"))
    middle = writer.node("Mul", writer.node("Add", low, high), writer.floats(0.5))
    center = writer.node("MatMul", middle, writer.node("Transpose", basis))
    extent = writer.node("Mul", writer.node("Sub", high, low), writer.constant(scales))
    axes = writer.node("Mul", basis, extent)
    corner = writer.node("MatMul", writer.constant(size[None] / 2), writer.node("Transpose", axes))
    shift = writer.node("Transpose", writer.node("Sub", center, corner))
    rows = writer.node("Concat", axes, writer.constant(np.zeros((2, 1), np.float32)), shift, axis=1)
    matrix = writer.node("Concat", rows, writer.constant(np.eye(4, dtype=np.float32)[2:]), axis=0)
    return writer.node("Reshape", matrix, writer.integers(1, 4, 4))


def transform_tensor(converter: Converter, operator: Operator) -> str:
    """Cut a crop out of features by bilinear interpolation; zero where a point is outside the pixels' centres.

    ONNX's GridSample would do it, but onnxruntime finds the places again for every channel.
    """
    writer, options = converter.writer, operator.map()
    height, width = options["output_height"], options["output_width"]
    _, side, columns, channels = converter.source.shapes[operator.inputs[0]]
    assert side == columns, "square features"
    y, x = np.mgrid[:height, :width].astype(np.float32).reshape(2, -1) + 0.5
    grid = np.stack([x, y, np.zeros_like(x), np.ones_like(x)])
    moved = writer.node("MatMul", converter.names[operator.inputs[1]], writer.constant(grid))
    points = writer.node("Gather", moved, writer.integers(0, 1), axis=1)
    points = writer.node("Sub", points, writer.floats(0.5))

    low, last, before = (writer.constant(np.array(value, np.float32)) for value in (0, side - 1, side - 2))
    first = writer.node("Clip", writer.node("Floor", points), low, before)
    beyond = writer.node("Sub", points, first)
    both = writer.node("ReduceProd", beyond, axes=[1])
    terms = writer.node("Concat", writer.constant(np.ones((1, 1, len(x)), np.float32)), beyond, both, axis=1)
    # (1 - u) (1 - v), u (1 - v), (1 - u) v and u v of 1, u, v and u v.
    corners = np.array([[1, -1, -1, 1], [0, 1, 0, -1], [0, 0, 1, -1], [0, 0, 0, 1]], np.float32)
    weights = writer.node("MatMul", writer.constant(corners), terms)
    inside = writer.node("Equal", points, writer.node("Clip", points, low, last))
    inside = writer.node("ReduceMin", writer.node("Cast", inside, to=onnx.TensorProto.FLOAT), axes=[1])
    weights = writer.node("Unsqueeze", writer.node("Mul", weights, inside), writer.integers(3))

    places = writer.node("MatMul", writer.constant(np.array([[[1, side]]], np.float32)), first)
    places = writer.node("Cast", places, to=onnx.TensorProto.INT64)
    places = writer.node("Add", places, writer.constant(np.array([[0], [1], [side], [side + 1]], np.int64)))
    rows = writer.node("Transpose", converter.names[operator.inputs[0]], perm=(0, 2, 3, 1))
    rows = writer.reshape(rows, "", side * side, channels)
    mixed = writer.node("Mul", writer.node("Gather", rows, places, axis=0), weights)
    crop = writer.node("ReduceSum", mixed, writer.integers(1), keepdims=0)
    return writer.reshape(writer.node("Transpose", crop, perm=(0, 2, 1)), "", 1, channels, height, width)


def transform_landmarks(converter: Converter, operator: Operator) -> str:
    """Points [1, N, 2] of a crop in the picture."""
    writer = converter.writer
    shape = converter.source.shapes[operator.inputs[0]]
    rest = writer.constant(np.broadcast_to(np.array([0, 1], np.float32), (*shape[:2], 2)))
    points = writer.node("Concat", converter.names[operator.inputs[0]], rest, axis=2)
    matrix = writer.node("Transpose", converter.names[operator.inputs[1]], perm=(0, 2, 1))
    return writer.node("Gather", writer.node("MatMul", points, matrix), writer.integers(0, 1), axis=2)


def transposed_convolution(converter: Converter, operator: Operator) -> str:
    """A transposed convolution with a bias; kernel [out, h, w, in]; tiles side by side, as strides equal sides."""
    writer = converter.writer
    kernel, bias = (converter.constant(number) for number in operator.inputs[1:])
    _, width, height = struct.unpack("<3i", operator.custom)
    assert kernel.shape[1:3] == (height, width), "tiles that don't overlap"
    return writer.node(
        "ConvTranspose",
        converter.names[operator.inputs[0]],
        writer.constant(kernel.transpose(3, 0, 1, 2)),
        writer.constant(bias),
        kernel_shape=(height, width),
        strides=(height, width),
    )


CUSTOM: dict[str, Callable[[Converter, Operator], str]] = {
    "Landmarks2TransformMatrix": landmarks_to_matrix,
    "TransformTensorBilinear": transform_tensor,
    "TransformLandmarks": transform_landmarks,
    "Convolution2DTransposeBias": transposed_convolution,
}
