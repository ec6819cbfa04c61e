"""Durations, and what the machine can do at most."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from geneface import ops
from geneface.ops.field import ENCODED, FIELD_BLOCK, OUTPUTS, Field
from geneface.ops.native import kernels

SGEMM_SIZE = 1024
COPY_BYTES = 1 << 27
PEAK_ROUNDS = 200_000
NETWORK_POINTS = 1 << 14
"""So few that their inputs stay in the cache."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one call."""

    median: float
    fastest: float
    slowest: float
    core: float
    """Processor seconds of all threads together, median."""

    def as_ms(self) -> dict[str, float]:
        """Milliseconds by name."""
        names = {"median_ms": self.median, "fastest_ms": self.fastest, "slowest_ms": self.slowest, "core_ms": self.core}
        return {name: 1e3 * value for name, value in names.items()}

    def of(self, parts: int) -> Timing:
        """The time of one of several equal parts."""
        return Timing(self.median / parts, self.fastest / parts, self.slowest / parts, self.core / parts)


def timed(run: Callable[[], object], repeats: int, warm_up: int = 1) -> Timing:
    """Time a call, after some that do not count."""
    for _ in range(warm_up):
        run()
    wall, core = [], []
    for _ in range(repeats):
        started, core_started = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - started)
        core.append(time.process_time() - core_started)
    return Timing(float(np.median(wall)), min(wall), max(wall), float(np.median(core)))


def compared(ours: Timing, twin: Timing) -> dict[str, float]:
    """A twin's times and how many times as long as ours it takes."""
    return twin.as_ms() | {"times_slower": twin.median / ours.median}


def load_average() -> float | None:
    """Of the last minute, where the system tells."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def machine(repeats: int) -> dict[str, Any]:
    """Instruction set, threads, load, and what multiply-adds, numpy's matrix product and a copy reach here."""
    random = np.random.default_rng(0)
    matrix = random.random((SGEMM_SIZE, SGEMM_SIZE), np.float32)
    block = np.zeros(COPY_BYTES, np.uint8)
    product, copy = timed(lambda: matrix @ matrix, repeats), timed(block.copy, repeats)
    return {
        "instruction_set": ops.instruction_set(),
        "threads": ops.threads(),
        "load_average": load_average(),
        **peaks(repeats),
        "sgemm_gflops": 2e-9 * SGEMM_SIZE**3 / product.median,
        "copy_gb_per_second": 2e-9 * COPY_BYTES / copy.median,
    }


def peaks(repeats: int) -> dict[str, float]:
    """Gflop/s of multiply-adds alone, all threads: float32, and bfloat16 pairs where the kernels use them."""

    def reached(halves: bool) -> float:
        operations = ops.multiply_peak(PEAK_ROUNDS, halves=halves)
        return 1e-9 * operations / timed(lambda: ops.multiply_peak(PEAK_ROUNDS, halves=halves), repeats).median

    result = {"fp32_peak_gflops": reached(False)}
    return result | {"bf16_peak_gflops": reached(True)} if kernels().half_network() else result


def network(field: Field, repeats: int) -> dict[str, float]:
    """The fused network's forward pass alone on one thread: Gflop/s, and its share of one thread's peak."""
    threads = ops.threads()
    ops.set_threads(1)
    try:
        return _network(field, peaks(repeats), max(repeats, 5))
    finally:
        ops.set_threads(threads)


def _network(field: Field, peak: dict[str, float], repeats: int) -> dict[str, float]:
    inputs = np.random.default_rng(0).random((ENCODED, NETWORK_POINTS), np.float32)
    bias = np.zeros((NETWORK_POINTS // FIELD_BLOCK, field.width), np.float32)
    timing = timed(lambda: ops.field_network(field, inputs, bias), repeats)
    operations = 2 * field.width * (ENCODED + field.width + OUTPUTS)
    gflops = 1e-9 * operations * NETWORK_POINTS / timing.median
    limit = peak.get("bf16_peak_gflops", peak["fp32_peak_gflops"])
    return {
        "threads": 1,
        "gflops": gflops,
        "share_of_peak": gflops / limit,
        "ns_per_sample": 1e9 * timing.median / NETWORK_POINTS,
    }
