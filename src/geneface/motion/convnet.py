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
