"""Inception-v3 as FID uses it: the TensorFlow graph of 2015-12-05, with the tensor names of pytorch-fid's port.

It differs from torchvision's Inception-v3 (Szegedy et al. 2016) in three things, all of which change the features:
average pools divide by the pixels inside the image, not by 9; the pool branch of the last block takes the maximum;
and batch normalisation has epsilon 1e-3. The classifier (1008 classes) is not needed and not read.

Images are float32 [N, 3, 299, 299] RGB in about [-1, 1]. The network is a table of steps; a `Fork` runs its branches
on the same input and joins their outputs along the channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from geneface.evaluation.networks.weights import load_weights

if TYPE_CHECKING:
    from torch import Tensor

IMAGE_PX = 299
FEATURES = 2048
"""Width of pool3, the features of FID."""

_EPSILON = 1e-3
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Conv:
    """Convolution without bias, batch normalisation, ReLU."""

    name: str
    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Fork:
    """Branches on one input."""

    branches: tuple[tuple[Step, ...], ...]


Pool = Literal["halve", "average", "maximum"]
"""3 x 3 pools: maximum with stride 2, average of the pixels inside, maximum with stride 1."""
Step = Conv | Fork | Pool


def _same(name: str, channels: int, height: int, width: int | None = None) -> Conv:
    """A convolution that keeps the size."""
    width = height if width is None else width
    return Conv(name, channels, (height, width), padding=(height // 2, width // 2))


def _valid(name: str, channels: int, size: int, stride: int = 1) -> Conv:
    return Conv(name, channels, (size, size), stride)


def _mixed_5(name: str, pooled: int) -> Fork:
    """35 x 35 grid (figure 5 of the paper)."""
    return Fork(
        (
            (_same(f"{name}.branch1x1", 64, 1),),
            (_same(f"{name}.branch5x5_1", 48, 1), _same(f"{name}.branch5x5_2", 64, 5)),
            (
                _same(f"{name}.branch3x3dbl_1", 64, 1),
                _same(f"{name}.branch3x3dbl_2", 96, 3),
                _same(f"{name}.branch3x3dbl_3", 96, 3),
            ),
            ("average", _same(f"{name}.branch_pool", pooled, 1)),
        )
    )


def _mixed_6a(name: str) -> Fork:
    """From 35 x 35 to 17 x 17."""
    return Fork(
        (
            (_valid(f"{name}.branch3x3", 384, 3, 2),),
            (
                _same(f"{name}.branch3x3dbl_1", 64, 1),
                _same(f"{name}.branch3x3dbl_2", 96, 3),
                _valid(f"{name}.branch3x3dbl_3", 96, 3, 2),
            ),
            ("halve",),
        )
    )


def _mixed_6(name: str, inner: int) -> Fork:
    """17 x 17 grid, 7 x 7 convolutions as 1 x 7 and 7 x 1 (figure 6)."""
    return Fork(
        (
            (_same(f"{name}.branch1x1", 192, 1),),
            (
                _same(f"{name}.branch7x7_1", inner, 1),
                _same(f"{name}.branch7x7_2", inner, 1, 7),
                _same(f"{name}.branch7x7_3", 192, 7, 1),
            ),
            (
                _same(f"{name}.branch7x7dbl_1", inner, 1),
                _same(f"{name}.branch7x7dbl_2", inner, 7, 1),
                _same(f"{name}.branch7x7dbl_3", inner, 1, 7),
                _same(f"{name}.branch7x7dbl_4", inner, 7, 1),
                _same(f"{name}.branch7x7dbl_5", 192, 1, 7),
            ),
            ("average", _same(f"{name}.branch_pool", 192, 1)),
        )
    )


def _mixed_7a(name: str) -> Fork:
    """From 17 x 17 to 8 x 8."""
    return Fork(
        (
            (_same(f"{name}.branch3x3_1", 192, 1), _valid(f"{name}.branch3x3_2", 320, 3, 2)),
            (
                _same(f"{name}.branch7x7x3_1", 192, 1),
                _same(f"{name}.branch7x7x3_2", 192, 1, 7),
                _same(f"{name}.branch7x7x3_3", 192, 7, 1),
                _valid(f"{name}.branch7x7x3_4", 192, 3, 2),
            ),
            ("halve",),
        )
    )


def _mixed_7(name: str, pool: Pool) -> Fork:
    """8 x 8 grid, with forks inside the branches (figure 7)."""

    def cross(prefix: str) -> Fork:
        return Fork(((_same(f"{prefix}a", 384, 1, 3),), (_same(f"{prefix}b", 384, 3, 1),)))

    return Fork(
        (
            (_same(f"{name}.branch1x1", 320, 1),),
            (_same(f"{name}.branch3x3_1", 384, 1), cross(f"{name}.branch3x3_2")),
            (
                _same(f"{name}.branch3x3dbl_1", 448, 1),
                _same(f"{name}.branch3x3dbl_2", 384, 3),
                cross(f"{name}.branch3x3dbl_3"),
            ),
            (pool, _same(f"{name}.branch_pool", 192, 1)),
        )
    )


_NETWORK: tuple[Step, ...] = (
    _valid("Conv2d_1a_3x3", 32, 3, 2),
    _valid("Conv2d_2a_3x3", 32, 3),
    _same("Conv2d_2b_3x3", 64, 3),
    "halve",
    _valid("Conv2d_3b_1x1", 80, 1),
    _valid("Conv2d_4a_3x3", 192, 3),
    "halve",
    _mixed_5("Mixed_5b", 32),
    _mixed_5("Mixed_5c", 64),
    _mixed_5("Mixed_5d", 64),
    _mixed_6a("Mixed_6a"),
    _mixed_6("Mixed_6b", 128),
    _mixed_6("Mixed_6c", 160),
    _mixed_6("Mixed_6d", 160),
    _mixed_6("Mixed_6e", 192),
    _mixed_7a("Mixed_7a"),
    _mixed_7("Mixed_7b", "average"),
    _mixed_7("Mixed_7c", "maximum"),
)


def _collect_layout(steps: tuple[Step, ...], channels: int, layout: dict[str, tuple[int, ...]]) -> int:
    """Add the tensors of the steps; return the channels after them."""
    for step in steps:
        if isinstance(step, Conv):
            layout[f"{step.name}.conv.weight"] = (step.channels, channels, *step.kernel)
            layout |= {f"{step.name}.bn.{part}": (step.channels,) for part in _BATCH_NORM}
            channels = step.channels
        elif isinstance(step, Fork):
            channels = sum(_collect_layout(branch, channels, layout) for branch in step.branches)
    return channels


INCEPTION_LAYOUT: dict[str, tuple[int, ...]] = {}
"""Name -> shape of the 470 tensors up to pool3."""
_collect_layout(_NETWORK, 3, INCEPTION_LAYOUT)


class Inception:
    """The network up to pool3."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = tensors

    @classmethod
    def load(cls, path: Path) -> Inception:
        """Read the weights of `geneface convert-weights inception`.

        Raises:
            InputError, MissingExtraError: as `weights.load_weights`.
        """
        return cls(load_weights(path, INCEPTION_LAYOUT, "inception"))

    def pool3(self, images: Tensor) -> Tensor:
        """Features [N, 2048] of images [N, 3, 299, 299] in [-1, 1]: the last block, averaged over its 8 x 8 pixels."""
        import torch

        with torch.inference_mode():
            return self._run(_NETWORK, images).mean(dim=(2, 3))

    def _run(self, steps: tuple[Step, ...], x: Tensor) -> Tensor:
        import torch
        from torch.nn import functional

        for step in steps:
            if isinstance(step, Conv):
                x = self._convolve(step, x)
            elif isinstance(step, Fork):
                x = torch.cat([self._run(branch, x) for branch in step.branches], dim=1)
            elif step == "average":
                x = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            elif step == "maximum":
                x = functional.max_pool2d(x, 3, 1, 1)
            else:
                x = functional.max_pool2d(x, 3, 2)
        return x

    def _convolve(self, step: Conv, x: Tensor) -> Tensor:
        from torch.nn import functional

        weight, bias, mean, variance = (self._tensors[f"{step.name}.bn.{part}"] for part in _BATCH_NORM)
        kernel = self._tensors[f"{step.name}.conv.weight"]
        x = functional.conv2d(x, kernel, stride=step.stride, padding=step.padding)
        return functional.relu(functional.batch_norm(x, mean, variance, weight, bias, eps=_EPSILON), inplace=True)
