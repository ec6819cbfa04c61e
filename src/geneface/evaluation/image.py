"""Image metrics in numpy. Images are uint8 [H, W, 3] RGB; masks are bool [H, W]; boxes are x0, y0, x1, y1 in pixels.

PSNR is taken over RGB in the 8-bit range; SSIM, sharpness and luminance on the BT.601 luma that Wang et al. 2004 and
the Matlab reference use.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.schema import Figure, figure
from geneface.types import ByteArray, FloatArray

PSNR_CEILING_DB = 100.0
"""PSNR of identical pixels, so that a mean over frames stays finite."""
SSIM_RADIUS = 5
_SSIM_SIGMA = 1.5
_SSIM_C1 = (0.01 * 255) ** 2
_SSIM_C2 = (0.03 * 255) ** 2
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_SHARPNESS_BORDER_PX = 2
"""The mask's edge is where rendering and ground truth differ in shape, not in sharpness."""

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


class ImageScores:
    """Accumulates the image metrics over frames; memory does not grow with the images."""

    def __init__(self) -> None:
        self._means: dict[str, list[float]] = {
            key: [] for key in ("head_psnr", "mouth_psnr", "frame_psnr", "head_ssim", "frame_ssim", "luminance_shift")
        }
        self._sharpness_reference = 0.0
        self._sharpness_other = 0.0
        self.frames = 0

    def add(
        self,
        reference: ByteArray,
        other: ByteArray,
        head: Mask | None = None,
        mouth_box: NDArray[np.integer] | None = None,
    ) -> None:
        """Score one frame. Without a head mask, sharpness and luminance are taken over the whole frame."""
        if reference.shape != other.shape:
            raise ValueError(f"images of different shapes: {reference.shape} and {other.shape}")
        self.frames += 1
        self._note("frame_psnr", psnr(reference, other))
        if mouth_box is not None:
            box = clip_box(mouth_box, reference.shape[1], reference.shape[0])
            if box is not None:
                self._note("mouth_psnr", psnr(reference[box], other[box]))
        luma_reference, luma_other = luminance(reference), luminance(other)
        similarity = ssim_map(luma_reference, luma_other)
        self._note("frame_ssim", float(similarity.mean(dtype=np.float64)))
        if head is not None and head.any():
            self._note("head_psnr", psnr(reference, other, head))
            inner = head[SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS]
            if inner.any():
                self._note("head_ssim", float(similarity[inner].mean(dtype=np.float64)))
        self._add_tone(luma_reference, luma_other, head)

    def _add_tone(self, reference: FloatArray, other: FloatArray, head: Mask | None) -> None:
        eroded = None if head is None else erode(head, _SHARPNESS_BORDER_PX)
        detail = sharpness(reference, eroded), sharpness(other, eroded)
        if np.isfinite(detail).all():
            self._sharpness_reference += detail[0]
            self._sharpness_other += detail[1]
        difference = other - reference
        inside = difference if head is None else difference[head]
        if inside.size:
            self._note("luminance_shift", float(inside.mean(dtype=np.float64)))

    def _note(self, key: str, value: float) -> None:
        if np.isfinite(value):
            self._means[key].append(value)

    def figures(self, no_head: str = "no head mask", no_mouth: str = "no mouth box") -> dict[str, Figure]:
        """The figures of all frames so far; `no_head` and `no_mouth` are the reasons where those could not be had."""
        reasons = {"head_psnr": no_head, "head_ssim": no_head, "mouth_psnr": no_mouth}
        out = {
            key: figure(float(np.mean(values)) if values else float("nan"), reasons.get(key, "no frames to compare"))
            for key, values in self._means.items()
        }
        flat = "the ground truth is flat: its Laplacian has no variance"
        ratio = self._sharpness_other / self._sharpness_reference if self._sharpness_reference > 0 else float("nan")
        out["sharpness_ratio"] = figure(ratio, flat if self.frames else "no frames to compare")
        return out
