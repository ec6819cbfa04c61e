"""What the kernels' gradients are compared with: autograd through the PyTorch twins."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geneface.bench.torch_field import TorchFrames, TorchScene
from geneface.bench.torch_field_train import Patches, train_loss
from geneface.ops.field import FieldGradients
from geneface.ops.nerf import PATCH_RAYS, BatchGradients, FieldLoss, FieldScene, RayBatch


def train_gradients(
    scene: FieldScene,
    batch: RayBatch,
    loss: FieldLoss,
    head_grad: FieldGradients,
    torso_grad: FieldGradients,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> BatchGradients:
    """`ops.train_field` by autograd on a device: same arguments, same results; the fields' gradients go to slot 0.

    `samples` counts all that were looked up, which here are also those behind what is already opaque.
    """
    twin, frames = TorchScene.of(scene, device, dtype), TorchFrames.of_batch(batch, device, dtype)
    chunks, count = batch.corners.shape[:2]
    totals, samples = np.zeros((chunks, 3)), np.zeros(chunks, np.int64)
    for patches in Patches.of(batch, device, dtype):
        values, found = train_loss(twin, frames, patches, loss, chunks * count * PATCH_RAYS)
        values.sum().backward()
        np.add.at(totals, patches.rays.frame[::PATCH_RAYS].cpu().numpy(), values.detach().cpu().numpy())
        samples += np.bincount(patches.rays.frame[found.ray].cpu().numpy(), minlength=chunks)
    for field, grad in ((twin.head, head_grad), (twin.torso, torso_grad)):
        for name, parameter in field.parameters.items():
            getattr(grad, name)[0] += _gradient(parameter)
    leaves = (frames.head_bias, frames.torso_bias, frames.warp, frames.turn_shift, frames.torso_motion)
    return BatchGradients(*(_gradient(leaf).astype(np.float32) for leaf in leaves), losses=totals, samples=samples)


def _gradient(leaf: Tensor) -> np.ndarray:
    """The gradient that a leaf has gathered, as an array; zeros if nothing reached it."""
    return np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.cpu().numpy()


def small_turn(turn: Tensor) -> Tensor:
    """exp of a rotation vector [3] as a matrix [3, 3], to the first order: exact, gradient included, at zero."""
    one = torch.eye(3).to(turn)
    return one + torch.linalg.cross(turn.expand(3, 3), one).T
