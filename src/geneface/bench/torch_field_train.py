"""Losses of the radiance fields for patches of training frames, and their gradients by autograd: `ops.train_field`.

Symbols: M patches, the others as in `torch_field`, whose remark about CUDA holds here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geneface.bench.torch_field import RAYS_AT_ONCE, Picture, Rays, Samples, TorchFrames, TorchScene, render
from geneface.ops.nerf import PATCH, PATCH_RAYS, FieldLoss, RayBatch


@dataclass(frozen=True)
class Patches:
    """M patches of training frames. Layouts: `ops.nerf.RayBatch`, chunks and patches in one axis."""

    rays: Rays
    target: Tensor
    masks: Tensor
    plate: Tensor
    weight: Tensor

    @classmethod
    def of(
        cls, batch: RayBatch, device: torch.device | str, dtype: torch.dtype, at_once: int = RAYS_AT_ONCE // PATCH_RAYS
    ) -> Iterator[Patches]:
        """The batch's patches, `at_once` of them at a time."""
        chunks, count = batch.corners.shape[:2]
        frame = np.repeat(np.arange(chunks), count)
        corner = batch.corners.reshape(-1, 1, 2)
        inside = np.stack([np.arange(PATCH_RAYS) % PATCH, np.arange(PATCH_RAYS) // PATCH], 1)
        pixel = corner + inside + np.float32(0.5)
        for start in range(0, chunks * count, at_once):
            part = slice(start, start + at_once)
            rays = Rays(
                torch.from_numpy(np.repeat(frame[part], PATCH_RAYS)).to(device),
                torch.from_numpy(pixel[part].reshape(-1, 2)).to(device, dtype),
                torch.from_numpy(batch.jitter.reshape(-1, PATCH_RAYS)[part].ravel()).to(device, dtype),
            )
            pictures = (batch.target, batch.masks, batch.plate)
            bytes_ = [torch.from_numpy(a.reshape(-1, PATCH_RAYS, a.shape[-1])[part]) for a in pictures]
            weight = torch.from_numpy(batch.weight.reshape(-1, PATCH_RAYS)[part]).to(device, dtype)
            yield cls(rays, *(value.to(device, dtype) / 255 for value in bytes_), weight=weight)


def _rounded(difference: Tensor, epsilon: float) -> Tensor:
    return torch.sqrt(difference * difference + epsilon * epsilon)


def losses(picture: Picture, patches: Patches, loss: FieldLoss) -> tuple[Tensor, Tensor, Tensor]:
    """Colour, silhouettes, light behind samples: sums over each patch's pixels [M]."""
    weight, plate = patches.weight, patches.plate
    difference = picture.over(plate.view(-1, 3)).view_as(plate) - patches.target
    color = (weight[..., None] * (_rounded(difference, loss.epsilon) - loss.epsilon)).sum((1, 2)) / 3
    # Neighbours' differences: what is blurred differs from its neighbour otherwise than the truth does.
    square, square_weight = difference.view(-1, PATCH, PATCH, 3), weight.view(-1, PATCH, PATCH)
    for axis in (1, 2):
        first, second = (square.narrow(axis, start, PATCH - 1) for start in (0, 1))
        sums = square_weight.narrow(axis, 0, PATCH - 1) + square_weight.narrow(axis, 1, PATCH - 1)
        edge = sums[..., None] / 2 * (_rounded(second - first, loss.epsilon) - loss.epsilon)
        color = color + loss.edge * edge.sum((1, 2, 3)) / 3
    head = patches.masks[..., 0]
    both = patches.masks.sum(-1).clamp(max=1)
    outlines = _rounded((1 - picture.transmittance).view_as(head) - head, loss.silhouette_epsilon)
    outlines = outlines + _rounded(picture.opacity.view_as(both) - both, loss.silhouette_epsilon)
    light = (picture.light.view_as(head) * head).sum(1)
    return color, loss.silhouette * outlines.sum(1), loss.opaque * light


def train_loss(
    scene: TorchScene, frames: TorchFrames, patches: Patches, loss: FieldLoss, pixels: int
) -> tuple[Tensor, Samples]:
    """What these patches add to the losses [M, 3] of `FieldLoss` of a batch of so many pixels."""
    picture = render(scene, frames, patches.rays)
    return torch.stack(losses(picture, patches, loss), 1) / pixels, picture.samples
