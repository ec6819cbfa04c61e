"""Writes an evaluation: metrics.json and report.html, one file that loads nothing from the network.

Curves are drawn as inline SVG, pictures stand in the page as data URIs.
"""

from __future__ import annotations

import base64
import html
import os
import platform
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from geneface import __version__
from geneface.evaluation.schema import Direction, EvaluationReport, Figure, MetricDefinition, MetricTable
from geneface.io.store import atomic_path, new_folders, write_json
from geneface.types import VIDEO_RATE_HZ

METRICS_FILE, REPORT_FILE, SHEET_FILE = "metrics.json", "report.html", "contact_sheet.png"
_PACKAGES = ("numpy", "onnxruntime", "av", "pydantic", "safetensors")
_BETTER: dict[Direction, str] = {
    "higher": "higher is better",
    "lower": "lower is better",
    "one": "1 is best",
    "zero": "0 is best",
}
_CURVE_SIZE_PX = (860, 150)
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1100px; padding: 0 1em; color: #1c2733; }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3em .8em; text-align: right; border-bottom: 1px solid #dde3ea; vertical-align: top }
th:first-child, td:first-child { text-align: left } thead th { font-weight: 600 }
small { color: #66727f; font-weight: 400 } tr.control td { color: #66727f } tr.evaluated td { font-weight: 600 }
img { max-width: 100%; height: auto } svg { max-width: 100%; height: auto; display: block; margin: .5em 0 }
""".strip()


@dataclass(frozen=True)
class LipCurve:
    """Lip opening of one clip, [F] each, for the plot."""

    name: str
    reference: NDArray[np.floating[Any]] | None
    other: NDArray[np.floating[Any]]


def software_versions() -> dict[str, str]:
    """Versions of the interpreter and of the packages that take part."""
    versions = {"geneface": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def machine_facts() -> dict[str, str | float | int]:
    """What a speed depends on: processors and their load over the last minute."""
    facts: dict[str, str | float | int] = {"processor": platform.machine(), "cores": os.cpu_count() or 1}
    if hasattr(os, "getloadavg"):
        facts["load_average_1_minute"] = round(os.getloadavg()[0], 2)
    return facts


def report_folder(out_dir: Path) -> AbstractContextManager[None]:
    """Make the folder before anything is measured: a path that can't be written should fail at once.

    If nothing comes to lie in it, it goes again at the end of the block.

    Raises:
        InputError: it can't be made.
    """
    return new_folders(out_dir, out_dir)


def write_report(report: EvaluationReport, out_dir: Path, curves: Sequence[LipCurve], sheet: Path | None) -> None:
    """Write metrics.json and report.html into `out_dir`, each whole or not at all."""
    write_json(out_dir / METRICS_FILE, report.model_dump())
    with atomic_path(out_dir / REPORT_FILE) as path:
        Path(path).write_text(render_html(report, curves, sheet), encoding="utf-8")


def render_html(report: EvaluationReport, curves: Sequence[LipCurve], sheet: Path | None) -> str:
    """The page. Every text from outside is escaped."""
    title = f"Evaluation of {report.subject}"
    against = f"Compared with {report.reference}." if report.reference else "Nothing at hand to compare with."
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(title)}</h1><p>{_text(against)}</p>",
        *(_table(table, report.definitions) for table in report.tables.values()),
    ]
    if curves:
        parts.append(
            "<h2>Lip opening over time</h2><p><small>Dark: reference. Orange: evaluated. Seconds below.</small></p>"
        )
        parts += [_curve(curve) for curve in curves]
    if sheet is not None:
        parts.append(
            "<h2>Frames</h2><p><small>From left to right: reference, evaluated, error (mean absolute difference, "
            "four times enlarged: black, red, yellow, white); the mouth of each below.</small></p>"
            f'<img alt="Reference beside evaluated frames" src="data:image/png;base64,{_base64(sheet)}">'
        )
    parts += [_as_trained(report.as_trained), _definitions(report.definitions), _facts(report), "</body></html>"]
    return "\n".join(part for part in parts if part)


def format_figure(key: str, item: Figure) -> str:
    """The number as people read it, or n/a."""
    if item.value is None:
        return "n/a"
    if key == "offset_frames":
        return f"{item.value:+.0f}"
    digits = 2 if abs(item.value) >= 10 else 3 if abs(item.value) >= 0.1 else 5
    return f"{item.value:.{digits}f}"


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")


def _table(table: MetricTable, definitions: dict[str, MetricDefinition]) -> str:
    keys = list(dict.fromkeys(key for row in table.rows for key in row.figures))
    heads = "".join(
        f"<th>{_text(definitions[key].title)}<br><small>{_text(definitions[key].unit)}<br>"
        f"{_BETTER[definitions[key].direction]}</small></th>"
        for key in keys
    )
    notes: list[str] = []
    rows = []
    for row in table.rows:
        cells = "".join(_cell(key, row.figures.get(key), notes) for key in keys)
        rows.append(f'<tr class="{row.role}"><td>{_text(row.name)}</td>{cells}</tr>')
    footnotes = "".join(f"<br><small><sup>{i}</sup> {_text(note)}</small>" for i, note in enumerate(notes, 1))
    return (
        f"<h2>{_text(table.title)}</h2><table><thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"<p><small>{_text(table.note)}</small>{footnotes}</p>"
    )


def _cell(key: str, item: Figure | None, notes: list[str]) -> str:
    """One cell; a reason becomes a numbered note, each wording once."""
    if item is None:
        return "<td></td>"
    if item.reason is None:
        return f"<td>{format_figure(key, item)}</td>"
    if item.reason not in notes:
        notes.append(item.reason)
    return f"<td>n/a<sup>{notes.index(item.reason) + 1}</sup></td>"


def _curve(curve: LipCurve) -> str:
    width, height = _CURVE_SIZE_PX
    top, bottom = 8, height - 22
    largest = max([float(c.max()) for c in (curve.reference, curve.other) if c is not None and c.size] + [1e-9])
    frames = len(curve.other)

    def line(values: NDArray[np.floating[Any]], colour: str) -> str:
        x = np.arange(len(values)) * (width / max(frames - 1, 1))
        y = bottom - np.asarray(values) / largest * (bottom - top)
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in zip(x, y, strict=True))
        return f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{points}"/>'

    seconds = frames / VIDEO_RATE_HZ
    step = next(s for s in (0.5, 1, 2, 5, 10, 30, 60, 600, 1e9) if seconds / s <= 12)
    ticks = "".join(
        f'<text x="{t / seconds * width:.1f}" y="{height - 6}" font-size="11" fill="#66727f">{t:g}</text>'
        for t in np.arange(0, seconds, step)
    )
    lines = (line(curve.reference, "#1c2733") if curve.reference is not None else "") + line(curve.other, "#e07b00")
    return (
        f'<p>{_text(curve.name)}</p><svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="Lip opening, {_text(curve.name)}"><line x1="0" y1="{bottom}" x2="{width}" y2="{bottom}" '
        f'stroke="#dde3ea"/>{lines}{ticks}</svg>'
    )


def _as_trained(stored: dict[str, Any] | None) -> str:
    if stored is None:
        return ""
    heading = "<h2>As trained</h2><p><small>Stored with the avatar, not measured now.</small></p>"
    try:
        report = EvaluationReport.model_validate(stored)
    except ValidationError:
        return heading + "<p>Written by another version: see metrics.json.</p>"
    return heading + "".join(_table(table, report.definitions) for table in report.tables.values())


def _definitions(definitions: dict[str, MetricDefinition]) -> str:
    rows = "".join(
        f"<tr><td>{_text(item.title)}</td><td style='text-align:left'>{_text(item.description)}</td></tr>"
        for item in definitions.values()
    )
    return f"<h2>What the figures mean</h2><table>{rows}</table>"


def _facts(report: EvaluationReport) -> str:
    facts = ", ".join(f"{_text(key)} {_text(value)}" for key, value in (report.versions | report.machine).items())
    return f"<p><small>Measured with {facts}.</small></p>"
