"""The radiance fields' training step and its PyTorch twin, on a random head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from geneface import ops
from geneface.bench.timing import Timing, compared, network, timed
from geneface.bench.twin import compiled_step, torch_extra
from geneface.ops.field import ENCODED, OUTPUTS, TORSO_INPUTS, Field, FieldGradients, to_bfloat16
from geneface.ops.nerf import CELLS, PATCH_RAYS, TORSO_CELLS, FieldLoss, FieldScene, RayBatch, pack_cells
from geneface.training.nerf.config import nerf_config


def _random_field(dims: int, width: int, rows_log2: int, random: np.random.Generator) -> Field:
    inputs = ENCODED if dims == 3 else TORSO_INPUTS

    def normal(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) * 0.2).astype(np.float32)

    table = normal(4, 1 << rows_log2, ENCODED // 4)
    resolution = np.array([16, 48, 136, 384], np.int32)
    weights = normal(width, inputs), normal(width, width), normal(width), normal(OUTPUTS, width), normal(OUTPUTS)
    return Field(to_bfloat16(table), resolution, *weights)


def random_scene(width: int = 64, rows_log2: int = 15) -> FieldScene:
    """A shell as thick as the band of a trained head, over a torso."""
    random = np.random.default_rng(0)
    axis = (np.arange(CELLS) + 0.5) / CELLS - 0.5
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt((x / 0.75) ** 2 + y**2 + z**2)
    shell = np.abs(radius - 0.3) < 0.016
    occupancy = pack_cells(shell)
    torso = np.zeros((TORSO_CELLS, TORSO_CELLS), np.uint8)
    torso[TORSO_CELLS * 3 // 4 :] = 1
    head = _random_field(3, width, rows_log2, random)
    head.b2[0] = np.log(60)
    coarse = ops.coarse_occupancy(occupancy)
    return FieldScene(
        head, _random_field(2, width, 13, random), occupancy, coarse, torso, (-0.3, -0.4, 0.3, 0.35), 1 / 128
    )


def random_batch(scene: FieldScene, chunks: int, patches: int, size: int) -> RayBatch:
    """Patches of a head that fills a quarter of the picture."""
    random = np.random.default_rng(1)
    rays = chunks, patches, PATCH_RAYS
    pose = np.concatenate([np.eye(3).ravel(), [0, 0.05, -4.5]])
    warp = random.normal(size=(chunks, 56, 48, 4)).astype(np.float32) * np.float32(2e-3)
    warp[:, :28, :, 3], warp[:, 28:, :, 3] = -1, 1
    corners = np.clip(random.normal(size / 2, size / 7, (chunks, patches, 2)), 0, size - 8)
    return RayBatch(
        poses=np.repeat(pose[None], chunks, 0).astype(np.float32),
        head_bias=random.normal(size=(chunks, 3, scene.head.width)).astype(np.float32) * np.float32(0.3),
        torso_bias=random.normal(size=(chunks, scene.torso.width)).astype(np.float32) * np.float32(0.3),
        warp=warp,
        torso_motion=np.zeros((chunks, 6), np.float32),
        corners=corners.astype(np.int32),
        jitter=random.random(rays, np.float32) - np.float32(0.5),
        target=random.integers(0, 256, (*rays, 3), np.uint8),
        masks=random.integers(0, 128, (*rays, 2), np.uint8),
        plate=random.integers(0, 256, (*rays, 3), np.uint8),
        weight=np.ones(rays, np.float32),
        focal_px=4.5 * size,
        width=size,
        height=size,
    )


def bench_train_nerf(preset: str, repeats: int, size: int | None, quick: bool) -> dict[str, Any]:
    """Gradients of one step and Adam of the table, and PyTorch's eager and compiled; by default of 256 px."""
    config, size = nerf_config(preset), size or 256
    chunks = 4 if quick else config.frames_per_step
    scene = random_scene(config.head_width, config.head_rows_log2)
    batch, loss = random_batch(scene, chunks, config.patches_per_frame, size), FieldLoss(edge=0.5)
    grads = [FieldGradients.zeros(field, 2) for field in (scene.head, scene.torso)]
    table = np.zeros(scene.head.table.shape, np.float32)
    first, second, half = np.zeros_like(table), np.zeros_like(table), scene.head.table.copy()
    samples = [0]

    def step() -> None:
        samples[0] = int(ops.train_field(scene, batch, loss, grads[0], grads[1]).samples.sum())
        ops.adam_table(table, grads[0].table, first, second, half, step=1, lr=1e-6)

    rays = batch.corners.size // 2 * PATCH_RAYS
    ours = timed(step, repeats)
    return {
        "preset": preset,
        "network_width": config.head_width,
        "table_rows": 1 << config.head_rows_log2,
        "rays": rays,
        "samples_per_ray": samples[0] / rays,
        "network": network(scene.head, repeats),
        "ours": ours.as_ms()
        | {"rays_per_second": rays / ours.median, "ns_per_sample": 1e9 * ours.median / max(samples[0], 1)},
        **_twin_steps(scene, batch, loss, repeats, ours, compiled=not quick),
    }


def _twin_steps(
    scene: FieldScene, batch: RayBatch, loss: FieldLoss, repeats: int, ours: Timing, compiled: bool
) -> dict[str, dict[str, Any]]:
    """The PyTorch twin's gradients and Adam of the same batch."""
    with torch_extra():
        import torch

        from geneface.bench import torch_field_train as twin
        from geneface.bench.torch_field import TorchFrames, TorchScene
    fields, frames = TorchScene.of(scene), TorchFrames.of_batch(batch, "cpu", torch.float32)
    patches = next(twin.Patches.of(batch, "cpu", torch.float32, at_once=batch.corners.size // 2))
    leaves = [*fields.head.parameters.values(), *fields.torso.parameters.values()]
    adam = torch.optim.Adam(leaves, lr=1e-6)
    rays = batch.jitter.size

    def stepping(train_loss: Callable[..., Any]) -> Callable[[], None]:
        def step() -> None:
            adam.zero_grad()
            train_loss(fields, frames, patches, loss, rays)[0].sum().backward()
            adam.step()

        return step

    results: dict[str, dict[str, Any]] = {"pytorch_eager": compared(ours, timed(stepping(twin.train_loss), repeats))}
    if compiled:
        results["pytorch_compiled"] = compiled_step(twin.train_loss, stepping, ours, repeats)
    return results
