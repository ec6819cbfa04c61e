"""A few training steps on the first frames of a portrait, each run a process of its own: what `scaling.py` starts.

    python benchmarks/scaling_train.py cut PORTRAIT SHARE FOLDER            a portrait of its first frames
    python benchmarks/scaling_train.py train PORTRAIT gaussian|nerf STEPS   prints seconds and milliseconds as JSON

A shorter portrait has tracks of its own and links to the pictures and sounds of the whole one: a training reads nothing
of the frames that were left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np

from geneface.io.tensors import TensorFile, save_tensors
from geneface.portrait.manifest import MANIFEST_NAME, PortraitManifest
from geneface.portrait.portrait import TRACKS_NAME, Portrait
from geneface.training.trainers import TRAININGS, training_of

PRESET = "fast"
WARM_SHARE = 1 / 3
"""Of the steps, at the start, which are not counted: buffers are made, files are opened."""
WHOLE = ("neutral",)
"""Tracks that are not one row a frame."""


def cut(folder: Path, share: float, out: Path) -> int:
    """Write the portrait of the first frames; returns how many."""
    manifest = PortraitManifest.read(folder)
    count = max(round(share * manifest.frames), 1)
    out.mkdir()
    for entry in folder.resolve().iterdir():
        if entry.name not in (MANIFEST_NAME, TRACKS_NAME):
            (out / entry.name).symlink_to(entry)
    tracks = TensorFile(folder / TRACKS_NAME)
    kept = {name: tracks.get(name) if name in WHOLE else tracks.rows(name, 0, count) for name in tracks.names}
    save_tensors(out / TRACKS_NAME, kept, tracks.metadata)
    starts = accumulate((segment.frames for segment in manifest.segments), initial=0)
    segments = tuple(
        replace(segment, frames=min(segment.frames, count - start))
        for segment, start in zip(manifest.segments, starts, strict=False)
        if start < count
    )
    replace(manifest, segments=segments).write(out)
    return count


def train(folder: Path, renderer: str, steps: int) -> dict[str, float]:
    """Train some steps.

    Returns:
        start_seconds: from reading the portrait to the end of the first step; step_ms: median of the later steps.
    """
    ends: list[float] = []

    def progress(stage: str, done: int, total: int) -> None:
        ends.append(time.perf_counter())

    started = time.perf_counter()
    portrait = Portrait.load(folder)
    with tempfile.TemporaryDirectory() as work:
        training = training_of(renderer)
        training.train(portrait, Path(work), training.config(PRESET, steps=steps), progress=progress)
    warm = int(WARM_SHARE * len(ends))
    return {
        "steps": len(ends),
        "training_frames": int((~portrait.heldout).sum()),
        "start_seconds": ends[0] - started,
        "step_ms": 1e3 * float(np.median(np.diff(ends[warm:]))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    cutting = commands.add_parser("cut")
    cutting.add_argument("portrait", type=Path)
    cutting.add_argument("share", type=float)
    cutting.add_argument("folder", type=Path)
    training = commands.add_parser("train")
    training.add_argument("portrait", type=Path)
    training.add_argument("renderer", choices=TRAININGS)
    training.add_argument("steps", type=int)
    arguments = parser.parse_args()
    if arguments.command == "cut":
        print(json.dumps({"frames": cut(arguments.portrait, arguments.share, arguments.folder)}))
    else:
        print(json.dumps(train(arguments.portrait, arguments.renderer, arguments.steps)))


if __name__ == "__main__":
    main()
