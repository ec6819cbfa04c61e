"""How cost grows: with the size of the picture, the length of the sound, of the portrait, and the number of Gaussians.

    python benchmarks/scaling.py --out FOLDER [--avatar grid-s1 [NERF_AVATAR ...]] [--portrait PORTRAIT]
        [--only sizes|sound|portrait|gaussians ...] [--repeats 5] [--steps 60] [--quick]

sizes      ms a frame of each avatar's renderer alone, bytes included, as `geneface bench render`; x is pixels
sound      seconds and peak memory of `geneface render`, a process of its own, of the first avatar at 256 px
portrait   of a training of a fixed number of steps, both renderers: seconds from process start to end (the fixed start
           and the steps), ms a step, seconds up to the first step, peak memory; x is the portrait's frames, its first
gaussians  ms of a frame and of a training step of the head of `benchmarks/kernels.py` at 256 px

Every figure is a median of at least five, with least and most. FOLDER gets a PNG of each, scaling.png with the main
panel of all that were measured, and scaling.json. Pictures need matplotlib, which the development extras bring.

A training that has just begun is what `portrait` shows: a field's steps get cheaper when the empty space has been
found.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chain
import kernels
from scaling_report import Curve, Panel, Spread, draw, panel_numbers, panel_text

from geneface import ops
from geneface.avatar.avatar import Avatar
from geneface.bench.render import bench_render
from geneface.bench.timing import load_average, machine
from geneface.training.trainers import TRAININGS

SIZES = (128, 192, 256, 384, 512, 768)
SOUND_SECONDS = (5, 10, 20, 40, 80, 160)
SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
GAUSSIANS = (5_000, 10_000, 20_000, 30_000, 50_000, 100_000)
LEAST_REPEATS = 5
SIZE = 256
"""Pixels of a side where they are not what changes."""
FRAMES = 30
"""Of a call that is timed in `sizes`."""
TRAIN_SCRIPT = Path(__file__).with_name("scaling_train.py")


def measure_sizes(arguments: argparse.Namespace) -> list[Panel]:
    sizes, frames = (SIZES[:2], 2) if arguments.quick else (SIZES, FRAMES)
    curves = []
    for name in arguments.avatar:
        avatar = Avatar.load(name)
        found = [bench_render(avatar, size, arguments.repeats, frames, twin=False) for size in sizes]
        points = [
            {"median": ms["median_ms"], "min": ms["fastest_ms"], "max": ms["slowest_ms"]}
            for ms in (result["ours"] for result in found)
        ]
        label = f"{found[0]['avatar']} ({found[0]['renderer']})"
        curves.append(Curve(label, [float(size**2) for size in sizes], points))
    names = [f"{size}²" for size in sizes]
    return [Panel("Renderer alone", "pixels of the picture", "ms a frame", curves, names)]


def in_turn(cases: list[Any], run: Callable[[Any], dict[str, float]], repeats: int) -> dict[str, list[Spread]]:
    """Spreads by figure, one for each case; cases take turns, so that a busy minute does not hit one alone."""
    rounds = [[run(case) for case in cases] for _ in range(repeats)]
    return {
        name: [chain.spread([row[number][name] for row in rounds]) for number in range(len(cases))]
        for name in rounds[0][0]
    }


def measure_sound(arguments: argparse.Namespace) -> list[Panel]:
    lengths = [float(seconds) for seconds in ((1, 2) if arguments.quick else SOUND_SECONDS)]
    avatar = arguments.avatar[0]
    with tempfile.TemporaryDirectory() as folder:
        sounds, out = chain.write_sounds(Path(folder), set(lengths)), Path(folder) / "out.mp4"
        chain.run_render(avatar, sounds[lengths[0]], SIZE, out)
        runs = in_turn(lengths, lambda s: chain.run_render(avatar, sounds[s], SIZE, out), arguments.repeats)
    names = [f"{seconds:g}" for seconds in lengths]
    return [
        Panel(title, "seconds of sound", label, [Curve(Path(avatar).name, lengths, runs[key])], names)
        for title, label, key in (
            (f"Sound file to MP4, {SIZE} px", "seconds", "seconds"),
            (f"Sound file to MP4, {SIZE} px", "peak memory, MB", "peak_mb"),
        )
    ]


def measure_portrait(arguments: argparse.Namespace) -> list[Panel]:
    shares, steps = (SHARES[-2:], min(arguments.steps, 9)) if arguments.quick else (SHARES, arguments.steps)
    frames: list[float] = []
    curves: dict[str, list[Curve]] = {"seconds": [], "step_ms": [], "start_seconds": [], "peak_mb": []}
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for number, share in enumerate(shares):
            parts.append(str(Path(folder) / str(number)))
            # In another process: a child's peak memory is never below what this one has used.
            cut = [sys.executable, str(TRAIN_SCRIPT), "cut", str(arguments.portrait), str(share), parts[-1]]
            frames.append(float(json.loads(chain.run_process(cut)[0])["frames"]))
        for renderer in TRAININGS:

            def run(part: str, renderer: str = renderer) -> dict[str, float]:
                command = [sys.executable, str(TRAIN_SCRIPT), "train", part, renderer, str(steps)]
                printed, _, usage = chain.run_process(command)
                return {**usage, **json.loads(printed)}

            run(parts[0])
            runs = in_turn(parts, run, arguments.repeats)
            for key, found in curves.items():
                found.append(Curve(renderer, frames, runs[key]))
    names = [f"{count:.0f}" for count in frames]
    return [
        Panel(title, "frames of the portrait", label, curves[key], names)
        for title, label, key in (
            (f"Training, start and {steps} steps", "seconds", "seconds"),
            ("One training step", "ms", "step_ms"),
            ("From opening the portrait to the end of the first step", "seconds", "start_seconds"),
            (f"Training, {steps} steps", "peak memory, MB", "peak_mb"),
        )
    ]


def measure_gaussians(arguments: argparse.Namespace) -> list[Panel]:
    counts = (1_000, 2_000) if arguments.quick else GAUSSIANS
    steps = {"frame": "a frame", "training step": "a training step"}
    points: dict[str, list[Spread]] = {name: [] for name in steps}
    for count in counts:
        timings = kernels.measure(kernels.make_scene(count, SIZE), arguments.repeats)
        for name, found in points.items():
            timing = timings[name]
            found.append({"median": 1e3 * timing.median, "min": 1e3 * timing.fastest, "max": 1e3 * timing.slowest})
    x = [float(count) for count in counts]
    curves = [Curve(steps[name], x, found) for name, found in points.items()]
    return [Panel(f"Kernels, {SIZE} px", "Gaussians", "ms", curves, [f"{count // 1000}k" for count in counts])]


# Those that start processes come first: a child's peak memory is never below what this process has used.
FIGURES: dict[str, Callable[[argparse.Namespace], list[Panel]]] = {
    "sound": measure_sound,
    "portrait": measure_portrait,
    "sizes": measure_sizes,
    "gaussians": measure_gaussians,
}


def measure(arguments: argparse.Namespace) -> tuple[dict[str, list[Panel]], dict[str, Any]]:
    """Panels by figure, and all numbers."""
    panels: dict[str, list[Panel]] = {}
    figures: dict[str, Any] = {}
    for name, run in FIGURES.items():
        if name not in arguments.only or (name == "portrait" and arguments.portrait is None):
            continue
        before = load_average()
        panels[name] = run(arguments)
        load = {"before": before, "after": load_average()}
        figures[name] = {"load_average": load, "panels": [panel_numbers(panel) for panel in panels[name]]}
        print("\n".join(panel_text(panel) for panel in panels[name]), flush=True)
        print(f"  load average {load['before']} before, {load['after']} after\n", flush=True)
    result = {
        "repeats": arguments.repeats,
        "processors": os.cpu_count(),
        "machine": machine(arguments.repeats),
        "avatars": arguments.avatar,
        "portrait": None if arguments.portrait is None else str(arguments.portrait),
        "figures": figures,
    }
    return panels, result


def draw_all(panels: dict[str, list[Panel]], result: dict[str, Any], out: Path) -> None:
    """A PNG of each figure, and one of the main panels."""

    def note(names: list[str]) -> str:
        loads = [result["figures"][name]["load_average"] for name in names]
        told = "; ".join(f"{name} {load['before']} to {load['after']}" for name, load in zip(names, loads, strict=True))
        return (
            f"{ops.instruction_set()}, {ops.threads()} threads, {result['processors']} processors; medians of "
            f"{result['repeats']} with least and most; load average: {told}"
        )

    for name, found in panels.items():
        draw(found, note([name]), out / f"{name}.png")
    if len(panels) > 1:
        names = [name for name in ("sizes", "sound", "portrait", "gaussians") if name in panels]
        draw([panels[name][0] for name in names], note(names), out / "scaling.png")


def parse(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for PNGs and scaling.json")
    parser.add_argument("--avatar", nargs="+", default=["grid-s1"], help="folders, or names of bundled ones")
    parser.add_argument("--portrait", type=Path, help="what `geneface prepare` wrote; without it, no such figure")
    parser.add_argument("--only", nargs="+", choices=list(FIGURES), default=list(FIGURES))
    parser.add_argument("--repeats", type=int, help=f"{LEAST_REPEATS} or more; with --quick, 2")
    parser.add_argument("--steps", type=int, default=60, help="of each training, 9 or more")
    parser.add_argument("--quick", action="store_true", help="two small cases of each: does it run?")
    arguments = parser.parse_args(given)
    if arguments.repeats is None:
        arguments.repeats = 2 if arguments.quick else LEAST_REPEATS
    if arguments.repeats < (1 if arguments.quick else LEAST_REPEATS):
        parser.error(f"a median needs {LEAST_REPEATS} repeats")
    if arguments.steps < 9:
        parser.error("give 9 steps or more: the first third is not counted")
    if arguments.portrait is None and arguments.only == ["portrait"]:
        parser.error("give --portrait")
    return arguments


def main(given: list[str] | None = None) -> None:
    arguments = parse(given)
    arguments.out.mkdir(parents=True, exist_ok=True)
    panels, result = measure(arguments)
    (arguments.out / "scaling.json").write_text(json.dumps(result, indent=2) + "\n")
    if importlib.util.find_spec("matplotlib") is None:
        print("no pictures: install matplotlib", file=sys.stderr)
        return
    draw_all(panels, result, arguments.out)


if __name__ == "__main__":
    main()
