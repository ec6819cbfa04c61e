"""Image metrics in numpy. Images are uint8 [H, W, 3] RGB; masks are bool [H, W]; boxes are x0, y0, x1, y1 in pixels.

PSNR is taken over RGB in the 8-bit range; SSIM, sharpness and luminance on the BT.601 luma that Wang et al. 2004 and
the Matlab reference use; colour in CIELAB, by scikit-image ([metrics] extra).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.errors import MissingExtraError
from geneface.types import ByteArray, FloatArray

PSNR_CEILING_DB = 100.0
"""PSNR of identical pixels, so that a mean over frames stays finite."""
SSIM_RADIUS = 5
_SSIM_SIGMA = 1.5
_SSIM_C1 = (0.01 * 255) ** 2
_SSIM_C2 = (0.03 * 255) ** 2
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

Mask = NDArray[np.bool_]


def luminance(image: ByteArray) -> FloatArray:
    """BT.601 luma, [H, W] in 0..255."""
    return image.astype(np.float32) @ _LUMA


def psnr(reference: ByteArray, other: ByteArray, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio in dB over the mask; nan if the mask is empty."""
    difference = reference.astype(np.float32) - other.astype(np.float32)
    squared = difference[mask] if mask is not None else difference
    if squared.size == 0:
        return float("nan")
    mean_squared_error = float(np.mean(np.square(squared), dtype=np.float64))
    if mean_squared_error == 0:
        return PSNR_CEILING_DB
    return min(PSNR_CEILING_DB, 10 * float(np.log10(255.0**2 / mean_squared_error)))


def ssim_map(reference: FloatArray, other: FloatArray) -> FloatArray:
    """Structural similarity (Wang et al. 2004, eq. 13) of two luminance images.

    Args:
        reference, other: [H, W] in 0..255, both sides at least 11.

    Returns:
        [H - 10, W - 10]: the pixels whose 11 x 11 window lies inside the image.
    """
    # Variances do not depend on an offset, and float32 keeps more of them when the values are centred.
    a, b = reference - np.float32(128), other - np.float32(128)
    mean_a, mean_b, square_a, square_b, product = _gaussian_window(np.stack([a, b, a * a, b * b, a * b]))
    variance_a, variance_b = square_a - mean_a**2, square_b - mean_b**2
    covariance = product - mean_a * mean_b
    mean_a, mean_b = mean_a + 128, mean_b + 128
    luminance_term = (2 * mean_a * mean_b + _SSIM_C1) / (mean_a**2 + mean_b**2 + _SSIM_C1)
    return luminance_term * (2 * covariance + _SSIM_C2) / (variance_a + variance_b + _SSIM_C2)


def _gaussian_window(stack: FloatArray) -> FloatArray:
    """Separable 11-tap Gaussian mean over the last two axes, valid part only."""
    offsets = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    taps = np.exp(-(offsets**2) / (2 * _SSIM_SIGMA**2))
    taps = (taps / taps.sum()).astype(np.float32)
    height, width = stack.shape[-2] - 2 * SSIM_RADIUS, stack.shape[-1] - 2 * SSIM_RADIUS
    if height < 1 or width < 1:
        raise ValueError(f"SSIM needs images of at least 11 x 11 pixels, not {stack.shape[-1]} x {stack.shape[-2]}")
    rows = np.zeros((*stack.shape[:-2], height, stack.shape[-1]), np.float32)
    out = np.zeros((*stack.shape[:-2], height, width), np.float32)
    for i, tap in enumerate(taps):
        rows += tap * stack[..., i : i + height, :]
    for i, tap in enumerate(taps):
        out += tap * rows[..., i : i + width]
    return out


def laplacian(values: FloatArray) -> FloatArray:
    """Four-neighbour Laplacian, [H, W] -> [H - 2, W - 2]."""
    return values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * values[1:-1, 1:-1]


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


def sharpness(values: FloatArray, mask: Mask | None = None) -> float:
    """Variance of the Laplacian of a luminance image over the mask; nan if the mask is empty."""
    detail = laplacian(values)
    inside = detail[mask[1:-1, 1:-1]] if mask is not None else detail
    return float(inside.var(dtype=np.float64)) if inside.size else float("nan")


def clip_box(box: NDArray[np.integer], width: int, height: int) -> tuple[slice, slice] | None:
    """Rows and columns of the box inside the image, or None if nothing of it is inside."""
    x0, y0, x1, y1 = (int(value) for value in box)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None


def lab(image: ByteArray) -> NDArray[np.floating[Any]]:
    """CIELAB under D65 (2 degrees) of sRGB values, [H, W, 3].

    Raises:
        MissingExtraError: scikit-image is not installed.
    """
    return require_colour().rgb2lab(image)


def ciede2000(reference: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Colour difference (Sharma, Wu and Dalal 2005) of CIELAB images [H, W, 3] -> [H, W].

    Raises:
        MissingExtraError: scikit-image is not installed.
    """
    return require_colour().deltaE_ciede2000(reference, other)


def require_colour() -> Any:
    """scikit-image's colour module.

    Raises:
        MissingExtraError: scikit-image is not installed.
    """
    try:
        from skimage import color
    except ImportError as error:
        raise MissingExtraError("scikit-image", "metrics") from error
    return color
