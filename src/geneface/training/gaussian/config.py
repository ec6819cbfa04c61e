"""Settings of the Gaussians' training."""

from __future__ import annotations

from pydantic import Field

from geneface.training.presets import choose_preset, with_changes
from geneface.training.renderer.config import SharedTrainConfig

COMMON_FRAMES = 400
"""16 s. Where more frames speak for what a Gaussian learns, neighbours and decay need to hold it less."""


class GaussianTrainConfig(SharedTrainConfig):
    """What `train_gaussian` does."""

    components: int = Field(28, ge=1)
    steps: int = Field(8000, ge=1)
    """Frames shown, one a step; the mouth's own steps are paid for with some of them."""
    visits: int = Field(6, ge=1)
    """How often a frame is shown at most: a short portrait is over-fitted long before `steps` are done."""
    mouth_steps: float = Field(0.6, ge=0, le=2)
    """How many steps that show the mouth alone follow on each that shows a whole frame."""
    face_count: int = Field(9500, ge=1)
    lips_count: int = Field(3000, ge=1)
    mouth_count: int = Field(1200, ge=0)
    shell_count: int = Field(6000, ge=0)
    torso_count: int = Field(5000, ge=0)
    """Gaussians of each layer; of lips and mouth in a picture of 256 px, and more in proportion in a larger one."""

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
    """The same for positions, with up to `COMMON_FRAMES` training frames; with more it is less in proportion."""
    pose_basis_decay: float = 3.0
    """The same for all rows of the bases that the head pose drives (shell, torso)."""
    diffusion_steps: int = Field(50, ge=1)
    """Steps between two times that bases are drawn to their neighbours' mean, see `training.gaussian.neighbours`."""
    pose_diffusion: float = Field(0.2, ge=0, le=1)
    """How far those of hair, ears and torso are drawn, with up to `COMMON_FRAMES` training frames."""
    face_diffusion: float = Field(0.2, ge=0, le=1)
    """How far the face's are, in all that they have learnt in addition to the mesh's motion."""
    mouth_diffusion: float = Field(0.4, ge=0, le=1)
    """How far those of lips and mouth are in the mouth's own steps: teeth would be speckled."""
    affine_rate: float = 1e-3
    affine_prior: float = 0.02

    l1: float = 0.8
    dssim: float = 0.2
    lips_weight: float = 3.0
    eyes_weight: float = 2.0
    """Weight of a pixel around them in the image loss; the head's is 1."""
    mouth_l1: float = 0.5
    mouth_dssim: float = 0.5
    """The same as `l1` and `dssim` in the mouth's own steps: structure decides more, because teeth are structure."""
    mouth_detail: float = Field(0.05, ge=0, le=0.1)
    """The same as `detail` there, in a picture of 256 px, and more in proportion to the area of a larger one: enlarged
    by two, a picture has a quarter of the Laplacian."""


_CHANGES: dict[str, dict[str, object]] = {
    "tiny": {
        "steps": 150,
        "face_count": 1500,
        "lips_count": 500,
        "mouth_count": 200,
        "shell_count": 700,
        "torso_count": 600,
    },
    "fast": {},
    "good": {"steps": 16000, "visits": 10},
}
GAUSSIAN_PRESETS = {name: GaussianTrainConfig.model_validate(changes) for name, changes in _CHANGES.items()}
"""tiny: seconds, for trying things; fast: 2 minutes on two cores; good: 10 minutes."""


def gaussian_config(preset: str, **changes: object) -> GaussianTrainConfig:
    """Settings of a preset, with changes; InputError if there is no preset of that name."""
    return with_changes(choose_preset(GAUSSIAN_PRESETS, preset), changes)
