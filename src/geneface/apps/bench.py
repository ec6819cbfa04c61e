"""What `geneface bench` measures: ours beside the plain twin, the same field and the same rays, in one run.

Every duration is a median of several, with the fastest and the slowest; ratios are what carries over to other machines.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from geneface import ops
from geneface.errors import InputError, MissingExtraError
from geneface.ops import reference
from geneface.ops.field import ENCODED, OUTPUTS, TORSO_INPUTS, Field, FieldGradients, to_bfloat16
from geneface.ops.nerf import CELLS, PATCH_RAYS, TORSO_CELLS, FieldLoss, FieldScene, RayBatch, pack_cells
from geneface.types import SPEECH_RATE_HZ, Camera

SGEMM_SIZE = 1024
COPY_BYTES = 1 << 27


@dataclass(frozen=True)
class Timing:
    """Seconds of one call."""

    median: float
    fastest: float
    slowest: float

    def as_ms(self) -> dict[str, float]:
        return {"median_ms": 1e3 * self.median, "fastest_ms": 1e3 * self.fastest, "slowest_ms": 1e3 * self.slowest}


def timed(run: Callable[[], object], repeats: int) -> Timing:
    """Time a call, after one that does not count."""
    run()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return Timing(float(np.median(seconds)), min(seconds), max(seconds))


def load_average() -> float | None:
    """Of the last minute, where the system tells."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def machine(repeats: int) -> dict[str, Any]:
    """Instruction set, threads, load, and what numpy's matrix product and a copy reach here."""
    random = np.random.default_rng(0)
    matrix = random.random((SGEMM_SIZE, SGEMM_SIZE), np.float32)
    block = np.zeros(COPY_BYTES, np.uint8)
    product, copy = timed(lambda: matrix @ matrix, repeats), timed(block.copy, repeats)
    return {
        "instruction_set": ops.instruction_set(),
        "threads": ops.threads(),
        "load_average": load_average(),
        "sgemm_gflops": 2e-9 * SGEMM_SIZE**3 / product.median,
        "copy_gb_per_second": 2e-9 * COPY_BYTES / copy.median,
    }


def _random_field(dims: int, width: int, rows_log2: int, random: np.random.Generator) -> Field:
    inputs = ENCODED if dims == 3 else TORSO_INPUTS

    def normal(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) * 0.2).astype(np.float32)

    table = normal(4, 1 << rows_log2, ENCODED // 4)
    resolution = np.array([16, 48, 136, 384], np.int32)
    weights = normal(width, inputs), normal(width, width), normal(width), normal(OUTPUTS, width), normal(OUTPUTS)
    return Field(to_bfloat16(table), resolution, *weights)


def random_scene(width: int = 64, rows_log2: int = 17) -> FieldScene:
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
    corners = np.clip(random.normal(size / 2, size / 7, (chunks, patches, 2)), 0, size - 8)
    return RayBatch(
        np.repeat(pose[None], chunks, 0).astype(np.float32),
        random.normal(size=(chunks, scene.head.width)).astype(np.float32) * np.float32(0.3),
        random.normal(size=(chunks, scene.torso.width)).astype(np.float32) * np.float32(0.3),
        random.normal(size=(chunks, 56, 48, 4)).astype(np.float32) * np.float32(2e-3),
        np.zeros((chunks, 6), np.float32),
        corners.astype(np.int32),
        random.random(rays, np.float32) - np.float32(0.5),
        random.integers(0, 256, (*rays, 3), np.uint8),
        random.integers(0, 128, (*rays, 2), np.uint8),
        random.integers(0, 256, (*rays, 3), np.uint8),
        np.ones(rays, np.float32),
        4.5 * size,
        size,
        size,
    )


def bench_train_nerf(repeats: int, chunks: int, patches: int, size: int, compiled: bool) -> dict[str, Any]:
    """Gradients of one step and Adam of the table, beside PyTorch's eager and compiled."""
    scene = random_scene()
    batch, loss = random_batch(scene, chunks, patches, size), FieldLoss(edge=0.5)
    grads = [FieldGradients.zeros(field, 2) for field in (scene.head, scene.torso)]
    table = np.zeros(scene.head.table.shape, np.float32)
    first, second, half = np.zeros_like(table), np.zeros_like(table), scene.head.table.copy()
    samples = [0]

    def step() -> None:
        samples[0] = int(ops.train_field(scene, batch, loss, grads[0], grads[1]).samples.sum())
        ops.adam_table(table, grads[0].table, first, second, half, step=1, lr=1e-6)

    rays = chunks * patches * PATCH_RAYS
    ours = timed(step, repeats)
    result: dict[str, Any] = {
        "rays": rays,
        "samples_per_ray": samples[0] / rays,
        "ours": ours.as_ms()
        | {"rays_per_second": rays / ours.median, "ns_per_sample": 1e9 * ours.median / max(samples[0], 1)},
    }
    for name, timing in _twin_steps(scene, batch, loss, repeats, compiled).items():
        if isinstance(timing, str):
            result[name] = {"not_measured": timing}
        else:
            result[name] = timing.as_ms() | {"times_slower": timing.median / ours.median}
    return result


def _twin_steps(
    scene: FieldScene, batch: RayBatch, loss: FieldLoss, repeats: int, compiled: bool
) -> dict[str, Timing | str]:
    """The PyTorch twin's gradients and Adam of the same batch: a time, or why there is none."""
    try:
        import torch

        from geneface.render import field_torch_train as twin
        from geneface.render.field_torch import TorchFrames, TorchScene
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", "train") from error
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

    results: dict[str, Timing | str] = {"pytorch_eager": timed(stepping(twin.train_loss), repeats)}
    if compiled:
        try:
            results["pytorch_compiled"] = timed(stepping(torch.compile(twin.train_loss, dynamic=True)), repeats)
        except Exception as error:
            results["pytorch_compiled"] = f"torch.compile failed: {str(error).splitlines()[0][:200]}"
    return results


def bench_render(avatar_name: str, size: int, repeats: int, frames: int, twin: bool) -> dict[str, Any]:
    """The renderer of an avatar alone, bytes included, beside its plain twin on one frame."""
    from geneface.avatar.avatar import Avatar

    avatar = Avatar.load(avatar_name)
    camera = Camera(avatar.camera.focal, size, size)
    person, renderer = avatar.files.person, avatar.renderer
    poses = person.path

    def draw() -> None:
        for frame in range(frames):
            row = frame % len(poses)
            renderer.render(person.rest, poses.rotation[row], poses.translation[row], camera).to_uint8()

    timing = timed(draw, repeats)
    per_frame = Timing(*(value / frames for value in (timing.median, timing.fastest, timing.slowest)))
    result: dict[str, Any] = {
        "renderer": avatar.files.config.renderer,
        "avatar": avatar.name,
        "size": size,
        "ours": per_frame.as_ms()
        | {"frames_per_second": 1 / per_frame.median, "megapixels_per_second": 1e-6 * size**2 / per_frame.median},
    }
    picture = renderer.render(person.rest, poses.rotation[0], poses.translation[0], camera)
    if avatar.files.config.renderer == "nerf":
        head = int((picture.head_opacity > 0.5).sum())
        samples = int(getattr(renderer, "samples", 0))
        result["samples_per_head_ray"] = samples / max(head, 1)
        result["ours"]["ns_per_sample"] = 1e9 * per_frame.median / max(samples, 1)
    if twin:
        name, slow = _plain_frame(avatar, camera)
        plain = timed(slow, max(repeats // 3, 1))
        result[name] = plain.as_ms() | {"times_slower": plain.median / per_frame.median}
    return result


def _plain_frame(avatar: Any, camera: Camera) -> tuple[str, Callable[[], object]]:
    """Name and function that draws the first frame by the readable twin: PyTorch for fields, numpy for Gaussians."""
    person = avatar.files.person
    given = person.rest, person.path.rotation[0], person.path.translation[0]
    model = avatar.renderer.model
    if avatar.files.config.renderer == "gaussian":
        frame = model.frame_conditions(*given)

        def numpy_frame() -> object:
            parts = [
                reference.project(
                    layer.base, layer.basis, frame.conditions[layer.input], frame.rotations[layer.frame],
                    frame.translations[layer.frame], camera,
                )
                for layer in model.layers
            ]  # fmt: skip
            values = np.concatenate([part.values for part in parts], 1)
            bounds = np.concatenate([part.bounds for part in parts], 1)
            return reference.rasterize(ops.Splats(values, bounds), camera.width, camera.height)

        return "numpy_reference", numpy_frame
    try:
        import torch

        from geneface.render.field_torch import TorchFrames, TorchScene, render_picture
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", "train") from error
    scene = TorchScene.of(model.scene())
    size = camera.focal * camera.width, camera.width, camera.height
    frames = TorchFrames.of_frame(model.frame(*given), *size, "cpu", torch.float32)
    plate = torch.zeros(camera.height, camera.width, 3)
    return "pytorch_eager", lambda: render_picture(scene, frames, plate)


def bench_motion(avatar_name: str, repeats: int) -> dict[str, Any]:
    """Speech encoder and motion of the bundled sentence: how many times faster than it is spoken."""
    from geneface.avatar.avatar import Avatar
    from geneface.io.audio import read_audio
    from geneface.io.store import asset_path

    avatar = Avatar.load(avatar_name)
    sound = read_audio(asset_path("speech", "demo.flac"))
    core = time.process_time()
    timing = timed(lambda: avatar.motion(sound), repeats)
    core = (time.process_time() - core) / (repeats + 1)
    seconds = len(sound.samples) / SPEECH_RATE_HZ
    return {
        "speech_seconds": seconds,
        "ours": timing.as_ms()
        | {"times_real_time": seconds / timing.median, "times_real_time_of_one_core": seconds / core},
    }


def bench(what: str, renderer: str, avatar: str, size: int, repeats: int, quick: bool) -> dict[str, Any]:
    """Run one benchmark; the machine is described before and after.

    Raises:
        InputError: nothing of that name, or an extra that is missing.
    """
    before = machine(repeats)
    if what == "render":
        result = bench_render(avatar, size, repeats, 4 if quick else 30, twin=not quick)
    elif what == "motion":
        result = bench_motion(avatar, repeats)
    elif what == "train" and renderer == "nerf":
        result = bench_train_nerf(repeats, 4 if quick else 16, 4, size, compiled=not quick)
    else:
        raise InputError(
            f"there is no benchmark {what!r} of the renderer {renderer!r}",
            "choose render, motion, or train --renderer nerf; the Gaussians' training step is in benchmarks/kernels.py",
        )
    return {"benchmark": what, "machine": before, **result, "load_average_after": load_average()}
