"""MediaPipe's own operators in those of ONNX, as its sources define them (mediapipe/util/tflite/operations).

A transform matrix [1, 4, 4] takes points of a crop to points of the picture it is cut from. Points are counted from
the edges there: the first pixel's centre is (0.5, 0.5).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from tflite import Operator
from tflite_to_onnx import Converter, GraphWriter


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


def _plane(writer: GraphWriter, matrix: str) -> str:
    """[3, 2] of a matrix [1, 4, 4]: homogeneous points of the plane (rows) times this are the points moved."""
    rows = writer.node("Gather", writer.node("Reshape", matrix, writer.integers(4, 4)), writer.integers(0, 1), axis=0)
    return writer.node("Transpose", writer.node("Gather", rows, writer.integers(0, 1, 3), axis=1))


def transform_tensor(converter: Converter, operator: Operator) -> str:
    """Cut a crop out of features by bilinear interpolation; zero where a point is outside the pixels' centres."""
    writer, options = converter.writer, operator.map()
    height, width = options["output_height"], options["output_width"]
    _, rows, columns, _ = converter.source.shapes[operator.inputs[0]]
    last = np.array([columns - 1, rows - 1], np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    grid = writer.constant(np.stack([x.ravel(), y.ravel(), np.ones(height * width, np.float32)], axis=1))
    points = writer.node("MatMul", grid, _plane(writer, converter.names[operator.inputs[1]]))
    points = writer.node("Sub", points, writer.floats(0.5))

    above = writer.node("GreaterOrEqual", points, writer.floats(0))
    below = writer.node("LessOrEqual", points, writer.constant(last))
    inside = writer.node("Cast", writer.node("And", above, below), to=1)
    inside = writer.node("Reshape", writer.node("ReduceMin", inside, axes=[1]), writer.integers(1, 1, height, width))
    places = writer.node("Sub", writer.node("Mul", points, writer.constant(2 / last)), writer.floats(1))
    places = writer.node("Reshape", places, writer.integers(1, height, width, 2))
    crop = writer.node("GridSample", converter.names[operator.inputs[0]], places, align_corners=1, mode="bilinear")
    return writer.node("Mul", crop, inside)


def transform_landmarks(converter: Converter, operator: Operator) -> str:
    """Points [1, N, 2] of a crop in the picture."""
    writer = converter.writer
    shape = converter.source.shapes[operator.inputs[0]]
    ones = writer.constant(np.ones((*shape[:2], 1), np.float32))
    points = writer.node("Concat", converter.names[operator.inputs[0]], ones, axis=2)
    return writer.node("MatMul", points, _plane(writer, converter.names[operator.inputs[1]]))


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
