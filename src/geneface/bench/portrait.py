"""A renderer's real training steps on a portrait: reading, losses, optimiser and all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from geneface.ops import PATCH_RAYS
from geneface.portrait.portrait import Portrait
from geneface.training.gaussian.train import GaussianTrainer
from geneface.training.nerf.config import nerf_config
from geneface.training.nerf.train import NerfTrainer
from geneface.training.renderer.config import renderer_config
from geneface.training.renderer.run import Trainer


def bench_portrait(folder: Path, renderer: str, preset: str, steps: int) -> dict[str, Any]:
    """The first steps of `geneface train`; the last quarter of them is timed.

    By then a radiance field has found its surfaces; later on, its rays have a few samples less.
    """
    portrait = Portrait.load(folder)
    if renderer == "nerf":
        nerf = nerf_config(preset)
        wall, core = _steps(NerfTrainer(portrait, nerf), steps)
        rays = nerf.frames_per_step * nerf.patches_per_frame * PATCH_RAYS
    else:
        wall, core = _steps(GaussianTrainer(portrait, renderer_config(preset), None), steps)
        rays = portrait.size**2
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
            "rays_per_second" if renderer == "nerf" else "pixels_per_second": rays / float(np.mean(wall[late])),
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
