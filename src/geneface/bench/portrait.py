"""A renderer's real training steps on a portrait: reading, losses, optimiser and all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from geneface.portrait.portrait import Portrait
from geneface.training.renderer.run import Trainer
from geneface.training.trainers import training_of


def bench_portrait(folder: Path, renderer: str, preset: str, steps: int) -> dict[str, Any]:
    """The first steps of `geneface train`; the last quarter of them is timed.

    By then a radiance field has found its surfaces; later on, its rays have a few samples fewer.
    """
    portrait = Portrait.load(folder)
    training = training_of(renderer)
    trainer = training.trainer(portrait, training.config(preset))
    wall, core = _steps(trainer, steps)
    late = slice(steps * 3 // 4, None)
    median = float(np.median(wall[late]))
    return {
        "portrait": str(folder),
        "renderer": renderer,
        "preset": preset,
        "size": portrait.size,
        "training_frames": int((~portrait.heldout).sum()),
        "steps": steps,
        "ours": {
            "median_ms": 1e3 * median,
            "fastest_ms": 1e3 * min(wall[late]),
            "slowest_ms": 1e3 * max(wall[late]),
            "core_ms": 1e3 * float(np.mean(core[late])),
            f"{trainer.unit}_per_second": trainer.units_per_step / float(np.mean(wall[late])),
        },
    }


def _steps(trainer: Trainer, steps: int) -> tuple[list[float], list[float]]:
    """Wall and processor seconds of each step, what it waited for its data included."""
    wall, core = [], []
    started, core_started = time.perf_counter(), time.process_time()
    for batch in trainer.batches(0, steps):
        trainer.step(batch)
        now, core_now = time.perf_counter(), time.process_time()
        wall.append(now - started)
        core.append(core_now - core_started)
        started, core_started = now, core_now
    return wall, core
