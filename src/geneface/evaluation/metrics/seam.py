"""The seam of a pasted picture: where a drawn lower face ends and the recording begins. S x S pixels, RGB uint8.

The mask of a paste says how much of each pixel is drawn. The *lower face* is where nine tenths and more are, the *seam*
where drawing and recording mix, from nine tenths to one, with S / 40 pixels around it. What gives a seam away is not
the size of the error but that it ends there: a lower face that is a shade too bright all over has the same error
everywhere inside, and an edge around it. So errors are averaged over squares of S / 64 pixels and along the seam (a
Gaussian of S / 20 pixels), which leaves light and takes texture away, and the error just inside is held against the
error just outside. The same difference over a parallel line farther inside says how much the drawing's error changes
where there is no seam.

Flicker is the second difference over time of the same squares' luma, like jitter (`stability`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from geneface.evaluation.metrics.pixels import Mask, luminance
from geneface.evaluation.schema import MetricDefinition
from geneface.imaging.filters import dilate, disc, erode, gaussian_blur
from geneface.types import ByteArray, FloatArray

SEAM_KEYS = ("lower_face_psnr", "seam_psnr", "seam_step", "seam_error_ratio", "seam_flicker_ratio")
RIM = 1 / 40
"""How far around the mixing pixels the seam reaches, part of S."""
NO_SEAM = "nothing was pasted, or all of it outside of the picture"
_INSIDE, _OUTSIDE = 0.9, 0.1
"""Shares of the drawing that count as nearly all and as nearly nothing."""
_CELLS = 64
_ALONG = _CELLS / 20
"""Deviation of the averaging along the seam, cells."""
_RING = disc(2)
"""How wide the lines are on both sides of the seam, cells."""
_DEEPER = disc(4)
"""How far inside the parallel line lies: about as far as the lines on both sides are apart."""
_FEWEST = 0.02
"""Share of a Gaussian that must lie in a line for its mean to count."""


@dataclass(frozen=True)
class SeamRegions:
    """Where a paste is drawn, and where it mixes with the recording: bool [S, S]."""

    lower_face: Mask
    seam: Mask


def seam_regions(mask: FloatArray) -> SeamRegions:
    """Lower face and seam of a mask [S, S], the share of the drawing in 0..1."""
    inside = mask >= _INSIDE
    touched = mask > _OUTSIDE
    around = dilate(touched, disc(max(1, round(RIM * mask.shape[1]))))
    return SeamRegions(inside, around & ~inside if touched.any() else np.zeros_like(inside))


def cell_means(values: FloatArray) -> FloatArray:
    """Means of [H, W] over squares of W / 64 pixels, which the coarse measures are made of; what is left over at the
    far edges is left out."""
    step = max(1, values.shape[1] // _CELLS)
    height, width = (length // step for length in values.shape)
    return values[: height * step, : width * step].reshape(height, step, width, step).mean((1, 3))


@dataclass(frozen=True)
class Steps:
    """Mean squares over the places of a line, levels of 255 squared; nan where there are none."""

    across: float
    """How far the error just inside the seam is from that just outside."""
    inner: float
    """The same, across a parallel line inside."""


def seam_steps(reference: ByteArray, other: ByteArray, mask: FloatArray) -> Steps:
    """How abruptly the error of a picture changes where its paste ends."""
    error = cell_means(luminance(other) - luminance(reference))
    share = cell_means(mask)
    inside, outside = share >= _INSIDE, share <= _OUTSIDE
    deep = erode(inside, _DEEPER)
    lines = (outside & ~erode(outside, _RING), inside & ~erode(inside, _RING), deep & ~erode(deep, _RING))
    (beyond, b_known), (border, known), (inner, i_known) = (_mean_along(error, line) for line in lines)
    return Steps(
        _mean_square(border - beyond, ~inside & ~outside & known & b_known),
        _mean_square(inner - border, inside & ~deep & known & i_known),
    )


def _mean_along(error: FloatArray, line: Mask) -> tuple[FloatArray, Mask]:
    """[h, w] mean of the error over the line's places near each cell, and where there are enough of them."""
    weight = line.astype(np.float32)
    sums = gaussian_blur(np.stack([error * weight, weight], -1), _ALONG)
    return sums[..., 0] / np.maximum(sums[..., 1], 1e-6), sums[..., 1] > _FEWEST


def _mean_square(values: FloatArray, places: Mask) -> float:
    return float(np.square(values[places]).mean(dtype=np.float64)) if places.any() else float("nan")


def seam_change(frames: Sequence[ByteArray], masks: Sequence[FloatArray]) -> tuple[float, int]:
    """How much the seam's light trembles: the sum of the squared second differences of its squares' luma over F
    consecutive frames, levels of 255 squared, and their number. A square counts while it is in the seam in all three
    frames of a difference."""
    levels = [cell_means(luminance(frame)) for frame in frames]
    seams = [(share > _OUTSIDE) & (share < _INSIDE) for share in map(cell_means, masks)]
    changes = [after - before for before, after in pairwise(levels)]
    total, count = 0.0, 0
    for index, (before, after) in enumerate(pairwise(changes)):
        steady = seams[index] & seams[index + 1] & seams[index + 2]
        total += float(np.square((after - before)[steady]).sum(dtype=np.float64))
        count += int(steady.sum())
    return total, count


DEFINITIONS = {
    "lower_face_psnr": MetricDefinition(
        title="PSNR, lower face",
        unit="dB",
        direction="higher",
        description="PSNR over the pixels of which a paste draws nine tenths and more (lips, chin, cheeks); identical "
        "pixels count as 100 dB.",
        must_see=["shifted"],
    ),
    "seam_psnr": MetricDefinition(
        title="PSNR, seam",
        unit="dB",
        direction="higher",
        description="The same over the pixels in which drawing and recording mix, from nine tenths to one, and a "
        "fortieth of the picture's width around them.",
        must_see=["shifted"],
    ),
    "seam_step": MetricDefinition(
        title="Seam, step",
        unit="levels of 255",
        direction="lower",
        description="How far the luma's error just inside the seam lies from that just outside, each averaged along "
        "the seam; root mean square. An edge of that height would be seen in a flat picture.",
        must_see=["shifted", "brighter"],
    ),
    "seam_error_ratio": MetricDefinition(
        title="Seam, error ratio",
        unit="ratio",
        direction="lower",
        description="The step across the seam over the same across a parallel line farther inside: above 1 the "
        "error changes more abruptly where the drawing ends than it does within it. Aim: 1.3 and less.",
        must_see=["brighter"],
    ),
    "seam_flicker_ratio": MetricDefinition(
        title="Seam, flicker",
        unit="ratio",
        direction="lower",
        description="Root mean square of the second differences over time of the luma in the seam, averaged over "
        "squares of a 64th of the picture's width: evaluated / ground truth. Aim: 1.1 and less; the camera's noise is "
        "part of the ground truth's.",
        must_see=["flickering"],
    ),
}
