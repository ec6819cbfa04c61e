"""Writes an evaluation: metrics.json and report.html, one file that loads nothing from the network (`page`)."""

from __future__ import annotations

import os
import platform
from contextlib import AbstractContextManager
from importlib import metadata
from pathlib import Path

from geneface import __version__
from geneface.evaluation.report.page import ReportMedia, render_page
from geneface.evaluation.schema import EvaluationReport
from geneface.io.atomic import atomic_path
from geneface.io.records import write_json
from geneface.io.work import exclusive_folder

METRICS_FILE, REPORT_FILE, SHEET_FILE = "metrics.json", "report.html", "contact_sheet.png"
_PACKAGES = (
    "numpy",
    "onnxruntime",
    "av",
    "pydantic",
    "safetensors",
    "soxr",
    "scikit-image",
    "mmeval",
    "python_speech_features",
    "torch",
)
"""Those that a figure may depend on."""


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
    facts: dict[str, str | float | int] = {"processor": _processor(), "cores": os.cpu_count() or 1}
    if hasattr(os, "getloadavg"):
        facts["load_average_1_minute"] = round(os.getloadavg()[0], 2)
    return facts


def _processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def report_folder(out_dir: Path) -> AbstractContextManager[None]:
    """Make the folder before anything is measured: a path that can't be written should fail at once.

    If it is still empty at the end of the block, it is removed.

    Raises:
        InputError: it can't be made or written to, or another run is at work in it.
    """
    return exclusive_folder(out_dir)


def write_report(report: EvaluationReport, out_dir: Path, media: ReportMedia) -> None:
    """Write metrics.json and report.html into `out_dir`, each whole or not at all; none if the page can't be made."""
    page = render_page(report, media)
    write_json(out_dir / METRICS_FILE, report.model_dump())
    with atomic_path(out_dir / REPORT_FILE) as path:
        path.write_text(page, encoding="utf-8")
