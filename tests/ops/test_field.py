"""Fields at points against the PyTorch twin in double precision and against naive loops, for every instruction set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from geneface import ops
from geneface.bench import torch_field
from geneface.bench.torch_field import TorchField
from geneface.ops.field import ENCODED, FIELD_BLOCK, TORSO_INPUTS, Field, field_backward, from_bfloat16, to_bfloat16

from .field_margins import smooth
from .field_scenes import constant_field, make_field

pytestmark = pytest.mark.usefixtures("float_networks")

Points = tuple[np.ndarray, np.ndarray, np.ndarray]


def close(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Equal to within `tolerance` of the largest value."""
    assert actual.shape == expected.shape and actual.dtype == np.float32
    assert np.abs(actual - expected).max(initial=0) <= tolerance * np.abs(expected).max(initial=1e-12)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).double().requires_grad_()


def of_points(bias: torch.Tensor, count: int) -> torch.Tensor:
    """[N, W] of [B, W]."""
    return bias.repeat_interleave(FIELD_BLOCK, 0)[:count]


@lru_cache
def make_points(width: int, dims: int, count: int, seed: int = 0) -> tuple[Field, Points]:
    """A field, and positions, biases and further inputs where it is smooth."""
    random = np.random.default_rng(seed)
    field = make_field(width, dims, seed=seed)
    blocks = -(-count // FIELD_BLOCK)
    positions = random.random((dims, count), np.float32)
    bias = random.normal(size=(blocks, width)).astype(np.float32) * 0.3
    extra = random.random((field.inputs - ENCODED, count), np.float32)
    twin = TorchField.of(field, "cpu", torch.float64)
    for _ in range(20):
        more = tensor(extra.T) if len(extra) else None
        good = smooth(twin, tensor(positions.T), of_points(tensor(bias), count), more, 5e-5).numpy()
        if good.all():
            return field, (positions, bias, extra)
        positions[:, ~good] = random.random((dims, (~good).sum()), np.float32)
    raise AssertionError("no smooth points were found")


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 15, 257, 1000])
@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("dims", [3, 2])
def test_gates_choose_between_the_parts_of_a_bias(dims: int, width: int, count: int):
    random = np.random.default_rng(2)
    field, (positions, _, extra) = make_points(width, dims, count)
    bias = random.normal(size=(-(-count // FIELD_BLOCK), 3, width)).astype(np.float32)
    gates = (random.uniform(-1, 1, count) * (random.random(count) < 0.7)).astype(np.float32)
    twin = TorchField.of(field, "cpu", torch.float64)
    of_each = torch_field.gated_bias(tensor(bias).repeat_interleave(FIELD_BLOCK, 0)[:count], tensor(gates))
    expected = torch_field.field_forward(twin, tensor(positions.T), of_each, tensor(extra.T) if dims == 2 else None)
    close(ops.field_forward(field, positions, bias, extra, gates), expected.detach().numpy().T, 1e-5)
    with pytest.raises(ValueError, match="gates"):
        ops.field_forward(field, positions, bias, extra, np.append(gates, np.float32(0)))
    with pytest.raises(ValueError, match="bias"):
        ops.field_forward(field, positions, bias, extra)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 15, 257, 1000])
@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("dims", [3, 2])
def test_values_and_gradients_are_those_of_the_twin(dims: int, width: int, count: int):
    field, (positions, bias, extra) = make_points(width, dims, count)
    assert field.dims == dims and field.inputs == (ENCODED if dims == 3 else TORSO_INPUTS)
    grad_raw = np.random.default_rng(1).normal(size=(4, count)).astype(np.float32)
    raw = ops.field_forward(field, positions, bias, extra)
    grad, grad_bias, grad_positions = field_backward(field, positions, bias, grad_raw, extra)

    twin = TorchField.of(field, "cpu", torch.float64)
    leaves = tensor(positions), tensor(bias), tensor(extra)
    more = leaves[2].T if dims == 2 else None
    expected = torch_field.field_forward(twin, leaves[0].T, of_points(leaves[1], count), more)
    expected.backward(tensor(grad_raw.T))
    close(raw, expected.detach().numpy().T, 1e-5)
    for name, parameter in twin.parameters.items():
        assert parameter.grad is not None
        close(getattr(grad, name)[0], parameter.grad.numpy(), 3e-5)
    for mine, leaf in ((grad_bias, leaves[1]), (grad_positions, leaves[0])):
        assert leaf.grad is not None
        close(mine, leaf.grad.numpy(), 3e-5)


def test_threads_change_no_bit(all_threads: None):
    field, (positions, bias, extra) = make_points(32, 3, 1000)

    def run(count: int) -> np.ndarray:
        ops.set_threads(count)
        return ops.field_forward(field, positions, bias, extra)

    first = run(1)
    for count in (2, 3):
        np.testing.assert_array_equal(run(count), first)


def features_of(field: Field, positions: np.ndarray, level: int) -> np.ndarray:
    """[8, N] of one level: a field whose network hands its inputs through, four at a time."""
    rows = []
    for first in (0, 4):
        columns = level * 8 + first + np.arange(4)
        w0, w1, w2 = (np.zeros_like(array) for array in (field.w0, field.w1, field.w2))
        # Each value twice, positive and negative: what the rectifiers leave of both is the value.
        for unit, column in enumerate(columns):
            w0[2 * unit, column], w0[2 * unit + 1, column] = 1, -1
            w2[unit, 2 * unit], w2[unit, 2 * unit + 1] = 1, -1
        np.fill_diagonal(w1, 1)
        plain = replace(field, w0=w0, w1=w1, w2=w2, b1=np.zeros_like(field.b1), b2=np.zeros_like(field.b2))
        bias = np.zeros((-(-positions.shape[1] // FIELD_BLOCK), field.width), np.float32)
        extra = np.zeros((field.inputs - ENCODED, positions.shape[1]), np.float32)
        rows.append(ops.field_forward(plain, positions, bias, extra))
    return np.concatenate(rows)


def interpolated(field: Field, point: np.ndarray, level: int, row_of: Callable[[list[int]], int]) -> np.ndarray:
    """Features of one point by a loop over the corners of its cell."""
    resolution = int(field.resolution[level])
    table, total = from_bfloat16(field.table[level]), np.zeros(8)
    cell = [min(int(value * resolution), resolution - 1) for value in point]
    for corner in range(1 << len(point)):
        weight, node = 1.0, []
        for axis, whole in enumerate(cell):
            end = corner >> axis & 1
            share = float(point[axis]) * resolution - whole
            weight *= share if end else 1 - share
            node.append(whole + end)
        total += weight * table[row_of(node)]
    return total


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_features_are_interpolated_between_nodes(dims: int, level: int):
    """Against naive loops: the rows of a dense level stand in order x, y, z; of a hashed one where eq. 4 says."""
    field = make_field(32, dims)
    rows, resolution = field.table.shape[1], int(field.resolution[level])
    primes = (1, 2654435761, 805459861)

    def row_of(node: list[int]) -> int:
        if (resolution + 1) ** dims <= rows:
            return sum(number * (resolution + 1) ** axis for axis, number in enumerate(node))
        hashed = 0
        for number, prime in zip(node, primes, strict=False):
            hashed ^= number * prime % 2**32
        return hashed % rows

    positions = np.random.default_rng(level).random((dims, 40), np.float32)
    positions[:, 0], positions[:, 1], positions[0, 2] = 0, 1, 1  # the borders belong to the grid
    expected = np.stack([interpolated(field, point, level, row_of) for point in positions.T], 1)
    close(features_of(field, positions, level), expected, 1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_largest_grid_hashes_as_the_twin_does(dims: int):
    """Nodes times primes wrap around in 32 bits; the twin has 64."""
    field = make_field(32, dims, rows=1 << 12)
    field = replace(field, resolution=np.array([64, 1000, 3001, 4096], np.int32))
    positions = np.random.default_rng(0).random((dims, 300), np.float32)
    twin = TorchField.of(field, "cpu", torch.float64)
    expected = torch_field.encode(twin, tensor(positions.T)).detach().numpy().T
    for level in range(4):
        # In single precision a position is known to a few thousandths of the finest cells.
        close(features_of(field, positions, level), expected[8 * level : 8 * level + 8], 3e-4)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("width", [32, 64])
def test_a_field_of_zeros_gives_its_last_bias(dims: int, width: int):
    field = constant_field(make_field(width, dims), (0.5, -1, 2, 3))
    extra = np.ones((field.inputs - ENCODED, 20), np.float32)
    bias = np.full((1, width), 0.7, np.float32)
    raw = ops.field_forward(field, np.full((dims, 20), 0.3, np.float32), bias, extra)
    np.testing.assert_array_equal(raw, np.tile(field.b2[:, None], (1, 20)))


def test_bias_of_each_block():
    """The first layer's bias belongs to a block of FIELD_BLOCK points."""
    field = make_field(32)
    positions = np.full((3, 2 * FIELD_BLOCK + 5), 0.4, np.float32)
    bias = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
    raw = ops.field_forward(field, positions, bias)
    for block in range(3):
        one = ops.field_forward(field, positions[:, :1].copy(), bias[block : block + 1].copy())
        part = raw[:, block * FIELD_BLOCK : (block + 1) * FIELD_BLOCK]
        np.testing.assert_array_equal(part, np.tile(one, (1, part.shape[1])))


def test_no_points_and_points_outside():
    field = make_field(32)
    nothing, no_bias = np.zeros((3, 0), np.float32), np.zeros((0, 32), np.float32)
    assert ops.field_forward(field, nothing, no_bias).shape == (4, 0)
    grad, grad_bias, grad_positions = field_backward(field, nothing, no_bias, np.zeros((4, 0), np.float32))
    assert not grad.table.any() and grad_bias.shape == (0, 32) and grad_positions.shape == (3, 0)
    outside = np.array([[-5, 7, 1e6, np.nan], [0, 1, np.inf, -np.inf], [-1e-6, 1 + 1e-6, -1e30, 0]], np.float32)
    ops.field_forward(field, outside, np.zeros((1, 32), np.float32))
    field_backward(field, outside, np.zeros((1, 32), np.float32), np.ones((4, 4), np.float32))


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"table": np.zeros((4, 1000, 8), np.uint16)}, ValueError),
        ({"table": np.zeros((4, 1024, 8), np.float32)}, TypeError),
        ({"resolution": np.array([0, 1, 2, 3], np.int32)}, ValueError),
        ({"w0": np.zeros((32, 33), np.float32)}, ValueError),
        ({"w1": np.zeros((48, 48), np.float32)}, ValueError),
        ({"b2": np.zeros(3, np.float32)}, ValueError),
        ({"w2": np.zeros((32, 4), np.float32).T}, ValueError),
    ],
)
def test_fields_that_do_not_fit_are_refused(change: dict[str, np.ndarray], fault: type[Exception]):
    field = replace(make_field(32), **change)
    with pytest.raises(fault):
        ops.field_forward(field, np.zeros((3, 1), np.float32), np.zeros((1, 32), np.float32))


# ---- Adam and bfloat16


def test_bfloat16_rounds_as_torch_does():
    random = np.random.default_rng(0)
    values = np.concatenate(
        [
            (random.normal(size=5000) * 10.0 ** random.integers(-38, 38, 5000)).astype(np.float32),
            # Exactly between two bfloat16: ties go to the even one.
            (np.arange(0x3F80, 0x3FA0, dtype=np.uint32) << 16 | 0x8000).view(np.float32),
            np.array([0, -0.0, np.inf, -np.inf], np.float32),
        ]
    )
    theirs = torch.from_numpy(values).bfloat16().view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(to_bfloat16(values), theirs)
    np.testing.assert_array_equal(from_bfloat16(theirs), torch.from_numpy(values).bfloat16().float().numpy())


def table_gradient(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Rows that no sample touched are zero."""
    touched = random.random(shape[:-1]) < 0.3
    return (random.normal(size=shape) * touched[..., None]).astype(np.float32)


@pytest.mark.parametrize("slots, rows", [(1, 2), (2, 64), (3, 4096)])
def test_adam_of_the_table_is_sparse_adam(slots: int, rows: int):
    """A plain loop in double precision; what is not touched keeps every bit, moments included."""
    random = np.random.default_rng(rows)
    shape, betas, lr, eps = (4, rows, 8), (0.9, 0.99), 0.01, 1e-15
    param = random.normal(size=shape).astype(np.float32)
    first, second, half = np.zeros(shape, np.float32), np.zeros(shape, np.float32), to_bfloat16(param)
    exact = [param.astype(np.float64), np.zeros(shape), np.zeros(shape)]
    for step in range(1, 6):
        grad = table_gradient(random, (slots, *shape))
        total = grad.astype(np.float64).sum(0)
        before = [array.copy() for array in (param, first, second, half)]
        ops.adam_table(param, grad, first, second, half, step=step, lr=lr)
        assert not grad.any()
        touched = total != 0
        exact[1][touched] += (1 - betas[0]) * (total - exact[1])[touched]
        exact[2][touched] += (1 - betas[1]) * (total**2 - exact[2])[touched]
        change = lr * (exact[1] / (1 - betas[0] ** step)) / (np.sqrt(exact[2] / (1 - betas[1] ** step)) + eps)
        exact[0][touched] -= change[touched]
        for now, old in zip((param, first, second, half), before, strict=True):
            np.testing.assert_array_equal(now[~touched], old[~touched])
        np.testing.assert_array_equal(half, to_bfloat16(param))
    for mine, expected in zip((param, first, second), exact, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=2e-5, atol=2e-6)


def test_adam_of_the_table_is_that_of_torch_where_all_is_touched():
    random = np.random.default_rng(0)
    param = random.normal(size=(4, 16, 8)).astype(np.float32)
    theirs = torch.from_numpy(param.astype(np.float64)).requires_grad_()
    optimiser = torch.optim.Adam([theirs], lr=0.02, betas=(0.9, 0.99), eps=1e-15)
    moments, half = (np.zeros_like(param), np.zeros_like(param)), to_bfloat16(param)
    for step in range(1, 8):
        grad = random.normal(size=(1, *param.shape)).astype(np.float32)
        theirs.grad = torch.from_numpy(grad[0].astype(np.float64))
        optimiser.step()
        ops.adam_table(param, grad, *moments, half, step=step, lr=0.02)
    np.testing.assert_allclose(param, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_adam_of_the_table_is_the_same_for_any_number_of_threads(all_threads: None):
    def run(count: int) -> tuple[np.ndarray, ...]:
        ops.set_threads(count)
        random = np.random.default_rng(3)
        param = random.normal(size=(4, 4096, 8)).astype(np.float32)
        state = param, np.zeros_like(param), np.zeros_like(param), to_bfloat16(param)
        for step in (1, 2):
            ops.adam_table(state[0], table_gradient(random, (2, *param.shape)), *state[1:], step=step, lr=0.01)
        return state

    first = run(1)
    for count in (2, 3):
        for mine, expected in zip(run(count), first, strict=True):
            np.testing.assert_array_equal(mine, expected)
