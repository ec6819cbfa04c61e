"""The clean plate: what is behind a person in front of a camera that keeps still.

Symbols: N sampled pictures, S their size. The plate is the temporal median of the pixels that show background;
pixels that never do are filled smoothly from around.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geneface.imaging.filters import box_blur, dilate, disc
from geneface.imaging.resize import resize_area, resize_linear
from geneface.types import ByteArray, FloatArray

_ROWS = 32
"""Rows of the plate computed at a time: bounds memory, does not change the result."""

_EVEN_LEVELS, _ROUGH_LEVELS = 6.0, 14.0
"""Local deviation of the plate's colour at which a filled place is as good as seen, and no good."""


@dataclass(frozen=True)
class Plate:
    """A clean plate and how well it is known."""

    image: FloatArray
    """[S, S, 3] levels of 0-255."""
    known: FloatArray
    """[S, S] in [0, 1]: 1 where the background was seen, 0 where it is invented."""
    noise: FloatArray
    """[S, S] typical deviation of the background from the plate, levels; at least 1."""

    @cached_property
    def trust(self) -> FloatArray:
        """[S, S] in [0, 1]: 1 where the background was seen, or is so even that filling it is safe."""
        span = max(3, round(0.06 * len(self.known))) | 1
        share = box_blur(self.known, span)
        weight = 1 / np.maximum(share, 1e-6)[..., None]
        mean = box_blur(self.image * self.known[..., None], span) * weight
        square = box_blur(self.image**2 * self.known[..., None], span) * weight
        # Filled places look even by themselves: they are as rough as what is seen around them.
        roughness = np.sqrt(np.maximum(square - mean**2, 0)).max(-1, keepdims=True)
        roughness = fill_smoothly(roughness.astype(np.float32), (share > 0.2).astype(np.float32))[..., 0]
        even = np.clip((_ROUGH_LEVELS - roughness) / (_ROUGH_LEVELS - _EVEN_LEVELS), 0, 1)
        return np.maximum(box_blur(self.known, 3), even).astype(np.float32)


def clean_plate(images: ByteArray, mattes: ByteArray) -> Plate:
    """Plate of pictures [N, S, S, 3] whose persons have the mattes [N, S, S] (255: person)."""
    count, height, width = mattes.shape
    margin = max(2, round(0.03 * width))
    around = disc(margin)
    # Keep away from the edge: strands of hair that the matte misses would stay in the median as smudges.
    seen = np.stack([dilate(matte, around) < 26 for matte in mattes])
    needed = max(2, round(0.02 * count))
    image = np.zeros((height, width, 3), np.float32)
    noise = np.ones((height, width), np.float32)
    for start in range(0, height, _ROWS):
        rows = slice(start, start + _ROWS)
        levels = images[:, rows].astype(np.int16)
        image[rows] = _masked_median(levels, seen[:, rows, :, None])
        deviation = np.abs(levels - np.round(image[rows]).astype(np.int16)).max(-1)
        noise[rows] = _masked_median(deviation, seen[:, rows])
    known = (seen.sum(0) >= needed).astype(np.float32)
    image = fill_smoothly(image, known)
    noise = fill_smoothly(noise[..., None], known)[..., 0]
    return Plate(image, known, np.maximum(1.5 * noise, 1))


def _masked_median(levels: NDArray[np.int16], valid: NDArray[np.bool_]) -> FloatArray:
    """Median over axis 0 of the valid levels, 0 where there are none. Sorting whole numbers beats nanmedian tenfold."""
    beyond = np.iinfo(np.int16).max
    ordered = np.sort(np.moveaxis(np.where(valid, levels, beyond), 0, -1), axis=-1)
    count = np.broadcast_to(valid.sum(0), ordered.shape[:-1])
    low, high = (
        np.take_along_axis(ordered, np.maximum(at, 0)[..., None], -1)[..., 0].astype(np.float32)
        for at in ((count - 1) // 2, count // 2 - (count == 0))
    )
    return np.where(count > 0, (low + high) / 2, 0).astype(np.float32)


def fill_smoothly(image: FloatArray, weight: FloatArray) -> FloatArray:
    """Keep pixels [H, W, C] of weight 1 and fill those of weight 0 from around, by push-pull over a pyramid
    (Gortler et al. 1996). If all weights are 0 the result is 0.
    """
    if min(weight.shape) <= 1 or weight.min() >= 1:
        total = weight.sum()
        mean = (image * weight[..., None]).sum((0, 1)) / total if total > 0 else np.zeros(image.shape[-1])
        return np.where(weight[..., None] > 0, image, mean).astype(np.float32)
    height, width = weight.shape
    half = (max(1, height // 2), max(1, width // 2))
    # As large as the image: numpy is slow where it spreads a number over three channels.
    share = np.repeat(weight, image.shape[-1]).reshape(image.shape)
    total = resize_area(weight, *half)
    mean = resize_area(image * share, *half) / np.maximum(total, 1e-6)[..., None]
    coarse = fill_smoothly(mean.astype(np.float32, copy=False), np.minimum(4 * total, 1).astype(np.float32))
    filled = resize_linear(coarse, height, width)
    filled += share * (image - filled)
    return filled
