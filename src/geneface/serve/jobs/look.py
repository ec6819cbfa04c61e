"""What `check` finds about an uploaded video, as a time line for programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from geneface.io.records import write_json
from geneface.portrait.check import Finding, check_videos
from geneface.serve.jobs.formats import CHECK_FILE, PREVIEW_FILE, VIDEO
from geneface.serve.jobs.progress import StepPlan
from geneface.serve.jobs.task import Task
from geneface.types import ProgressFn

STAGES = {
    "look through the videos": 14.0,
    "track the face": 7.0,
    "look at the pictures": 3.0,
    "compare sound and lips": 1.0,
}
"""Shares were measured on 20 s of 450 x 450 pixels."""
_FROM_TO = re.compile(r"from (\d+(?:\.\d+)?) to (\d+(?:\.\d+)?) s")
_AT = re.compile(r"at (\d+(?:\.\d+)?) s")


def check_plan(seconds: float) -> StepPlan:
    """The step of a check of so many seconds of video."""
    return StepPlan("check", 2 + 0.7 * seconds, STAGES)


def check_upload(task: Task) -> dict[str, Any]:
    """A job of the kind "check"."""
    reporter = task.reporter([check_plan(float(task.job.params["seconds"]))])
    with reporter.step("check") as progress:
        found = look(task.input(VIDEO), task.out, float(task.job.params["seconds"]), progress)
    return found


def look(video: Path, out: Path, seconds: float, progress: ProgressFn) -> dict[str, Any]:
    """Check a video; leaves its preview, and at last check.json, in the folder `out`."""
    findings = check_videos([video], progress, out / PREVIEW_FILE)
    found = {
        "seconds": seconds,
        "is_usable": not any(finding.severity == "error" for finding in findings),
        "has_preview": (out / PREVIEW_FILE).is_file(),
        "findings": [_described(finding, video) for finding in findings],
    }
    write_json(out / CHECK_FILE, found)
    return found


def _described(finding: Finding, video: Path) -> dict[str, Any]:
    start, end = span_of(finding.where)
    where = f" {finding.where}" if finding.where and start is None else ""
    cause = f"{finding.cause}{where}".replace(str(video), "the video")
    return {
        "severity": finding.severity,
        "start": start,
        "end": end,
        "is_used": finding.is_used,
        "cause": cause,
        "remedy": finding.remedy.replace(str(video), "the video"),
    }


def span_of(where: str) -> tuple[float | None, float | None]:
    """Seconds of a place in a video, as findings say it in words; None, None where it is none."""
    if found := _FROM_TO.search(where):
        return float(found[1]), float(found[2])
    if found := _AT.search(where):
        return float(found[1]), float(found[1])
    return None, None
