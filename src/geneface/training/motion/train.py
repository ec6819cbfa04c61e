"""Train AudioToMotion on a corpus and write a motion model folder.

B sequences, F frames, C motion coefficients, Z latent channels. Losses, all on coefficients, whose squared error is
the weighted squared error of the landmarks:

    mean path     decode(flow^-1(0 | speech)) against the measured motion: what temperature 0 will give. It is the
                  objective of plain regression, so that the latent model starts from no disadvantage.
    posterior     decode(z), z ~ q(z | motion, speech): the reconstruction term of the evidence bound
    KL            through the flow, with free bits, annealed
    velocity      the same errors of first differences in time, for both paths
    sync          1 - cosine of the SyncExpert, for the mean path and for a sample of the prior

What GeneFace's own code does otherwise is a setting, so that benchmarks/ablations.py can measure the difference.

The plain regression of the comparison table is the same decoder with z = 0 and the mean-path losses only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from geneface.config import Config
from geneface.corpus.corpus import MANIFEST_NAME, Corpus
from geneface.corpus.dataset import ClipData, CorpusData, SequenceSampler, load_corpus_data
from geneface.corpus.voices import VOICES_NAME
from geneface.geometry.landmarks import LOWER_INNER, MOUTH_CORNERS, UPPER_INNER, lip_protrusion
from geneface.io.atomic import atomic_path
from geneface.io.records import write_json
from geneface.io.tensors import save_tensors
from geneface.motion.basis import MotionBasis, fit_basis
from geneface.motion.export import export_motion
from geneface.motion.layers import DILATIONS
from geneface.motion.runtime import MotionModelConfig
from geneface.motion.score import LipScore, score_lips
from geneface.motion.sync import SYNC_LANDMARKS, SyncExpert
from geneface.motion.vae import LATENT_STRIDE, AudioToMotion, AudioToMotionConfig
from geneface.training.loop import descend, file_digest, learning_rate, train, training_folder, update_average
from geneface.training.motion.linear import fit_linear
from geneface.training.motion.sync import feature_statistics, load_expert
from geneface.training.presets import choose_preset
from geneface.types import ProgressFn, no_progress

_SAMPLED_SHARE = 4
"""One sequence in so many also gets a sample of the prior."""
_STILL_SHARE = 0.05
"""A measure of the mouth that moves less than this share of the liveliest one is noise of the tracker."""
_STANDSTILL = 1e-6
"""Head units a frame."""


class MotionTrainConfig(Config):
    """How the model is trained."""

    steps: int
    objective: Literal["vae", "regression"] = "vae"
    batch: int = 12
    crop_frames: int = 96
    """A multiple of `latent_stride`."""
    motion_width: int = 48
    """C at most."""
    channels: int = 128
    latent_channels: int = 16
    flow_channels: int = 48
    peak_rate: float = 1.5e-3
    weight_decay: float = 1e-2
    posterior_weight: float = 0.5
    kl_weight: float = 0.01
    kl_anneal: float = 0.3
    """Share of the steps over which the KL's weight grows to full."""
    free_nats: float = 0.05
    """Per latent element, not punished."""
    velocity_weight: float = 1.0
    lips_weight: float = 0.3
    """Of the mouth's normalised opening, width and protrusion, added to the landmarks."""
    sync_weight: float = 0.05
    average_decay: float = 0.995
    dropout: float = 0.3
    dilations: tuple[int, ...] = DILATIONS
    latent_stride: int = LATENT_STRIDE
    flow_steps: int = 4
    future_frames: int | None = 2
    """See `AudioToMotionConfig`."""
    linear_share: float = 0.5
    """Of a linear map in the motion, see `training.motion.linear`; 0: none."""
    linear_penalty: float = 1 / 512
    """Of its squared weights, for every frame and every feature of a row: more features need more."""
    voices_share: float = 0.25
    """Share of the sequences that get other voices, where the corpus has them (`corpus.voices`)."""
    motion_penalty: float = 0.0
    """Of the mean speed of all landmarks, the lips' included, over the measured mean speed. As in GeneFace's own code,
    whose mask for the mouth is empty, it makes lips lazy: ours is 0."""


MOTION_PRESETS = {
    "tiny": MotionTrainConfig(
        steps=40, batch=4, crop_frames=48, motion_width=16, channels=32, latent_channels=8, flow_channels=16
    ),
    "fast": MotionTrainConfig(steps=600),
    "good": MotionTrainConfig(steps=2000),
}


class MotionTask:
    """The update that `train` repeats."""

    name = "motion"

    def __init__(
        self, data: CorpusData, basis: MotionBasis, expert: SyncExpert | None, config: MotionTrainConfig
    ) -> None:
        self.config, self.expert = config, expert
        coefficients = [basis.coefficients(clip.displacement) for clip in data.training]
        self.sampler = SequenceSampler(
            data.training, coefficients, config.crop_frames, data.voices, config.voices_share
        )
        model = build_model(data, basis, config)
        if config.linear_share:
            fit_linear(model.speech, self.sampler, config.linear_penalty * data.feature_width)
        self.modules = {"model": model, "average": build_model(data, basis, config)}
        self.modules["average"].load_state_dict(model.state_dict())
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizers = {"model": torch.optim.AdamW(self.parameters, weight_decay=config.weight_decay)}
        self.notes: dict[str, Any] = {}
        self.lips = lip_functionals(basis, np.concatenate(coefficients))
        self.lip_points = torch.from_numpy(basis.synthesis[:, SYNC_LANDMARKS])
        self.lip_mean = torch.from_numpy(basis.mean[SYNC_LANDMARKS])
        self.synthesis = torch.from_numpy(basis.synthesis)
        self.measured_speed = 1.0
        if config.motion_penalty:
            # Clip by clip: all landmarks of a corpus at once would take gigabytes.
            speeds = [self._speed(torch.from_numpy(rows.T[None])) for rows in coefficients]
            self.measured_speed = float(torch.stack(speeds).mean())

    def step(self, index: int, total: int, generator: torch.Generator) -> dict[str, float]:
        """One update; the losses before it."""
        model = self.modules["model"]
        assert isinstance(model, AudioToMotion)
        model.train()
        seed = int(torch.randint(2**62, (1,), generator=generator))
        features, motion, _ = (torch.from_numpy(part) for part in self.sampler.draw(self.config.batch, seed))
        compute = self._vae if self.config.objective == "vae" else self._regression
        loss, figures = compute(model, features, motion.transpose(1, 2), index / total, generator)
        descend(self.optimizers["model"], loss, self.parameters, learning_rate(index, total, self.config.peak_rate))
        update_average(self.modules["average"], model, index, self.config.average_decay)
        return {"loss": float(loss.detach()), **figures}

    def _regression(
        self, model: AudioToMotion, features: Tensor, motion: Tensor, _: float, __: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        speech, _slow = model.condition(features)
        predicted = model.decode(speech.new_zeros(self._latent_shape(motion)), speech)
        loss = self._distance(predicted, motion)
        figures = {"mean_path": float(loss.detach())}
        return loss + self._sync_loss(predicted, features) + self._motion_penalty(predicted), figures

    def _vae(
        self, model: AudioToMotion, features: Tensor, motion: Tensor, done: float, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        config = self.config
        shape = self._latent_shape(motion)
        speech, slow = model.condition(features)
        posterior = model.encode(motion, speech)
        z = posterior.sample(torch.randn(shape, generator=generator))
        kl = functional.relu(model.kl(posterior, z, slow).mean() - config.free_nats)
        # A few samples of the prior are enough for the expert: each costs another pass of the decoder.
        few = max(1, len(motion) // _SAMPLED_SHARE)
        noise = torch.cat([torch.zeros(shape), torch.randn(few, *shape[1:], generator=generator)])
        prior = model.prior.inverse(noise, torch.cat([slow, slow[:few]]))
        decoded = model.decode(torch.cat([prior, z]), torch.cat([speech, speech[:few], speech]))
        mean, sample, rebuilt = decoded.split([len(motion), few, len(motion)])
        mean_loss, rebuilt_loss = self._distance(mean, motion), self._distance(rebuilt, motion)
        anneal = min(1.0, done / config.kl_anneal)
        loss = mean_loss + config.posterior_weight * rebuilt_loss + anneal * config.kl_weight * kl
        loss = loss + self._sync_loss(mean, features) + 0.5 * self._sync_loss(sample, features[:few])
        loss = loss + self._motion_penalty(mean)
        figures = {
            "mean_path": float(mean_loss.detach()),
            "posterior": float(rebuilt_loss.detach()),
            "kl": float(kl.detach()),
        }
        return loss, figures

    def _latent_shape(self, motion: Tensor) -> tuple[int, int, int]:
        return len(motion), self.config.latent_channels, motion.shape[2] // self.config.latent_stride

    def _distance(self, predicted: Tensor, motion: Tensor) -> Tensor:
        """MSE of coefficients, of their velocity, and of the mouth's opening, width and protrusion."""
        error = predicted - motion
        velocity = error[..., 1:] - error[..., :-1]
        lips = torch.einsum("bcf,cn->bnf", error, self.lips)
        config = self.config
        return (
            error.square().mean()
            + config.velocity_weight * velocity.square().mean()
            + config.lips_weight * lips.square().mean()
        )

    def _sync_loss(self, predicted: Tensor, features: Tensor) -> Tensor:
        if self.expert is None or not self.config.sync_weight:
            return predicted.new_zeros(())
        points = torch.einsum("bcf,cpd->bfpd", predicted, self.lip_points) + self.lip_mean
        return self.config.sync_weight * (1 - self.expert.evidence(points, features).mean())

    def _motion_penalty(self, predicted: Tensor) -> Tensor:
        if not self.config.motion_penalty:
            return predicted.new_zeros(())
        return self.config.motion_penalty * self._speed(predicted) / self.measured_speed

    def _speed(self, motion: Tensor) -> Tensor:
        """Mean speed of the landmarks, head units a frame, of coefficients [B, C, F]."""
        velocity = torch.einsum("bcf,ckd->bfkd", motion[..., 1:] - motion[..., :-1], self.synthesis)
        # The square root has no finite slope at standstill.
        return (velocity.square().sum(-1) + _STANDSTILL**2).sqrt().mean()


def build_model(data: CorpusData, basis: MotionBasis, config: MotionTrainConfig) -> AudioToMotion:
    """An untrained model that normalises features by the statistics of the training clips."""
    sizes = AudioToMotionConfig(
        feature_width=data.feature_width,
        motion_width=basis.width,
        latent_channels=config.latent_channels,
        speech_channels=config.channels,
        channels=config.channels,
        encoder_channels=config.channels,
        flow_channels=config.flow_channels,
        dropout=config.dropout,
        dilations=config.dilations,
        latent_stride=config.latent_stride,
        # Regression has one latent, 0, whatever the speech.
        flow_steps=config.flow_steps if config.objective == "vae" else 0,
        future_frames=config.future_frames,
        linear_share=config.linear_share,
    )
    model = AudioToMotion(sizes)
    mean, scale = feature_statistics(data.training)
    model.speech.mean.copy_(mean)
    model.speech.scale.copy_(scale)
    return model


def lip_functionals(basis: MotionBasis, coefficients: np.ndarray) -> Tensor:
    """[C, 3]: vertical opening and horizontal width of the mouth per coefficient, and protrusion: how far the middle of
    the lips is before their corners; each of unit variance, or less where it hardly moves compared with the others."""
    y, x = basis.synthesis[..., 1], basis.synthesis[..., 0]
    opening = y[:, UPPER_INNER].mean(1) - y[:, LOWER_INNER].mean(1)
    width = x[:, MOUTH_CORNERS[1]] - x[:, MOUTH_CORNERS[0]]
    maps = np.stack([opening, width, lip_protrusion(basis.synthesis)], axis=-1)
    deviations = (coefficients @ maps).std(0)
    return torch.from_numpy((maps / np.maximum(deviations, _STILL_SHARE * deviations.max())).astype(np.float32))


@torch.no_grad()
def predict_clip(
    model: AudioToMotion, basis: MotionBasis, clip: ClipData, temperature: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Landmarks [F, K, 3] predicted for a clip, in the speaker's own amplitude."""
    model.eval()
    frames = len(clip.displacement)
    features = torch.from_numpy(clip.features[None].astype(np.float32))
    stride = model.config.latent_stride
    missing = -frames % stride
    features = torch.cat([features, features[:, -2:].repeat(1, missing, 1)], dim=1)
    shape = (1, model.config.latent_channels, (frames + missing) // stride)
    noise = temperature * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    displacement = basis.displacement(model(features, noise)[0].T[:frames].numpy())
    return clip.neutral + clip.gain * displacement


def score_model(
    model: AudioToMotion, basis: MotionBasis, clips: Sequence[ClipData], temperature: float = 0.0
) -> LipScore:
    """Lip score over clips, each predicted as `predict_clip` does."""
    predicted = [predict_clip(model, basis, clip, temperature, index) for index, clip in enumerate(clips)]
    return score_lips(predicted, [clip.landmarks for clip in clips])


def pretrain_motion(
    corpus: Path | str,
    sync_model: Path | str | None,
    out: Path | str,
    preset: str = "fast",
    *,
    seed: int = 0,
    resume: bool = False,
    progress: ProgressFn = no_progress,
) -> dict[str, Any]:
    """Train on a corpus folder and write a motion model folder.

    Args:
        sync_model: folder with the expert of `pretrain_sync`, or None to train without it; it is copied into `out`.

    Returns:
        scores on the held-out clips, by speaker and temperature (also written as metrics.json).
    """
    config = choose_preset(MOTION_PRESETS, preset)
    opened = Corpus.load(Path(corpus))
    out = Path(out)
    with training_folder(out, resume, result="motion.onnx", work="work-motion") as work:
        data = load_corpus_data(opened, progress, voices=True)
        expert = load_expert(Path(sync_model), data.encoder) if sync_model is not None else None
        basis = fit_basis(np.concatenate([clip.displacement for clip in data.training]), config.motion_width)
        torch.manual_seed(seed)
        task = MotionTask(data, basis, expert, config)
        settings = {
            "stage": "motion",
            **config.model_dump(),
            "corpus": file_digest(opened.folder / MANIFEST_NAME),
            "voices": file_digest(opened.folder / VOICES_NAME) if data.voices else None,
            "sync": None if sync_model is None else file_digest(Path(sync_model) / "sync.safetensors"),
        }
        train(task, config.steps, work, settings=settings, seed=seed, resume=resume, progress=progress)
        model = task.modules["average"]
        assert isinstance(model, AudioToMotion)
        save_model(model, basis, data.encoder, out)
        if sync_model is not None and Path(sync_model).resolve() != out.resolve():
            for name in ("sync.json", "sync.safetensors"):
                _copy(Path(sync_model) / name, out / name)
        metrics = heldout_scores(model, basis, data)
        write_json(out / "metrics.json", metrics)
    return metrics


def heldout_scores(model: AudioToMotion, basis: MotionBasis, data: CorpusData) -> dict[str, Any]:
    """Lip scores of each speaker's held-out clips on the mean path and on samples."""
    scores: dict[str, Any] = {}
    for speaker in sorted({clip.speaker for clip in data.heldout}):
        own = [clip for clip in data.heldout if clip.speaker == speaker]
        scores[speaker] = {
            "clips": len(own),
            **{f"temperature_{t:g}": score_model(model, basis, own, t).as_dict() for t in (0.0, 0.5, 1.0)},
        }
    return scores


def save_model(model: AudioToMotion, basis: MotionBasis, encoder: str, folder: Path) -> None:
    """Write config.json, motion.onnx and stats.safetensors."""
    sizes, stride = model.config, model.config.latent_stride
    export_motion(model, folder / "motion.onnx")
    save_tensors(folder / "stats.safetensors", {k: v.astype(np.float16) for k, v in basis.tensors().items()})
    config = MotionModelConfig(
        encoder=encoder,
        feature_width=sizes.feature_width,
        latent_channels=sizes.latent_channels,
        latent_stride=stride,
        past_frames=model.past_frames,
        future_frames=model.future_frames,
    )
    write_json(folder / "config.json", config.model_dump(mode="json"))


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_bytes(source.read_bytes())
