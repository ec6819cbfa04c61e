"""The shape of metrics.json: tables of named figures, each with a unit, a direction, and a reason where it is missing.

A *table* (image, lips, sync, stability, ...) has one row for each thing that is evaluated, one for the ground truth
itself where that says something, and one for each control. A *figure* is a number or null, and null always comes with
its reason. Every key is defined once, in the file of `evaluation.metrics`
that measures it. A *verdict* says of each key of a table what the
controls showed: whether the metric can be believed there, and what it does not see.

The JSON schema of the file is `metrics_schema()`, which docs/metrics.schema.json holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

_ROUNDING = 1e-12
FORMAT = 3
"""Version of metrics.json; a key that changes its name or meaning raises it. `evaluation.formats` reads older ones."""

Direction = Literal["higher", "lower", "one", "zero", "count"]
"""Which way is better: a larger value, a smaller one, or a value near 1 or 0; a count is neither."""
Role = Literal["evaluated", "part", "truth", "control"]
"""A part is a share of what a row "evaluated" is over: the report shows it, a summary does not."""
Control = Literal["late", "still", "degraded", "beads", "shifted", "brighter", "flickering"]
"""Spoilt ground truth: shown late, held still, at half resolution and brighter, strewn with beads; its own lower face
pasted in aside, brighter, or flickering. See `evaluation.protocol.controls`."""
Instrument = Literal["colour", "niqe", "lpips", "inception", "syncnet", "lip_sync"]
"""What a metric may be measured with, and may not be available: a field of `evaluation.tools.Tools`."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MetricDefinition(_Record):
    """What a key means."""

    title: str
    unit: str
    direction: Direction
    description: str
    must_see: list[Control] = []
    """Controls that a working metric scores worse than the ground truth; where it does not, it is not informative."""
    needs: Instrument | None = None
    """The instrument without which there is no figure."""


@dataclass(frozen=True)
class Missing:
    """Takes the place of something that is not available, and says why."""

    reason: str
    """One sentence, which a report prints where a figure would stand."""


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
    """The figures of one subject: what is evaluated, the ground truth, or a control that shows what a metric tells."""

    name: str
    role: Role
    figures: dict[str, Figure]


class Verdict(_Record):
    """What the controls of a table say of one metric."""

    informative: bool
    """False where the metric did not score a control that it must see worse than the ground truth."""
    reason: str
    """One sentence, with the numbers."""
    blind_to: list[str]
    """Names of the control rows that it did not tell from the ground truth."""


class MetricTable(_Record):
    """Rows that were measured on the same frames."""

    title: str
    note: str
    rows: list[MetricRow]
    verdicts: dict[str, Verdict] = {}
    """Per key; empty where a table has no controls."""


class EvaluationReport(_Record):
    """All of metrics.json."""

    format: Literal[3] = FORMAT
    subject: str
    """Name of the avatar or file name of the video that is evaluated."""
    reference: str | None
    """What it is compared with; null when there is nothing."""
    tables: dict[str, MetricTable]
    definitions: dict[str, MetricDefinition]
    """Of every key that appears in the tables."""
    as_trained: dict[str, Any] | None = None
    """The figures stored with the avatar when it was trained, under today's keys; null when it carries none."""
    versions: dict[str, str]
    machine: dict[str, str | float | int]

    @model_validator(mode="after")
    def _keys_are_defined(self) -> EvaluationReport:
        used = {key for table in self.tables.values() for row in table.rows for key in row.figures}
        if unknown := used - set(self.definitions):
            raise ValueError(f"metrics without a definition: {', '.join(sorted(unknown))}")
        return self


def metrics_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of metrics.json."""
    return EvaluationReport.model_json_schema()


def figure(value: float, reason: str) -> Figure:
    """A number, or `reason` if it is not finite (a mean over nothing, a correlation of a constant).

    What is left of a zero after rounding is zero.
    """
    if not math.isfinite(value):
        return Figure(reason=reason)
    return Figure(value=float(value) if abs(value) > _ROUNDING else 0.0)


def missing(keys: tuple[str, ...], reason: str) -> dict[str, Figure]:
    """The same reason for several keys."""
    return {key: Figure(reason=reason) for key in keys}
