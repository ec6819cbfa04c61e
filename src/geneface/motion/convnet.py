"""A small convolutional network over time, run in numpy. F frames, N inputs, W channels, C outputs.

    h = relu(enter x);  h = h + relu(conv_j h) for each layer j, kernel 3, dilated;  leave h

It looks 2 frames ahead and 12 back; beyond the ends of the recording the hidden layers are 0.
`training.adaptation.convnet` trains it. The weights of a frame's two ends are plain matrices, so any scale of the
inputs can be folded in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.types import FloatArray

TAPS: tuple[tuple[int, int, int], ...] = ((-1, 0, 1), (-3, -1, 1), (-8, -4, 0))
"""Frames that each layer sees, from the present one: dilations 1, 2, 4, as far ahead as the generic model looks
(`motion.generic.HIDDEN_DELAY`)."""
PAST_FRAMES = -sum(taps[0] for taps in TAPS)
FUTURE_FRAMES = sum(taps[-1] for taps in TAPS)


@dataclass(frozen=True)
class ConvNet:
    """Weights of the network; calling it applies it."""

    enter: FloatArray
    """[W, N]."""
    enter_bias: FloatArray
    """[W]."""
    layers: FloatArray
    """[J, 3, W, W] the weights of each layer's taps."""
    biases: FloatArray
    """[J, W]."""
    leave: FloatArray
    """[C, W]."""
    leave_bias: FloatArray
    """[C]."""

    def __call__(self, inputs: FloatArray, first: int = 0, last: int | None = None) -> FloatArray:
        """[F, N] -> [F, C], or only the frames [first, last) of it, from no more than they see."""
        frames = len(inputs)
        spans = [(first, frames if last is None else last)]
        for taps in reversed(TAPS):
            start, stop = spans[-1]
            spans.append((max(start + taps[0], 0), min(stop + taps[-1], frames)))
        start, stop = spans.pop()
        # Not "@", as in `MotionBasis`.
        entered = np.einsum("wn,fn->wf", self.enter, inputs[start:stop])
        hidden = np.maximum(entered + self.enter_bias[:, None], 0)
        for weights, bias, taps in zip(self.layers, self.biases, TAPS, strict=True):
            before, (start, stop) = start, spans.pop()
            total = np.repeat(bias[:, None], stop - start, axis=1)
            for weight, tap in zip(weights, taps, strict=True):
                begin, end = max(start + tap, 0), min(stop + tap, frames)
                if begin < end:
                    seen = hidden[:, begin - before : end - before]
                    total[:, begin - tap - start : end - tap - start] += np.einsum("vw,wf->vf", weight, seen)
            hidden = hidden[:, start - before : stop - before] + np.maximum(total, 0)
        return np.einsum("cw,wf->fc", self.leave, hidden) + self.leave_bias

    def tensors(self) -> dict[str, FloatArray]:
        """Every array by name, for a file."""
        return dict(vars(self))

    @classmethod
    def shapes(cls, inputs: int, channels: int, outputs: int) -> dict[str, tuple[int, ...]]:
        """The shape of each of `tensors`."""
        layers = len(TAPS)
        return {
            "enter": (channels, inputs),
            "enter_bias": (channels,),
            "layers": (layers, 3, channels, channels),
            "biases": (layers, channels),
            "leave": (outputs, channels),
            "leave_bias": (outputs,),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.floating]]) -> ConvNet:
        """Invert `tensors`."""
        return cls(**{name: np.asarray(tensors[name], np.float32) for name in cls.shapes(0, 0, 0)})


class LiveConvNets:
    """The sum of some networks on frames that come piece by piece: each frame is computed once."""

    def __init__(self, nets: Sequence[ConvNet]) -> None:
        """`nets`: one at least."""
        widths = sorted({len(net.enter) for net in nets})
        self._stacks = [_Stack([net for net in nets if len(net.enter) == width]) for width in widths]

    def push(self, inputs: FloatArray) -> FloatArray:
        """[f, N] -> [f', C]: the next frames whose future has come, `FUTURE_FRAMES` after them."""
        first, *others = (stack.push(inputs) for stack in self._stacks)
        return sum(others, first)


class _Stack:
    """S networks of one width, computed together: a frame is so little work that calls would cost more."""

    def __init__(self, nets: Sequence[ConvNet]) -> None:
        self._enter = np.concatenate([net.enter for net in nets])
        self._enter_bias = np.concatenate([net.enter_bias for net in nets])[:, None]
        # [J, S, W, 3 W], the taps side by side, and [J, S, W, 1].
        layers = np.stack([net.layers for net in nets], axis=1)
        self._layers = np.concatenate([layers[:, :, tap] for tap in range(layers.shape[2])], axis=3)
        self._biases = np.stack([net.biases for net in nets], axis=1)[..., None]
        self._leave = np.concatenate([net.leave for net in nets], axis=1)
        self._leave_bias = np.sum([net.leave_bias for net in nets], axis=0)
        # Before the first frame the hidden layers are 0.
        size = len(nets), len(nets[0].enter)
        self._before = [np.zeros((*size, -taps[0]), np.float32) for taps in TAPS]
        """[S, W, *] what each layer sees of the frames before the piece that comes."""

    def push(self, inputs: FloatArray) -> FloatArray:
        # Not "@", as in `MotionBasis`.
        entered = np.maximum(np.einsum("wn,fn->wf", self._enter, inputs) + self._enter_bias, 0)
        hidden = entered.reshape(*self._before[0].shape[:2], len(inputs))
        for layer, taps in enumerate(TAPS):
            seen = np.concatenate([self._before[layer], hidden], axis=2)
            reach = taps[-1] - taps[0]
            frames = max(seen.shape[2] - reach, 0)
            columns = np.concatenate([seen[:, :, tap - taps[0] :][:, :, :frames] for tap in taps], axis=1)
            total = np.einsum("svx,sxf->svf", self._layers[layer], columns) + self._biases[layer]
            hidden = seen[:, :, -taps[0] :][:, :, :frames] + np.maximum(total, 0)
            self._before[layer] = seen[:, :, -reach:].copy()
        return np.einsum("cw,wf->fc", self._leave, hidden.reshape(len(entered), -1)) + self._leave_bias


def shifted(hidden: FloatArray, tap: int) -> FloatArray:
    """[W, F] -> [W, F]: column f shows frame f + tap, zeros beyond the ends."""
    if tap == 0:
        return hidden
    out = np.zeros_like(hidden)
    if tap > 0:
        out[:, :-tap] = hidden[:, tap:]
    else:
        out[:, -tap:] = hidden[:, :tap]
    return out
