"""Scores of pictures, row by row, frame by frame. Images are uint8 [H, W, 3] RGB.

One frame of ground truth is compared with that frame in all rows before the next one's turn comes, so that what is
computed of the ground truth is computed once and thrown away. Memory does not grow with the frames, but for what the
metrics themselves keep of each (FID: 2048 numbers a region).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.metrics.picture import NO_FRAMES, REGIONS, Picture, PictureMetric, ReferenceFrame, image_key
from geneface.evaluation.metrics.registry import PICTURE_METRICS, image_keys
from geneface.evaluation.schema import Figure, Missing, figure
from geneface.evaluation.tools import Tools
from geneface.types import ByteArray, FloatArray

_ITSELF = "the ground truth is what the others are compared with"


@dataclass(frozen=True)
class FrameValues:
    """What one frame of one row adds to the figures."""

    regions: tuple[str, ...]
    """Regions that were known in this frame."""
    values: dict[str, Any]
    """Image key -> what the metric made of the frame."""
    error: FloatArray | None
    """[H, W] mean absolute difference of the channels; None for the ground truth itself."""


def compare_frame(
    reference: ReferenceFrame, images: Mapping[str, ByteArray], tools: Tools, *, truth: str
) -> dict[str, FrameValues]:
    """Measure one moment in all rows.

    Args:
        images: row -> that row's picture.
        truth: name of the row that is the ground truth itself.

    Raises:
        ValueError: a picture of another size than the ground truth.
    """
    out = {}
    for name, image in images.items():
        if reference.image.shape != image.shape:
            raise ValueError(f"images of different shapes: {reference.image.shape} and {image.shape}")
        picture, values = Picture(image), dict[str, Any]()
        for metric in PICTURE_METRICS:
            instrument = tools.needed_by(metric.definition)
            if not isinstance(instrument, Missing) and (metric.alone or name != truth):
                measured = metric.measure(reference, picture, instrument)
                values |= {image_key(region, metric.name): value for region, value in measured.items()}
        error = None if name == truth else np.abs(reference.image.astype(np.float32) - image).mean(-1)
        out[name] = FrameValues(reference.known, values, error)
    return out


class ImageScores:
    """The picture metrics of one row over frames."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._values: dict[str, list[Any]] = {key: [] for key in image_keys()}
        """One a frame; None where there is none."""
        self._error: NDArray[np.float64] | None = None
        self._seen: set[str] = set()
        self.frames = 0

    def add(self, frame: FrameValues | None) -> None:
        """Add the next frame; None where the row shows nothing that may be compared."""
        for key, values in self._values.items():
            values.append(None if frame is None else frame.values.get(key))
        if frame is None:
            return
        self.frames += 1
        self._seen |= set(frame.regions)
        if frame.error is not None:
            self._error = frame.error.astype(np.float64) if self._error is None else self._error + frame.error

    @property
    def mean_error(self) -> NDArray[np.float64] | None:
        """[H, W] mean absolute difference over frames and channels; None for the ground truth."""
        return None if self._error is None else self._error / self.frames

    def per_frame(self, key: str) -> list[float]:
        """The values of a key that is a mean over frames, frame by frame; nan where there is none."""
        return [float("nan") if value is None else value for value in self._values[key]]

    def figures(self, truth: ImageScores, why: Mapping[str, str]) -> dict[str, Figure]:
        """The figures of all frames so far.

        Args:
            truth: the scores of the ground truth's own row.
            why: region -> reason for which it may not be known.
        """
        out: dict[str, Figure] = {}
        for region in REGIONS:
            absent = NO_FRAMES if not self.frames else None if region in self._seen else why[region]
            for metric in PICTURE_METRICS:
                key = image_key(region, metric.name)
                out[key] = Figure(reason=absent) if absent else self._figure(metric, key, truth)
        return out

    def _figure(self, metric: PictureMetric, key: str, truth: ImageScores) -> Figure:
        instrument = self._tools.needed_by(metric.definition)
        if isinstance(instrument, Missing):
            return Figure(reason=instrument.reason)
        if self is truth and metric.compares:
            return Figure(reason=_ITSELF)
        return figure(metric.total(self._known(key), truth._known(key)), metric.absent)

    def _known(self, key: str) -> list[Any]:
        return [value for value in self._values[key] if value is not None]
