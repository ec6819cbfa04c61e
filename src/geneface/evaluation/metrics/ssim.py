"""SSIM, structural similarity (Wang et al. 2004), on BT.601 luma."""

from __future__ import annotations

import numpy as np

from geneface.evaluation.metrics.picture import Picture, PictureMetric, ReferenceFrame, region_mean
from geneface.evaluation.schema import MetricDefinition
from geneface.types import FloatArray

SSIM_RADIUS = 5
_SIGMA = 1.5
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2


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
    luminance_term = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return luminance_term * (2 * covariance + _C2) / (variance_a + variance_b + _C2)


def _gaussian_window(stack: FloatArray) -> FloatArray:
    """Separable 11-tap Gaussian mean over the last two axes, valid part only."""
    offsets = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    taps = np.exp(-(offsets**2) / (2 * _SIGMA**2))
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


def _measure(reference: ReferenceFrame, picture: Picture, instrument: object) -> dict[str, float]:
    similarity = ssim_map(reference.luma, picture.luma)
    inner = slice(SSIM_RADIUS, -SSIM_RADIUS)
    return {region: region_mean(similarity, mask[inner, inner]) for region, mask in reference.masks.items()}


SSIM = PictureMetric(
    "ssim",
    MetricDefinition(
        title="SSIM",
        unit="1",
        direction="higher",
        description="Wang et al. 2004 on BT.601 luma: Gaussian window 11 x 11, sigma 1.5, K1 = .01, K2 = .03; mean of "
        "the map over those pixels of the region whose window lies inside the frame.",
        must_see=["late", "still", "degraded"],
    ),
    _measure,
)
