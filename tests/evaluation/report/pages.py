"""A made-up report with everything in it, and small pictures that move."""

from __future__ import annotations

import numpy as np

from geneface.evaluation.schema import (
    Direction,
    EvaluationReport,
    Figure,
    MetricDefinition,
    MetricRow,
    MetricTable,
    Verdict,
)
from geneface.types import SPEECH_RATE_HZ, ByteArray, Waveform

KEYS = [f"metric{i}" for i in range(12)]
DULL, BLIND = "metric3", "metric5"
"""The metric that is not informative, and one that does not see the still control."""
DIRECTIONS: tuple[Direction, ...] = ("higher", "lower", "one", "zero")
SLY = "<script>alert('x')</script>\"&"


def make_report(subject: str = "me", as_trained: dict[str, object] | None = None) -> EvaluationReport:
    """Two tables: 12 metrics, 5 rows, verdicts and reasons; and a small one without controls."""
    definitions = {
        key: MetricDefinition(
            title=f"Title {i}", unit="dB" if i else "1", direction=DIRECTIONS[i % 4], description=f"What {key} means."
        )
        for i, key in enumerate(KEYS)
    }
    names = {"me": "evaluated", "the truth": "truth", "late": "control", "still": "control", "degraded": "control"}
    rows = []
    for r, (name, role) in enumerate(names.items()):
        figures = {key: Figure(value=10 * r + i / 10) for i, key in enumerate(KEYS)}
        figures["metric1"] = Figure(reason="the face is too small") if r < 2 else Figure(value=1)
        figures["metric7"] = Figure(reason="nothing moved") if r == 3 else Figure(value=7)
        rows.append(MetricRow.model_validate({"name": name, "role": role, "figures": figures}))
    verdicts = {
        key: Verdict(
            informative=key != DULL,
            reason=f"{key} scores late .4 and the truth .5",
            blind_to=["still"] if key in (DULL, BLIND) else [],
        )
        for key in KEYS
    }
    small = MetricRow(name="me", role="evaluated", figures={KEYS[0]: Figure(value=0.5)})
    return EvaluationReport(
        subject=subject,
        reference="the held-out frames",
        tables={
            "image": MetricTable(title="Likeness", note="300 frames.", rows=rows, verdicts=verdicts),
            "speed": MetricTable(title="Speed", note="", rows=[small]),
        },
        definitions=definitions,
        as_trained=as_trained,
        versions={"geneface": "1.2.3"},
        machine={"cores": 2, "load_average_1_minute": 0.5},
    )


def moving_pictures(frames: int, *, height: int = 64, width: int = 64, shift: int = 0) -> list[ByteArray]:
    """[height, width, 3] each: bright stripes that wander two pixels a frame."""
    x = np.arange(width)[None, :, None] + np.arange(height)[:, None, None] // 2 + 20 * np.arange(3)
    return [(128 + 100 * np.sin((x + 2 * i + shift) / 6)).astype(np.uint8) for i in range(frames)]


def tone(seconds: float) -> Waveform:
    """A sound whose loudness rises and falls."""
    t = np.arange(round(seconds * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    return Waveform((0.5 * np.sin(2 * np.pi * 220 * t) * np.sin(np.pi * t) ** 2).astype(np.float32))
