"""Speckle and dots: what a face looks like that breaks into beads. Images are uint8 [H, W, 3] RGB, masks bool [H, W].

Two measures of the luma, in levels of 255. *Speckle* is the distance from the median of 3 x 3 pixels: hair and teeth
have it too, so it says little by itself and is read against the ground truth's. *Dots* is how far a pixel lies outside
of the range of the square of pixels around it, two pixels away at 256 px: strands of hair, lips and edges go on across
that square and do not count, a bead or a hole stands alone and does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.metrics.pixels import Mask, erode, luminance
from geneface.evaluation.schema import Control, MetricDefinition
from geneface.types import VIDEO_RATE_HZ, ByteArray, FloatArray

SPECKLE_MEASURES = ("speckle", "face_dots", "head_dots", "torso_dots")
DRIVEN_RATIO_KEYS = tuple(f"{key}_ratio{part}" for key in SPECKLE_MEASURES for part in ("", "_worst_second"))
"""Against the ground truth."""
DRIVEN_RISE_KEYS = tuple(f"{key}_rise{part}" for key in SPECKLE_MEASURES for part in ("", "_worst_second"))
"""Against the avatar's own calm speech."""
_MEASURES = {
    "speckle": (
        "Speckle, head",
        "Mean distance of the luma from its 3 x 3 median over the head and a rim of 3 px (at 256 px). Hair and teeth "
        "have it too",
    ),
    "face_dots": (
        "Dots, face",
        "Mean over the face of how far a pixel's luma lies above or below all 16 pixels of the square two pixels away "
        "(at 256 px): a bead or a hole stands alone, a hair, a lip or an edge goes on. Our definition",
    ),
    "head_dots": ("Dots, head", "The same over the head and a rim of 3 px"),
    "torso_dots": ("Dots, torso", "The same over the torso"),
}
_OVER = {
    "ratio": "divided by the median over ground-truth frames.",
    "rise": "divided by the median over the avatar's own speech with open eyes: it sees what breaks, not what is "
    "always so.",
}


def _definitions() -> dict[str, MetricDefinition]:
    """Every measure against the ground truth and against the avatar itself, as a mean and of the worst second."""
    definitions = {}
    for measure, (title, text) in _MEASURES.items():
        for over, divided in _OVER.items():
            sees: list[Control] = ["beads"] if over == "ratio" else []
            key = f"{measure}_{over}"
            definitions[key] = MetricDefinition(
                title=title, unit="ratio", direction="one", description=f"{text}; {divided}", must_see=sees
            )
            definitions[f"{key}_worst_second"] = MetricDefinition(
                title=f"{title}, worst second",
                unit="ratio",
                direction="one",
                description=f"{text}; {divided} The largest mean over 25 consecutive frames.",
                must_see=sees,
            )
    return definitions


DEFINITIONS = _definitions()

_REFERENCE_PX = 256
"""Dots are as large as the Gaussians, which grow with the picture."""
_RING_PX, _RIM_PX = 2, 3
_FEWEST_PIXELS = 50
_BEAD_PX, _BEAD_LEVELS, _PIXELS_A_BEAD = 2, 40, 150


@dataclass(frozen=True)
class FaceRegions:
    """Where speckle is looked for."""

    head: Mask
    """Face, hair and ears."""
    face: Mask
    """Inside the outline of the face."""
    torso: Mask | None


def frame_speckle(image: ByteArray, regions: FaceRegions) -> dict[str, float]:
    """Each of `SPECKLE_MEASURES` in levels of 255; nan where the region is hardly there.

    The head is taken with a rim around it: beads come off its outline.
    """
    luma = luminance(image)
    scale = max(1, round(luma.shape[1] / _REFERENCE_PX))
    residual, alone = median_residual(luma), dots(luma, _RING_PX * scale)
    head = ~erode(~regions.head, _RIM_PX * scale)
    return {
        "speckle": _mean(residual, head),
        "face_dots": _mean(alone, regions.face & regions.head),
        "head_dots": _mean(alone, head),
        "torso_dots": float("nan") if regions.torso is None else _mean(alone, regions.torso),
    }


def median_residual(luma: FloatArray) -> FloatArray:
    """[H, W] |luma - its 3 x 3 median|; 0 in the outermost line of pixels."""
    residual = np.zeros_like(luma)
    residual[1:-1, 1:-1] = np.abs(luma[1:-1, 1:-1] - _median3x3(luma))
    return residual


def dots(luma: FloatArray, radius: int = _RING_PX) -> FloatArray:
    """[H, W] how far a pixel lies above or below all pixels at the Chebyshev distance `radius`; 0 near the border."""
    height, width = luma.shape
    out = np.zeros_like(luma)
    if min(height, width) <= 2 * radius:
        return out
    high = np.full((height - 2 * radius, width - 2 * radius), -np.inf, np.float32)
    low = -high
    span = range(2 * radius + 1)
    for i in span:
        for j in span if i in (0, 2 * radius) else (0, 2 * radius):
            part = luma[i : i + high.shape[0], j : j + high.shape[1]]
            np.maximum(high, part, out=high)
            np.minimum(low, part, out=low)
    middle = luma[radius:-radius, radius:-radius]
    out[radius:-radius, radius:-radius] = np.maximum(middle - high, 0) + np.maximum(low - middle, 0)
    return out


def with_beads(image: ByteArray, mask: Mask, rng: np.random.Generator) -> ByteArray:
    """The picture with bright and dark beads strewn over the mask: a face that breaks, for a control."""
    size = _BEAD_PX * max(1, round(image.shape[1] / _REFERENCE_PX))
    rows, columns = np.nonzero(mask)
    beaded = image.astype(np.int16)
    for index in rng.choice(len(rows), max(1, len(rows) // (_PIXELS_A_BEAD * (size // _BEAD_PX) ** 2)), replace=False):
        bead = slice(rows[index], rows[index] + size), slice(columns[index], columns[index] + size)
        beaded[bead] += rng.choice([-_BEAD_LEVELS, _BEAD_LEVELS])
    return np.clip(beaded, 0, 255).astype(np.uint8)


def worst_window(values: NDArray[np.float64], frames: int = VIDEO_RATE_HZ) -> tuple[int, float]:
    """First frame and mean of the worst `frames` consecutive values (all of them, if there are fewer); nan counts as
    nothing there, and a window without values is not the worst. values: [F > 0]."""
    frames = min(frames, len(values))
    windows = np.lib.stride_tricks.sliding_window_view(values, frames)
    known = np.isfinite(windows)
    means = np.where(known, windows, 0).sum(-1) / np.maximum(known.sum(-1), 1)
    if not known.any():
        return 0, float("nan")
    start = int(np.argmax(means))
    return start, float(means[start])


def as_series(frames: Sequence[Mapping[str, float]]) -> dict[str, NDArray[np.float64]]:
    """Measure -> [F], from one dictionary a frame."""
    return {key: np.array([frame[key] for frame in frames], np.float64) for key in SPECKLE_MEASURES}


def _mean(values: FloatArray, mask: Mask) -> float:
    inside = values[mask]
    return float(inside.mean(dtype=np.float64)) if inside.size >= _FEWEST_PIXELS else float("nan")


def _median3x3(values: FloatArray) -> FloatArray:
    """[H, W] -> [H - 2, W - 2]: columns of three are sorted; the median of nine is that of the largest of the lowest,
    the median of the middle and the smallest of the highest (Paeth 1990)."""
    low, middle, high = _sorted3(values[:-2], values[1:-1], values[2:])
    largest_low = np.maximum(np.maximum(low[:, :-2], low[:, 1:-1]), low[:, 2:])
    smallest_high = np.minimum(np.minimum(high[:, :-2], high[:, 1:-1]), high[:, 2:])
    _, centre, _ = _sorted3(middle[:, :-2], middle[:, 1:-1], middle[:, 2:])
    return _sorted3(largest_low, centre, smallest_high)[1]


def _sorted3(a: FloatArray, b: FloatArray, c: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    low, high = np.minimum(a, b), np.maximum(a, b)
    return np.minimum(low, c), np.maximum(low, np.minimum(high, c)), np.maximum(high, c)
