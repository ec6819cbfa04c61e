"""Compiled Adam against the reference, for every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from geneface import ops
from geneface.ops import reference

pytestmark = pytest.mark.usefixtures("instruction_set")


def sparse_gradient(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    grad = random.normal(size=shape) * (random.random(shape) < 0.7)
    grad[..., 20:60] = 0
    return grad.astype(np.float32)


@pytest.mark.parametrize("columns", [1, 16, 100, 777])
@pytest.mark.parametrize("per_row", [False, True])
def test_adam_is_that_of_the_reference(columns, per_row):
    random = np.random.default_rng(columns)
    shape = (14, columns)
    lr = random.random(14).astype(np.float32) * 0.01 if per_row else 0.003
    param = random.normal(size=shape).astype(np.float32)
    ours = [param.copy(), np.zeros(shape, np.float32), np.zeros(shape, np.float32)]
    theirs = [array.astype(np.float64) for array in ours]
    for step in range(1, 6):
        grad = sparse_gradient(random, shape)
        ops.adam(ours[0], grad, *ours[1:], step=step, lr=lr)
        reference.adam(theirs[0], grad.astype(np.float64), *theirs[1:], step=step, lr=lr)
        # An element that never got a gradient must keep every bit.
    for mine, exact in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, exact, rtol=2e-5, atol=2e-6)
    np.testing.assert_array_equal(ours[0][:, 20:60], param[:, 20:60])


@pytest.mark.parametrize("conditions, columns", [(1, 5), (20, 333), (3, 0), (0, 32)])
def test_adam_basis_is_that_of_the_reference(conditions, columns):
    random = np.random.default_rng(0)
    shape = (conditions, 7, columns)
    basis = random.normal(size=shape).astype(np.float32)
    ours = [basis.copy(), np.zeros(shape, np.float32), np.zeros(shape, np.float32)]
    theirs = [array.astype(np.float64) for array in ours]
    lr = random.random(7).astype(np.float32) * 0.01
    decay = np.arange(7, dtype=np.float32)
    for step in range(1, 4):
        condition = random.normal(size=conditions).astype(np.float32)
        condition[-1:] = 0
        grad = sparse_gradient(random, shape[1:])
        ops.adam_basis(ours[0], grad, condition, *ours[1:], step=step, lr=lr, decay=decay)
        reference.adam_basis(
            theirs[0],
            grad.astype(np.float64),
            condition.astype(np.float64),
            *theirs[1:],
            step=step,
            lr=lr,
            decay=decay,
        )
    for mine, exact in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, exact, rtol=2e-5, atol=2e-6)
    np.testing.assert_array_equal(ours[0][-1:], basis[-1:])


def test_decay_shrinks_what_has_a_gradient():
    basis = np.full((2, 7, 16), 2.0, np.float32)
    moments = np.zeros_like(basis), np.zeros_like(basis)
    grad = np.full((7, 16), 1e-20, np.float32)
    ops.adam_basis(basis, grad, np.array([1, 0], np.float32), *moments, step=1, lr=0.1, decay=0.5, eps=1.0)
    np.testing.assert_allclose(basis[0], 2 * (1 - 0.1 * 0.5), rtol=1e-6)
    assert (basis[1] == 2).all()


@pytest.mark.parametrize(
    "constants", [{"step": 0}, {"beta1": 1.0}, {"beta2": -0.1}, {"eps": float("nan")}, {"lr": [1, 2]}]
)
def test_wrong_constants_are_refused(constants):
    arrays = [np.zeros((3, 4), np.float32) for _ in range(4)]
    with pytest.raises(ValueError):
        ops.adam(*arrays, **{"step": 1, "lr": 0.1, **constants})
