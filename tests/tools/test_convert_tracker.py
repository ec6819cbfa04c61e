"""The converter against loops written out from the definitions of the operators, and its files against the package's."""

from __future__ import annotations

import importlib
import math
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the [train] extra")
flexbuffers = pytest.importorskip("flatbuffers.flexbuffers", reason="needs flatbuffers")

TOOLS = Path(__file__).resolve().parents[2] / "tools"
if str(TOOLS) not in sys.path:
    sys.path.insert(0, str(TOOLS))
tflite: Any = importlib.import_module("tflite")
tflite_to_onnx: Any = importlib.import_module("tflite_to_onnx")
mediapipe_operators: Any = importlib.import_module("mediapipe_operators")
convert_tracker: Any = importlib.import_module("convert_tracker")


class Options:
    """Fields of a builtin operator by place."""

    def __init__(self, *values: int) -> None:
        self.values = values

    def integer(self, place: int, default: int = 0) -> int:
        return self.values[place] if place < len(self.values) else default

    byte = integer


def run(
    code: int,
    inputs: list[np.ndarray],
    shape: tuple[int, ...],
    constants: tuple[np.ndarray, ...] = (),
    options: Options | None = None,
    name: str = "",
    custom: bytes = b"",
) -> np.ndarray:
    """One operator: `inputs` as a TensorFlow Lite model has them (channels last), the output [shape] likewise."""
    from onnxruntime import InferenceSession

    tensors = [*inputs, *constants]
    output = len(tensors)
    operator = tflite.Operator(code, name, tuple(range(output)), (output,), options, custom)
    source = tflite.Model(
        [operator], [value.shape for value in tensors] + [shape], tuple(range(len(inputs))), (output,)
    )
    source.constants = dict(enumerate(tensors))
    for number in range(len(inputs)):
        del source.constants[number]
    writer = tflite_to_onnx.GraphWriter()
    converter = tflite_to_onnx.Converter(source, writer, mediapipe_operators.CUSTOM)
    feeds = {f"in{n}": value.transpose(0, 3, 1, 2) if value.ndim == 4 else value for n, value in enumerate(inputs)}
    converter.names.update(enumerate(feeds))
    converter.write()
    made = converter.names[output]
    graph = onnx.helper.make_graph(
        writer.nodes,
        name or "graph",
        [onnx.helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, value.shape) for key, value in feeds.items()],
        [onnx.helper.make_tensor_value_info(made, onnx.TensorProto.FLOAT, None)],
        writer.weights,
    )
    opset = onnx.helper.make_opsetid("", tflite_to_onnx.OPSET)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=tflite_to_onnx.IR_VERSION)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (values,) = session.run(None, {key: np.ascontiguousarray(value) for key, value in feeds.items()})
    values = np.asarray(values)
    return values.transpose(0, 2, 3, 1) if len(shape) == 4 else values


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# ---- standard operators


def padded(image: np.ndarray, kernel: int, stride: int, value: float) -> np.ndarray:
    """TensorFlow's SAME: as many outputs as strides begun, the odd pixel below and to the right."""
    for axis in (1, 2):
        side = image.shape[axis]
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        widths = [(0, 0)] * 4
        widths[axis] = (total // 2, total - total // 2)
        image = np.pad(image, widths, constant_values=value)
    return image


@pytest.mark.parametrize("side, kernel, stride", [(8, 3, 2), (7, 3, 2), (8, 5, 2), (6, 3, 1), (6, 1, 1)])
@pytest.mark.parametrize("depthwise", [False, True])
def test_convolutions(side: int, kernel: int, stride: int, depthwise: bool):
    image, bias = random(1, side, side, 4), random(4, seed=1).astype(np.float16)
    weights = random(*((1, kernel, kernel, 4) if depthwise else (4, kernel, kernel, 4)), seed=2).astype(np.float16)
    around = padded(image, kernel, stride, 0)
    count = math.ceil(side / stride)
    expected = np.zeros((1, count, count, 4))
    for y, x, out in np.ndindex(count, count, 4):
        part = around[0, y * stride : y * stride + kernel, x * stride : x * stride + kernel].astype(np.float64)
        product = part[..., out] * weights[0, ..., out] if depthwise else part * weights[out]
        expected[0, y, x, out] = max(0, product.sum() + bias[out])
    code = tflite.DEPTHWISE_CONV_2D if depthwise else tflite.CONV_2D
    # SAME, strides, (multiplier,) RELU.
    options = Options(0, stride, stride, 1, 1) if depthwise else Options(0, stride, stride, 1)
    result = run(code, [image], expected.shape, (weights, bias), options)
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_padding_of_pixels_goes_into_the_convolution_and_that_of_channels_adds_zeros():
    image = random(1, 4, 4, 3)
    added = run(tflite.PAD, [image], (1, 4, 4, 6), (np.array([[0, 0], [0, 0], [0, 0], [1, 2]], np.int32),))
    np.testing.assert_array_equal(added, np.pad(image, [(0, 0), (0, 0), (0, 0), (1, 2)]))


@pytest.mark.parametrize("side", [6, 7])
def test_largest_values(side: int):
    image = random(1, side, side, 3) - 9
    around, count = padded(image, 2, 2, -np.inf), math.ceil(side / 2)
    expected = np.array(
        [[around[0, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].max((0, 1)) for x in range(count)] for y in range(count)]
    )
    result = run(tflite.MAX_POOL_2D, [image], (1, count, count, 3), options=Options(0, 2, 2, 2, 2, 0))
    np.testing.assert_array_equal(result[0], expected)


def test_functions_of_single_values():
    image, slope = 4 * random(1, 5, 5, 6), (3 * random(1, 1, 6, seed=1)).astype(np.float16)
    leaky = run(tflite.PRELU, [image], image.shape, (slope,))
    np.testing.assert_allclose(
        leaky, np.where(image < 0, image * slope.astype(np.float32), image), rtol=1e-5, atol=1e-5
    )
    swish = run(tflite.HARD_SWISH, [image], image.shape)
    np.testing.assert_allclose(swish, image * np.clip(image + 3, 0, 6) / 6, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run(tflite.LOGISTIC, [image], image.shape), 1 / (1 + np.exp(-image)), atol=1e-6)
    np.testing.assert_array_equal(run(tflite.RELU, [image], image.shape), np.maximum(image, 0))
    summed = run(tflite.ADD, [image, image[:, ::-1]], image.shape, options=Options(1))
    np.testing.assert_array_equal(summed, np.maximum(image + image[:, ::-1], 0))
    scaled = run(tflite.MUL, [image[0, 0, None]], (1, 5, 6), (np.array([2], np.float16),), Options(0))
    np.testing.assert_array_equal(scaled, 2 * image[0, 0, None])
    mean = run(tflite.AVERAGE_POOL_2D, [image], (1, 1, 1, 6), options=Options(1, 5, 5, 5, 5, 0))
    np.testing.assert_allclose(mean[0, 0, 0], image[0].mean((0, 1)), atol=1e-5)


def test_enlarging():
    image = random(1, 3, 4, 2)
    expected = np.zeros((1, 6, 8, 2))
    for y, x in np.ndindex(6, 8):
        v, u = np.clip((y + 0.5) / 2 - 0.5, 0, 2), np.clip((x + 0.5) / 2 - 0.5, 0, 3)
        for row, column in np.ndindex(3, 4):
            expected[0, y, x] += max(0, 1 - abs(v - row)) * max(0, 1 - abs(u - column)) * image[0, row, column]
    size = np.array([6, 8], np.int32)
    result = run(tflite.RESIZE_BILINEAR, [image], expected.shape, (size,), Options(0, 0, 0, 1))
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_values_in_the_order_of_channels_last():
    image = random(1, 4, 6, 8)
    flat = run(tflite.RESHAPE, [image], (1, 24, 8), (np.array([1, 24, 8], np.int32),))
    np.testing.assert_array_equal(flat, image.reshape(1, 24, 8))
    blocks = run(tflite.DEPTH_TO_SPACE, [image], (1, 8, 12, 2), options=Options(2))
    for y, x in np.ndindex(8, 12):
        start = 4 * (y % 2) + 2 * (x % 2)
        np.testing.assert_array_equal(blocks[0, y, x], image[0, y // 2, x // 2, start : start + 2])
    joined = run(tflite.CONCATENATION, [flat, flat[:, :3]], (1, 27, 8), options=Options(1))
    np.testing.assert_array_equal(joined, np.concatenate([flat, flat[:, :3]], axis=1))


def test_an_unknown_operator_is_refused():
    with pytest.raises(ValueError, match="operator 99"):
        run(99, [random(1, 2, 2, 1)], (1, 2, 2, 1))


# ---- MediaPipe's operators


CROP = {
    "left_rotation_idx": 1,
    "right_rotation_idx": 5,
    "subset_idxs": [0, 2, 4, 6, 7, 3],
    "output_width": 16,
    "output_height": 12,
    "scale_x": 1.5,
    "scale_y": 1.25,
    "target_rotation_radians": 0.0,
}


@pytest.mark.parametrize("seed", range(4))
def test_a_matrix_from_landmarks(seed: int):
    """Corner by corner: the crop's corners are those of the turned box around the points."""
    points = 30 * random(1, 9, 3, seed=seed)
    custom = bytes(flexbuffers.Dumps(CROP))
    name = "Landmarks2TransformMatrix"
    (matrix,) = run(tflite.CUSTOM, [points], (1, 4, 4), name=name, custom=custom)
    (x0, y0), (x1, y1) = points[0, 1, :2], points[0, 5, :2]
    angle = math.atan2(y1 - y0, x1 - x0)
    along, down = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    places = [(point @ along, point @ down) for point in points[0, CROP["subset_idxs"], :2]]
    low, high = np.min(places, 0), np.max(places, 0)
    middle, half = (low + high) / 2, (high - low) / 2 * (1.5, 1.25)
    for column, row in ((0, 0), (16, 0), (0, 12), (16, 12), (8, 6)):
        u, v = middle + half * (column / 8 - 1, row / 6 - 1)
        moved = matrix @ (column, row, 0, 1)
        np.testing.assert_allclose(moved[:2], u * along + v * down, atol=1e-3)
    np.testing.assert_array_equal(matrix[2:], [[0, 0, 1, 0], [0, 0, 0, 1]])


def plane_matrix(turn: float, zoom: float, x: float, y: float) -> np.ndarray:
    matrix = np.eye(4, dtype=np.float32)[None]
    matrix[0, :2, :2] = zoom * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix[0, :2, 3] = x, y
    return matrix


@pytest.mark.parametrize("turn, zoom, x, y", [(0, 1, 0, 0), (0.4, 1.3, 6, -2), (-2, 0.6, 3, 9), (0, 1, -5, 3)])
def test_a_crop_of_features(turn: float, zoom: float, x: float, y: float):
    features, matrix = random(1, 12, 12, 3), plane_matrix(turn, zoom, x, y)
    custom = bytes(flexbuffers.Dumps({"output_height": 5, "output_width": 7}))
    result = run(tflite.CUSTOM, [features, matrix], (1, 5, 7, 3), name="TransformTensorBilinear", custom=custom)
    expected = np.zeros((5, 7, 3))
    for row, column in np.ndindex(5, 7):
        u, v, _, _ = matrix[0].astype(np.float64) @ (column + 0.5, row + 0.5, 0, 1) - 0.5
        if 0 <= u <= 11 and 0 <= v <= 11:
            for i, j in np.ndindex(12, 12):
                expected[row, column] += max(0, 1 - abs(v - i)) * max(0, 1 - abs(u - j)) * features[0, i, j]
    np.testing.assert_allclose(result[0], expected, atol=1e-4)


def test_landmarks_of_a_crop():
    points, matrix = random(1, 6, 2), plane_matrix(0.7, 2.5, -4, 8)
    result = run(tflite.CUSTOM, [points, matrix], (1, 6, 2), name="TransformLandmarks")
    expected = [(matrix[0] @ (x, y, 0, 1))[:2] for x, y in points[0]]
    np.testing.assert_allclose(result[0], expected, atol=1e-5)


def test_a_transposed_convolution_with_a_bias():
    image, bias = random(1, 3, 4, 5), np.array([0.5, -2], np.float16)
    kernel = random(2, 2, 2, 5, seed=1).astype(np.float16)
    expected = np.zeros((6, 8, 2))
    for i, j, y, x, out in np.ndindex(3, 4, 2, 2, 2):
        expected[2 * i + y, 2 * j + x, out] = image[0, i, j] @ kernel[out, y, x].astype(np.float64) + bias[out]
    custom = struct.pack("<3i", 1, 2, 2)
    name = "Convolution2DTransposeBias"
    result = run(tflite.CUSTOM, [image], (1, 6, 8, 2), (kernel, bias), name=name, custom=custom)
    np.testing.assert_allclose(result[0], expected, atol=1e-5)


# ---- files


def package() -> Path:
    folder = convert_tracker.installed_package()
    if folder is None:
        pytest.skip("needs MediaPipe")
    return folder


@pytest.mark.parametrize("name", ["detector_short", "detector_full", "mesh", "person"])
def test_the_same_wheel_gives_the_bytes_of_the_package(name: str):
    assert convert_tracker.convert(name, package()) == (convert_tracker.ASSETS / f"{name}.onnx").read_bytes()


def test_sparse_weights_are_filled_out():
    model = tflite.read_model(package() / convert_tracker.NETWORKS["detector_full"].file)
    shares = [float((model.constants[op.inputs[1]] == 0).mean()) for op in model.operators if op.code == tflite.CONV_2D]
    assert max(shares) < 0.95 and sum(share > 0.5 for share in shares) > 40


def test_another_file_is_refused(tmp_path: Path):
    path = tmp_path / "a.tflite"
    path.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="not a TensorFlow Lite model"):
        tflite.read_model(path)
