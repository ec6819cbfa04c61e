"""A small convolutional network over time, run in numpy. F frames, N inputs, W channels, C outputs.

    h = relu(enter x);  h = h + relu(conv_j h) for each layer j, kernel 3, dilated;  leave h

It looks 2 frames ahead and 12 back; beyond the ends of the recording the hidden layers are 0.
`training.adaptation.convnet` trains it. The weights of a frame's two ends are plain matrices, so any scale of the
inputs can be folded in.
"""

from __future__ import annotations

from collections.abc import Mapping
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

    def __call__(self, inputs: FloatArray) -> FloatArray:
        """[F, N] -> [F, C]."""
        # Not "@", as in `MotionBasis`.
        hidden = np.maximum(np.einsum("wn,fn->wf", self.enter, inputs) + self.enter_bias[:, None], 0)
        for weights, bias, taps in zip(self.layers, self.biases, TAPS, strict=True):
            total = np.repeat(bias[:, None], hidden.shape[1], axis=1)
            for weight, tap in zip(weights, taps, strict=True):
                total += np.einsum("vw,wf->vf", weight, shifted(hidden, tap))
            hidden = hidden + np.maximum(total, 0)
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
