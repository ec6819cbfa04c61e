"""Train the SyncExpert on a corpus. F frames, P lip and jaw landmarks, D feature width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geneface.config import Config
from geneface.corpus.corpus import MANIFEST_NAME, Corpus
from geneface.corpus.dataset import ClipData, CorpusData, SequenceSampler, load_corpus_data
from geneface.errors import InputError
from geneface.io.records import read_json, write_json
from geneface.io.tensors import TensorFile, save_tensors
from geneface.motion.sync import SYNC_LANDMARKS, SyncExpert, SyncExpertConfig, contrastive_loss, lag_scores
from geneface.training.loop import descend, file_digest, learning_rate, train, training_folder, update_average
from geneface.training.presets import choose_preset
from geneface.types import ProgressFn, no_progress

MAX_LAG = 15


class SyncTrainConfig(Config):
    """How the expert is trained."""

    steps: int
    batch: int = 12
    """Sequences a step; every third window of each is a sample, and a negative of all the others."""
    crop_frames: int = 76
    peak_rate: float = 1.5e-3
    gain_range: float = 0.35
    """Lips are scaled by exp(+-this): a person's amplitude must not matter."""
    offset: float = 0.4
    """Deviation of a constant added to each coordinate, in standard deviations: nor must the resting shape."""
    average_decay: float = 0.995
    channels: int = 96
    embedding: int = 64


SYNC_PRESETS = {
    "tiny": SyncTrainConfig(steps=40, batch=4, channels=32, embedding=16),
    "fast": SyncTrainConfig(steps=600),
    "good": SyncTrainConfig(steps=2000),
}


class SyncTask:
    """Contrastive training with wrong-time and wrong-clip negatives."""

    name = "sync"

    def __init__(self, data: CorpusData, config: SyncTrainConfig) -> None:
        self.config = config
        lips = [clip.displacement[:, SYNC_LANDMARKS] for clip in data.training]
        self.sampler = SequenceSampler(data.training, lips, config.crop_frames)
        model = build_expert(data, config)
        self.modules = {"model": model, "average": build_expert(data, config)}
        self.modules["average"].load_state_dict(model.state_dict())
        self.parameters = list(model.parameters())
        self.optimizers = {"model": torch.optim.AdamW(self.parameters, weight_decay=1e-2)}
        self.notes: dict[str, Any] = {}

    def step(self, index: int, total: int, generator: torch.Generator) -> dict[str, float]:
        """One update: the loss, and the share of lips that are nearest to their own speech."""
        config, model = self.config, self.modules["model"]
        assert isinstance(model, SyncExpert)
        model.train()
        seed = int(torch.randint(2**62, (1,), generator=generator))
        features, lips, places = (torch.from_numpy(part) for part in self.sampler.draw(config.batch, seed))
        lips = self._vary(lips, model, generator)
        embedded = model.embed_lips(lips), model.embed_speech(features)
        loss, hits = contrastive_loss(*embedded, model.log_temperature, places=places)
        descend(self.optimizers["model"], loss, self.parameters, learning_rate(index, total, config.peak_rate))
        update_average(self.modules["average"], model, index, config.average_decay)
        return {"loss": float(loss.detach()), "hits": float(hits)}

    def _vary(self, lips: Tensor, model: SyncExpert, generator: torch.Generator) -> Tensor:
        """Another amplitude and another resting shape for each sequence."""
        gain = torch.exp(self.config.gain_range * (2 * torch.rand(len(lips), 1, 1, 1, generator=generator) - 1))
        shape = self.config.offset * torch.randn(len(lips), 1, *lips.shape[2:], generator=generator)
        return gain * lips + shape / model.lips_scale.reshape(lips.shape[2:])


def build_expert(data: CorpusData, config: SyncTrainConfig) -> SyncExpert:
    """An untrained expert that normalises by the statistics of the training clips."""
    sizes = SyncExpertConfig(feature_width=data.feature_width, channels=config.channels, embedding=config.embedding)
    expert = SyncExpert(sizes)
    lips = np.concatenate([clip.displacement[:, SYNC_LANDMARKS] for clip in data.training]).reshape(
        -1, 3 * len(SYNC_LANDMARKS)
    )
    mean, scale = feature_statistics(data.training)
    expert.lips_mean.copy_(torch.from_numpy(lips.mean(0)))
    expert.lips_scale.copy_(torch.from_numpy(1 / np.maximum(lips.std(0), 1e-4)))
    expert.speech_mean.copy_(mean)
    expert.speech_scale.copy_(scale)
    return expert


def feature_statistics(clips: list[ClipData]) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal deviation [D] of the speech features."""
    rows = sum(len(clip.features) for clip in clips)
    mean = sum(clip.features.sum(0, dtype=np.float64) for clip in clips) / rows
    variance = sum(((clip.features - mean) ** 2).sum(0) for clip in clips) / rows
    scale = 1 / np.sqrt(np.maximum(variance, 1e-8))
    return torch.from_numpy(np.asarray(mean, np.float32)), torch.from_numpy(np.asarray(scale, np.float32))


@torch.no_grad()
def score_expert(expert: SyncExpert, clips: list[ClipData]) -> dict[str, float]:
    """On whole held-out clips.

    Returns:
        lag_accuracy: share of clips whose best lag of -15..15 frames is within one frame of the truth;
        pair_accuracy: share of windows that look more in sync with their own speech than with the speech of
        another clip or of another time (half a second or more away), chance 0.5.
    """
    expert.eval()
    right_lag: list[float] = []
    right_pair: list[float] = []
    embedded = []
    for clip in clips:
        lips = torch.from_numpy(clip.displacement[None, :, SYNC_LANDMARKS])
        speech = torch.from_numpy(clip.features[None].astype(np.float32))
        embedded.append((expert.embed_lips(lips)[0], expert.embed_speech(speech)[0]))
    for index, (lips, speech) in enumerate(embedded):
        windows = lips.shape[1]
        if windows > 2 * MAX_LAG:
            right_lag.append(float(abs(int(lag_scores(lips, speech, MAX_LAG).argmax()) - MAX_LAG) <= 1))
        own = (lips * speech).sum(0)
        wrong_time = (lips * speech.roll(windows // 2, dims=1)).sum(0)
        right_pair.append(float((own > wrong_time).float().mean()))
        if len(embedded) > 1:
            other = embedded[(index + 1) % len(embedded)][1]
            shared = min(windows, other.shape[1])
            wrong_clip = (lips[:, :shared] * other[:, :shared]).sum(0)
            right_pair.append(float((own[:shared] > wrong_clip).float().mean()))
    return {"lag_accuracy": float(np.mean(right_lag or [0.0])), "pair_accuracy": float(np.mean(right_pair))}


def pretrain_sync(
    corpus: Path | str,
    out: Path | str,
    preset: str = "fast",
    *,
    seed: int = 0,
    resume: bool = False,
    progress: ProgressFn = no_progress,
) -> dict[str, float]:
    """Train the expert on a corpus folder and write `sync.json` and `sync.safetensors` into `out`.

    Returns:
        `score_expert` on the held-out clips.
    """
    config = choose_preset(SYNC_PRESETS, preset)
    opened = Corpus.load(Path(corpus))
    out = Path(out)
    with training_folder(out, resume, result="sync.json", work="work-sync") as work:
        data = load_corpus_data(opened, progress)
        torch.manual_seed(seed)
        task = SyncTask(data, config)
        settings = {"stage": "sync", **config.model_dump(), "corpus": file_digest(opened.folder / MANIFEST_NAME)}
        train(task, config.steps, work, settings=settings, seed=seed, resume=resume, progress=progress)
        expert = task.modules["average"]
        assert isinstance(expert, SyncExpert)
        scores = score_expert(expert, data.heldout)
        save_expert(expert, out, data.encoder, scores)
    return scores


def save_expert(expert: SyncExpert, folder: Path, encoder: str, scores: dict[str, float]) -> None:
    """Half precision is enough for weights: the expert's cosines change by less than 1e-3. Statistics stay whole."""
    tensors = {key: value.numpy() for key, value in expert.state_dict().items()}
    halved = {key: value.astype(np.float16) if value.ndim > 1 else value for key, value in tensors.items()}
    save_tensors(folder / "sync.safetensors", halved)
    write_json(folder / "sync.json", {"encoder": encoder, "sizes": expert.config.model_dump(), "heldout": scores})


def load_expert(folder: Path, encoder: str) -> SyncExpert:
    """The frozen expert of a folder, in evaluation mode.

    Raises:
        InputError: it is missing, or was trained on features of another speech encoder.
    """
    record = read_json(Path(folder) / "sync.json")
    if not isinstance(record, dict) or not {"encoder", "sizes"} <= set(record):
        raise InputError(f"{Path(folder) / 'sync.json'} is not a sync expert's", "give a folder of `pretrain sync`")
    if record["encoder"] != encoder:
        raise InputError(
            f"the sync expert in {folder} was trained on features of {record['encoder']}, not {encoder}",
            "train one with: geneface pretrain sync",
        )
    expert = SyncExpert(SyncExpertConfig(**record["sizes"]))
    stored = TensorFile(Path(folder) / "sync.safetensors")
    expert.load_state_dict({key: torch.from_numpy(stored.get(key).astype(np.float32)) for key in stored.keys()})  # noqa: SIM118
    return expert.eval().requires_grad_(False)
