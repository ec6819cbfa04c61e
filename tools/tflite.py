"""TensorFlow Lite files as plain arrays and operators: as much of the format as MediaPipe's face models use.

A file is a FlatBuffer; the numbers below are the places of the fields in the tables of TensorFlow's public
`schema.fbs`. Weights of 16 bits stay so, sparse ones are filled out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flatbuffers import flexbuffers, number_types
from flatbuffers.table import Table
from numpy.typing import NDArray

ADD, AVERAGE_POOL_2D, CONCATENATION, CONV_2D, DEPTHWISE_CONV_2D, DEPTH_TO_SPACE, DEQUANTIZE = range(7)
LOGISTIC, MAX_POOL_2D, MUL, RELU, RESHAPE, RESIZE_BILINEAR = 14, 17, 18, 19, 22, 23
CUSTOM, PAD, STRIDED_SLICE, PRELU, HARD_SWISH, DENSIFY = 32, 34, 45, 54, 117, 124

_DTYPES = {0: np.float32, 1: np.float16, 2: np.int32}
_INDEX_DTYPES = {1: np.int32, 2: np.uint16, 3: np.uint8}
_SPARSE = 1


class Fields:
    """A table of a FlatBuffer; fields are asked for by place."""

    def __init__(self, buffer: bytes, position: int) -> None:
        self._table = Table(buffer, position)

    @classmethod
    def root(cls, buffer: bytes) -> Fields:
        return cls(buffer, int.from_bytes(buffer[:4], "little"))

    def _at(self, place: int) -> int:
        offset = self._table.Offset(4 + 2 * place)
        return offset and offset + self._table.Pos

    def integer(self, place: int, default: int = 0) -> int:
        at = self._at(place)
        return self._table.Get(number_types.Int32Flags, at) if at else default

    def byte(self, place: int, default: int = 0) -> int:
        at = self._at(place)
        return self._table.Get(number_types.Int8Flags, at) if at else default

    def text(self, place: int) -> str:
        at = self._at(place)
        return self._table.String(at).decode() if at else ""

    def table(self, place: int) -> Fields | None:
        at = self._at(place)
        return Fields(self._table.Bytes, self._table.Indirect(at)) if at else None

    def tables(self, place: int) -> list[Fields]:
        start, count = self._vector(place)
        return [Fields(self._table.Bytes, self._table.Indirect(start + 4 * index)) for index in range(count)]

    def array(self, place: int, dtype: Any) -> NDArray[Any]:
        start, count = self._vector(place)
        return np.frombuffer(self._table.Bytes, dtype, count, start) if count else np.zeros(0, dtype)

    def _vector(self, place: int) -> tuple[int, int]:
        offset = self._table.Offset(4 + 2 * place)
        return (self._table.Vector(offset), self._table.VectorLen(offset)) if offset else (0, 0)


@dataclass(frozen=True)
class Operator:
    """One operator: its code (`CUSTOM` with a name), tensors by number, and options."""

    code: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Fields | None
    custom: bytes

    def map(self) -> dict[str, Any]:
        """Options of a custom operator, written as a FlexBuffer."""
        return flexbuffers.Loads(self.custom)  # type: ignore[return-value]


@dataclass
class Model:
    """The first subgraph of a file."""

    operators: list[Operator]
    shapes: list[tuple[int, ...]]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: dict[int, NDArray[Any]] = field(default_factory=dict)
    """Tensors with values, by number; what `DEQUANTIZE` and `DENSIFY` make of them is here, too."""


def read_model(path: Path) -> Model:
    """The model of a file, its weights unpacked.

    Raises:
        ValueError: not a file of TensorFlow Lite, or one with weights packed in a way not known here.
    """
    buffer = path.read_bytes()
    if buffer[4:8] != b"TFL3":
        raise ValueError(f"{path} is not a TensorFlow Lite model")
    root = Fields.root(buffer)
    graph = root.tables(2)[0]
    tensors, buffers = graph.tables(0), root.tables(4)
    model = Model(
        operators=list(_operators(root.tables(1), graph.tables(3))),
        shapes=[tuple(int(side) for side in tensor.array(0, np.int32)) for tensor in tensors],
        inputs=tuple(map(int, graph.array(1, np.int32))),
        outputs=tuple(map(int, graph.array(2, np.int32))),
    )
    for number, tensor in enumerate(tensors):
        raw = buffers[tensor.integer(2)].array(0, np.uint8)
        if len(raw):
            model.constants[number] = _values(raw, tensor, model.shapes[number])
    _unpack(model)
    return model


def _operators(codes: list[Fields], operators: list[Fields]) -> Iterator[Operator]:
    for operator in operators:
        code = codes[operator.integer(0)]
        yield Operator(
            code=max(code.byte(0), code.integer(3)),
            name=code.text(1),
            inputs=tuple(map(int, operator.array(1, np.int32))),
            outputs=tuple(map(int, operator.array(2, np.int32))),
            options=operator.table(4),
            custom=operator.array(5, np.uint8).tobytes(),
        )


def _values(raw: NDArray[np.uint8], tensor: Fields, shape: tuple[int, ...]) -> NDArray[Any]:
    values = raw.view(_DTYPES[tensor.byte(1)])
    sparsity = tensor.table(6)
    return values.reshape(shape) if sparsity is None else _densify(values, sparsity, shape)


def _densify(values: NDArray[Any], sparsity: Fields, shape: tuple[int, ...]) -> NDArray[Any]:
    """Fill out a tensor of which the last dimension alone is sparse, kept as compressed rows."""
    order, dimensions = list(sparsity.array(0, np.int32)), sparsity.tables(2)
    formats = [dimension.byte(0) for dimension in dimensions]
    if order != list(range(len(shape))) or formats != [0] * (len(shape) - 1) + [_SPARSE]:
        raise ValueError(f"a sparse tensor of order {order} and formats {formats} is not known here")
    segments, indices = (_indices(dimensions[-1], place) for place in (2, 4))
    dense = np.zeros((int(np.prod(shape[:-1])), shape[-1]), values.dtype)
    dense[np.repeat(np.arange(len(dense)), np.diff(segments)), indices] = values
    return dense.reshape(shape)


def _indices(dimension: Fields, place: int) -> NDArray[np.int64]:
    """A union of index vectors: its type at `place`, its table after it."""
    vector = dimension.table(place + 1)
    assert vector is not None
    return vector.array(0, _INDEX_DTYPES[dimension.byte(place)]).astype(np.int64)


def _unpack(model: Model) -> None:
    """Follow constants through the operators that unpack them, and drop these."""
    rest = []
    for operator in model.operators:
        if operator.code in (DEQUANTIZE, DENSIFY) and operator.inputs[0] in model.constants:
            model.constants[operator.outputs[0]] = model.constants[operator.inputs[0]]
        else:
            rest.append(operator)
    model.operators = rest
