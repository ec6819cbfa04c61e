"""Every metric there is: one line for each file of this folder. `evaluation.metrics` says how to add one.

Picture metrics exist for three regions: `frame_` the whole frame, `head_` the head mask (face, hair, ears; alpha >
127), `mouth_` the box around the lips. docs/metrics.md says more of each key: range, what moves it, what it can't see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from geneface.evaluation.metrics import (
    articulation,
    blinks,
    colour,
    face_found,
    fid,
    flicker,
    lip_sync,
    lips,
    lpips,
    lse,
    niqe,
    psnr,
    seam,
    sharpness,
    speckle,
    speed,
    ssim,
    stability,
)
from geneface.evaluation.metrics.lips import LipClip
from geneface.evaluation.metrics.picture import REGIONS, PictureMetric, image_key
from geneface.evaluation.schema import Figure, MetricDefinition, MetricTable

PICTURE_METRICS: tuple[PictureMetric, ...] = (
    psnr.PSNR,
    ssim.SSIM,
    lpips.LPIPS,
    niqe.NIQE,
    fid.FID,
    sharpness.SHARPNESS,
    colour.CIEDE2000,
    colour.LUMINANCE_SHIFT,
)
"""Measured in every region of every frame, in this order of columns."""
_LIP_METRICS = ((lips.DEFINITIONS, lips.lip_figures), (articulation.DEFINITIONS, articulation.articulation_figures))
"""Measured on every set of clips, of videos and of motion alike."""
_DEFINITIONS: tuple[Mapping[str, MetricDefinition], ...] = (
    face_found.DEFINITIONS,
    *(definitions for definitions, _ in _LIP_METRICS),
    lse.DEFINITIONS,
    lip_sync.DEFINITIONS,
    stability.DEFINITIONS,
    flicker.DEFINITIONS,
    speed.DEFINITIONS,
    blinks.DEFINITIONS,
    psnr.DEFINITIONS,
    speckle.DEFINITIONS,
    seam.DEFINITIONS,
)

LIP_KEYS: tuple[str, ...] = tuple(key for definitions, _ in _LIP_METRICS for key in definitions)


def _of_pictures() -> dict[str, MetricDefinition]:
    return {
        image_key(region, metric.name): metric.definition.model_copy(
            update={"title": f"{metric.definition.title}, {region}"}
        )
        for region in REGIONS
        for metric in PICTURE_METRICS
    }


DEFINITIONS: dict[str, MetricDefinition] = {
    key: definition for part in (_of_pictures(), *_DEFINITIONS) for key, definition in part.items()
}
"""What every key of metrics.json means."""


def lip_metrics(clips: Sequence[LipClip]) -> dict[str, Figure]:
    """All lip metrics of some clips, but for those in pixels."""
    return {key: item for _, measure in _LIP_METRICS for key, item in measure(clips).items()}


def used_definitions(tables: Mapping[str, MetricTable]) -> dict[str, MetricDefinition]:
    """The definitions of the keys that appear in the tables."""
    used = {key for table in tables.values() for row in table.rows for key in row.figures}
    return {key: definition for key, definition in DEFINITIONS.items() if key in used}


def image_keys(regions: Iterable[str] = REGIONS) -> tuple[str, ...]:
    """All keys of picture metrics in the regions."""
    return tuple(image_key(region, metric.name) for region in regions for metric in PICTURE_METRICS)
