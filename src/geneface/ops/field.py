"""Radiance fields at points: a multiresolution hash grid and a small network, with gradients.

Source: Müller et al. 2022, "Instant neural graphics primitives" (grid, hash, eq. 4); ReLU network of two hidden layers.
Symbols: N points, B = ceil(N / FIELD_BLOCK) blocks of points, D dimensions (3 head, 2 torso), L levels, T rows of a
level's table, W width of a hidden layer, I inputs of the network.

Coordinates of points are in [0, 1] on every axis; level l has `resolution[l]` cells along an axis. A level whose nodes
fit into T rows is stored densely, the others are hashed. A row is 8 bfloat16: sixteen bytes, one fetch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.ops.native import check, check_columns, check_kind, kernels
from geneface.ops.types import Array

LEVELS, FEATURES = 4, 8
ENCODED = LEVELS * FEATURES
OUTPUTS = 4
"""Raw outputs: logarithm of the density (a torso's: logit of the opacity), logits of red, green, blue."""
TORSO_INPUTS = ENCODED + 4
"""A torso's network also sees the head's colour and opacity at the pixel."""
FIELD_BLOCK = 256
"""Points that share one bias of the first layer."""
WIDTHS = (32, 64)
MAX_RESOLUTION = 4096


@dataclass(frozen=True)
class Field:
    """Parameters of one field. Arrays are used in place: an optimiser may change them between calls."""

    table: NDArray[np.uint16]
    """[L, T, 8] bfloat16 bits; T is a power of two."""
    resolution: NDArray[np.int32]
    """[L]."""
    w0: Array
    """[W, I]; the bias of the first layer is given with the points, because it carries the condition."""
    w1: Array
    """[W, W]."""
    b1: Array
    """[W]."""
    w2: Array
    """[4, W]."""
    b2: Array
    """[4]."""

    @property
    def width(self) -> int:
        """W, neurons of a hidden layer."""
        return self.w1.shape[0]

    @property
    def inputs(self) -> int:
        """I, inputs of the network."""
        return self.w0.shape[1]

    @property
    def dims(self) -> int:
        """D, dimensions of the positions."""
        return 3 if self.inputs == ENCODED else 2


@dataclass(frozen=True)
class FieldGradients:
    """Gradients of a field's parameters. The first axis is the slot: parts that the optimiser adds up."""

    table: Array
    """[S, L, T, 8] float32."""
    w0: Array
    w1: Array
    b1: Array
    w2: Array
    b2: Array

    @classmethod
    def zeros(cls, field: Field, slots: int = 1) -> FieldGradients:
        """Gradients of `slots` parts, all zero."""
        shapes = (field.table, field.w0, field.w1, field.b1, field.w2, field.b2)
        return cls(*(np.zeros((slots, *array.shape), np.float32) for array in shapes))

    def clear_network(self) -> None:
        """Set all but the table's to zero; `adam_table` clears that."""
        for entry in fields(self)[1:]:
            getattr(self, entry.name).fill(0)


def to_bfloat16(values: Array) -> NDArray[np.uint16]:
    """Bits of the nearest bfloat16 of float32 values, ties to even."""
    word = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((word + 0x7FFF + (word >> 16 & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits: NDArray[np.uint16]) -> Array:
    """float32 values of bfloat16 bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def check_field(name: str, field: Field, dims: int | None = None) -> None:
    """Refuse a field whose arrays do not fit together."""
    check_kind(name, field, Field)
    check(f"{name}.table", field.table, (LEVELS, None, FEATURES), np.uint16)
    rows = field.table.shape[1]
    if rows < 16 or rows & (rows - 1) or rows > 1 << 22:
        raise ValueError(f"{name}.table must have a power of two of rows from 16 to 2^22, not {rows}")
    check(f"{name}.resolution", field.resolution, (LEVELS,), np.int32)
    if field.resolution.min() < 1 or field.resolution.max() > MAX_RESOLUTION:
        raise ValueError(f"{name}.resolution must be between 1 and {MAX_RESOLUTION}")
    check(f"{name}.w1", field.w1, (None, None))
    width = field.w1.shape[0]
    if width not in WIDTHS:
        raise ValueError(f"{name} must be {' or '.join(map(str, WIDTHS))} wide, not {width}")
    check(f"{name}.w1", field.w1, (width, width))
    check(f"{name}.w0", field.w0, (width, None))
    if field.inputs not in (ENCODED, TORSO_INPUTS) or (dims is not None and field.dims != dims):
        raise ValueError(f"{name}.w0 must have {ENCODED} columns (head) or {TORSO_INPUTS} (torso), not {field.inputs}")
    check(f"{name}.b1", field.b1, (width,))
    check(f"{name}.w2", field.w2, (OUTPUTS, width))
    check(f"{name}.b2", field.b2, (OUTPUTS,))


def native_field(field: Field) -> Any:
    """The kernels' view of a checked field."""
    arrays = (field.table, field.resolution, field.w0, field.w1, field.b1, field.w2, field.b2)
    return kernels().FieldArrays(*arrays)


def native_gradients(name: str, grad: FieldGradients, field: Field) -> Any:
    """The kernels' view of gradients that fit a field."""
    check_kind(name, grad, FieldGradients)
    slots = grad.table.shape[0] if isinstance(grad.table, np.ndarray) and grad.table.ndim else 0
    if not 1 <= slots <= 64:
        raise ValueError(f"{name} must have 1 to 64 slots, not {slots}")
    arrays = []
    for entry in fields(grad):
        array, like = getattr(grad, entry.name), getattr(field, entry.name)
        check(f"{name}.{entry.name}", array, (slots, *like.shape))
        arrays.append(array)
    return kernels().GradientArrays(*arrays)


def _check_points(field: Field, positions: Array, bias: Array, extra: Array | None, *, gated: bool = False) -> Array:
    check_field("field", field)
    check_columns("positions", positions, (field.dims, None))
    count = positions.shape[1]
    check("bias", bias, (-(-count // FIELD_BLOCK), *([3] if gated else []), field.width))
    wanted = field.inputs - ENCODED
    extra = np.empty((0, count), np.float32) if extra is None and not wanted else extra
    check_columns("extra", extra, (wanted, count))
    assert extra is not None
    return extra


def field_forward(
    field: Field, positions: Array, bias: Array, extra: Array | None = None, gates: Array | None = None
) -> Array:
    """Raw outputs of a field at points.

    Args:
        field: D = 3 if it has ENCODED inputs, 2 if TORSO_INPUTS.
        positions: [D, N] in [0, 1]; what lies outside gives some value.
        bias: [B, W] of the first layer, a row for each FIELD_BLOCK points.
        extra: [I - ENCODED, N] further inputs, None where there are none.
        gates: [N], for a bias [B, 3, W] in parts: see `ops.nerf`.

    Returns:
        [4, N].
    """
    extra = _check_points(field, positions, bias, extra, gated=gates is not None)
    if gates is not None:
        check("gates", gates, positions.shape[1:])
    raw = np.empty((OUTPUTS, positions.shape[1]), np.float32)
    kernels().field_forward(native_field(field), positions, bias, extra, gates, raw)
    return raw


def field_network(field: Field, inputs: Array, bias: Array) -> Array:
    """Raw outputs [4, N] of a field's network alone, for inputs [I, N] and biases [B, W] as in `field_forward`."""
    check_field("field", field)
    check_columns("inputs", inputs, (field.inputs, None))
    count = inputs.shape[1]
    check("bias", bias, (-(-count // FIELD_BLOCK), field.width))
    raw = np.empty((OUTPUTS, count), np.float32)
    kernels().field_network(native_field(field), inputs, bias, raw)
    return raw


def field_backward(
    field: Field, positions: Array, bias: Array, grad_raw: Array, extra: Array | None = None
) -> tuple[FieldGradients, Array, Array]:
    """Gradients of a field for the gradient [4, N] of its raw outputs.

    Returns:
        gradients of the parameters (one slot); of the bias [B, W]; of the positions [D, N].
    """
    extra = _check_points(field, positions, bias, extra)
    check_columns("grad_raw", grad_raw, (OUTPUTS, positions.shape[1]))
    grad = FieldGradients.zeros(field)
    grad_bias, grad_positions = np.zeros_like(bias), np.empty(positions.shape, np.float32)
    native = native_gradients("grad", grad, field)
    kernels().field_backward(native_field(field), positions, bias, extra, grad_raw, native, grad_bias, grad_positions)
    return grad, grad_bias, grad_positions
