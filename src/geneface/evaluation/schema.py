"""The shape of metrics.json: tables of named figures, each with a unit, a direction, and a reason where it is missing.

A *table* (image, lips, stability, speed) has one row for what is evaluated and one for each control. A *figure* is a
number or null, and null always comes with its reason. Every key is defined once, in `DEFINITIONS`; a further metric is
a further entry there. The JSON schema of the file is `EvaluationReport.model_json_schema()`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

FORMAT = 1
"""Version of metrics.json; a key that changes its meaning raises it."""

Direction = Literal["higher", "lower", "one", "zero"]
"""Which way is better: a larger value, a smaller one, or a value near 1 or 0."""
Role = Literal["evaluated", "control"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MetricDefinition(_Record):
    """What a key means."""

    title: str
    unit: str
    direction: Direction
    description: str


class Figure(_Record):
    """One measured number, or the reason why there is none."""

    value: float | None = None
    reason: str | None = None

    @model_validator(mode="after")
    def _number_or_reason(self) -> Figure:
        if (self.value is None) == (self.reason is None):
            raise ValueError("a figure is either a number or a reason why there is none")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError("a figure is finite")
        return self


class MetricRow(_Record):
    """The figures of one subject: what is evaluated, or a control that shows what the metric can tell."""

    name: str
    role: Role
    figures: dict[str, Figure]


class MetricTable(_Record):
    """Rows that were measured on the same frames."""

    title: str
    note: str
    rows: list[MetricRow]

    @model_validator(mode="after")
    def _keys_are_defined(self) -> MetricTable:
        unknown = {key for row in self.rows for key in row.figures} - set(DEFINITIONS)
        if unknown:
            raise ValueError(f"metrics without a definition: {', '.join(sorted(unknown))}")
        return self


class EvaluationReport(_Record):
    """All of metrics.json."""

    format: Literal[1] = FORMAT
    subject: str
    """Name of the avatar or file name of the video that is evaluated."""
    reference: str | None
    """What it is compared with; null when nothing is at hand."""
    tables: dict[str, MetricTable]
    definitions: dict[str, MetricDefinition]
    as_trained: dict[str, Any] | None = None
    """The figures stored with the avatar when it was trained, unchanged; null when it carries none."""
    versions: dict[str, str]
    machine: dict[str, str | float | int]


def figure(value: float, reason: str) -> Figure:
    """A number, or `reason` if it is not finite (a mean over nothing, a correlation of a constant)."""
    return Figure(value=float(value)) if math.isfinite(value) else Figure(reason=reason)


def missing(keys: tuple[str, ...], reason: str) -> dict[str, Figure]:
    """The same reason for several keys."""
    return {key: Figure(reason=reason) for key in keys}


def used_definitions(tables: Mapping[str, MetricTable]) -> dict[str, MetricDefinition]:
    """The definitions of the keys that appear in the tables."""
    used = {key for table in tables.values() for row in table.rows for key in row.figures}
    return {key: definition for key, definition in DEFINITIONS.items() if key in used}


IMAGE_KEYS = (
    "head_psnr",
    "mouth_psnr",
    "frame_psnr",
    "head_ssim",
    "frame_ssim",
    "sharpness_ratio",
    "luminance_shift",
)
LIP_KEYS = (
    "opening_correlation",
    "width_correlation",
    "opening_amplitude_ratio",
    "offset_frames",
    "lip_landmark_distance",
)
STABILITY_RATIO_KEYS = ("brow_jitter_ratio", "rotation_jitter_ratio", "translation_jitter_ratio")
STABILITY_KEYS = ("brow_jitter", "rotation_jitter", "translation_jitter")

DEFINITIONS: dict[str, MetricDefinition] = {
    "head_psnr": MetricDefinition(
        title="PSNR, head",
        unit="dB",
        direction="higher",
        description="10 log10(255^2 / MSE) over RGB in the head mask (alpha > 127), per frame, then averaged; "
        "identical pixels count as 100 dB.",
    ),
    "mouth_psnr": MetricDefinition(
        title="PSNR, mouth",
        unit="dB",
        direction="higher",
        description="The same in the box around the lips, teeth included.",
    ),
    "frame_psnr": MetricDefinition(
        title="PSNR, frame",
        unit="dB",
        direction="higher",
        description="The same over the whole frame, torso and background included.",
    ),
    "head_ssim": MetricDefinition(
        title="SSIM, head",
        unit="1",
        direction="higher",
        description="Wang et al. 2004 on luminance: Gaussian window 11 x 11, sigma 1.5, K1 = .01, K2 = .03; mean of "
        "the map over the head mask, then over frames.",
    ),
    "frame_ssim": MetricDefinition(
        title="SSIM, frame",
        unit="1",
        direction="higher",
        description="The same over every pixel whose window lies inside the frame.",
    ),
    "sharpness_ratio": MetricDefinition(
        title="Sharpness",
        unit="ratio",
        direction="one",
        description="Variance of the luminance's Laplacian over the head mask less a border of 2 px (the whole frame "
        "where there is no mask), summed over frames: rendered / ground truth. Noise raises it as detail does.",
    ),
    "luminance_shift": MetricDefinition(
        title="Luminance shift",
        unit="levels of 255",
        direction="zero",
        description="Mean luminance over the head mask (the whole frame where there is none), rendered - ground truth: "
        "the 'whitening' of Ye et al. 2023, section 5.",
    ),
    "opening_correlation": MetricDefinition(
        title="Lip-opening correlation",
        unit="1",
        direction="higher",
        description="Pearson correlation of the distance between the inner lips over time, per held-out clip, "
        "then averaged.",
    ),
    "width_correlation": MetricDefinition(
        title="Lip-width correlation",
        unit="1",
        direction="higher",
        description="The same for the distance between the corners of the mouth.",
    ),
    "opening_amplitude_ratio": MetricDefinition(
        title="Opening amplitude",
        unit="ratio",
        direction="one",
        description="Standard deviation of the lip opening, evaluated / ground truth, per clip, then averaged.",
    ),
    "offset_frames": MetricDefinition(
        title="Offset",
        unit="frames of 40 ms",
        direction="zero",
        description="Delay at which the correlation of the lip opening, averaged over clips, is largest, from -15 to "
        "15; positive: the evaluated lips are late.",
    ),
    "lip_landmark_distance": MetricDefinition(
        title="Lip landmark distance",
        unit="face widths",
        direction="lower",
        description="Mean distance of the lip landmarks after the centres of the mouths are laid on each other "
        "(LMD of Chen et al. 2018), as a fraction of the face's width.",
    ),
    "brow_jitter_ratio": MetricDefinition(
        title="Brow jitter",
        unit="ratio",
        direction="one",
        description="Root mean square of the brow landmarks' second differences in the head frame, evaluated / ground "
        "truth. The tracker's own noise is part of the ground truth's.",
    ),
    "rotation_jitter_ratio": MetricDefinition(
        title="Head rotation jitter",
        unit="ratio",
        direction="one",
        description="The same for the head's rotation vector.",
    ),
    "translation_jitter_ratio": MetricDefinition(
        title="Head translation jitter",
        unit="ratio",
        direction="one",
        description="The same for the head's position.",
    ),
    "brow_jitter": MetricDefinition(
        title="Brow jitter",
        unit="head units / frame^2",
        direction="lower",
        description="Root mean square of the brow landmarks' second differences in the head frame.",
    ),
    "rotation_jitter": MetricDefinition(
        title="Head rotation jitter",
        unit="degrees / frame^2",
        direction="lower",
        description="Root mean square of the second differences of the head's rotation vector.",
    ),
    "translation_jitter": MetricDefinition(
        title="Head translation jitter",
        unit="head units / frame^2",
        direction="lower",
        description="Root mean square of the second differences of the head's position.",
    ),
    "render_rate": MetricDefinition(
        title="Rendering",
        unit="frames/s",
        direction="higher",
        description="Frames a second through the renderer alone, the first frames left out; no motion, no encoding. "
        "The machine's load while measuring stands under `machine`.",
    ),
}
