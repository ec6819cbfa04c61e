"""Train the residual post-net of one person, semi-supervised. B sequences, F frames, C coefficients.

Supervised on the person's clips: squared error of coefficients and of their velocity. Unsupervised, on samples of the
generic model for the person's speech and for other speech: a least-squares GAN with an MLP discriminator, and the
SyncExpert. Weights are averaged over time, and the checkpoint is chosen by the lip correlation on a quarter of the
person's training frames that this run does not see. If it does not beat the closed form there, no network is used;
if it does, it is trained again on all training frames for as many steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geneface.config import Config
from geneface.geometry.landmarks import lip_opening
from geneface.motion.alignment import Alignment, Stretch, closed_form_alignment, split_folds
from geneface.motion.export import export_onnx
from geneface.motion.postnet import Discriminator, PostNet, PostNetConfig, discriminator_loss, generator_loss
from geneface.motion.runtime import MotionModel
from geneface.motion.score import correlation
from geneface.motion.sync import SYNC_LANDMARKS, SyncExpert
from geneface.training.loop import descend, train, update_average
from geneface.training.sync import choose_preset, load_expert
from geneface.types import FloatArray, ProgressFn, SpeechFeatures, no_progress

AMPLITUDE_RANGE = (0.8, 1.5)
"""Of the final gain: a quarter of a short video does not measure it well."""
SHORTEST_CROP = 24
"""Frames. Shorter stretches take no part: they would shorten all sequences, and the expert's window is 9 frames."""


class PostNetTrainConfig(Config):
    """How the post-net is trained."""

    steps: int
    batch: int = 8
    crop_frames: int = 48
    """Even; see `crop_length`."""
    rate: float = 1e-3
    weight_decay: float = 5e-2
    velocity_weight: float = 1.0
    adversarial_weight: float = 0.03
    sync_weight: float = 0.05
    temperature: float = 0.7
    """Of the generic model's samples that the unsupervised losses see."""
    samples: int = 2
    """Draws of the generic model for each recording."""
    average_decay: float = 0.98
    check_every: int = 25
    worthwhile: float = 0.005
    """Lip correlation that the network must add on the validation frames to be used."""
    channels: int = 64


POSTNET_PRESETS = {
    "tiny": PostNetTrainConfig(steps=20, batch=2, check_every=10, channels=16, samples=1),
    "fast": PostNetTrainConfig(steps=300),
    "good": PostNetTrainConfig(steps=1200, check_every=50),
}


def crop_length(lengths: Sequence[int], wanted: int) -> int:
    """Frames of a training sequence: `wanted`, or as many as the shortest recording has that is worth drawing from.

    Args:
        lengths: frames of all recordings; those shorter than `SHORTEST_CROP` are left out by `Sequences`.
    """
    shortest = min(length for length in lengths if length >= SHORTEST_CROP)
    return min(wanted, shortest - shortest % 2)


class Sequences:
    """Coefficient sequences with their features, cropped at random."""

    def __init__(self, items: Sequence[tuple[FloatArray, FloatArray, FloatArray]], crop: int) -> None:
        """items: aligned [F, C], target [F, C], features [2F, D]; those shorter than `crop` frames are left out."""
        self.crop = crop
        self.items = [item for item in items if len(item[0]) >= crop]
        lengths = np.array([len(aligned) for aligned, _, _ in self.items], float)
        self.shares = lengths / lengths.sum()

    def draw(self, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """aligned [B, C, F], target [B, C, F], features [B, 2F, D]."""
        rng = np.random.default_rng(seed)
        parts: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        for index in rng.choice(len(self.items), count, p=self.shares):
            aligned, target, features = self.items[index]
            first = int(rng.integers(len(aligned) - self.crop + 1))
            last = first + self.crop
            parts.append((aligned[first:last].T, target[first:last].T, features[2 * first : 2 * last]))
        return tuple(torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))  # type: ignore[return-value]


class PostNetTask:
    """One run of training; with validation stretches it keeps the best averaged weights."""

    def __init__(
        self,
        name: str,
        alignment: Alignment,
        labelled: Sequence[Stretch],
        unlabelled: Sequence[tuple[FloatArray, FloatArray]],
        expert: SyncExpert | None,
        config: PostNetTrainConfig,
        validation: Sequence[Stretch] = (),
        neutral: FloatArray | None = None,
    ) -> None:
        """unlabelled: generic displacement [F, K, 3] and features [2F, D]."""
        self.name, self.config, self.alignment, self.expert = name, config, alignment, expert
        self.validation, self.neutral = validation, neutral
        basis = alignment.basis
        pairs = [(align(alignment, s), basis.coefficients(s.measured), s.features) for s in labelled]
        # One length for both: they go through the network together.
        crop = crop_length([*map(len, labelled), *(len(generic) for generic, _ in unlabelled)], config.crop_frames)
        self.labelled = Sequences(pairs, crop)
        free = [alignment.coefficients(generic, SpeechFeatures(rows, "")) for generic, rows in unlabelled]
        self.unlabelled = Sequences(
            [(motion, motion, rows) for motion, (_, rows) in zip(free, unlabelled, strict=True)], crop
        )
        sizes = PostNetConfig(motion_width=basis.width, channels=config.channels)
        scale = torch.from_numpy(np.concatenate([target for _, target, _ in pairs]).std(0)).clamp(min=1e-3)
        model, discriminator = PostNet(sizes), Discriminator(scale)
        self.modules = {
            "model": model,
            "average": PostNet(sizes),
            "best": PostNet(sizes),
            "discriminator": discriminator,
        }
        self.modules["average"].load_state_dict(model.state_dict())
        self.parameters = {"model": list(model.parameters()), "discriminator": list(discriminator.parameters())}
        self.optimizers = {
            key: torch.optim.AdamW(parameters, weight_decay=config.weight_decay)
            for key, parameters in self.parameters.items()
        }
        self.notes: dict[str, Any] = {"best_score": -1.0, "best_step": 0, "shrinkage": 1.0}
        self.points = torch.from_numpy(basis.synthesis[:, SYNC_LANDMARKS])
        self.points_mean = torch.from_numpy(basis.mean[SYNC_LANDMARKS])

    def step(self, index: int, total: int, generator: torch.Generator) -> dict[str, float]:
        model, discriminator, config = self.modules["model"], self.modules["discriminator"], self.config
        model.train()
        seed = int(torch.randint(2**62, (1,), generator=generator))
        aligned, target, _ = self.labelled.draw(config.batch, seed)
        free, _, features = self.unlabelled.draw(config.batch, seed + 1)
        corrected = model(torch.cat([aligned, free]))
        error = corrected[: len(aligned)] - target
        supervised = error.square().mean() + config.velocity_weight * error.diff(dim=2).square().mean()
        made = corrected[len(aligned) :]
        adversarial = generator_loss(discriminator(made))
        loss = supervised + config.adversarial_weight * adversarial + config.sync_weight * self._sync(made, features)
        descend(self.optimizers["model"], loss, self.parameters["model"], config.rate)
        judged = discriminator_loss(discriminator(target), discriminator(corrected.detach()))
        descend(self.optimizers["discriminator"], judged, self.parameters["discriminator"], config.rate)
        update_average(self.modules["average"], model, index, config.average_decay)
        if self.validation and ((index + 1) % config.check_every == 0 or index + 1 == total):
            self._check(index + 1)
        return {"supervised": float(supervised.detach()), "adversarial": float(adversarial.detach())}

    def _sync(self, motion: Tensor, features: Tensor) -> Tensor:
        if self.expert is None:
            return motion.new_zeros(())
        points = torch.einsum("bcf,cpd->bfpd", motion, self.points) + self.points_mean
        return 1 - self.expert.evidence(points, features).mean()

    def _check(self, step: int) -> None:
        average = self.modules["average"]
        assert isinstance(average, PostNet) and self.neutral is not None
        score = validate(average, self.alignment, self.validation, self.neutral)
        if score.correlation > self.notes["best_score"]:
            self.notes.update(best_score=score.correlation, best_step=step, shrinkage=score.shrinkage)
            self.modules["best"].load_state_dict(average.state_dict())


def align(alignment: Alignment, stretch: Stretch) -> FloatArray:
    """Aligned coefficients [F, C] of a stretch."""
    return alignment.coefficients(stretch.generic, SpeechFeatures(stretch.features, ""))


@dataclass(frozen=True)
class Validation:
    """How predicted lips compare with measured ones."""

    correlation: float
    """Of the opening, mean over the stretches."""
    shrinkage: float
    """Deviation of the measured opening over that of the predicted one."""


@torch.no_grad()
def validate(
    network: PostNet | None, alignment: Alignment, stretches: Sequence[Stretch], neutral: FloatArray
) -> Validation:
    """Score the network over the alignment, or the alignment alone."""
    scores, made, real = [], [], []
    for stretch in stretches:
        motion = torch.from_numpy(align(alignment, stretch)).T[None]
        if network is not None:
            motion = network.eval()(motion)
        predicted = lip_opening(neutral + alignment.displacement(motion[0].T.numpy()))
        measured = lip_opening(neutral + stretch.measured)
        scores.append(correlation(predicted, measured))
        made.append(predicted.std())
        real.append(measured.std())
    return Validation(float(np.mean(scores)), float(np.mean(real) / max(np.mean(made), 1e-9)))


def train_postnet(
    stretches: Sequence[Stretch],
    neutral: FloatArray,
    alignment: Alignment,
    generic: MotionModel,
    motion_folder: Path,
    out: Path,
    preset: str = "fast",
    *,
    unlabelled: Sequence[SpeechFeatures] = (),
    resume: bool = False,
    progress: ProgressFn = no_progress,
) -> tuple[int, float]:
    """Train the network over `alignment` and write `postnet.onnx`, if it is worth it.

    Args:
        stretches: the person's training frames.
        alignment: closed form fitted to all of them.
        motion_folder: of `generic`; its sync expert is used if it has one.
        unlabelled: features of any other speech.

    Returns:
        frames that the network looks back, 0 if none is used; and its validated lip correlation.
    """
    config = choose_preset(POSTNET_PRESETS, preset)
    has_expert = (motion_folder / "sync.json").is_file()
    expert = load_expert(motion_folder, generic.config.encoder) if has_expert else None
    free = unlabelled_motion([*(s.features for s in stretches), *(f.values for f in unlabelled)], generic, config)
    fitted, validated = split_folds(stretches)[-1]
    trial, _ = closed_form_alignment(fitted, neutral)
    if max(map(len, fitted)) < SHORTEST_CROP:
        return 0, validate(None, trial, validated, neutral).correlation
    torch.manual_seed(0)
    task = PostNetTask("post-net", trial, fitted, free, expert, config, validated, neutral)
    settings = {**config.model_dump(), "frames": sum(len(stretch) for stretch in stretches), "sync": has_expert}
    train(task, config.steps, out / "work-postnet", settings=settings, resume=resume, progress=progress)
    score, steps = task.notes["best_score"], task.notes["best_step"]
    if score < validate(None, trial, validated, neutral).correlation + config.worthwhile:
        return 0, score
    torch.manual_seed(0)
    final = PostNetTask("post-net, all frames", alignment, stretches, free, expert, config)
    train(final, steps, out / "work-postnet-all", settings=settings, resume=resume, progress=progress)
    network = final.modules["average"]
    assert isinstance(network, PostNet)
    network.amplitude.fill_(float(np.clip(task.notes["shrinkage"], *AMPLITUDE_RANGE)))
    axes = {"aligned": {2: "frames"}, "corrected": {2: "frames"}}
    example = torch.zeros(1, alignment.basis.width, 16)
    export_onnx(network, {"aligned": example}, "corrected", axes, out / "postnet.onnx")
    return network.past_frames, score


def unlabelled_motion(
    recordings: Sequence[FloatArray], generic: MotionModel, config: PostNetTrainConfig
) -> list[tuple[FloatArray, FloatArray]]:
    """Samples of the generic model: displacement [F, K, 3] beside the features [2F, D] it was made from."""
    samples = []
    for seed in range(config.samples):
        for rows in recordings:
            features = SpeechFeatures(np.asarray(rows, np.float32), generic.config.encoder)
            samples.append((generic.predict(features, temperature=config.temperature, seed=seed), features.values))
    return samples
