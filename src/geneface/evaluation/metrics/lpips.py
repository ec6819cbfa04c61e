"""LPIPS: how differently two pictures activate a network that was trained to name objects; 0 for equal pictures.

Zhang, Isola, Efros, Shechtman and Wang, "The unreasonable effectiveness of deep features as a perceptual metric"
(CVPR 2018), the AlexNet variant of version 0.1, as the package lpips computes it: the two pictures go through AlexNet's
convolutions; behind each of the five ReLUs the channels are scaled to unit length (eps 1e-10), and their squared
differences are weighted (non-negative weights fitted to human judgement), summed over the channels, averaged over the
picture and summed over the five layers (equation 1).

Both AlexNet's weights and the five layers of weights are published and needed: with any others the numbers are not
LPIPS. They are not part of this package, and without them the report prints n/a and how to get them
(`networks.weights.weights_needed`).

Pictures are uint8 [H, W, 3] RGB, both sides at least LPIPS_MIN_SIDE_PX. Needs torch; it runs on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geneface.errors import InputError
from geneface.evaluation.metrics.picture import Picture, PictureMetric, ReferenceFrame, region_mean
from geneface.evaluation.networks.weights import load_weights
from geneface.evaluation.schema import MetricDefinition
from geneface.types import ByteArray, FloatArray

if TYPE_CHECKING:
    import torch

LPIPS_MIN_SIDE_PX = 31
"""The smallest picture of which AlexNet's two poolings leave a pixel."""

LPIPS_LAYOUT: dict[str, tuple[int, ...]] = {
    "features.0.weight": (64, 3, 11, 11),
    "features.0.bias": (64,),
    "features.3.weight": (192, 64, 5, 5),
    "features.3.bias": (192,),
    "features.6.weight": (384, 192, 3, 3),
    "features.6.bias": (384,),
    "features.8.weight": (256, 384, 3, 3),
    "features.8.bias": (256,),
    "features.10.weight": (256, 256, 3, 3),
    "features.10.bias": (256,),
    "lin0.model.1.weight": (1, 64, 1, 1),
    "lin1.model.1.weight": (1, 192, 1, 1),
    "lin2.model.1.weight": (1, 384, 1, 1),
    "lin3.model.1.weight": (1, 256, 1, 1),
    "lin4.model.1.weight": (1, 256, 1, 1),
}
"""Tensor -> shape: torchvision's alexnet state dict without its classifier, and the linear layers of lpips."""

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


@dataclass(frozen=True)
class _Convolution:
    index: int
    """Its place in torchvision's `features`."""
    stride: int
    padding: int
    pooled: bool
    """Whether a 3 x 3 max-pooling of stride 2 stands before it."""


_CONVOLUTIONS = (
    _Convolution(0, stride=4, padding=2, pooled=False),
    _Convolution(3, stride=1, padding=2, pooled=True),
    _Convolution(6, stride=1, padding=1, pooled=True),
    _Convolution(8, stride=1, padding=1, pooled=False),
    _Convolution(10, stride=1, padding=1, pooled=False),
)


@dataclass(frozen=True, eq=False)
class LpipsFeatures:
    """What `Lpips.features` keeps of a picture, so that it can be compared with many others.

    Attributes:
        layers: five tensors [C, h, w], each pixel's channels of unit length (or zero).
        height, width: of the picture, px.
    """

    layers: tuple[torch.Tensor, ...]
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class LpipsResult:
    """Distance of two pictures.

    Attributes:
        distance: LPIPS of the whole picture.
        map: [H, W], the same spread over the picture, to be averaged over a mask or a box. Its mean over the whole
            picture is close to `distance`, not equal: interpolation weighs the layers' border pixels more.
    """

    distance: float
    map: FloatArray


class Lpips:
    """The network and its weights.

    Args:
        weights: the tensors of `LPIPS_LAYOUT`, float32.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        self._weights = dict(weights)

    @classmethod
    def load(cls, path: Path) -> Lpips:
        """Read the published weights from a safetensors file with the tensors of `LPIPS_LAYOUT`.

        Raises:
            InputError: the file is missing or damaged, a tensor is missing or misshapen, or a layer's weights are
                negative (LPIPS's never are).
            MissingExtraError: torch is not installed.
        """
        weights = load_weights(path, LPIPS_LAYOUT, "lpips")
        for layer in range(len(_CONVOLUTIONS)):
            name = _linear(layer)
            if float(weights[name].min()) < 0:
                raise InputError(
                    f"the tensor {name} of {path} has negative weights, which LPIPS forbids",
                    "use the linear layers of lpips version 0.1",
                )
        return cls(weights)

    def features(self, image: ByteArray) -> LpipsFeatures:
        """Run the network on one picture.

        Raises:
            ValueError: a side is below LPIPS_MIN_SIDE_PX.
        """
        import torch
        from torch.nn import functional

        height, width = image.shape[:2]
        if min(height, width) < LPIPS_MIN_SIDE_PX:
            raise ValueError(
                f"LPIPS needs pictures of at least {LPIPS_MIN_SIDE_PX} pixels a side, not {width} x {height}"
            )
        signed = image.astype(np.float32) / 127.5 - 1
        scaled = (signed - np.array(_SHIFT, np.float32)) / np.array(_SCALE, np.float32)
        layers = []
        with torch.inference_mode():
            values = torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))
            for step in _CONVOLUTIONS:
                if step.pooled:
                    values = functional.max_pool2d(values[None], kernel_size=3, stride=2)[0]
                weight, bias = (self._weights[f"features.{step.index}.{part}"] for part in ("weight", "bias"))
                values = functional.conv2d(values[None], weight, bias, step.stride, step.padding)[0].relu_()
                layers.append(values / (values.square().sum(dim=0, keepdim=True).sqrt() + _EPSILON))
        return LpipsFeatures(tuple(layers), height, width)

    def compare(self, reference: LpipsFeatures, other: LpipsFeatures) -> LpipsResult:
        """Distance and map of two pictures of one size.

        Raises:
            ValueError: the sizes differ.
        """
        import torch
        from torch.nn import functional

        size, other_size = (reference.height, reference.width), (other.height, other.width)
        if size != other_size:
            raise ValueError(f"pictures of different shapes: {size} and {other_size}")
        distance = 0.0
        with torch.inference_mode():
            spread = torch.zeros(size)
            for k, (a, b) in enumerate(zip(reference.layers, other.layers, strict=True)):
                weight = self._weights[_linear(k)].reshape(-1, 1, 1)
                layer = ((a - b).square() * weight).sum(dim=0)
                distance += float(layer.mean())
                spread += functional.interpolate(layer[None, None], size, mode="bilinear", align_corners=False)[0, 0]
            return LpipsResult(distance, spread.numpy())

    def distance(self, reference: ByteArray, other: ByteArray) -> float:
        """LPIPS of two pictures of one size.

        Raises:
            ValueError: the sizes differ, or a side is below LPIPS_MIN_SIDE_PX.
        """
        return self.compare(self.features(reference), self.features(other)).distance


def _linear(layer: int) -> str:
    return f"lin{layer}.model.1.weight"


def _measure(reference: ReferenceFrame, picture: Picture, instrument: Lpips) -> dict[str, float]:
    if min(reference.image.shape[:2]) < LPIPS_MIN_SIDE_PX:
        return {}
    own = reference.once("lpips", lambda: instrument.features(reference.image))
    result = instrument.compare(own, instrument.features(picture.image))
    return {
        region: result.distance if region == "frame" else region_mean(result.map, mask)
        for region, mask in reference.masks.items()
    }


LPIPS = PictureMetric(
    "lpips",
    MetricDefinition(
        title="LPIPS",
        unit="1",
        direction="lower",
        description="Zhang et al. 2018, AlexNet v0.1. Whole frame: the standard distance; head and mouth: mean of the "
        "spatial map.",
        must_see=["late", "still", "degraded"],
        needs="lpips",
    ),
    _measure,
    absent=f"LPIPS needs pictures of at least {LPIPS_MIN_SIDE_PX} pixels a side",
)
