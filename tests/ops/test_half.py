"""Networks of radiance fields layer by layer in numpy, rounded to bfloat16 where the instruction set rounds.

A machine without bfloat16 dot products runs the rounded kernels, too, when they are built with -DGENEFACE_EMULATE_HALF.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from geneface import ops
from geneface.bench.torch_field import TorchField, encode
from geneface.ops.field import ENCODED, FIELD_BLOCK, TORSO_INPUTS, Field, field_backward, from_bfloat16, to_bfloat16
from geneface.ops.native import kernels

from .field_scenes import make_batch, make_field, make_scene

pytestmark = pytest.mark.usefixtures("instruction_set")

COUNT = 1000


def rounded(values: np.ndarray) -> np.ndarray:
    """What a kernel multiplies: bfloat16 on sets that do so, else the values themselves. float64."""
    single = np.asarray(values, np.float32)
    return (from_bfloat16(to_bfloat16(single)) if kernels().half_network() else single).astype(np.float64)


def features(field: Field, positions: np.ndarray) -> np.ndarray:
    twin = TorchField.of(field, "cpu", torch.float64)
    return encode(twin, torch.from_numpy(positions.T).double()).detach().numpy()


def off_by(actual: np.ndarray, expected: np.ndarray) -> float:
    """Root mean square of the difference, relative to that of the values."""
    return float(np.sqrt(((actual - expected) ** 2).mean() / (expected**2).mean()))


@pytest.mark.parametrize("width", [32, 64])
def test_layers_are_sums_of_products(width: int):
    random = np.random.default_rng(3)
    field = make_field(width)
    positions = random.random((3, COUNT), np.float32)
    bias = random.normal(size=(-(-COUNT // FIELD_BLOCK), width)).astype(np.float32) * np.float32(0.3)
    grad_raw = random.normal(size=(4, COUNT)).astype(np.float32)
    raw = ops.field_forward(field, positions, bias)
    grad, grad_bias, _ = field_backward(field, positions, bias, grad_raw)

    x = features(field, positions)
    assert x.shape == (COUNT, ENCODED)
    first = rounded(x) @ rounded(field.w0).T + bias.repeat(FIELD_BLOCK, 0)[:COUNT]
    hidden1 = np.maximum(first, 0)
    hidden2 = np.maximum(rounded(hidden1) @ rounded(field.w1).T + field.b1, 0)
    expected = rounded(hidden2) @ rounded(field.w2).T + field.b2
    grad2 = (rounded(grad_raw.T) @ rounded(field.w2)) * (hidden2 > 0)
    grad1 = (rounded(grad2) @ rounded(field.w1)) * (hidden1 > 0)

    # Single precision may round the other way where a value lies between two bfloat16: a 256th of that value.
    value, slope = (2e-3, 2e-2) if kernels().half_network() else (1e-5, 1e-3)
    assert off_by(raw.T, expected) < value
    assert off_by(grad.w2[0], rounded(grad_raw) @ rounded(hidden2)) < value
    assert off_by(grad.w1[0], rounded(grad2.T) @ rounded(hidden1)) < slope
    assert off_by(grad.w0[0], rounded(grad1.T) @ rounded(x)) < slope
    blocks = np.add.reduceat(grad1, np.arange(0, COUNT, FIELD_BLOCK))
    assert off_by(grad_bias, blocks) < slope


@pytest.mark.parametrize("width", [32, 64])
def test_gated_biases_are_added_before_anything_is_rounded(width: int):
    random = np.random.default_rng(4)
    field = make_field(width)
    positions = random.random((3, COUNT), np.float32)
    bias = random.normal(size=(-(-COUNT // FIELD_BLOCK), 3, width)).astype(np.float32)
    gates = random.uniform(-1, 1, COUNT).astype(np.float32)
    parts = bias.repeat(FIELD_BLOCK, 0)[:COUNT].astype(np.float64)
    mixed = parts[:, 0] + np.maximum(gates, 0)[:, None] * parts[:, 1] + np.maximum(-gates, 0)[:, None] * parts[:, 2]
    hidden1 = np.maximum(rounded(features(field, positions)) @ rounded(field.w0).T + mixed, 0)
    hidden2 = np.maximum(rounded(hidden1) @ rounded(field.w1).T + field.b1, 0)
    expected = rounded(hidden2) @ rounded(field.w2).T + field.b2
    raw = ops.field_forward(field, positions, bias, gates=gates)
    assert off_by(raw.T, expected) < (2e-3 if kernels().half_network() else 1e-5)


@pytest.mark.parametrize("inputs", [ENCODED, TORSO_INPUTS])
def test_the_network_alone_is_that_of_the_field(inputs: int):
    random = np.random.default_rng(5)
    field = make_field(32, 3 if inputs == ENCODED else 2)
    x = random.normal(size=(inputs, COUNT)).astype(np.float32)
    bias = random.normal(size=(-(-COUNT // FIELD_BLOCK), 32)).astype(np.float32)
    hidden = rounded(x.T) @ rounded(field.w0).T + bias.repeat(FIELD_BLOCK, 0)[:COUNT]
    hidden = rounded(np.maximum(hidden, 0)) @ rounded(field.w1).T + field.b1
    expected = rounded(np.maximum(hidden, 0)) @ rounded(field.w2).T + field.b2
    found = ops.field_network(field, x, bias)
    assert off_by(found.T, expected) < (2e-3 if kernels().half_network() else 1e-5)
    with pytest.raises(ValueError, match="inputs"):
        ops.field_network(field, x[:-1], bias)


def test_rounded_training_points_where_exact_training_does(instruction_set: str):
    """Rounding may shift a gradient a little, never turn it: the twin's own tests are for exact networks."""
    if not kernels().half_network():
        pytest.skip(f"{instruction_set} does not round")
    scene = make_scene(64, 32)
    batch = make_batch(scene)

    def gradients() -> list[np.ndarray]:
        grads = [ops.FieldGradients.zeros(field) for field in (scene.head, scene.torso)]
        others = ops.train_field(scene, batch, ops.FieldLoss(edge=0.3, opaque=0.02), *grads)
        own = [getattr(grad, entry.name) for grad in grads for entry in fields(grad)]
        return [*own, others.head_bias, others.torso_bias, others.warp, others.pose, others.torso_motion]

    found = gradients()
    ops.use_instruction_set(ops.available_instruction_sets()[0])
    exact = gradients()
    ops.use_instruction_set(instruction_set)
    assert len(found) == 17
    for ours, expected in zip(found, exact, strict=True):
        cosine = (ours * expected).sum() / np.sqrt((ours**2).sum() * (expected**2).sum())
        assert cosine > 0.99 and 0.97 < np.linalg.norm(ours) / np.linalg.norm(expected) < 1.03
