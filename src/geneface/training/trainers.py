"""How each renderer is trained, by the names of `render.registry`: the one table that commands and benchmarks read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from geneface.portrait.portrait import Portrait
from geneface.render.registry import check_renderer
from geneface.render.renderer import RendererModel
from geneface.training.gaussian.config import GAUSSIAN_PRESETS
from geneface.training.gaussian.train import GaussianTrainer, train_gaussian
from geneface.training.nerf.config import NERF_PRESETS
from geneface.training.nerf.train import NerfTrainer, train_nerf
from geneface.training.presets import choose_preset, with_changes
from geneface.training.renderer.config import SharedTrainConfig
from geneface.training.renderer.run import Trainer
from geneface.types import ProgressFn


class TrainFunction(Protocol):
    """Learns a portrait's head and torso: `gaussian.train.train_gaussian`, `nerf.train.train_nerf`."""

    def __call__(
        self, portrait: Portrait, work: Path, config: Any, *, resume: bool = ..., progress: ProgressFn = ...
    ) -> RendererModel:
        """Train to the last step, with settings of `RendererTraining.config`."""
        ...


@dataclass(frozen=True)
class RendererTraining:
    """How one renderer is trained. Each has settings of its own, which its functions take."""

    presets: Mapping[str, SharedTrainConfig]
    train: TrainFunction
    trainer: Callable[[Portrait, Any], Trainer]
    """(portrait, settings): its steps one by one, for benchmarks."""

    def config(self, preset: str, **changes: object) -> SharedTrainConfig:
        """Settings of a preset, with changes.

        Raises:
            InputError: there is no preset of that name.
        """
        return with_changes(choose_preset(self.presets, preset), changes)


TRAININGS = {
    "gaussian": RendererTraining(GAUSSIAN_PRESETS, train_gaussian, GaussianTrainer),
    "nerf": RendererTraining(NERF_PRESETS, train_nerf, NerfTrainer),
}


def training_of(renderer: str) -> RendererTraining:
    """How a renderer is trained.

    Raises:
        InputError: there is no renderer of that name.
    """
    check_renderer(renderer)
    return TRAININGS[renderer]
