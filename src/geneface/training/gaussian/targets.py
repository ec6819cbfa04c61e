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
from geneface.training.gaussian.config import GaussianTrainConfig
from geneface.training.renderer.targets import EYE_MARGIN, LIPS_MARGIN, pixel_weights, sharpened
from geneface.types import FloatArray


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
    return FrameTarget(index, sharpened(from_uint8(pixels), config.detail), head, solid, weight)


def frame_order(frames: np.ndarray, seed: int, start: int, stop: int) -> Iterator[int]:
    """Frame numbers of steps start..stop: a new shuffle each epoch, known from the step alone, for a resumed run."""
    count, epoch, shuffled = len(frames), -1, frames
    for step in range(start, stop):
        if step // count != epoch:
            epoch = step // count
            shuffled = frames[np.random.default_rng([seed, epoch]).permutation(count)]
        yield int(shuffled[step % count])
