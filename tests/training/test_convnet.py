"""Small networks in numpy against PyTorch: values, gradients, batches with gaps; and that training learns."""

import numpy as np
import pytest

from geneface.motion.convnet import FUTURE_FRAMES, PAST_FRAMES, TAPS, ConvNet, LiveConvNets
from geneface.training.adaptation.convnet import (
    ConvNetTrainConfig,
    draw_batch,
    initial_weights,
    loss_and_gradients,
    train_convnet,
)

torch = pytest.importorskip("torch")
N, W, C = 7, 5, 3


def weights(seed: int = 0, width: int = W) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = ConvNet.shapes(N, width, C)
    return {name: (0.5 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def torch_net(parameters, inputs):
    """[N, F] -> [C, F] by torch's own convolutions, padded by hand."""
    hidden = torch.relu(parameters["enter"] @ inputs + parameters["enter_bias"][:, None])
    for kernel, bias, taps in zip(parameters["layers"], parameters["biases"], TAPS, strict=True):
        dilation = taps[1] - taps[0]
        padded = torch.nn.functional.pad(hidden, (-taps[0], taps[2]))
        total = torch.nn.functional.conv1d(padded[None], kernel.permute(1, 2, 0), bias, dilation=dilation)[0]
        hidden = hidden + torch.relu(total)
    return parameters["leave"] @ hidden + parameters["leave_bias"][:, None]


def as_torch(arrays):
    return {name: torch.tensor(array, dtype=torch.float64, requires_grad=True) for name, array in arrays.items()}


@pytest.mark.parametrize("frames", [1, 2, 9, 40])
def test_values_are_those_of_torch(frames):
    inputs = np.random.default_rng(1).standard_normal((frames, N)).astype(np.float32)
    expected = torch_net(as_torch(weights()), torch.tensor(inputs.T, dtype=torch.float64)).detach().numpy().T
    assert abs(ConvNet.from_tensors(weights())(inputs) - expected).max() < 1e-4


@pytest.mark.parametrize(("first", "last"), [(0, 1), (5, 9), (12, 40), (39, 40), (20, 20)])
def test_some_frames_are_those_of_all(first, last):
    net, inputs = ConvNet.from_tensors(weights()), np.random.default_rng(2).standard_normal((40, N)).astype(np.float32)
    assert net(inputs, first, last).shape == (last - first, C)
    np.testing.assert_allclose(net(inputs, first, last), net(inputs)[first:last], atol=1e-5)


@pytest.mark.parametrize("sizes", [[1], [3, 1], [2, 40]])
def test_pieces_are_the_whole(sizes):
    """Of three networks, one of which is narrower."""
    inputs = np.random.default_rng(2).standard_normal((60, N)).astype(np.float32)
    nets = [ConvNet.from_tensors(weights(seed, width)) for seed, width in ((0, W), (1, W - 2), (2, W))]
    whole = np.sum([net(inputs) for net in nets], axis=0)
    live, made, place = LiveConvNets(nets), [], 0
    while place < 60:
        size = sizes[len(made) % len(sizes)]
        made.append(live.push(inputs[place : place + size]))
        place = min(place + size, 60)
        assert sum(map(len, made)) == max(place - FUTURE_FRAMES, 0)
    np.testing.assert_allclose(np.concatenate(made), whole[: 60 - FUTURE_FRAMES], atol=1e-4)


def test_reach_is_what_is_stated():
    net, inputs = ConvNet.from_tensors(weights()), np.random.default_rng(2).standard_normal((60, N)).astype(np.float32)
    before, changed = net(inputs), inputs.copy()
    changed[30] += 1
    moved = np.flatnonzero(abs(net(changed) - before).max(1) > 1e-6)
    assert (moved.min(), moved.max()) == (30 - FUTURE_FRAMES, 30 + PAST_FRAMES)


@pytest.mark.slow
@pytest.mark.parametrize("velocity", [0.0, 1.3])
def test_loss_and_gradients_are_those_of_torch(velocity):
    rng = np.random.default_rng(3)
    sequences = [rng.standard_normal((length, N)).astype(np.float32) for length in (30, 11, 5)]
    targets = [rng.standard_normal((len(sequence), C)).astype(np.float32) for sequence in sequences]
    config = ConvNetTrainConfig(batch=4, crop_frames=20, dropout=0.0)
    batch = draw_batch(sequences, targets, config, rng)
    loss, gradients = loss_and_gradients(weights(), batch, velocity)
    parameters = as_torch(weights())
    edges = np.flatnonzero(np.diff(np.pad(batch.inside[0], 1))).reshape(-1, 2)
    total, count = torch.zeros((), dtype=torch.float64), 0
    for start, stop in edges:
        made = torch_net(parameters, torch.tensor(batch.inputs[:, start:stop], dtype=torch.float64))
        error = made - torch.tensor(batch.targets[:, start:stop], dtype=torch.float64)
        total = total + error.square().sum() + velocity * error.diff(dim=1).square().sum()
        count += C * (stop - start)
    (total / count).backward()
    assert len(edges) == 4 and loss == pytest.approx(float(total.detach()) / count, rel=1e-4)
    for name, gradient in gradients.items():
        expected = parameters[name].grad.numpy()
        assert abs(gradient - expected).max() < 1e-4 * max(1, abs(expected).max()), name


def test_a_crop_misses_the_same_inputs_in_all_its_frames():
    ones = [np.ones((50, 40), np.float32)]
    config = ConvNetTrainConfig(batch=3, crop_frames=20, dropout=0.5)
    batch = draw_batch(ones, [np.zeros((50, 1), np.float32)], config, np.random.default_rng(0))
    inside = batch.inputs[:, batch.inside[0] > 0].reshape(40, 3, 20)
    assert set(np.unique(inside)) == {0.0, 2.0} and (inside == inside[:, :, :1]).all()
    assert 0.3 < (inside > 0).mean() < 0.7


@pytest.mark.slow
def test_training_learns_what_the_inputs_tell_and_starts_from_nothing():
    rng = np.random.default_rng(5)
    inputs = [rng.standard_normal((2000, N)).astype(np.float32) for _ in range(2)]
    # Not linear, and in need of the past.
    targets = [np.abs(x[:, :1]) - np.abs(np.roll(x[:, 1:2], 3, axis=0)) for x in inputs]
    config = ConvNetTrainConfig(steps=400, dropout=0.0, velocity_weight=0.0, weight_decay=0.0)
    net = train_convnet(inputs[:1], targets[:1], config, seed=0)
    error = ((net(inputs[1]) - targets[1])[20:] ** 2).mean() / targets[1].var()
    assert error < 0.5
    start = ConvNet.from_tensors(initial_weights(N, W, C, rng))
    assert not start(inputs[0]).any()
    again = train_convnet(inputs[:1], targets[:1], config, seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(net.tensors().values(), again.tensors().values(), strict=True))
