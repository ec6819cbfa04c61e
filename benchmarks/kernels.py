"""How long the kernels take: median milliseconds of a synthetic head, for each instruction set of the machine.

Below the table: frames and megapixels a second by the median wall time, the slowest and the fastest frame, and the
load of the machine, without which the figures mean little.

    python benchmarks/kernels.py [--threads 1] [--gaussians 20000] [--size 256] [--json]

The head is an ellipsoid's surface of small Gaussians above a torso's slab; half of them move with a condition of twenty
values; they cover about half of the image.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from geneface import ops
from geneface.types import Camera


@dataclass
class Scene:
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


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a call: medians, and how far single calls lie apart."""

    core: float
    """Processor time of all threads together."""
    wall: float
    fastest_wall: float
    slowest_wall: float


def timed(run: Callable[[], object], repeats: int) -> Timing:
    """Times of a call, after one that does not count."""
    run()
    times = []
    for _ in range(repeats):
        core, wall = time.process_time(), time.perf_counter()
        run()
        times.append((time.process_time() - core, time.perf_counter() - wall))
    core, wall = np.transpose(times) * 1e3
    return Timing(*(round(float(x), 3) for x in (np.median(core), np.median(wall), wall.min(), wall.max())))


def throughput(frame: Timing, size: int) -> str:
    """Frames and pixels a second of square frames, by wall time."""
    rate, slowest, fastest = (1e3 / ms for ms in (frame.wall, frame.slowest_wall, frame.fastest_wall))
    return f"{rate:.0f} frames/s ({slowest:.0f} to {fastest:.0f}), {rate * size**2 / 1e6:.1f} Mpixel/s"


def measure(scene: Scene, repeats: int) -> dict[str, Timing]:
    """Times of each kernel, of a rendered frame and of a training step."""
    s, size = scene, scene.camera.width
    view = (s.rotation, s.translation, s.camera)
    splats = ops.project(s.base, s.basis, s.condition, *view)
    output = ops.rasterize(splats, size, size, s.background)
    target = np.clip(output.rgb + np.random.default_rng(1).normal(size=output.rgb.shape) * 0.1, 0, 1).astype(np.float32)
    weight = np.ones((size, size), np.float32)
    _, grad_image = ops.image_loss(output.image, target, weight)
    grad_splats = ops.rasterize_backward(output, grad_image)
    back = ops.project_backward(s.base, splats, grad_splats, s.basis.shape[2], *view)
    base, basis = s.base.copy(), s.basis.copy()
    moments = np.zeros_like(base), np.zeros_like(base)
    basis_moments = np.zeros_like(basis), np.zeros_like(basis)

    def frame() -> None:
        ops.project(s.base, s.basis, s.condition, *view, out=splats)
        ops.to_uint8(ops.rasterize(splats, size, size, s.background).image)

    def training_step() -> None:
        ops.project(base, basis, s.condition, *view, out=splats)
        rendered = ops.rasterize(splats, size, size, s.background)
        _, grad = ops.image_loss(rendered.image, target, weight)
        gradients = ops.project_backward(base, splats, ops.rasterize_backward(rendered, grad), basis.shape[2], *view)
        ops.adam(base, gradients.base, *moments, step=1, lr=1e-6)
        ops.adam_basis(basis, gradients.dynamic, s.condition, *basis_moments, step=1, lr=1e-6)

    steps: dict[str, Callable[[], object]] = {
        "project": lambda: ops.project(s.base, s.basis, s.condition, *view, out=splats),
        "rasterize": lambda: ops.rasterize(splats, size, size, s.background),
        "to_uint8": lambda: ops.to_uint8(output.image),
        "image_loss": lambda: ops.image_loss(output.image, target, weight),
        "rasterize_backward": lambda: ops.rasterize_backward(output, grad_image),
        "project_backward": lambda: ops.project_backward(s.base, splats, grad_splats, basis.shape[2], *view),
        "condition_gradient": lambda: ops.condition_gradient(s.basis, back.dynamic),
        "adam": lambda: ops.adam(base, back.base, *moments, step=1, lr=1e-6),
        "adam_basis": lambda: ops.adam_basis(
            basis, back.dynamic, s.condition, *basis_moments, step=1, lr=1e-6, decay=0.1
        ),
        "frame": frame,
        "training step": training_step,
    }
    return {name: timed(run, repeats) for name, run in steps.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gaussians", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    ops.set_threads(arguments.threads)
    scene = make_scene(arguments.gaussians, arguments.size)
    results = {}
    for name in ops.available_instruction_sets():
        ops.use_instruction_set(name)
        results[name] = measure(scene, arguments.repeats)
    if arguments.json:
        tables = {name: {kernel: asdict(timing) for kernel, timing in table.items()} for name, table in results.items()}
        print(json.dumps({**vars(arguments), "load_average": os.getloadavg()[0], "milliseconds": tables}))
        return
    print(f"{arguments.gaussians} Gaussians, {arguments.size} px, {arguments.threads} threads: median core / wall ms")
    print(f"{'':20}" + "".join(f"{name:>18}" for name in results))
    for kernel in next(iter(results.values())):
        timings = [result[kernel] for result in results.values()]
        print(f"{kernel:20}" + "".join(f"{timing.core:9.2f} /{timing.wall:7.2f}" for timing in timings))
    for name, table in results.items():
        print(f"{name}: {throughput(table['frame'], arguments.size)}")
    print(f"load average of the last minute: {os.getloadavg()[0]:.2f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
