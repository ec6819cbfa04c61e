"""Settings of the renderers' training: what both have, and the Gaussians'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

from pydantic import Field

from geneface.config import Config
from geneface.errors import InputError

Preset = Literal["tiny", "fast", "good"]


class SharedTrainConfig(Config):
    """What both renderers' training has. Rates are Adam's, at the first step; all fall to `final_rate` of that."""

    budget_seconds: float | None = Field(None, gt=0)
    """Replaces `steps` by as many as fit into this time, measured once when the training starts."""
    seed: int = 0
    components: int = Field(16, ge=1)
    """Principal components of the landmarks in the condition."""
    turn_width: int = Field(3, ge=0, le=6)
    """Pose values (rotation first) in the condition of face or head."""
    final_rate: float = 0.03
    pose_rate: float = 4e-4
    """Radians and head units."""
    pose_warmup: float = 0.08
    """Share of the steps before poses are refined."""
    pose_prior: float = 0.02
    """Pull of a frame's pose towards the tracked one at each of its visits: held-out poses are tracked ones."""
    torso_map_rate: float = 1e-3
    """Of the linear map by which the torso follows the head pose."""
    silhouette: float = 0.1
    """Weight of the losses on the head mask and on head and torso together."""
    torso_weight: float = 0.7
    plate_weight: float = 0.4
    """Weight of a pixel in the colour loss; the head's is 1."""
    detail: float = Field(0.03, ge=0, le=0.1)
    """How much of its Laplacian is taken from a frame before it is learnt: frames that do not quite agree are learnt
    as their mean, which is softer than any of them."""
    checkpoint_seconds: float = Field(10.0, gt=0)


class RendererTrainConfig(SharedTrainConfig):
    """What `train_renderer` does."""

    steps: int = Field(8000, ge=1)
    """Frames shown, one a step."""
    visits: int = Field(6, ge=1)
    """How often a frame is shown at most: a short portrait is over-fitted long before `steps` are done."""
    face_count: int = Field(9500, ge=1)
    mouth_count: int = Field(900, ge=0)
    shell_count: int = Field(6000, ge=0)
    torso_count: int = Field(5000, ge=0)
    """Gaussians of each layer."""

    mean_rate: float = 3e-4
    scale_rate: float = 6e-3
    quaternion_rate: float = 2e-3
    opacity_rate: float = 2e-2
    colour_rate: float = 4e-3
    basis_mean_rate: float = 2e-4
    basis_opacity_rate: float = 1e-2
    basis_colour_rate: float = 3e-3
    basis_decay: float = 2.0
    """Decoupled decay of the face's opacity and colour bases: what few frames ask for is not learnt."""
    basis_mean_decay: float = 1.0
    """The same for positions."""
    pose_basis_decay: float = 3.0
    """The same for all rows of the bases that the head pose drives (shell, torso)."""
    diffusion_steps: int = Field(50, ge=1)
    """Steps between two times that bases are drawn to their neighbours' mean, see `training.gaussian.neighbours`."""
    pose_diffusion: float = Field(0.2, ge=0, le=1)
    """How far those of hair, ears and torso are drawn."""
    face_diffusion: float = Field(0.2, ge=0, le=1)
    """How far the face's are, in all that they have learnt beside the mesh's motion."""
    affine_rate: float = 1e-3
    affine_prior: float = 0.02

    l1: float = 0.8
    dssim: float = 0.2
    lips_weight: float = 3.0
    eyes_weight: float = 2.0
    """Weight of a pixel around them in the image loss; the head's is 1."""


SettingsT = TypeVar("SettingsT")


def of_preset(presets: Mapping[str, SettingsT], name: str) -> SettingsT:
    """One of several presets; InputError if there is none of that name."""
    if name not in presets:
        raise InputError(f"there is no preset {name!r}", f"choose one of: {', '.join(presets)}")
    return presets[name]


_PRESETS: dict[str, dict[str, int]] = {
    "tiny": {"steps": 150, "face_count": 1500, "mouth_count": 150, "shell_count": 700, "torso_count": 600},
    "fast": {"steps": 5000},
    "good": {"steps": 16000, "visits": 10},
}


def renderer_config(preset: str, **changes: object) -> RendererTrainConfig:
    """Settings of a preset: tiny (seconds, for trying things), fast (2 minutes on two cores), good (10 minutes)."""
    return RendererTrainConfig.model_validate({**of_preset(_PRESETS, preset), **changes})
