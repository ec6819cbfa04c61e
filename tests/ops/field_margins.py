"""Where a radiance field is smooth: away from kinks of its network, cell borders and thresholds.

There a kernel in single precision and the twin in double precision must agree in their gradients to the last digits; on
a kink either of two values is right. Everything is decided in double precision, so all instruction sets see the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from geneface.bench.torch_field import (
    Rays,
    TorchField,
    TorchFrames,
    TorchScene,
    encode,
    gated_bias,
    march,
    occupied_depths,
    render,
    torso_points,
)
from geneface.bench.torch_field_train import Patches
from geneface.ops.nerf import MIN_RAY_TRANSMITTANCE, FieldScene, RayBatch

HEAD_MARGIN, TORSO_MARGIN = 1e-4, 2e-5
"""What single precision moves a unit or a position, in cells; points of the torso are more exact."""
SHIFT, LIGHT_MARGIN = 5e-6, 1e-5


def smooth(field: TorchField, positions: Tensor, bias: Tensor, extra: Tensor | None, margin: float) -> Tensor:
    """[N] whether no unit of the network is about to change sides, nor the position to change its cell."""
    features = encode(field, positions)
    inputs = features if extra is None else torch.cat([features, extra], 1)
    first = inputs @ field.w0.T + bias
    second = torch.relu(first) @ field.w1.T + field.b1
    units = torch.cat([first, second], 1).abs().amin(1)
    scaled = positions[:, None, :] * torch.tensor(field.resolution)[:, None]
    # What is held at the border of the grid stays in its cell.
    held = (positions == 0) | (positions == 1)
    borders = ((scaled - scaled.round()).abs() + held[:, None, :]).amin((1, 2))
    return (units > margin) & (borders > margin)


def _whole(batch: RayBatch) -> Rays:
    (patches,) = Patches.of(batch, "cpu", torch.float64, at_once=batch.corners.size)
    return patches.rays


@torch.no_grad()
def smooth_rays(scene: FieldScene, batch: RayBatch) -> tuple[np.ndarray, bool]:
    """[C, P, 64] whether all of a ray's samples in the head are smooth; whether the whole torso is."""
    twin, frames = TorchScene.of(scene, dtype=torch.float64), TorchFrames.of_batch(batch, "cpu", torch.float64)
    rays = _whole(batch)
    samples = march(twin, frames, rays)
    good = torch.ones(len(rays.frame), dtype=torch.bool)
    head_bias = gated_bias(frames.head_bias[rays.frame[samples.ray]], samples.gate)
    good[samples.ray[~smooth(twin.head, samples.position, head_bias, None, HEAD_MARGIN)]] = False

    def number(direction: float) -> Tensor:
        moved = frames.poses + torch.cat([torch.zeros(9), torch.full((3,), direction)]).to(frames.poses)
        ray, _, _ = occupied_depths(twin, replace(frames, poses=moved), rays)
        return torch.bincount(ray, minlength=len(good))

    good &= (number(SHIFT) == number(0)) & (number(-SHIFT) == number(0))
    picture = render(twin, frames, rays)
    good &= (picture.transmittance / MIN_RAY_TRANSMITTANCE - 1).abs() > LIGHT_MARGIN
    ray, plane = torso_points(twin, frames, rays, picture.transmittance)
    head = torch.cat([picture.color, 1 - picture.transmittance[:, None]], 1)[ray]
    torso = smooth(twin.torso, plane, frames.torso_bias[rays.frame[ray]], head, TORSO_MARGIN)
    return good.view(batch.jitter.shape).numpy(), bool(torso.all())


def settled(scene: FieldScene, batch: RayBatch, rounds: int = 30) -> RayBatch:
    """The batch with jitter drawn again for rays that are not smooth, and the torso a little moved until it is."""
    random = np.random.default_rng(99)
    for _ in range(rounds):
        good, torso_good = smooth_rays(scene, batch)
        if good.all() and torso_good:
            return batch
        jitter, motion = batch.jitter.copy(), batch.torso_motion
        jitter[~good] = random.uniform(-0.5, 0.5, (~good).sum())
        if not torso_good:
            motion = (motion + random.normal(size=motion.shape) * 1e-3).astype(np.float32)
        batch = replace(batch, jitter=jitter, torso_motion=motion)
    raise AssertionError("no smooth batch was found: take fewer or smaller patches")
