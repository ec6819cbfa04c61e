"""Pictures over plates. Images are float32 [H, W, 3] in [0, 1] unless said otherwise; pixel centres lie at +0.5."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from geneface.types import ByteArray, FloatArray


def from_uint8(image: ByteArray) -> FloatArray:
    """Bytes 0..255 to float32 0..1, any shape."""
    return image.astype(np.float32) * np.float32(1 / 255)


@lru_cache(maxsize=16)
def _resampling_matrix(source: int, target: int) -> FloatArray:
    """[target, source] weights of a Catmull-Rom filter, widened when the image shrinks so that it does not alias."""
    ratio = source / target
    support = max(ratio, 1.0)
    centres = (np.arange(target) + 0.5) * ratio - 0.5
    distance = np.abs(centres[:, None] - np.arange(source)[None]) / support
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def resize(image: FloatArray, height: int, width: int) -> FloatArray:
    """Resample [H, W, C] to [height, width, C], clipped to [0, 1]."""
    if image.shape[:2] == (height, width):
        return image
    rows, columns = _resampling_matrix(image.shape[0], height), _resampling_matrix(image.shape[1], width)
    tall = np.tensordot(rows, image, axes=(1, 0))
    wide = np.tensordot(tall, columns, axes=(1, 1)).transpose(0, 2, 1)
    return np.ascontiguousarray(np.clip(wide, 0, 1).astype(np.float32))


def over(foreground: FloatArray, opacity: FloatArray, plate: FloatArray) -> FloatArray:
    """Put a straight-alpha foreground [H, W, 3] with opacity [H, W] over a plate [H, W, 3]."""
    return (foreground * opacity[..., None] + plate * (1 - opacity[..., None])).astype(np.float32, copy=False)


def straight_alpha(composed: FloatArray, opacity: FloatArray, plate: FloatArray) -> ByteArray:
    """Recover the foreground from a picture that lies over a known plate.

    Args:
        composed: [H, W, 3] = foreground * opacity + plate * (1 - opacity).
        opacity: [H, W].
        plate: [H, W, 3].

    Returns:
        [H, W, 4] uint8 with straight (not premultiplied) alpha; colour is black where nothing is.
    """
    alpha = opacity[..., None]
    colour = np.where(alpha > 1 / 255, (composed - plate * (1 - alpha)) / np.maximum(alpha, 1 / 255), 0)
    rgba = np.concatenate([colour, alpha], axis=-1)
    return np.round(np.clip(rgba, 0, 1) * 255).astype(np.uint8)
