"""How long the radiance-field kernels take: nanoseconds a sample, for each instruction set of the machine.

    python benchmarks/field.py [--threads 1] [--width 64] [--size 256] [--repeats 7] [--json]

forward       grid and network at random points: every row of the table comes from far away
backward      the same, and gradients of everything; one thread whatever --threads says
adam_table    ns a row that was touched; a hundredth of the rows are
render_field  a picture of the random head of `geneface bench`
train_field   gradients of patches of that head

Times are medians (least-most). Gflop/s counts what the field's arithmetic needs, not what was executed: two operations
for each weight and point of the network, two for each feature of each corner of the grid; twice as many again on the
way back for the network, and as many for rows and positions. The share is of numpy's matrix product, on as many threads
as its library takes. Neighbours disturb such figures: the load stands above them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from geneface import ops
from geneface.bench.timing import Timing, machine, timed
from geneface.bench.train_nerf import random_batch, random_scene
from geneface.ops.field import ENCODED, FEATURES, FIELD_BLOCK, LEVELS, OUTPUTS, FieldGradients, field_backward
from geneface.ops.nerf import FieldFrame, FieldLoss, FieldScene

POINTS = 64 * FIELD_BLOCK
TOUCHED_ROWS = 0.01


@dataclass(frozen=True)
class Measured:
    """What one kernel took."""

    timing: Timing
    items: int
    """Samples, or rows of the table."""
    flops: int = 0
    """Operations an item; 0 where memory is what counts."""

    def figures(self, peak_gflops: float) -> dict[str, float]:
        median, fastest, slowest = (
            1e9 * value / self.items for value in (self.timing.median, self.timing.fastest, self.timing.slowest)
        )
        found = {"ns": median, "fastest_ns": fastest, "slowest_ns": slowest}
        if self.flops:
            found |= {"gflops": self.flops / median, "share_of_sgemm": self.flops / median / peak_gflops}
        return found


def forward_flops(width: int, dims: int = 3) -> int:
    """Of one point: grid and network."""
    return _grid_flops(dims) + _network_flops(width)


def training_flops(width: int, dims: int = 3) -> int:
    """Of one point, forward and backward."""
    return 3 * _grid_flops(dims) + 3 * _network_flops(width)


def _grid_flops(dims: int) -> int:
    return 2 * LEVELS * (1 << dims) * FEATURES


def _network_flops(width: int) -> int:
    return 2 * width * (ENCODED + width + OUTPUTS)


def measure(scene: FieldScene, size: int, repeats: int) -> dict[str, Measured]:
    """Times of each kernel with the instruction set in use."""
    random = np.random.default_rng(2)
    head, width = scene.head, scene.head.width
    positions = random.random((3, POINTS), np.float32)
    bias = np.zeros((POINTS // FIELD_BLOCK, width), np.float32)
    grad_raw = random.random((OUTPUTS, POINTS), np.float32)

    batch, loss = random_batch(scene, 4, 4, size), FieldLoss(edge=0.5)
    grads = [FieldGradients.zeros(field, ops.threads()) for field in (head, scene.torso)]
    trained = int(ops.train_field(scene, batch, loss, *grads).samples.sum())

    plate = np.zeros((size, size, 3), np.float32)
    frame = FieldFrame(
        batch.poses[0, :9].reshape(3, 3).copy(),
        batch.poses[0, 9:].copy(),
        batch.head_bias[0].copy(),
        batch.torso_bias[0].copy(),
        batch.warp[0].copy(),
        batch.torso_motion[0].copy(),
    )
    *_, drawn = ops.render_field(scene, frame, batch.focal_px, plate)

    return {
        "forward": Measured(
            timed(lambda: ops.field_forward(head, positions, bias), repeats), POINTS, forward_flops(width)
        ),
        "backward": Measured(
            timed(lambda: field_backward(head, positions, bias, grad_raw), repeats), POINTS, training_flops(width)
        ),
        "adam_table": _measure_adam(head.table.shape, repeats, random),
        "render_field": Measured(
            timed(lambda: ops.render_field(scene, frame, batch.focal_px, plate), repeats), drawn, forward_flops(width)
        ),
        "train_field": Measured(
            timed(lambda: ops.train_field(scene, batch, loss, *grads), repeats), trained, training_flops(width)
        ),
    }


def _measure_adam(shape: tuple[int, ...], repeats: int, random: np.random.Generator) -> Measured:
    """The call clears the gradient, so each of them, the one that does not count included, gets one of its own."""
    touched = random.random(shape[:-1]) < TOUCHED_ROWS
    gradient = touched[None, ..., None] * np.ones(shape, np.float32)
    given = [gradient.astype(np.float32) for _ in range(repeats + 1)]
    param, first, second = (np.zeros(shape, np.float32) for _ in range(3))
    half = np.zeros(shape, np.uint16)
    timing = timed(lambda: ops.adam_table(param, given.pop(), first, second, half, step=1, lr=1e-6), repeats)
    return Measured(timing, int(touched.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=int, choices=(32, 64), default=64)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    ops.set_threads(arguments.threads)
    scene, facts = random_scene(arguments.width), machine(arguments.repeats)
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for name in ops.available_instruction_sets():
        ops.use_instruction_set(name)
        measured = measure(scene, arguments.size, arguments.repeats)
        results[name] = {kernel: timing.figures(facts["sgemm_gflops"]) for kernel, timing in measured.items()}
    if arguments.json:
        print(json.dumps({**vars(arguments), "machine": facts, "kernels": results}))
        return
    print(f"width {arguments.width}, {arguments.size} px, {arguments.threads} threads, load {facts['load_average']}")
    print(f"numpy's matrix product: {facts['sgemm_gflops']:.0f} Gflop/s; ns an item (least-most), Gflop/s, share")
    for name, kernels in results.items():
        print(name)
        for kernel, found in kernels.items():
            line = f"  {kernel:14}{found['ns']:8.1f} ({found['fastest_ns']:.1f}-{found['slowest_ns']:.1f})"
            if "gflops" in found:
                line += f"  {found['gflops']:6.1f} Gflop/s  {100 * found['share_of_sgemm']:5.1f} %"
            print(line)


if __name__ == "__main__":
    main()
