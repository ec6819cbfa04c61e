"""Adam (Kingma and Ba 2015), sparse: what got no gradient in this step stays as it is, moments included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.ops.field import FEATURES
from geneface.ops.native import FLOAT_MAX, as_floats, check, kernels
from geneface.ops.types import DYNAMIC_ROWS, Array

_MAX_STEP = 2**53
"""Beyond this, floats do not count every number."""


def _rows(name: str, value: float | Array, count: int) -> Array:
    rows = as_floats(name, value)
    if rows.shape not in ((), (count,)):
        raise ValueError(f"{name} must be one value or [{count}], not {list(rows.shape)}")
    return np.ascontiguousarray(np.broadcast_to(rows, count))


def _check_constants(step: int, beta1: float, beta2: float, eps: float) -> None:
    if not 1 <= step <= _MAX_STEP:
        raise ValueError(f"step counts from 1, not {step}")
    if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
        raise ValueError(f"beta1 and beta2 must be in [0, 1), not {beta1} and {beta2}")
    if not 0 <= eps <= FLOAT_MAX:
        raise ValueError(f"eps must not be negative, not {eps}")


def adam(
    param: Array,
    grad: Array,
    first: Array,
    second: Array,
    *,
    step: int,
    lr: float | Array,
    beta1: float = 0.9,
    beta2: float = 0.99,
    eps: float = 1e-12,
) -> None:
    """One step, in place on `param`, `first` and `second`.

    Args:
        param, grad: [R, N].
        first, second: [R, N] moments, zero before the first step.
        step: 1 for the first, for the bias correction.
        lr: one rate or one for each of the R rows.
        beta1, beta2, eps: Adam's constants.
    """
    check("param", param, (None, None))
    for name, array in (("grad", grad), ("first", first), ("second", second)):
        check(name, array, param.shape)
    _check_constants(step, beta1, beta2, eps)
    rates = _rows("lr", lr, param.shape[0])
    kernels().adam(param, grad, first, second, rates, 1 - beta1**step, 1 - beta2**step, beta1, beta2, eps)


def adam_basis(
    basis: Array,
    grad_dynamic: Array,
    condition: Array,
    first: Array,
    second: Array,
    *,
    step: int,
    lr: float | Array,
    decay: float | Array = 0.0,
    beta1: float = 0.9,
    beta2: float = 0.99,
    eps: float = 1e-12,
) -> None:
    """`adam` for a basis, without ever forming its gradient condition[c] * grad_dynamic.

    Args:
        basis: [C, 7, D]; so are the moments `first` and `second`.
        grad_dynamic: [7, D].
        condition: [C].
        lr, decay: one value or one for each of the 7 rows. Whatever has a gradient also shrinks by lr * decay
            (Loshchilov and Hutter 2019).
        step, beta1, beta2, eps: as in `adam`.
    """
    check("basis", basis, (None, len(DYNAMIC_ROWS), None))
    count, rows, dynamic = basis.shape
    check("grad_dynamic", grad_dynamic, (rows, dynamic))
    check("condition", condition, (count,))
    check("first", first, basis.shape)
    check("second", second, basis.shape)
    _check_constants(step, beta1, beta2, eps)
    rates = _rows("lr", lr, rows)
    shrink = 1 - rates * _rows("decay", decay, rows)
    corrections = 1 - beta1**step, 1 - beta2**step
    kernels().adam_basis(basis, grad_dynamic, condition, first, second, rates, shrink, *corrections, beta1, beta2, eps)


def adam_table(
    param: Array,
    grad: Array,
    first: Array,
    second: Array,
    half: NDArray[np.uint16],
    *,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.99,
    eps: float = 1e-15,
) -> None:
    """One sparse step of Adam (Kingma and Ba 2015) for a table, in place; gradients are cleared on the way.

    Args:
        param, first, second: [L, T, 8] float32: values and moments.
        grad: [S, L, T, 8], whose slots are added up in order.
        half: [L, T, 8] bfloat16 bits of the values, kept up to date.
        step: 1 for the first.
    """
    check("param", param, (None, None, FEATURES))
    for name, array in (("first", first), ("second", second)):
        check(name, array, param.shape)
    check("grad", grad, (None, *param.shape))
    check("half", half, param.shape, np.uint16)
    if param.size % 16 or not 1 <= grad.shape[0] <= 64:
        raise ValueError("a table has a multiple of 16 values, and 1 to 64 slots of gradients")
    _check_constants(step, beta1, beta2, eps)
    rate = float(_rows("lr", lr, 1)[0])
    if not abs(rate) <= FLOAT_MAX:
        raise ValueError(f"lr must be finite, not {lr}")
    corrections = 1 - beta1**step, 1 - beta2**step
    kernels().adam_table(param, grad, first, second, half, rate, *corrections, beta1, beta2, eps)
