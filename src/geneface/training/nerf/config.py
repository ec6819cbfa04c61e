"""Settings of the radiance field's training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from geneface.training.presets import choose_preset, with_changes
from geneface.training.renderer.config import SharedTrainConfig


class NerfTrainConfig(SharedTrainConfig):
    """What `train_nerf` does."""

    steps: int = Field(5000, ge=1)
    rays_per_pixel: float = Field(60.0, gt=0)
    """How often a pixel of the training frames is shown at most, on average: a short portrait is over-fitted early."""
    frames_per_step: int = Field(32, ge=1)
    patches_per_frame: int = Field(4, ge=1)
    """Patches of 8 x 8 pixels."""
    slots: int = Field(2, ge=1, le=64)
    """Parts of the gradients, summed up in a fixed order: as many threads can work. More cost memory traffic."""

    head_rows_log2: int = Field(15, ge=8, le=20)
    """Rows of a level of the head's table, as a power of two."""
    head_width: Literal[32, 64] = 64
    head_resolution: tuple[int, int, int, int] = (16, 48, 136, 384)
    torso_rows_log2: int = Field(13, ge=8, le=20)
    torso_width: Literal[32, 64] = 32
    torso_resolution: tuple[int, int, int, int] = (12, 32, 88, 240)
    step_length: float = Field(1 / 128, gt=1e-3, lt=0.1)
    """Head units of depth between two samples, in training as in rendering."""
    appearance_width: int = Field(4, ge=1, le=16)
    warp_rows: int = Field(56, ge=2)
    warp_columns: int = Field(48, ge=2)

    table_rate: float = 5e-2
    network_rate: float = 6e-3
    warp_rate: float = 3e-4
    """Head units."""
    warp_prior: float = 1e-3
    """Pull of the warp towards the tracked mesh's at each step."""
    pose_warmup: float = 0.1
    """Share of the steps before poses and the warp are refined."""
    pose_every: int = Field(3, ge=1)
    """Steps from one refinement of poses and warp to the next: their gradients are costly, and they are few."""
    few_frames: int = Field(250, ge=1)
    """Training frames below which a portrait is learnt more softly, the more so the fewer there are: what a handful of
    frames says of an expression must not break the face in all others."""
    condition_decay: float = Field(1.0, ge=0)
    """Decoupled decay of the weights by which the head's network sees expressions, turn and appearance, with half as
    many frames as `few_frames`."""
    appearance_rate: float = 5e-3
    appearance_prior: float = 0.02

    mean_start: float = Field(0.9, ge=0, le=1)
    """Share of the steps before what has been learnt is averaged: single steps still differ, their mean is better."""
    mean_every: int = Field(10, ge=1)

    epsilon: float = 1e-3
    detail: float = Field(0.05, ge=0, le=0.1)
    """Fields blur what frames do not agree on more than Gaussians do."""
    edge: float = 0.5
    """Weight of the differences of neighbouring pixels: sharpness."""
    opaque: float = 2e-3
    """Weight of the light that comes through behind each sample of the head, once the surface has been found."""
    opaque_start: float = Field(0.25, ge=0, le=1)
    """Share of the steps before that."""
    lips_share: float = Field(0.2, ge=0, le=1)
    eyes_share: float = Field(0.1, ge=0, le=1)
    """Share of the patches that lie on lips and eyes; the others follow the head's and the torso's masks."""

    occupancy_steps: int = Field(16, ge=1)
    """Steps between two looks at the densities of some cells."""
    occupancy_cells: int = Field(49152, ge=256)
    occupancy_decay: float = Field(0.95, gt=0, lt=1)
    occupancy_opacity: float = Field(0.01, gt=0)
    """A cell is skipped when one step through it has not lately covered more than this."""
    checkpoint_seconds: float = Field(15.0, gt=0)

    def scarcity(self, frames: int) -> float:
        """1, or how many times as many frames as there are would be enough."""
        return max(self.few_frames / max(frames, 1), 1.0)

    @property
    def least_density(self) -> float:
        """Of a cell that is not skipped."""
        return self.occupancy_opacity / self.step_length


_CHANGES: dict[str, dict[str, object]] = {
    "tiny": {
        "steps": 120,
        "frames_per_step": 8,
        "head_rows_log2": 12,
        "head_width": 32,
        "torso_rows_log2": 10,
        "occupancy_cells": 8192,
    },
    "fast": {"steps": 5000},
    "good": {"steps": 12000, "rays_per_pixel": 150.0},
}
NERF_PRESETS = {name: NerfTrainConfig.model_validate(changes) for name, changes in _CHANGES.items()}
"""tiny: seconds, for trying things; fast: 2 minutes on two cores; good: 5 minutes."""


def nerf_config(preset: str, **changes: object) -> NerfTrainConfig:
    """Settings of a preset, with changes; InputError if there is no preset of that name."""
    return with_changes(choose_preset(NERF_PRESETS, preset), changes)
