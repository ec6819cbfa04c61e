"""How much an avatar's drawings are sharpened: measured on its training frames, when its renderer is trained."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from geneface.avatar.folder import AvatarConfig
from geneface.portrait.portrait import Portrait
from geneface.render.composite import from_uint8
from geneface.render.detail import fitted_amount
from geneface.render.registry import create_renderer
from geneface.render.renderer import Renderer, RendererModel
from geneface.signal.spans import spread_indices
from geneface.types import FloatArray

_FRAMES = 24


def measure_detail(portrait: Portrait, config: AvatarConfig, model: RendererModel) -> float:
    """How much drawings must be sharpened for the mouth to have the detail of training frames, `AvatarConfig.sharpen`.

    Not for the whole head: hair would decide, of which much is lost, and skin would get grain.
    """
    frames = np.flatnonzero(~portrait.heldout)
    frames = frames[spread_indices(len(frames), _FRAMES)]
    tensors, settings, pose = model.tensors(), model.config(), portrait.pose

    @lru_cache(maxsize=1)
    def renderer_of(segment: int) -> Renderer:
        plate = from_uint8(portrait.segment_background(segment))
        return create_renderer(config.renderer, tensors, settings, plate)

    mouths: list[tuple[FloatArray, FloatArray]] = []
    for index in frames.tolist():
        drawn = renderer_of(int(portrait.segment[index])).render(
            portrait.landmarks[index],
            pose.rotation[index],
            pose.translation[index],
            config.camera,
            torso=pose.torso_at(index),
        )
        recorded = from_uint8(portrait.frame(index)[0])
        x0, y0, x1, y1 = portrait.mouth_box[index].tolist()
        mouths.append((recorded[y0:y1, x0:x1], drawn.rgb[y0:y1, x0:x1]))
    return fitted_amount(mouths)
