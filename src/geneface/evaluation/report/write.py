"""Writes an evaluation: metrics.json and report.html, one file that loads nothing from the network (`page`)."""

from __future__ import annotations

import os
import platform
from contextlib import AbstractContextManager
from importlib import metadata
from pathlib import Path

from geneface import __version__
from geneface.evaluation.report.film import Film
from geneface.evaluation.report.page import ReportMedia, render_page
from geneface.evaluation.report.plots import LipCurve, Plot, Series
from geneface.evaluation.schema import EvaluationReport
from geneface.io.atomic import atomic_path
from geneface.io.records import write_json
from geneface.io.work import exclusive_folder

__all__ = [
    "METRICS_FILE",
    "REPORT_FILE",
    "SHEET_FILE",
    "Film",
    "LipCurve",
    "Plot",
    "ReportMedia",
    "Series",
    "machine_facts",
    "report_folder",
    "software_versions",
    "write_report",
]

METRICS_FILE, REPORT_FILE, SHEET_FILE = "metrics.json", "report.html", "contact_sheet.png"
_PACKAGES = ("numpy", "onnxruntime", "av", "pydantic", "safetensors", "scipy", "scikit-image", "torch")


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

    If nothing comes to lie in it, it goes again at the end of the block.

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
