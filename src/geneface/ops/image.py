"""Losses on images, and bytes from floats. H x W pixels, colours in 0..1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.ops.native import FLOAT_MAX, check, check_size, kernels
from geneface.ops.types import Array
from geneface.types import ByteArray

SSIM_WINDOW_PX = 11


def image_loss(
    prediction: Array,
    target: Array,
    weight: Array | None = None,
    *,
    l1: float = 0.8,
    dssim: float = 0.2,
    epsilon: float = 1e-3,
) -> tuple[float, Array]:
    """Weighted mean over pixels and channels of l1 (sqrt(d^2 + epsilon^2) - epsilon) + dssim (1 - SSIM) / 2.

    SSIM (Wang et al. 2004) of each channel, 11-tap Gaussian window of sigma 1.5, image mirrored at its edges,
    population covariance.

    Args:
        prediction: [H, W, 3], or [H, W, 4] as `rasterize` returns it: the label channel takes no part.
        target: [H, W, 3].
        weight: [H, W] or None for 1. The sum is divided by 3 H W, not by the weights.
        l1, dssim: weights of the two terms; dssim 0 saves its time.
        epsilon: rounds the corner of |d|; 0 is plain L1.

    Returns:
        The loss; its gradient, shaped like `prediction` (zero in the label channel).
    """
    if not (isinstance(prediction, np.ndarray) and prediction.ndim == 3 and prediction.shape[2] in (3, 4)):
        raise ValueError("prediction must be an array [H, W, 3] or [H, W, 4]")
    height, width = prediction.shape[:2]
    check_size(width, height)
    check("prediction", prediction, (None, None, None))
    check("target", target, (height, width, 3))
    if weight is not None:
        check("weight", weight, (height, width))
    if not all(0 <= value <= FLOAT_MAX for value in (l1, dssim, epsilon)):
        raise ValueError(f"l1, dssim and epsilon must not be negative, not {l1}, {dssim} and {epsilon}")
    if min(height, width) < (SSIM_WINDOW_PX if dssim else 1):
        raise ValueError(f"the image must be at least {SSIM_WINDOW_PX} pixels wide and high, not {width} x {height}")
    grad = np.empty_like(prediction)
    loss = kernels().image_loss(prediction, target, weight, l1, dssim, epsilon, grad)
    return loss, grad


def to_uint8(image: Array) -> ByteArray:
    """[H, W, 3] bytes, rounded, of an image [H, W, 3] or [H, W, 4] in 0..1; outside is clamped, NaN becomes 0."""
    _check_image(image)
    out = np.empty((*image.shape[:2], 3), np.uint8)
    kernels().to_uint8(image, out)
    return out


def to_yuv420(image: Array) -> ByteArray:
    """The planes of a video frame from an image [H, W, 3] or [H, W, 4] in 0..1, H and W even; outside is clamped.

    BT.709, limited range; each chroma sample is that of the mean colour of 2 x 2 pixels.

    Returns:
        [3 H / 2, W] bytes: H rows of luma, then blue's and red's difference of H / 2 x W / 2, in reading order.
    """
    _check_image(image)
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"an image of {width} x {height} pixels has no 2 x 2 boxes everywhere")
    planes = np.empty((height * 3 // 2, width), np.uint8)
    kernels().to_yuv420(image, planes)
    return planes


def sharpen(image: Array, amount: float) -> Array:
    """An image [H, W, 3] or [H, W, 4] minus `amount` of its Laplacian; a fourth channel is copied.

    Four neighbours, the edge repeats itself; results are not held in 0..1.
    """
    _check_image(image)
    if not abs(amount) <= FLOAT_MAX:
        raise ValueError(f"the amount must be finite, not {amount}")
    out = np.empty_like(image)
    if image.size:
        kernels().sharpen(image, amount, out)
    return out


def cut_out(image: ByteArray, move: NDArray[np.float64], side: int, canvas: int | None = None) -> ByteArray:
    """A part of an RGB picture [H, W, 3] as planes [3, side, side], by bilinear interpolation. On one thread.

    Places are rounded to 1/32 pixel, and values to whole numbers, as OpenCV's `warpPerspective` does.

    Args:
        move: [2, 3] float64; column and row of a pixel in the picture are `move @ (column, row, 1)` of one in the crop.
        canvas: the picture lies in the upper left corner of a black square of this size, whose edge is continued
            outwards; None: black without an end.
    """
    check("image", image, (None, None, 3), np.uint8)
    check("move", move, (2, 3), np.float64)
    check_size(side, side)
    if min(image.shape[:2]) < 1 or (canvas is not None and canvas < max(image.shape[:2])):
        raise ValueError(f"a picture of {image.shape[1]} x {image.shape[0]} pixels does not fill a canvas of {canvas}")
    planes = np.empty((3, side, side), np.uint8)
    kernels().cut_out(image, move, canvas or 0, planes)
    return planes


def _check_image(image: Array) -> None:
    if not (isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] in (3, 4)):
        raise ValueError("image must be an array [H, W, 3] or [H, W, 4]")
    check("image", image, (None, None, None))
