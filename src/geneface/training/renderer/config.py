"""Settings that the training of every renderer has."""

from __future__ import annotations

from pydantic import Field

from geneface.config import Config


class SharedTrainConfig(Config):
    """What both renderers' training has. Rates are Adam's, at the first step; all fall to `final_rate` of that."""

    budget_seconds: float | None = Field(None, gt=0)
    """Replaces `steps` by as many as fit into this time, measured once when the training starts."""
    seed: int = 0
    components: int = Field(16, ge=1)
    """Principal components of the landmarks in the condition; as few as the frames define (`fit_components`)."""
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
