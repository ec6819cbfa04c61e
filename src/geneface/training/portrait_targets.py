"""What the renderer is trained towards: frames of a portrait, prepared one ahead in a thread.

Symbols: F frames, H x W pixels. Images float32 [H, W, 3] in [0, 1], masks float32 [H, W] in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from geneface.geometry.camera import project
from geneface.geometry.landmarks import LEFT_EYE, LIPS, RIGHT_EYE
from geneface.portrait.portrait import Portrait
from geneface.training.portrait_config import RendererTrainConfig
from geneface.types import FloatArray

LIPS_MARGIN, EYE_MARGIN = 0.18, 0.35
"""Added around the landmarks on each side, as a part of the box's width."""


@dataclass(frozen=True)
class FrameTarget:
    """One frame as the losses see it."""

    index: int
    image: FloatArray
    head: FloatArray
    solid: FloatArray
    """Head and torso together."""
    weight: FloatArray
    """[H, W] of the image loss."""


def landmark_box(pixels: FloatArray, margin: float, size: int) -> tuple[slice, slice]:
    """Rows and columns of the box around points [P, 2], enlarged by a part of its width."""
    low, high = pixels.min(0), pixels.max(0)
    extra = margin * (high[0] - low[0])
    x0, y0 = np.clip(np.floor(low - extra), 0, size).astype(int)
    x1, y1 = np.clip(np.ceil(high + extra), 0, size).astype(int)
    return slice(y0, y1), slice(x0, x1)


def frame_target(portrait: Portrait, index: int, config: RendererTrainConfig) -> FrameTarget:
    """Read one frame and weight its pixels."""
    pixels, masks = portrait.frame(index)
    scale = np.float32(1 / 255)
    head, torso = masks[..., 0] * scale, masks[..., 1] * scale
    solid = np.minimum(head + torso, 1)
    weight = config.plate_weight + (1 - config.plate_weight) * head + (config.torso_weight - config.plate_weight) * torso
    pose = portrait.pose.rotation[index], portrait.pose.translation[index]
    points = project(portrait.landmarks[index], *pose, portrait.camera)
    for group, margin, gain in (
        (LIPS, LIPS_MARGIN, config.lips_weight),
        (LEFT_EYE, EYE_MARGIN, config.eyes_weight),
        (RIGHT_EYE, EYE_MARGIN, config.eyes_weight),
    ):
        box = landmark_box(points[group], margin, portrait.size)
        weight[box] = np.maximum(weight[box], gain)
    return FrameTarget(index, pixels * scale, head, solid, weight.astype(np.float32, copy=False))


def frame_order(frames: np.ndarray, seed: int, start: int, stop: int) -> Iterator[int]:
    """Frame numbers of steps start..stop: a new shuffle each epoch, known from the step alone so that a run can resume."""
    count, epoch, shuffled = len(frames), -1, frames
    for step in range(start, stop):
        if step // count != epoch:
            epoch = step // count
            shuffled = frames[np.random.default_rng([seed, epoch]).permutation(count)]
        yield int(shuffled[step % count])


def prefetched(make: Callable[[int], FrameTarget], indices: Iterable[int]) -> Iterator[FrameTarget]:
    """make(index) for every index in order, two ahead in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        waiting = []
        try:
            for index in indices:
                waiting.append(pool.submit(make, index))
                if len(waiting) > 2:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
