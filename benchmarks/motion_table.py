"""Variational model against plain regression with the same decoder, on a corpus's held-out clips.

    python benchmarks/motion_table.py CORPUS [--sync MODEL] [--preset fast] [--seeds 0 1] [-o table.md]

Both are trained here, with the same preset, data order and number of updates; the regression's decoder gets a latent
of zeros and only the mean path's losses. Prints a Markdown table, one row a model and temperature and seed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from geneface.corpus.corpus import Corpus
from geneface.corpus.dataset import CorpusData, load_corpus_data
from geneface.motion.basis import MotionBasis, fit_basis
from geneface.motion.sync import SyncExpert
from geneface.motion.vae import AudioToMotion
from geneface.training.loop import train
from geneface.training.motion.sync import load_expert
from geneface.training.motion.train import MOTION_PRESETS, MotionTask, MotionTrainConfig, score_model

HEADER = (
    "| model | temperature | seed | speaker | clips | opening r | width r | amplitude | lip error | lag |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def rows(
    data: CorpusData, basis: MotionBasis, expert: SyncExpert | None, config: MotionTrainConfig, seed: int
) -> list[str]:
    """Train one model and score it on each speaker's held-out clips."""
    torch.manual_seed(seed)
    task = MotionTask(data, basis, expert, config)
    with tempfile.TemporaryDirectory() as work:
        train(task, config.steps, Path(work), settings=config.model_dump(), seed=seed)
    model = task.modules["average"]
    assert isinstance(model, AudioToMotion)
    flow = config.objective == "vae"
    lines = []
    for speaker in sorted({clip.speaker for clip in data.heldout}):
        clips = [clip for clip in data.heldout if clip.speaker == speaker]
        for temperature in (0.0, 0.5, 1.0) if flow else (0.0,):
            score = score_model(model, basis, clips, temperature)
            lines.append(
                f"| {config.objective} | {temperature if flow else '-'} | {seed} | {speaker} | {len(clips)} "
                f"| {score.opening_correlation:.3f} | {score.width_correlation:.3f} | {score.amplitude_ratio:.2f} "
                f"| {score.lip_error:.4f} | {score.best_lag_frames} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--sync", type=Path, help="folder of the sync expert; without it neither model uses one")
    parser.add_argument("--preset", default="fast", choices=MOTION_PRESETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--models", nargs="+", default=["regression", "vae"], choices=["regression", "vae"])
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    data = load_corpus_data(Corpus.load(arguments.corpus), voices=True)
    expert = load_expert(arguments.sync, data.encoder) if arguments.sync else None
    config = MOTION_PRESETS[arguments.preset]
    basis = fit_basis(np.concatenate([clip.displacement for clip in data.training]), config.motion_width)
    table = [HEADER]
    print(HEADER, flush=True)
    for seed in arguments.seeds:
        for objective in arguments.models:
            chosen = MotionTrainConfig(**{**config.model_dump(), "objective": objective})
            for line in rows(data, basis, expert, chosen, seed):
                table.append(line)
                print(line, flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
