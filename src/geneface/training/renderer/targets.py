"""What a renderer is trained towards: sharpened pictures, weighted pixels, read ahead in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from geneface.training.renderer.config import SharedTrainConfig
from geneface.types import FloatArray

LIPS_MARGIN, EYE_MARGIN = 0.18, 0.35
"""Added around the landmarks on each side, as a part of the box's width."""


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


ItemT = TypeVar("ItemT")
TargetT = TypeVar("TargetT")


def prefetched(make: Callable[[ItemT], TargetT], items: Iterable[ItemT]) -> Iterator[TargetT]:
    """make(item) for every item in order, two ahead in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        waiting = []
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > 2:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
