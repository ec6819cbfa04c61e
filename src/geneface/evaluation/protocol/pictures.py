"""Image metrics of the rows of a table, frame by frame. Images are uint8 [H, W, 3] RGB.

One frame of ground truth is compared with that frame in all rows before the next one's turn comes, so that what is
computed of the ground truth is computed once and thrown away. Memory does not grow with the frames, but for FID's
features (2048 numbers a region and frame).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.metrics.fid import FeatureStatistics, InceptionFeatures, frechet_distance
from geneface.evaluation.metrics.image import (
    SSIM_RADIUS,
    Mask,
    ciede2000,
    clip_box,
    erode,
    lab,
    luminance,
    psnr,
    sharpness,
    ssim_map,
)
from geneface.evaluation.metrics.lpips import LPIPS_MIN_SIDE_PX
from geneface.evaluation.metrics.niqe import NIQE_TOO_SMALL
from geneface.evaluation.metrics.registry import IMAGE_METRICS, REGIONS, image_key, image_keys
from geneface.evaluation.schema import Figure, figure
from geneface.evaluation.tools import Tools
from geneface.types import ByteArray, FloatArray

SHARPNESS_BORDER_PX = 2
"""The mask's edge is where rendering and ground truth differ in shape, not in sharpness."""
_NO_FRAMES = "no frames to compare"
_LPIPS_TOO_SMALL = f"LPIPS needs pictures of at least {LPIPS_MIN_SIDE_PX} pixels a side"
_FLAT = "the ground truth is flat: its Laplacian has no variance"
_ITSELF = "the ground truth is what the others are compared with"

Box = tuple[slice, slice]


@dataclass(frozen=True)
class ReferenceFrame:
    """One frame of ground truth and where its regions lie."""

    image: ByteArray
    head: Mask | None = None
    """[H, W]; None where it is not known."""
    torso: Mask | None = None
    """[H, W]; None where it is not known."""
    mouth_box: NDArray[np.integer] | None = None
    """x0, y0, x1, y1 in pixels; None where no face was found."""

    @cached_property
    def luma(self) -> FloatArray:
        """[H, W] in 0..255."""
        return luminance(self.image)

    @cached_property
    def lab(self) -> NDArray[np.floating[Any]]:
        """[H, W, 3] CIELAB."""
        return lab(self.image)

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

    @cached_property
    def detail_masks(self) -> dict[str, Mask]:
        """Region -> pixels over which sharpness is taken."""
        masks = dict(self.masks)
        if "head" in masks:
            masks["head"] = erode(masks["head"], SHARPNESS_BORDER_PX)
        return masks

    @cached_property
    def detail(self) -> dict[str, float]:
        """Region -> sharpness."""
        return {region: sharpness(self.luma, mask) for region, mask in self.detail_masks.items()}


def _bounding_box(mask: Mask) -> Box:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


@dataclass(frozen=True)
class FrameValues:
    """What one frame of one row adds to the figures."""

    regions: tuple[str, ...]
    """Regions that were known in this frame."""
    values: dict[str, float]
    """Image key -> value, for metrics that are means over frames."""
    detail: dict[str, tuple[float, float]]
    """Region -> sharpness of ground truth and row."""
    features: dict[str, FloatArray]
    """Region -> Inception features [2048]."""
    error: FloatArray | None
    """[H, W] mean absolute difference of the channels; None for the ground truth itself."""


def compare_frame(
    reference: ReferenceFrame, images: Mapping[str, ByteArray], tools: Tools, *, truth: str
) -> dict[str, FrameValues]:
    """Measure one moment in all rows.

    Args:
        images: row -> that row's picture.
        truth: name of the row that is the ground truth itself.
    """
    small = min(reference.image.shape[:2]) < LPIPS_MIN_SIDE_PX
    perceptual = None if small or isinstance(tools.lpips, str) else tools.lpips.features(reference.image)
    out = {}
    for name, image in images.items():
        if reference.image.shape != image.shape:
            raise ValueError(f"images of different shapes: {reference.image.shape} and {image.shape}")
        values: dict[str, float] = {}
        if not isinstance(tools.niqe, str):
            for region, box in reference.boxes.items():
                values[image_key(region, "niqe")] = tools.niqe.score(image[box])
        features = {} if isinstance(tools.inception, str) else _features(tools.inception, reference, image)
        if name == truth:
            out[name] = FrameValues(reference.known, values, {}, features, None)
            continue
        luma = luminance(image)
        values |= _differences(reference, image, luma, tools)
        if perceptual is not None and not isinstance(tools.lpips, str):
            result = tools.lpips.compare(perceptual, tools.lpips.features(image))
            for region, mask in reference.masks.items():
                value = result.distance if region == "frame" else _mean(result.map[mask])
                values[image_key(region, "lpips")] = value
        detail = {
            region: (reference.detail[region], sharpness(luma, mask)) for region, mask in reference.detail_masks.items()
        }
        error = np.abs(reference.image.astype(np.float32) - image).mean(-1)
        out[name] = FrameValues(reference.known, values, detail, features, error)
    return out


def _differences(reference: ReferenceFrame, image: ByteArray, luma: FloatArray, tools: Tools) -> dict[str, float]:
    """The metrics that need no weights."""
    similarity = ssim_map(reference.luma, luma)
    shift = luma - reference.luma
    colour = None if isinstance(tools.colour, str) else ciede2000(reference.lab, lab(image))
    values = {}
    for region, mask in reference.masks.items():
        inner = mask[SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS]
        values[image_key(region, "psnr")] = psnr(reference.image, image, None if region == "frame" else mask)
        values[image_key(region, "ssim")] = _mean(similarity[inner])
        values[image_key(region, "luminance_shift")] = _mean(shift[mask])
        if colour is not None:
            values[image_key(region, "ciede2000")] = _mean(colour[mask])
    return values


def _features(inception: InceptionFeatures, reference: ReferenceFrame, image: ByteArray) -> dict[str, FloatArray]:
    regions = list(reference.boxes)
    rows = inception.features([image[reference.boxes[region]] for region in regions])
    return {region: row.astype(np.float32) for region, row in zip(regions, rows, strict=True)}


class ImageScores:
    """The image metrics of one row over frames."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._values: dict[str, list[float]] = {key: [] for key in image_keys()}
        self._detail: dict[str, list[tuple[float, float]]] = {region: [] for region in REGIONS}
        self._features: dict[str, list[FloatArray]] = {region: [] for region in REGIONS}
        self._error: NDArray[np.float64] | None = None
        self._seen: set[str] = set()
        self.frames = 0

    def add(self, frame: FrameValues | None) -> None:
        """Add the next frame; None where the row shows nothing that may be compared."""
        for key, values in self._values.items():
            values.append(float("nan") if frame is None else frame.values.get(key, float("nan")))
        if frame is None:
            return
        self.frames += 1
        self._seen |= set(frame.regions)
        for region, detail in frame.detail.items():
            if np.isfinite(detail).all():
                self._detail[region].append(detail)
        for region, features in frame.features.items():
            self._features[region].append(features)
        if frame.error is not None:
            self._error = frame.error.astype(np.float64) if self._error is None else self._error + frame.error

    @property
    def mean_error(self) -> NDArray[np.float64] | None:
        """[H, W] mean absolute difference over frames and channels; None for the ground truth."""
        return None if self._error is None else self._error / self.frames

    def per_frame(self, key: str) -> list[float]:
        """The values of a key that is a mean over frames, frame by frame; nan where there is none."""
        return self._values[key]

    def figures(self, truth: ImageScores, why: Mapping[str, str]) -> dict[str, Figure]:
        """The figures of all frames so far.

        Args:
            truth: the scores of the ground truth's own row, for FID.
            why: region -> reason for which it may not be known.
        """
        out: dict[str, Figure] = {}
        for region in REGIONS:
            absent = _NO_FRAMES if not self.frames else None if region in self._seen else why[region]
            for metric in IMAGE_METRICS:
                key = image_key(region, metric)
                out[key] = Figure(reason=absent) if absent else self._figure(region, metric, truth)
        return out

    def _figure(self, region: str, metric: str, truth: ImageScores) -> Figure:
        tools = self._tools
        needed = {"lpips": tools.lpips, "niqe": tools.niqe, "fid": tools.inception, "ciede2000": tools.colour}
        tool = needed.get(metric)
        if isinstance(tool, str):
            return Figure(reason=tool)
        if self is truth and metric != "niqe":
            return Figure(reason=_ITSELF)
        if metric == "fid":
            return figure(self._fid(region, truth), "FID needs two frames and more")
        if metric == "sharpness_ratio":
            reference, other = np.sum(self._detail[region] or [(0.0, 0.0)], axis=0)
            return figure(other / reference if reference > 0 else float("nan"), _FLAT)
        values = [value for value in self._values[image_key(region, metric)] if np.isfinite(value)]
        reason = {"niqe": NIQE_TOO_SMALL, "lpips": _LPIPS_TOO_SMALL}.get(metric, _NO_FRAMES)
        return figure(float(np.mean(values)) if values else float("nan"), reason)

    def _fid(self, region: str, truth: ImageScores) -> float:
        sides = []
        for scores in (truth, self):
            statistics = FeatureStatistics()
            statistics.add(np.stack(scores._features[region]))
            sides.append(statistics)
        return frechet_distance(*sides)


def _mean(values: NDArray[np.floating[Any]]) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else float("nan")
