"""The stacks really have the dilations that GeneFace's own code lost, and are local in time."""

import pytest
import torch

from geneface.motion.layers import DILATIONS, WaveNet, stack_pairs


def touched(network: WaveNet, steps: int = 64) -> list[int]:
    """Offsets of the inputs that the output at the middle depends on, from its gradient."""
    torch.manual_seed(0)
    x = torch.randn(1, network.channels, steps, requires_grad=True)
    network(x, torch.randn(1, 3, steps))[0, :, steps // 2].sum().backward()
    assert x.grad is not None
    return [int(i) - steps // 2 for i in x.grad.abs().sum(dim=(0, 1)).nonzero().flatten()]


@pytest.mark.slow
def test_reach_is_the_sum_of_the_true_dilations():
    assert DILATIONS == (1, 2, 4, 8)
    offsets = touched(WaveNet(8, 3))
    assert offsets == list(range(-15, 16))


@pytest.mark.parametrize("dilation", [1, 2, 8])
def test_one_layer_reads_exactly_its_dilation(dilation):
    assert touched(WaveNet(8, 3, (dilation,))) == [-dilation, 0, dilation]


def test_condition_matters_and_shape_is_kept():
    network = WaveNet(6, 3, (1, 2))
    x = torch.randn(2, 6, 17)
    first, second = network(x, torch.zeros(2, 3, 17)), network(x, torch.ones(2, 3, 17))
    assert first.shape == x.shape
    assert (first - second).abs().max() > 1e-4


def test_stack_pairs_keeps_every_row_in_order():
    features = torch.arange(2 * 6 * 3.0).reshape(2, 6, 3)
    stacked = stack_pairs(features)
    assert stacked.shape == (2, 6, 3)
    assert torch.equal(stacked[1, :, 2], torch.cat([features[1, 4], features[1, 5]]))
