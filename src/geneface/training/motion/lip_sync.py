"""Train the lip-sync classifier: it measures, and is never a loss. F frames, P landmarks, E embedding width.

A network that a model was trained to please can't measure that model. So the classifier differs from the expert of
`pretrain sync` in what it has seen (every second training clip of each speaker; the expert sees them all), in its
sizes, and in its seed. Neither sees the corpus's held-out clips. Its folder is read by `analysis.lip_sync`, and by
nothing else in training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geneface.corpus.corpus import MANIFEST_NAME, Corpus
from geneface.corpus.dataset import ClipData, CorpusData, load_corpus_data
from geneface.geometry.landmarks import KEYPOINTS, lip_opening
from geneface.io.atomic import atomic_path
from geneface.io.records import write_json
from geneface.motion.export import export_onnx
from geneface.motion.sync import SYNC_LANDMARKS, WINDOW, SyncExpert
from geneface.training.loop import file_digest, train, training_folder
from geneface.training.motion.sync import SyncTask, SyncTrainConfig, score_expert
from geneface.training.presets import choose_preset
from geneface.types import ProgressFn, no_progress

LIP_SYNC_FORMAT = 1
CLIP_PERIOD = 2
"""Of each speaker's training clips, in the order of their names, the first of so many is trained on."""
RECORD_NAME = "lip_sync.json"
DEFAULT_SEED = 1
"""Not the expert's."""

_GAIN_RANGE = 0.1
"""Lips are scaled by exp(+-this), much less than the expert's: to it amplitude must not matter, but a mouth that opens
half as far as it should is out of step with its speech, and the classifier has to see that."""

LIP_SYNC_PRESETS = {
    "tiny": SyncTrainConfig(steps=40, batch=4, channels=24, embedding=12, gain_range=_GAIN_RANGE),
    "fast": SyncTrainConfig(steps=600, channels=80, embedding=48, gain_range=_GAIN_RANGE),
    "good": SyncTrainConfig(steps=2000, channels=80, embedding=48, gain_range=_GAIN_RANGE),
}
"""On 412 clips, nearly all of one speaker, `good` over-fits: held-out lips are further from their speech."""


def classifier_clips(clips: list[ClipData]) -> list[ClipData]:
    """The training clips that the classifier is trained on."""
    speakers = sorted({clip.speaker for clip in clips})
    return [clip for name in speakers for clip in [c for c in clips if c.speaker == name][::CLIP_PERIOD]]


def pretrain_lip_sync(
    corpus: Path | str,
    out: Path | str,
    preset: str = "fast",
    *,
    seed: int = DEFAULT_SEED,
    attribution: str | None = None,
    resume: bool = False,
    progress: ProgressFn = no_progress,
) -> dict[str, Any]:
    """Train the classifier on a corpus folder; write `lips.onnx`, `speech.onnx`, `lip_sync.json` and `README.md`.

    Args:
        attribution: whose recordings, under which licence; one paragraph of the card.

    Returns:
        `score_expert` on the held-out clips, over all and by speaker.
    """
    config = choose_preset(LIP_SYNC_PRESETS, preset)
    opened = Corpus.load(Path(corpus))
    out = Path(out)
    with training_folder(out, resume, result=RECORD_NAME, work="work-lip-sync") as work:
        whole = load_corpus_data(opened, progress)
        data = replace(whole, training=classifier_clips(whole.training))
        torch.manual_seed(seed)
        task = SyncTask(data, config)
        task.name = "lip-sync"
        digest = file_digest(opened.folder / MANIFEST_NAME)
        settings = {"stage": "lip-sync", **config.model_dump(), "corpus": digest, "period": CLIP_PERIOD}
        train(task, config.steps, work, settings=settings, seed=seed, resume=resume, progress=progress)
        expert = task.modules["average"]
        assert isinstance(expert, SyncExpert)
        scores = heldout_scores(expert, data.heldout)
        export_towers(expert, out)
        record = {
            "format": LIP_SYNC_FORMAT,
            "encoder": data.encoder,
            "feature_width": data.feature_width,
            "window": WINDOW,
            "landmarks": [KEYPOINTS[position] for position in SYNC_LANDMARKS],
            "opening_deviation": opening_deviation(whole),
            "heldout": scores,
            "training": {**settings, "seed": seed, "preset": preset, "clips": [clip.name for clip in data.training]},
        }
        _write_card(out, data, scores, attribution)
        write_json(out / RECORD_NAME, record)
    return scores


def heldout_scores(expert: SyncExpert, clips: list[ClipData]) -> dict[str, Any]:
    """`score_expert` over all clips, then of each speaker's own."""
    speakers = sorted({clip.speaker for clip in clips})
    own = {name: [clip for clip in clips if clip.speaker == name] for name in speakers}
    each = {name: {"clips": len(part), **score_expert(expert, part)} for name, part in own.items()}
    return {"clips": len(clips), **score_expert(expert, clips), "speakers": each}


def opening_deviation(data: CorpusData) -> float:
    """Mean over the reference speaker's training clips of the deviation of the lip opening, head units.

    It is what the speakers' gains are relative to (`load_corpus_data`), so it is taken over all training clips.
    """
    own = [clip for clip in data.training if clip.speaker == data.reference]
    return float(np.mean([lip_opening(clip.landmarks).std() for clip in own]))


class _LipsTower(nn.Module):
    def __init__(self, expert: SyncExpert) -> None:
        super().__init__()
        self.expert = expert

    def forward(self, points: Tensor) -> Tensor:
        return self.expert.embed_lips(points)


class _SpeechTower(nn.Module):
    def __init__(self, expert: SyncExpert) -> None:
        super().__init__()
        self.expert = expert

    def forward(self, features: Tensor) -> Tensor:
        return self.expert.embed_speech(features)


def export_towers(expert: SyncExpert, folder: Path) -> None:
    """Write lips.onnx: points [1, F, P, 3], and speech.onnx: features [1, 2F, D], each -> embedding [1, E, F - 8]."""
    frames = 2 * WINDOW
    axes = {"embedding": {2: "windows"}}
    points = torch.zeros(1, frames, len(SYNC_LANDMARKS), 3)
    lips_axes = {"points": {1: "frames"}, **axes}
    export_onnx(_LipsTower(expert), {"points": points}, ["embedding"], lips_axes, folder / "lips.onnx")
    rows = torch.zeros(1, 2 * frames, expert.config.feature_width)
    speech_axes = {"features": {1: "rows"}, **axes}
    export_onnx(_SpeechTower(expert), {"features": rows}, ["embedding"], speech_axes, folder / "speech.onnx")


def _write_card(folder: Path, data: CorpusData, scores: dict[str, Any], attribution: str | None) -> None:
    counts = {name: sum(clip.speaker == name for clip in data.training) for name in scores["speakers"]}
    rows = [
        f"| {name} | {counts[name]} | {own['clips']} | {own['lag_accuracy']:.3f} | {own['pair_accuracy']:.3f} |"
        for name, own in scores["speakers"].items()
    ]
    points = len(SYNC_LANDMARKS)
    text = f"""# Lip-sync classifier: do these lips and this speech keep time?

It measures and is never a training loss: no model has been trained to please it.

| file | what |
|---|---|
| `lips.onnx` | displacement of {points} lip and jaw landmarks [1, F, {points}, 3] to unit vectors |
| `speech.onnx` | features of {data.encoder} [1, 2F, {data.feature_width}] to unit vectors |
| `lip_sync.json` | what the run time must know, scores, settings, names of the clips it was trained on |

Both see {WINDOW} frames at a time. **Trained on** {len(data.training)} clips: every second training clip of each
speaker of a corpus, none of its held-out ones. No clip, frame or sound of the corpus is in these files.

**Attribution.** {attribution or "Not stated: add whose recordings these are, and under which licence."}

| speaker | clips trained on | clips held out | right lag | right pair |
|---|---|---|---|---|
{chr(10).join(rows)}

Right lag: share of held-out clips whose best lag of -15..15 frames is within one frame of the truth. Right pair:
share of windows that are nearer to their own speech than to that of another clip or time (chance: 0.5).
"""
    with atomic_path(folder / "README.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
