"""What the renderer is trained towards: frames of a portrait, prepared one ahead in a thread.

Symbols: F frames, H x W pixels. Images float32 [H, W, 3] in [0, 1], masks float32 [H, W] in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.camera import project
from geneface.geometry.landmarks import LEFT_EYE, LIPS, RIGHT_EYE
from geneface.portrait.portrait import Portrait
from geneface.render.composite import from_uint8
from geneface.training.renderer.config import RendererTrainConfig, SharedTrainConfig
from geneface.types import FloatArray

LIPS_MARGIN, EYE_MARGIN = 0.18, 0.35
"""Added around the landmarks on each side, as a part of the box's width."""


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


def sharpened(image: FloatArray, amount: float) -> FloatArray:
    """Subtract `amount` of the Laplacian (four neighbours; the edge repeats itself), held inside of [0, 1]."""
    return sharpened_inside(np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge"), amount)


def sharpened_inside(bordered: FloatArray, amount: float) -> FloatArray:
    """The same for pictures [..., H + 2, W + 2, 3] with a border of one pixel, which is cut off."""
    middle = bordered[..., 1:-1, 1:-1, :]
    rows, columns = bordered[..., 1:-1, :], bordered[..., 1:-1, :, :]
    neighbours = rows[..., :-2, :, :] + rows[..., 2:, :, :] + columns[..., :-2, :] + columns[..., 2:, :]
    return np.clip((1 + 4 * amount) * middle - amount * neighbours, 0, 1).astype(np.float32, copy=False)


def pixel_weights(head: FloatArray, torso: FloatArray, config: SharedTrainConfig) -> FloatArray:
    """Weight of each pixel in the colour loss from its masks, any shape, in [0, 1]; the head's is 1."""
    plate, clothes = np.float32(config.plate_weight), np.float32(config.torso_weight)
    return plate + (1 - plate) * head + (clothes - plate) * torso


def frame_target(portrait: Portrait, index: int, config: RendererTrainConfig) -> FrameTarget:
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


TargetT = TypeVar("TargetT")


def prefetched(make: Callable[[int], TargetT], indices: Iterable[int]) -> Iterator[TargetT]:
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
