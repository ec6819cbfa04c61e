"""Variants of the motion model: trained on a corpus with one thing as in GeneFace's own code, scored on held-out clips.

F frames at 25 Hz, K named landmarks, D feature width. A variant changes the settings of the training, the speech
features it gets, or what is done to the landmarks afterwards. All variants of a seed start from the same weights
(where their shapes agree) and see the same sequences in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geneface.avatar.recorded import FACE_SIGMA_FRAMES
from geneface.avatar.smoothing import UPPER_AND_OUTER_FACE, smooth
from geneface.corpus.dataset import ClipData, CorpusData
from geneface.evaluation.metrics.lips import LipClip, face_width, lip_figures
from geneface.evaluation.metrics.registry import lip_metrics
from geneface.evaluation.metrics.stability import stability_ratio_figures
from geneface.evaluation.schema import Figure
from geneface.geometry.landmarks import KEYPOINT_COUNT, LIPS
from geneface.motion.basis import MotionBasis, fit_basis
from geneface.motion.sync import SyncExpert
from geneface.motion.vae import AudioToMotion
from geneface.training.loop import train
from geneface.training.motion.train import MOTION_PRESETS, MotionTask, MotionTrainConfig, build_model, predict_clip
from geneface.types import FloatArray, HeadPose, MotionTrack, ProgressFn

OURS = "ours"
PRESETS: dict[str, MotionTrainConfig] = {
    "tiny": MOTION_PRESETS["tiny"],
    "small": MOTION_PRESETS["fast"].model_copy(update={"steps": 400}),
    "fast": MOTION_PRESETS["fast"],
}
ORIGINAL_LIP_SHARE, ORIGINAL_FACE_SHARE = 0.25, 0.35
"""How much of the past GeneFace's `lm3d_radnerf_infer.py` keeps in a frame's lips and in the rest of its face."""
MOTION_PENALTY = 0.2
"""Our choice: in the original it belongs to a loss of other terms."""
FEW_STEPS = 8
SAMPLED = "sampled_"
"""Before a key: at temperature 1 instead of on the mean path."""

_STATISTICS = ("speech.mean", "speech.scale", "speech.linear.weight", "speech.linear_bias")
"""Of the features that a variant gets, and the linear map that is fitted to them: not weights that are trained."""

Points = FloatArray


# ---- what happens to landmarks after the model, [F, K, 3] -> [F, K, 3]


def spare_lips(points: Points) -> Points:
    """As our avatars do: all but the lips smoothed, without a delay."""
    result = points.copy()
    result[:, UPPER_AND_OUTER_FACE] = smooth(points[:, UPPER_AND_OUTER_FACE], FACE_SIGMA_FRAMES)
    return result


def unsmoothed(points: Points) -> Points:
    return points


def exponential(points: Points) -> Points:
    """All landmarks by a recursive filter, which delays them by share / (1 - share) frames."""
    share = _shares()
    result = points.copy()
    for frame in range(1, len(points)):
        result[frame] = share * result[frame - 1] + (1 - share) * points[frame]
    return result


def blend_with_first(points: Points) -> Points:
    """The same filter with a state that never moves on: every frame is drawn towards the first."""
    share = _shares()
    return share * points[:1] + (1 - share) * points


def _shares() -> FloatArray:
    """[K, 1]."""
    shares = np.full((KEYPOINT_COUNT, 1), ORIGINAL_FACE_SHARE, np.float32)
    shares[LIPS] = ORIGINAL_LIP_SHARE
    return shares


FINISHES: dict[str, Callable[[Points], Points]] = {
    "smooth-lips": exponential,
    "first-frame-blend": blend_with_first,
    "no-smoothing": unsmoothed,
}
"""Variants of what follows the model, for generic motion and for avatars."""


def windowed(finish: Callable[[Points], Points]) -> Callable[..., Iterator[Points]]:
    """In place of `avatar.smoothing.smooth_landmark_windows`: the whole track in one piece."""

    def run(windows: Iterable[Points], sigma: float) -> Iterator[Points]:
        yield finish(np.concatenate(list(windows)))

    return run


# ---- variants


def whole_features(features: np.ndarray) -> np.ndarray:
    return features


def every_second_row(features: np.ndarray) -> np.ndarray:
    """[2F, D] -> [2F, D]: the odd rows lost, the even ones twice."""
    return np.repeat(features[::2], 2, axis=0)


@dataclass(frozen=True)
class MotionVariant:
    """One change against `ours`."""

    name: str
    change: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `MotionTrainConfig` that differ."""
    listen: Callable[[np.ndarray], np.ndarray] = whole_features
    """Speech features of a clip [2F, D] as the model gets them, in training and after."""
    finish: Callable[[Points], Points] = spare_lips
    with_expert: bool = True
    steps_divisor: int = 1
    trained_as: str | None = None
    """The variant whose weights it uses, for changes after training."""

    def config(self, preset: MotionTrainConfig) -> MotionTrainConfig:
        steps = max(preset.steps // self.steps_divisor, 1)
        return MotionTrainConfig.model_validate({**preset.model_dump(), "steps": steps, **self.settings})


MOTION_VARIANTS: dict[str, MotionVariant] = {
    variant.name: variant
    for variant in (
        MotionVariant(OURS, "as shipped"),
        MotionVariant("undilated", "WaveNet dilations 1, 1, 1, 1 instead of 1, 2, 4, 8", {"dilations": (1, 1, 1, 1)}),
        MotionVariant(
            "latent-6hz",
            "latent at 6.25 Hz instead of 12.5 Hz, which looks two frames further ahead",
            {"latent_stride": 4, "future_frames": 4},
        ),
        MotionVariant("drop-features", "every second 20 ms row of the speech features lost", listen=every_second_row),
        MotionVariant(
            "lip-motion-penalty",
            f"loss on the speed of all landmarks, lips included, weight {MOTION_PENALTY:g}",
            {"motion_penalty": MOTION_PENALTY},
        ),
        MotionVariant("no-flow", "prior N(0, I) without the flow", {"flow_steps": 0}),
        MotionVariant("few-steps", f"1/{FEW_STEPS} of the training steps", steps_divisor=FEW_STEPS),
        MotionVariant("no-sync", "trained without the sync expert", with_expert=False),
        MotionVariant(
            "smooth-lips",
            f"exponential smoothing of all landmarks (lips {ORIGINAL_LIP_SHARE:g}, rest {ORIGINAL_FACE_SHARE:g} of "
            "the past)",
            finish=exponential,
            trained_as=OURS,
        ),
        MotionVariant(
            "first-frame-blend",
            "the same filter with its state never advanced, as in a published version of the original",
            finish=blend_with_first,
            trained_as=OURS,
        ),
        MotionVariant("no-smoothing", "no smoothing of brows, cheeks and jaw", finish=unsmoothed, trained_as=OURS),
    )
}


# ---- training and scores


class SameOrderTask(MotionTask):
    """Random draws follow from seed and step alone: other shapes must not lead to other data."""

    seed = 0

    def step(self, index: int, total: int, generator: torch.Generator) -> dict[str, float]:
        return super().step(index, total, torch.Generator().manual_seed((self.seed << 32) + index))


def heard(data: CorpusData, listen: Callable[[np.ndarray], np.ndarray]) -> CorpusData:
    """The corpus with other speech features."""

    def changed(clips: list[ClipData]) -> list[ClipData]:
        return [replace(clip, features=listen(clip.features)) for clip in clips]

    voices = {
        name: [replace(voice, features=listen(voice.features)) for voice in others]
        for name, others in data.voices.items()
    }
    return replace(data, training=changed(data.training), heldout=changed(data.heldout), voices=voices)


def corpus_basis(data: CorpusData, preset: MotionTrainConfig) -> MotionBasis:
    return fit_basis(np.concatenate([clip.displacement for clip in data.training]), preset.motion_width)


def train_variant(
    variant: MotionVariant,
    data: CorpusData,
    basis: MotionBasis,
    expert: SyncExpert | None,
    preset: MotionTrainConfig,
    seed: int,
    folder: Path,
    progress: ProgressFn,
) -> AudioToMotion:
    """Train, or take from `folder` what was trained there with the same settings."""
    config = variant.config(preset)
    task = SameOrderTask(heard(data, variant.listen), basis, expert if variant.with_expert else None, config)
    task.seed = seed
    torch.manual_seed(seed)
    start = build_model(data, basis, preset).state_dict()
    for module in task.modules.values():
        own = module.state_dict()
        shared = [key for key in start if key in own and own[key].shape == start[key].shape and key not in _STATISTICS]
        module.load_state_dict({**own, **{key: start[key] for key in shared}})
    train(task, config.steps, folder, settings=config.model_dump(), seed=seed, resume=True, progress=progress)
    model = task.modules["average"]
    assert isinstance(model, AudioToMotion)
    return model


def score_variant(
    variant: MotionVariant, model: AudioToMotion, basis: MotionBasis, data: CorpusData
) -> dict[str, Figure]:
    """Figures on the held-out clips: all of them on the mean path, some on samples too."""
    clips = heard(data, variant.listen).heldout
    mean = [variant.finish(predict_clip(model, basis, clip)) for clip in clips]
    drawn = [variant.finish(predict_clip(model, basis, clip, 1.0, index)) for index, clip in enumerate(clips)]
    truth = [clip.landmarks for clip in clips]
    widths = [float(face_width(clip.neutral)) for clip in clips]
    sampled = lip_figures([LipClip(t / w, d / w) for t, d, w in zip(truth, drawn, widths, strict=True)])
    kept = ("opening_correlation", "opening_amplitude_ratio")
    return motion_figures(truth, mean, widths) | {SAMPLED + key: sampled[key] for key in kept}


def motion_figures(
    truth: Sequence[Points], predicted: Sequence[Points], widths: Sequence[float], sounds: Sequence[FloatArray] = ()
) -> dict[str, Figure]:
    """Lips, articulation and jitter of the brows.

    Args:
        truth, predicted: [F, K, 3] each, head units.
        widths: of the faces, head units.
        sounds: [T] at 16 kHz of each clip, where known.
    """
    clips = [
        LipClip(t / w, p / w, sounds[index] if sounds else None)
        for index, (t, p, w) in enumerate(zip(truth, predicted, widths, strict=True))
    ]
    jitter = stability_ratio_figures([_still_head(points) for points in truth], [_still_head(p) for p in predicted])
    return {
        **lip_metrics(clips),
        "brow_jitter_ratio": jitter["brow_jitter_ratio"],
    }


def _still_head(points: Points) -> MotionTrack:
    zeros = np.zeros((len(points), 3), np.float32)
    return MotionTrack(points, HeadPose(zeros, zeros))
