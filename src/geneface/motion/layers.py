"""Dilated WaveNet stacks. B sequences, C channels, T steps; tensors are [B, C, T], channels first.

All stacks are zero-padded, without any statistic over time: an output step depends on inputs at most `past` steps
before and `future` steps after it, which is what makes windowed inference equal to inference on the whole recording.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

DILATIONS = (1, 2, 4, 8)


class Memory:
    """What convolutions over time heard before the piece that comes now, in the order in which they are called.

    A module that gets one pads nothing: pieces of any lengths give the values of the whole. None of its convolutions
    may look ahead.
    """

    def __init__(self, before: Sequence[Tensor] | None = None) -> None:
        """`before`: `following` of the piece before; None: nothing came before."""
        self._before = None if before is None else iter(before)
        self.following: list[Tensor] = []
        """What the next piece needs, [B, C, steps] for each convolution."""

    def join(self, input: Tensor, steps: int) -> Tensor:
        """[B, C, T] -> [B, C, steps + T], and remember the last `steps` of it."""
        before = input.new_zeros(*input.shape[:2], steps) if self._before is None else next(self._before)
        joined = torch.cat([before, input], dim=2)
        self.following.append(joined[:, :, -steps:])
        return joined


class TimedConv(nn.Conv1d):
    """A zero-padded convolution over time that looks `ahead` steps ahead, and back as far as its width then reaches.

    [B, inputs, T] -> [B, outputs, T / stride]; a strided step looks ahead of the last of its own `stride` steps.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, ahead: int, *, dilation: int = 1, stride: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, dilation=dilation, stride=stride)
        self.ahead = ahead
        self.back = dilation * (kernel - 1) - (stride - 1) - ahead

    def forward(self, input: Tensor, memory: Memory | None = None) -> Tensor:
        """[B, C, F] -> [B, C', F'], padded with zeros so that nothing beyond the limit is seen, or after `memory`."""
        if memory is not None:
            return super().forward(memory.join(input, self.back))
        return super().forward(functional.pad(input, (self.back, self.ahead)))


class WaveNet(nn.Module):
    """Gated residual convolutions with skip sum (van den Oord et al. 2016, section 2.3), conditioned locally.

    Args:
        channels: width C of input, residual stream and output.
        condition_channels: width of the condition, given at the input's rate.
        dilations: one layer each; kernel 3, so past and future are their sums.
        dropout: on the residual stream, in training only.
        future: steps that an output may look ahead, their sum by default. The layers spend it in their order; what
            they may not see ahead they see further back, so that their width in time stays.
    """

    KERNEL = 3

    def __init__(
        self,
        channels: int,
        condition_channels: int,
        dilations: Sequence[int] = DILATIONS,
        dropout: float = 0.0,
        future: int | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.dilations = channels, tuple(dilations)
        shares = share_future(self.dilations, future)
        self.condition = nn.Conv1d(condition_channels, 2 * channels * len(self.dilations), 1)
        self.dilated = nn.ModuleList(
            TimedConv(channels, 2 * channels, self.KERNEL, ahead, dilation=dilation)
            for dilation, ahead in zip(self.dilations, shares, strict=True)
        )
        self.future = sum(shares)
        """Steps that an output looks ahead."""
        self.past = sum(self.dilations) * (self.KERNEL - 1) - self.future
        """Steps that it looks back."""
        # The last layer feeds the skip sum only.
        widths = [2 * channels] * (len(self.dilations) - 1) + [channels]
        self.project = nn.ModuleList(nn.Conv1d(channels, width, 1) for width in widths)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, condition: Tensor, memory: Memory | None = None) -> Tensor:
        """x: [B, C, T], condition: [B, condition_channels, T] -> [B, C, T], the sum of the skips."""
        biases = self.condition(condition).chunk(len(self.dilations), dim=1)
        skips: Tensor | None = None
        for bias, dilated, project in zip(biases, self.dilated, self.project, strict=True):
            drive, gate = (dilated(self.dropout(x), memory) + bias).chunk(2, dim=1)
            out = project(torch.tanh(drive) * torch.sigmoid(gate))
            if out.shape[1] == 2 * self.channels:
                residual, out = out.chunk(2, dim=1)
                # Constant variance along the depth of the stack.
                x = (x + residual) * 0.5**0.5
            skips = out if skips is None else skips + out
        assert skips is not None
        return skips


def share_future(dilations: Sequence[int], future: int | None) -> tuple[int, ...]:
    """How far each layer of kernel 3 looks ahead: its dilation, as long as `future` (None: without end) lasts."""
    shares = []
    for dilation in dilations:
        share = dilation if future is None else min(dilation, future - sum(shares))
        shares.append(share)
    return tuple(shares)


def stack_pairs(features: Tensor) -> Tensor:
    """Two 20 ms rows become one video frame. features: [B, 2F, D] -> [B, 2D, F]; no row is dropped."""
    batch, rows, width = features.shape
    return features.reshape(batch, rows // 2, 2 * width).transpose(1, 2)
