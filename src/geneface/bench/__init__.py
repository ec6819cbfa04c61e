"""What `geneface bench` measures: ours and the plain twin, the same scene and the same pixels, in one run.

Every duration is a median of several, with the fastest and the slowest; ratios are what carries over to other machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geneface.avatar.avatar import Avatar
from geneface.bench.motion import bench_motion
from geneface.bench.portrait import bench_portrait
from geneface.bench.render import bench_render
from geneface.bench.timing import load_average, machine
from geneface.bench.train_gaussian import bench_train_gaussian
from geneface.bench.train_nerf import bench_train_nerf
from geneface.errors import InputError
from geneface.training.trainers import training_of

TRAIN_BENCHMARKS = {"gaussian": bench_train_gaussian, "nerf": bench_train_nerf}
"""A training step and its twin, by the names of `render.registry`."""


@dataclass(frozen=True)
class BenchSettings:
    """What `bench` is asked for."""

    renderer: str = "nerf"
    """Of `train`."""
    preset: str = "fast"
    """Of `train`: whose network, or whose steps on a portrait."""
    avatar: str = "grid-s1"
    """Of `render` and `motion`."""
    portrait: Path | None = None
    """Of `train`: real steps on it, instead of the random scene with its twin."""
    size: int | None = None
    """Pixels; by default what the benchmark is named after."""
    repeats: int = 5
    quick: bool = False
    """Little work and no compiled twin."""
    encoder_path: Path | str | None = None
    """Of `render` and `motion`: weights of the avatar's speech encoder, where that is not shipped."""


def bench(what: str, settings: BenchSettings) -> dict[str, Any]:
    """Run one benchmark: render, train or motion. The machine's load before and after is part of the result.

    Raises:
        InputError: nothing of that name, or an extra that is missing.
    """
    if what not in ("render", "train", "motion"):
        raise InputError(f"there is no benchmark {what!r}", "choose render, train or motion")
    if what == "train" and settings.encoder_path is not None:
        raise InputError("no speech is heard where training is timed", "leave out --encoder-path")
    training_of(settings.renderer).config(settings.preset)
    repeats, quick, preset = settings.repeats, settings.quick, settings.preset
    before = machine(repeats)
    if what == "render":
        result = bench_render(_avatar(settings), settings.size or 256, repeats, 4 if quick else 30, twin=not quick)
    elif what == "motion":
        result = bench_motion(_avatar(settings), repeats, twin=not quick)
    elif settings.portrait is not None:
        result = bench_portrait(settings.portrait, settings.renderer, preset, 30 if quick else 600)
    else:
        result = TRAIN_BENCHMARKS[settings.renderer](preset, repeats, settings.size, quick)
    return {"benchmark": what, "machine": before, **result, "load_average_after": load_average()}


def _avatar(settings: BenchSettings) -> Avatar:
    return Avatar.load(settings.avatar, settings.encoder_path)
