"""What the picture metrics share: luma, regions, masks. Images are uint8 [H, W, 3] RGB, masks bool [H, W]; boxes are
x0, y0, x1, y1 in pixels.

SSIM, sharpness and luminance are taken on the BT.601 luma that Wang et al. 2004 and the Matlab reference use.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.types import ByteArray, FloatArray

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

Mask = NDArray[np.bool_]


def luminance(image: ByteArray) -> FloatArray:
    """BT.601 luma, [H, W] in 0..255."""
    return image.astype(np.float32) @ _LUMA


def erode(mask: Mask, radius: int) -> Mask:
    """Keep the pixels whose (2 radius + 1)-square lies in the mask; outside the image counts as outside the mask."""
    padded = np.pad(mask, radius)
    height, width = mask.shape
    rows = np.ones((height, padded.shape[1]), bool)
    out = np.ones((height, width), bool)
    for i in range(2 * radius + 1):
        rows &= padded[i : i + height]
    for i in range(2 * radius + 1):
        out &= rows[:, i : i + width]
    return out


def clip_box(box: NDArray[np.integer], width: int, height: int) -> tuple[slice, slice] | None:
    """Rows and columns of the box inside the image, or None if nothing of it is inside."""
    x0, y0, x1, y1 = (int(value) for value in box)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None
