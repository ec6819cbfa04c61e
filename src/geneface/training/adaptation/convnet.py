"""Train `motion.convnet.ConvNet` in numpy: gradients by hand, AdamW with a cosine schedule, channel dropout.

A batch of B crops lies in one row, [N, T], with gaps of zeros between the crops that are wider than what a layer sees;
so each layer is three plain matrix products. N inputs, W channels, C outputs, T frames of all crops and gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geneface.config import Config
from geneface.motion.convnet import PAST_FRAMES, TAPS, ConvNet, shifted
from geneface.types import FloatArray

_GAP = PAST_FRAMES
"""Frames of zeros between crops: no tap reaches from one into the next."""
_SOME_SECONDS, _MANY_SECONDS = 50.0, 200.0
"""From where on other settings won in cross-validation inside training seconds (docs/decisions.md, 2026-11-29)."""
_MOMENTUM, _SPREAD, _EPSILON = 0.9, 0.999, 1e-6
Weights = dict[str, FloatArray]


class ConvNetTrainConfig(Config):
    """How networks are trained; the defaults are for less than a minute of speech (`network_settings`)."""

    committee: int = 2
    """Networks of other seeds, whose mean is used."""
    steps: int = 120
    batch: int = 4
    crop_frames: int = 100
    channels: int = 32
    rate: float = 4e-3
    weight_decay: float = 0.3
    dropout: float = 0.6
    """Share of the inputs that are dropped from a crop, in all its frames (Tompson et al. 2015, section 3.2)."""
    velocity_weight: float = 1.0
    """Of the squared error of differences between neighbouring frames."""


def network_settings(seconds: float) -> ConvNetTrainConfig:
    """Larger networks, trained for longer and with less noise, the more of a person's speech there is."""
    if seconds < _SOME_SECONDS:
        return ConvNetTrainConfig()
    if seconds < _MANY_SECONDS:
        return ConvNetTrainConfig(steps=400, dropout=0.5, weight_decay=0.2)
    return ConvNetTrainConfig(committee=1, steps=600, batch=8, channels=48, dropout=0.3, weight_decay=0.1)


@dataclass(frozen=True)
class Batch:
    """Crops side by side."""

    inputs: FloatArray
    """[N, T]."""
    targets: FloatArray
    """[C, T]."""
    inside: FloatArray
    """[1, T] 1 in the crops, 0 in the gaps."""


def train_convnet(
    inputs: Sequence[FloatArray], targets: Sequence[FloatArray], config: ConvNetTrainConfig, seed: int
) -> ConvNet:
    """Fit a network to sequences.

    Args:
        inputs: [F, N] each, of unit variance.
        targets: [F, C] each.
    """
    rng = np.random.default_rng(seed)
    weights = initial_weights(inputs[0].shape[1], config.channels, targets[0].shape[1], rng)
    means = {name: np.zeros_like(weight) for name, weight in weights.items()}
    squares = {name: np.zeros_like(weight) for name, weight in weights.items()}
    for step in range(config.steps):
        batch = draw_batch(inputs, targets, config, rng)
        _, gradients = loss_and_gradients(weights, batch, config.velocity_weight)
        rate = config.rate * (0.5 + 0.5 * np.cos(np.pi * step / config.steps))
        for name, gradient in gradients.items():
            means[name] = _MOMENTUM * means[name] + (1 - _MOMENTUM) * gradient
            squares[name] = _SPREAD * squares[name] + (1 - _SPREAD) * gradient**2
            mean = means[name] / (1 - _MOMENTUM ** (step + 1))
            square = squares[name] / (1 - _SPREAD ** (step + 1))
            kept = (1 - rate * config.weight_decay) * weights[name]
            weights[name] = (kept - rate * mean / (np.sqrt(square) + _EPSILON)).astype(np.float32)
    return ConvNet.from_tensors(weights)


def initial_weights(inputs: int, channels: int, outputs: int, rng: np.random.Generator) -> Weights:
    """Uniform, by the number of inputs of each unit; nothing comes out at first."""
    shapes = ConvNet.shapes(inputs, channels, outputs)
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    for name, fan_in in (("enter", inputs), ("layers", 3 * channels)):
        weights[name] = (rng.uniform(-1, 1, shapes[name]) / np.sqrt(fan_in)).astype(np.float32)
    return weights


def draw_batch(
    inputs: Sequence[FloatArray], targets: Sequence[FloatArray], config: ConvNetTrainConfig, rng: np.random.Generator
) -> Batch:
    """Random crops; longer sequences are drawn from more often."""
    lengths = np.array([len(sequence) for sequence in inputs], float)
    crops: list[tuple[FloatArray, FloatArray]] = []
    for index in rng.choice(len(inputs), config.batch, p=lengths / lengths.sum()):
        frames = min(config.crop_frames, len(inputs[index]))
        start = int(rng.integers(len(inputs[index]) - frames + 1))
        kept = rng.random(inputs[index].shape[1]) >= config.dropout
        crop = inputs[index][start : start + frames] * (kept / (1 - config.dropout)).astype(np.float32)
        crops.append((crop, targets[index][start : start + frames]))
    frames = _GAP + sum(len(crop) + _GAP for crop, _ in crops)
    batch = Batch(
        np.zeros((inputs[0].shape[1], frames), np.float32),
        np.zeros((targets[0].shape[1], frames), np.float32),
        np.zeros((1, frames), np.float32),
    )
    start = _GAP
    for crop, target in crops:
        place = slice(start, start + len(crop))
        batch.inputs[:, place], batch.targets[:, place], batch.inside[:, place] = crop.T, target.T, 1
        start += len(crop) + _GAP
    return batch


def loss_and_gradients(weights: Weights, batch: Batch, velocity_weight: float) -> tuple[float, Weights]:
    """Mean squared error of targets and of their differences in time, and its gradient for each weight."""
    hidden = np.maximum(weights["enter"] @ batch.inputs + weights["enter_bias"][:, None], 0) * batch.inside
    stages: list[tuple[FloatArray, FloatArray]] = []
    for kernel, bias, taps in zip(weights["layers"], weights["biases"], TAPS, strict=True):
        total = np.repeat(bias[:, None], hidden.shape[1], axis=1)
        for weight, tap in zip(kernel, taps, strict=True):
            total += weight @ shifted(hidden, tap)
        active = np.maximum(total, 0) * batch.inside
        stages.append((hidden, active))
        hidden = hidden + active
    error = (weights["leave"] @ hidden + weights["leave_bias"][:, None] - batch.targets) * batch.inside
    change = np.diff(error, axis=1) * (batch.inside[:, 1:] * batch.inside[:, :-1])
    count = float(batch.inside.sum()) * len(error)
    loss = (float((error**2).sum()) + velocity_weight * float((change**2).sum())) / count
    outer = 2 * error / count
    outer[:, 1:] += 2 * velocity_weight / count * change
    outer[:, :-1] -= 2 * velocity_weight / count * change
    gradients = {"leave": outer @ hidden.T, "leave_bias": outer.sum(1)}
    inner = weights["leave"].T @ outer
    kernels, biases = [], []
    for kernel, taps, (before, active) in reversed(list(zip(weights["layers"], TAPS, stages, strict=True))):
        drive = inner * (active > 0)
        kernels.append(np.stack([drive @ shifted(before, tap).T for tap in taps]))
        biases.append(drive.sum(1))
        for weight, tap in zip(kernel, taps, strict=True):
            inner = inner + shifted(weight.T @ drive, -tap)
    gradients |= {"layers": np.stack(kernels[::-1]), "biases": np.stack(biases[::-1])}
    entered = inner * (stages[0][0] > 0)
    return loss, gradients | {"enter": entered @ batch.inputs.T, "enter_bias": entered.sum(1)}
