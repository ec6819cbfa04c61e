"""What a picture metric is, and what it is given: one frame of ground truth with its regions, and a picture of it.

A picture metric looks at one frame of one row. What the frames gave is then made into one figure for each region:
their mean, unless the metric says otherwise. Images are uint8 [H, W, 3] RGB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.metrics.pixels import Mask, clip_box, luminance
from geneface.evaluation.schema import MetricDefinition
from geneface.types import ByteArray, FloatArray

REGIONS = ("frame", "head", "mouth")
NO_FRAMES = "no frames to compare"

Box = tuple[slice, slice]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Picture:
    """One picture. What is computed of it is kept as long as it is."""

    image: ByteArray
    _made: dict[str, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    @cached_property
    def luma(self) -> FloatArray:
        """[H, W] in 0..255."""
        return luminance(self.image)

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """What a metric computes of this picture for itself: made the first time, remembered by the name."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


@dataclass(frozen=True)
class ReferenceFrame(Picture):
    """One frame of ground truth and where its regions lie."""

    head: Mask | None = None
    """[H, W]; None where it is not known."""
    torso: Mask | None = None
    """[H, W]; None where it is not known."""
    mouth_box: NDArray[np.integer] | None = None
    """x0, y0, x1, y1 in pixels; None where no face was found."""

    @property
    def known(self) -> tuple[str, ...]:
        """The regions that are known and not empty."""
        return tuple(self.masks)

    @cached_property
    def masks(self) -> dict[str, Mask]:
        """Region -> pixels, of those regions that are known and not empty."""
        height, width = self.image.shape[:2]
        masks = {"frame": np.ones((height, width), bool)}
        if self.head is not None and self.head.any():
            masks["head"] = self.head
        box = None if self.mouth_box is None else clip_box(self.mouth_box, width, height)
        if box is not None:
            masks["mouth"] = np.zeros((height, width), bool)
            masks["mouth"][box] = True
        return masks

    @cached_property
    def boxes(self) -> dict[str, Box]:
        """Region -> smallest rectangle around it, for metrics that need a rectangle."""
        return {region: _bounding_box(mask) for region, mask in self.masks.items()}


def _bounding_box(mask: Mask) -> Box:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def region_mean(values: NDArray[np.floating[Any]], mask: Mask) -> float:
    """Mean of [H, W] over the mask; nan if that is empty."""
    inside = values[mask]
    return float(inside.mean(dtype=np.float64)) if inside.size else float("nan")


def mean_of_frames(own: Sequence[float], truth: object) -> float:
    """Mean of the finite values; nan if there is none."""
    known = [value for value in own if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


@dataclass(frozen=True)
class PictureMetric:
    """A metric of pictures, measured in every region of every frame of every row."""

    name: str
    """Its keys are `frame_NAME`, `head_NAME`, `mouth_NAME`."""
    definition: MetricDefinition
    """What the keys mean; `needs` names the instrument that `measure` is given."""
    measure: Callable[[ReferenceFrame, Picture, Any], Mapping[str, Any]]
    """(ground truth, picture, instrument) -> region -> what this frame adds: a number, or whatever `total` takes.
    Regions without a value may be left out."""
    total: Callable[[Sequence[Any], Sequence[Any]], float] = mean_of_frames
    """(what the row's frames gave, what the ground truth's gave) -> the figure; nan if there is none."""
    absent: str = NO_FRAMES
    """Why there is no figure where `total` gives nan."""
    alone: bool = False
    """Whether `measure` looks at each picture by itself, so that it is called for the ground truth's own, too."""
    compares: bool = True
    """Whether the figure compares with the ground truth, which then has none itself."""


def image_key(region: str, metric: str) -> str:
    """`head_psnr` and the like."""
    return f"{region}_{metric}"
