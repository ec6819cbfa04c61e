"""An avatar's renderer alone, compared with its PyTorch twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from geneface.avatar.avatar import Avatar
from geneface.bench.timing import Timing, compared, network, timed
from geneface.bench.train_gaussian import TWIN_TILE_PX
from geneface.bench.twin import compiled_step, torch_extra
from geneface.render.detail import plain
from geneface.render.gaussian import GaussianRenderer
from geneface.render.nerf import NerfRenderer
from geneface.types import Camera, FloatArray


def bench_render(avatar: Avatar, size: int, repeats: int, frames: int, twin: bool) -> dict[str, Any]:
    """The renderer of an avatar alone, bytes included, and its twin on one frame."""
    resting, renderer = avatar.files.person.at_rest(), plain(avatar.renderer)
    track = resting[np.arange(frames) % len(resting)]

    def draw() -> None:
        for _ in avatar.draw(track, size=size):
            pass

    per_frame = timed(draw, repeats).of(frames)
    result: dict[str, Any] = {
        "renderer": avatar.files.config.renderer,
        "avatar": avatar.name,
        "size": size,
        "ours": per_frame.as_ms()
        | {"frames_per_second": 1 / per_frame.median, "megapixels_per_second": 1e-6 * size**2 / per_frame.median},
    }
    picture = next(avatar.drawn(track[:1], size=size))
    if isinstance(renderer, NerfRenderer):
        head = int((picture.head_opacity > 0.5).sum())
        samples = renderer.samples
        result["samples_per_head_ray"] = samples / max(head, 1)
        result["ours"]["ns_per_sample"] = 1e9 * per_frame.median / max(samples, 1)
        result["network"] = network(renderer.model.head.field, repeats)
    if twin:
        first = track.points[0], track.pose.rotation[0], track.pose.translation[0]
        with torch_extra():
            draw_twin = _TWINS[avatar.files.config.renderer](renderer, first, Camera(avatar.camera.focal, size, size))
        result |= _time_twin(*draw_twin, ours=per_frame, repeats=repeats)
    return result


def _time_twin(draw: Callable[..., object], *arguments: Any, ours: Timing, repeats: int) -> dict[str, dict[str, Any]]:
    """The first frame drawn by the renderer's PyTorch twin, eager and compiled."""
    import torch

    few = max(repeats // 2, 1)

    def drawing(function: Callable[..., object]) -> Callable[[], None]:
        def frame() -> None:
            with torch.inference_mode():
                function(*arguments)

        return frame

    return {
        "pytorch_eager": compared(ours, timed(drawing(draw), few)),
        "pytorch_compiled": compiled_step(draw, drawing, ours, few, dynamic=None),
    }


def _field_twin(
    renderer: NerfRenderer, given: tuple[FloatArray, FloatArray, FloatArray], camera: Camera
) -> tuple[Any, ...]:
    """The twin's function and its arguments."""
    import torch

    from geneface.bench.torch_field import TorchFrames, TorchScene, render_picture

    size = camera.focal * camera.width, camera.width, camera.height
    frames = TorchFrames.of_frame(renderer.model.frame(*given), *size, "cpu", torch.float32)
    return render_picture, TorchScene.of(renderer.model.scene()), frames, torch.zeros(camera.height, camera.width, 3)


def _gaussian_twin(
    renderer: GaussianRenderer, given: tuple[FloatArray, FloatArray, FloatArray], camera: Camera
) -> tuple[Any, ...]:
    """The same for Gaussians, from the conditions of the layers on."""
    import torch

    from geneface.bench import torch_gaussian as twin

    model = renderer.model
    frame = model.frame_conditions(*given)

    def tensor(values: FloatArray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(values, np.float32))

    layers = [
        (
            tensor(layer.base),
            tensor(layer.basis),
            tensor(frame.conditions[layer.input]),
            tensor(frame.rotations[layer.frame]),
            tensor(frame.translations[layer.frame]),
        )
        for layer in model.layers
    ]

    def draw(plate: Any) -> object:
        parts = [twin.project(*layer, camera) for layer in layers]
        splats = twin.TorchSplats(
            *(torch.cat(rows, 1) for rows in zip(*((p.values, p.bounds) for p in parts), strict=True))
        )
        return twin.rasterize(splats, camera.width, camera.height, plate, tile_px=TWIN_TILE_PX)

    return draw, torch.zeros(camera.height, camera.width, 3)


_TWINS: dict[str, Callable[..., tuple[Any, ...]]] = {"gaussian": _gaussian_twin, "nerf": _field_twin}
"""By the names of `render.registry`: (renderer, (landmarks, rotation, translation), camera) -> function, arguments."""
