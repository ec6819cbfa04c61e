"""Sharpness: how much fine detail a picture has, against the ground truth's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geneface.evaluation.metrics.picture import Picture, PictureMetric, ReferenceFrame
from geneface.evaluation.metrics.pixels import Mask, erode
from geneface.evaluation.schema import MetricDefinition
from geneface.imaging.filters import laplacian
from geneface.types import FloatArray

SHARPNESS_BORDER_PX = 2
"""The mask's edge is where rendering and ground truth differ in shape, not in sharpness."""


def sharpness(values: FloatArray, mask: Mask | None = None) -> float:
    """Variance of the Laplacian of a luminance image over the mask; nan if the mask is empty."""
    detail = laplacian(values)
    inside = detail[mask[1:-1, 1:-1]] if mask is not None else detail
    return float(inside.var(dtype=np.float64)) if inside.size else float("nan")


def _detail_masks(reference: ReferenceFrame) -> dict[str, Mask]:
    """Region -> pixels over which sharpness is taken."""
    masks = dict(reference.masks)
    if "head" in masks:
        masks["head"] = erode(masks["head"], SHARPNESS_BORDER_PX)
    return masks


def _own_detail(reference: ReferenceFrame) -> dict[str, tuple[Mask, float]]:
    """Region -> pixels, and the ground truth's sharpness there."""
    return {region: (mask, sharpness(reference.luma, mask)) for region, mask in _detail_masks(reference).items()}


def _measure(reference: ReferenceFrame, picture: Picture, instrument: object) -> dict[str, tuple[float, float]]:
    """Region -> sharpness of ground truth and picture."""
    known = reference.once("sharpness", lambda: _own_detail(reference))
    values = {region: (own, sharpness(picture.luma, mask)) for region, (mask, own) in known.items()}
    return {region: pair for region, pair in values.items() if np.isfinite(pair).all()}


def _ratio(own: Sequence[tuple[float, float]], truth: object) -> float:
    """A ratio of sums over frames: a mean of ratios would let flat frames decide."""
    reference, other = np.sum([*own] or [(0.0, 0.0)], axis=0)
    return float(other / reference) if reference > 0 else float("nan")


SHARPNESS = PictureMetric(
    "sharpness_ratio",
    MetricDefinition(
        title="Sharpness",
        unit="ratio",
        direction="one",
        description="Variance of the luma's Laplacian over the region (the head mask less a border of 2 px), summed "
        "over frames: evaluated / ground truth. Noise raises it as detail does.",
        must_see=["degraded"],
    ),
    _measure,
    total=_ratio,
    absent="the ground truth is flat: its Laplacian has no variance",
)
