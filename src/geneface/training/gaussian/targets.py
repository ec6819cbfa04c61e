"""What the Gaussians are trained towards: whole frames of a portrait, one a step.

Symbols: F frames, H x W pixels. Images float32 [H, W, 3] in [0, 1], masks float32 [H, W] in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.camera import project
from geneface.geometry.landmarks import LEFT_EYE, LIPS, RIGHT_EYE
from geneface.portrait.portrait import Portrait
from geneface.render.composite import from_uint8
from geneface.render.renderer import Window
from geneface.training.gaussian.config import GaussianTrainConfig
from geneface.training.renderer.targets import EYE_MARGIN, LIPS_MARGIN, pixel_weights, sharpened, sharpened_inside
from geneface.types import FloatArray

WINDOW_MARGIN = 0.05
"""Around the mouth's box, as a part of its width: what lies across its edge is learnt with the rest."""
AROUND_MOUTH = 0.3
"""Weight of a pixel there; the mouth's is 1."""
LEAST_WINDOW_PX = 16


@dataclass(frozen=True)
class FrameTarget:
    """One frame as the losses see it."""

    index: int
    image: FloatArray
    """Sharpened, see `sharpened`."""
    head: FloatArray
    solid: FloatArray
    """Head and torso together."""
    weight: FloatArray
    """[H, W] of the image loss."""
    window: Window | None = None
    """The part of the frame that is shown, in a step of the mouth alone; the arrays are those of that part."""


def landmark_box(pixels: NDArray[np.floating], margin: float, size: int) -> tuple[slice, slice]:
    """Rows and columns of the box around points [P, 2], enlarged by a part of its width."""
    low, high = pixels.min(0), pixels.max(0)
    extra = margin * (high[0] - low[0])
    x0, y0 = np.clip(np.floor(low - extra), 0, size).astype(int)
    x1, y1 = np.clip(np.ceil(high + extra), 0, size).astype(int)
    return slice(y0, y1), slice(x0, x1)


def frame_target(portrait: Portrait, index: int, config: GaussianTrainConfig) -> FrameTarget:
    """Read one frame and weight its pixels."""
    pixels, masks = portrait.frame(index)
    head, torso = from_uint8(masks[..., 0]), from_uint8(masks[..., 1])
    solid = np.minimum(head + torso, 1)
    weight = pixel_weights(head, torso, config)
    pose = portrait.pose.rotation[index], portrait.pose.translation[index]
    points = project(portrait.landmarks[index], *pose, portrait.camera)
    for group, margin, gain in (
        (LIPS, LIPS_MARGIN, config.lips_weight),
        (LEFT_EYE, EYE_MARGIN, config.eyes_weight),
        (RIGHT_EYE, EYE_MARGIN, config.eyes_weight),
    ):
        box = landmark_box(points[group], margin, portrait.size)
        weight[box] = np.maximum(weight[box], gain)
    return FrameTarget(index, sharpened(from_uint8(pixels), by_size(config.detail, portrait.size)), head, solid, weight)


def mouth_window(box: NDArray[np.integer], size: int) -> Window:
    """A box (x0, y0, x1, y1) around the mouth and some pixels around it, inside of a picture of that size."""
    margin = max(round(WINDOW_MARGIN * (int(box[2]) - int(box[0]))), 1)
    first, last = np.clip(box[:2] - margin, 0, size), np.clip(box[2:] + margin, 0, size)
    # A mouth at the picture's edge has a window too: the loss needs some pixels.
    first = np.clip(np.minimum(first, last - LEAST_WINDOW_PX), 0, size - LEAST_WINDOW_PX)
    last = np.maximum(last, first + LEAST_WINDOW_PX)
    (left, top), (width, height) = first.tolist(), (last - first).tolist()
    return Window(left, top, width, height)


def mouth_target(portrait: Portrait, index: int, config: GaussianTrainConfig) -> FrameTarget:
    """Read the mouth of one frame; what is around its box counts less."""
    box = portrait.mouth_box[index]
    window = mouth_window(box, portrait.size)
    bordered, masks = portrait.bordered_patch(index, window.rows, window.columns)
    head, torso = from_uint8(masks[..., 0]), from_uint8(masks[..., 1])
    weight = np.full((window.height, window.width), AROUND_MOUTH, np.float32)
    x0, y0, x1, y1 = (max(int(edge), 0) for edge in box - np.tile([window.left, window.top], 2))
    weight[y0:y1, x0:x1] = 1
    detail = by_size(by_size(config.mouth_detail, portrait.size), portrait.size)
    image = sharpened_inside(from_uint8(bordered), detail)
    return FrameTarget(index, image, head, np.minimum(head + torso, 1), weight, window)


def by_size(value: float, size: int) -> float:
    """A setting for pictures of 256 px in those of another size: fine things are made of more pixels there."""
    return value * size / 256


def frame_order(frames: np.ndarray, seed: int, start: int, stop: int) -> Iterator[int]:
    """Frame numbers of steps start..stop: a new shuffle each epoch, known from the step alone, for a resumed run."""
    count, epoch, shuffled = len(frames), -1, frames
    for step in range(start, stop):
        if step // count != epoch:
            epoch = step // count
            shuffled = frames[np.random.default_rng([seed, epoch]).permutation(count)]
        yield int(shuffled[step % count])
