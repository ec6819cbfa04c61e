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
from collections.abc import Callable

import numpy as np

from geneface import ops
from geneface.bench.timing import Timing, timed
from geneface.bench.train_gaussian import Scene, make_scene, noisy_target, training_step


def throughput(frame: Timing, size: int) -> str:
    """Frames and pixels a second of square frames, by wall time."""
    rate, slowest, fastest = (1 / seconds for seconds in (frame.median, frame.slowest, frame.fastest))
    return f"{rate:.0f} frames/s ({slowest:.0f} to {fastest:.0f}), {rate * size**2 / 1e6:.1f} Mpixel/s"


def measure(scene: Scene, repeats: int) -> dict[str, Timing]:
    """Times of each kernel, of a rendered frame and of a training step."""
    s, size = scene, scene.camera.width
    view = (s.rotation, s.translation, s.camera)
    splats = ops.project(s.base, s.basis, s.condition, *view)
    output = ops.rasterize(splats, size, size, s.background)
    target = noisy_target(s)
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

    steps: dict[str, Callable[[], object]] = {
        "project": lambda: ops.project(s.base, s.basis, s.condition, *view, out=splats),
        "rasterize": lambda: ops.rasterize(splats, size, size, s.background),
        "to_uint8": lambda: ops.to_uint8(output.image),
        "image_loss": lambda: ops.image_loss(output.image, target, weight),
        "rasterize_backward": lambda: ops.rasterize_backward(output, grad_image),
        "project_backward": lambda: ops.project_backward(s.base, splats, grad_splats, basis.shape[2], *view),
        "adam": lambda: ops.adam(base, back.base, *moments, step=1, lr=1e-6),
        "adam_basis": lambda: ops.adam_basis(
            basis, back.dynamic, s.condition, *basis_moments, step=1, lr=1e-6, decay=0.1
        ),
        "frame": frame,
        "training step": training_step(s, target),
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
        tables = {name: {kernel: timing.as_ms() for kernel, timing in table.items()} for name, table in results.items()}
        print(json.dumps({**vars(arguments), "load_average": os.getloadavg()[0], "milliseconds": tables}))
        return
    print(f"{arguments.gaussians} Gaussians, {arguments.size} px, {arguments.threads} threads: median core / wall ms")
    print(f"{'':20}" + "".join(f"{name:>18}" for name in results))
    for kernel in next(iter(results.values())):
        timings = [result[kernel] for result in results.values()]
        print(f"{kernel:20}" + "".join(f"{1e3 * timing.core:9.2f} /{1e3 * timing.median:7.2f}" for timing in timings))
    for name, table in results.items():
        print(f"{name}: {throughput(table['frame'], arguments.size)}")
    print(f"load average of the last minute: {os.getloadavg()[0]:.2f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
