"""How much an avatar's drawings are sharpened: measured on its training frames, when its renderer is trained."""

from __future__ import annotations

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
_HEAD_LEVEL = 127


def measure_detail(portrait: Portrait, config: AvatarConfig, model: RendererModel) -> dict[str, float]:
    """How much head and mouth must be sharpened to have the detail of training frames: fields of `AvatarConfig`."""
    frames = np.flatnonzero(~portrait.heldout)
    frames = frames[spread_indices(len(frames), _FRAMES)]
    renderers: dict[int, Renderer] = {}
    heads: list[tuple[FloatArray, FloatArray]] = []
    mouths: list[tuple[FloatArray, FloatArray]] = []
    pose, torso = portrait.pose, portrait.pose.torso
    for index in frames.tolist():
        segment = int(portrait.segment[index])
        if segment not in renderers:
            plate = from_uint8(portrait.segment_background(segment))
            renderers = {segment: create_renderer(config.renderer, model.tensors(), model.config(), plate)}
        drawn = (
            renderers[segment]
            .render(
                portrait.landmarks[index],
                pose.rotation[index],
                pose.translation[index],
                config.camera,
                torso=None if torso is None else torso[index],
            )
            .rgb
        )
        pixels, masks = portrait.frame(index)
        recorded = from_uint8(pixels)
        x0, y0, x1, y1 = portrait.mouth_box[index].tolist()
        mouths.append((recorded[y0:y1, x0:x1], drawn[y0:y1, x0:x1]))
        rows, columns = np.nonzero(masks[..., 0] > _HEAD_LEVEL)
        if len(rows):
            box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
            heads.append((recorded[box], drawn[box]))
    return {"sharpen_head": fitted_amount(heads), "sharpen_mouth": fitted_amount(mouths)}
