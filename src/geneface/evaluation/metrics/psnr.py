"""PSNR over RGB in the 8-bit range. Images are uint8 [H, W, 3] RGB."""

from __future__ import annotations

import numpy as np

from geneface.evaluation.metrics.picture import Picture, PictureMetric, ReferenceFrame
from geneface.evaluation.metrics.pixels import Mask
from geneface.evaluation.schema import MetricDefinition
from geneface.types import ByteArray

CEILING_DB = 100.0
"""PSNR of identical pixels, so that a mean over frames stays finite."""


def psnr(reference: ByteArray, other: ByteArray, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio in dB over the mask; nan if the mask is empty."""
    difference = reference.astype(np.float32) - other.astype(np.float32)
    squared = difference[mask] if mask is not None else difference
    if squared.size == 0:
        return float("nan")
    mean_squared_error = float(np.mean(np.square(squared), dtype=np.float64))
    if mean_squared_error == 0:
        return CEILING_DB
    return min(CEILING_DB, 10 * float(np.log10(255.0**2 / mean_squared_error)))


def _measure(reference: ReferenceFrame, picture: Picture, instrument: object) -> dict[str, float]:
    return {
        region: psnr(reference.image, picture.image, None if region == "frame" else mask)
        for region, mask in reference.masks.items()
    }


PSNR = PictureMetric(
    "psnr",
    MetricDefinition(
        title="PSNR",
        unit="dB",
        direction="higher",
        description="10 log10(255^2 / MSE) over the region's RGB values in the 8-bit range; identical pixels count as "
        "100 dB.",
        must_see=["late", "still", "degraded"],
    ),
    _measure,
)
DEFINITIONS = {
    "rare_frames": MetricDefinition(
        title="Frames", unit="frames", direction="count", description="How many held-out frames the row is over."
    ),
    "eyes_psnr": MetricDefinition(
        title="PSNR, eyes",
        unit="dB",
        direction="higher",
        description="PSNR over a box around both eyes with a margin of half an eye; identical pixels count as 100 dB.",
    ),
}
"""Of the table of rare frames, which also has the PSNR of head and mouth."""
RARE_KEYS = ("rare_frames", "head_psnr", "mouth_psnr", "eyes_psnr")
