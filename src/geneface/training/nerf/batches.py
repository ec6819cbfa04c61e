"""Patches of training frames: where they lie and what is read of them. Frames stay in their memory-mapped files.

Symbols: C frames a step, P patches a frame, 64 rays of a patch, S x S the portrait's image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.camera import project
from geneface.geometry.landmarks import LEFT_EYE, LIPS, RIGHT_EYE
from geneface.ops.nerf import PATCH, PATCH_RAYS
from geneface.portrait.portrait import Portrait
from geneface.render.composite import from_uint8
from geneface.training.nerf.config import NerfTrainConfig
from geneface.training.renderer.targets import EYE_MARGIN, LIPS_MARGIN, pixel_weights, sharpened_inside
from geneface.types import FloatArray

IMPORTANCE_FLOOR = 0.08
"""Chance of a pixel of the plate against one of the head."""
TORSO_IMPORTANCE = 0.4


@dataclass(frozen=True)
class PatchBatch:
    """What the photographs say about the patches of one step."""

    frames: NDArray[np.int64]
    """[C]."""
    corners: NDArray[np.int32]
    """[C, P, 2]."""
    jitter: FloatArray
    """[C, P, 64]."""
    target: NDArray[np.uint8]
    """Sharpened, see `renderer.targets.sharpened`."""
    masks: NDArray[np.uint8]
    plate: NDArray[np.uint8]
    weight: FloatArray


class PatchSampler:
    """Draws the patches of a step: a function of the seed and the step's number alone."""

    def __init__(
        self,
        portrait: Portrait,
        frames: NDArray[np.int64],
        head_share: FloatArray,
        torso_share: FloatArray,
        config: NerfTrainConfig,
    ) -> None:
        """head_share, torso_share: [S, S] mean masks of some frames."""
        self._portrait, self._frames, self._config = portrait, frames, config
        self._plates = [portrait.segment_background(number) for number in range(int(portrait.segment.max()) + 1)]
        importance = IMPORTANCE_FLOOR + head_share + TORSO_IMPORTANCE * torso_share
        importance = importance[: portrait.size - PATCH + 1, : portrait.size - PATCH + 1]
        self._columns = importance.shape[1]
        self._cumulative = np.cumsum(importance.ravel()) / importance.sum()

    def draw(self, step: int) -> PatchBatch:
        """The patches of one step."""
        config = self._config
        rng = np.random.default_rng([config.seed, step])
        count, patches = config.frames_per_step, config.patches_per_frame
        frames = np.sort(self._frames[rng.integers(0, len(self._frames), count)])
        corners = self._corners(frames, rng)
        shape = (count, patches, PATCH_RAYS)
        bordered, plate = np.empty((count, patches, PATCH + 2, PATCH + 2, 3), np.uint8), np.empty((*shape, 3), np.uint8)
        masks = np.empty((*shape, 2), np.uint8)
        for c, frame in enumerate(frames):
            background = self._plates[int(self._portrait.segment[frame])]
            for p, (x, y) in enumerate(corners[c]):
                rows, columns = slice(y, y + PATCH), slice(x, x + PATCH)
                bordered[c, p], mask = self._portrait.bordered_patch(int(frame), rows, columns)
                masks[c, p] = mask.reshape(-1, 2)
                plate[c, p] = background[rows, columns].reshape(-1, 3)
        target = (
            np.rint(255 * sharpened_inside(from_uint8(bordered), config.detail)).astype(np.uint8).reshape(*shape, 3)
        )
        weight = pixel_weights(from_uint8(masks[..., 0]), from_uint8(masks[..., 1]), config)
        jitter = rng.random(shape, np.float32) - np.float32(0.5)
        return PatchBatch(frames, corners, jitter, target, masks, plate, weight)

    def _corners(self, frames: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int32]:
        """First pixels [C, P, 2] of the patches of some frames [C]."""
        portrait, config = self._portrait, self._config
        shape = len(frames), config.patches_per_frame
        places = np.searchsorted(self._cumulative, rng.random(shape), side="right")
        corners = np.stack([places % self._columns, places // self._columns], -1)
        pose = portrait.pose.rotation[frames], portrait.pose.translation[frames]
        points = project(portrait.landmarks[frames], *pose, portrait.camera)
        kind, inside = rng.random(shape), rng.random((*shape, 2))
        below = 0.0
        for group, margin, share in (
            (LIPS, LIPS_MARGIN, config.lips_share),
            (LEFT_EYE, EYE_MARGIN, config.eyes_share / 2),
            (RIGHT_EYE, EYE_MARGIN, config.eyes_share / 2),
        ):
            low, high = points[:, group].min(1)[:, None], points[:, group].max(1)[:, None]
            extra = margin * (high[..., :1] - low[..., :1])
            middle = low - extra + inside * (high - low + 2 * extra)
            chosen = (kind >= below) & (kind < below + share)
            below += share
            corners[chosen] = np.round(middle - PATCH / 2)[chosen]
        return np.clip(corners, 0, portrait.size - PATCH).astype(np.int32)
