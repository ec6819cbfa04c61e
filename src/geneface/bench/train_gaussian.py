"""The Gaussians' training step and its PyTorch twin, on a random head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from geneface import ops
from geneface.bench.timing import Timing, compared, timed
from geneface.bench.twin import compiled_step, torch_extra
from geneface.types import Camera, FloatArray

TWIN_TILE_PX = 8
"""Suits PyTorch better than 16: less of a tile's work is thrown away."""


@dataclass
class Scene:
    """N Gaussians, half of them moved by a condition, before a plate."""

    base: np.ndarray
    basis: np.ndarray
    condition: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    camera: Camera
    background: np.ndarray


def make_scene(gaussians: int, size: int, conditions: int = 20) -> Scene:
    """A head-like cloud; the Gaussians' size follows from their number, so that the surface is covered."""
    random = np.random.default_rng(0)
    head = random.normal(size=(3, gaussians))
    head /= np.linalg.norm(head, axis=0)
    head *= np.array([0.22, 0.32, 0.25])[:, None]
    head += random.normal(size=head.shape) * 0.004
    torso = np.arange(gaussians) >= gaussians * 4 // 5
    head[:, torso] = random.uniform(-1, 1, (3, torso.sum())) * np.array([[0.45], [0.12], [0.1]]) - [[0], [0.42], [0]]
    spacing = np.sqrt(0.9 / gaussians)
    base = np.zeros((ops.BASE_ROWS, gaussians), np.float32)
    base[:3] = head
    base[3:6] = np.log(spacing * random.uniform(0.2, 0.8, (3, gaussians)))
    base[6:10] = random.normal(size=(4, gaussians))
    base[10] = random.normal(size=gaussians) * 2 + 1
    base[11:] = random.random((3, gaussians))
    basis = random.normal(size=(conditions, len(ops.DYNAMIC_ROWS), gaussians // 2)).astype(np.float32) * 1e-3
    condition = random.normal(size=conditions).astype(np.float32)
    return Scene(
        base,
        basis,
        condition,
        np.eye(3, dtype=np.float32),
        np.array([0, 0.05, -4], np.float32),
        Camera(3.6, size, size),
        random.random((size, size, 3), np.float32),
    )


def training_step(scene: Scene, target: FloatArray) -> Callable[[], object]:
    """A whole step towards a picture: projection, blending, loss, all gradients, Adam."""
    size, view = scene.camera.width, (scene.rotation, scene.translation, scene.camera)
    base, basis, condition = scene.base.copy(), scene.basis.copy(), scene.condition
    moments = [np.zeros_like(array) for array in (base, base, basis, basis)]
    weight = np.ones((size, size), np.float32)
    splats = ops.project(base, basis, condition, *view)

    def step() -> None:
        ops.project(base, basis, condition, *view, out=splats)
        drawn = ops.rasterize(splats, size, size, scene.background)
        _, grad = ops.image_loss(drawn.image, target, weight)
        gradients = ops.project_backward(base, splats, ops.rasterize_backward(drawn, grad), basis.shape[2], *view)
        ops.adam(base, gradients.base, *moments[:2], step=1, lr=1e-6)
        ops.adam_basis(basis, gradients.dynamic, condition, *moments[2:], step=1, lr=1e-6)

    return step


def noisy_target(scene: Scene) -> FloatArray:
    """The scene's own picture [H, W, 3] with noise: what a step is trained towards."""
    splats = ops.project(scene.base, scene.basis, scene.condition, scene.rotation, scene.translation, scene.camera)
    picture = ops.rasterize(splats, scene.camera.width, scene.camera.height, scene.background).rgb
    noise = np.random.default_rng(1).normal(size=picture.shape) * 0.1
    return np.clip(picture + noise, 0, 1).astype(np.float32)


def bench_train_gaussian(preset: str, repeats: int, size: int | None, quick: bool) -> dict[str, Any]:
    """One training step, and PyTorch's eager and compiled; it is the same for every preset. By default of 512 px."""
    gaussians, size = 500 if quick else 30_000, size or 512
    scene = make_scene(gaussians, size)
    target = noisy_target(scene)
    ours = timed(training_step(scene, target), repeats)
    return {
        "gaussians": gaussians,
        "size": size,
        "ours": ours.as_ms() | {"megapixels_per_second": 1e-6 * size**2 / ours.median},
        **_twin_steps(scene, target, repeats, ours, compiled=not quick),
    }


def _twin_steps(
    scene: Scene, target: FloatArray, repeats: int, ours: Timing, compiled: bool
) -> dict[str, dict[str, Any]]:
    """The PyTorch twin's step with the same Gaussians and the same picture."""
    with torch_extra():
        import torch

        from geneface.bench import torch_gaussian as twin
    base, basis, condition, rotation, translation, background, goal = (
        torch.from_numpy(array.copy())
        for array in (
            scene.base, scene.basis, scene.condition, scene.rotation, scene.translation, scene.background, target
        )
    )  # fmt: skip
    leaves = [base.requires_grad_(), basis.requires_grad_()]
    adam = torch.optim.Adam(leaves, lr=1e-6)

    def stepping(train_loss: Callable[..., Any]) -> Callable[[], None]:
        def step() -> None:
            adam.zero_grad()
            loss = train_loss(
                base,
                basis,
                condition,
                rotation,
                translation,
                scene.camera,
                goal,
                background=background,
                tile_px=TWIN_TILE_PX,
            )
            loss.backward()
            adam.step()

        return step

    results = {"pytorch_eager": compared(ours, timed(stepping(twin.train_loss), max(repeats // 2, 1)))}
    if compiled:
        results["pytorch_compiled"] = compiled_step(twin.train_loss, stepping, ours, max(repeats // 2, 1), dynamic=None)
    return results
