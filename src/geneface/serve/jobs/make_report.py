"""A job of the kind "report": an avatar is measured, against what it was trained on if that is kept."""

from __future__ import annotations

import os
from typing import Any

from geneface import api
from geneface.portrait.manifest import MANIFEST_NAME
from geneface.serve.jobs.formats import REPORT_FILE
from geneface.serve.jobs.progress import StepPlan
from geneface.serve.jobs.task import Task

_STAGES = {
    "speech to motion": 3.0,
    "pictures": 40.0,
    "driven beyond the recording": 50.0,
    "drawing the bundled sentence": 5.0,
}
_SECONDS = 60.0


def make_report(task: Task) -> dict[str, Any]:
    """Measure, and replace an older report as a whole.

    Raises:
        InputError: the avatar can't be used.
    """
    portrait = task.home.portrait(task.job.subject)
    has_truth = (portrait / MANIFEST_NAME).is_file()
    made, place = task.work / "report", task.home.report(task.job.subject)
    reporter = task.reporter([StepPlan("evaluate", _SECONDS * (2 if has_truth else 1), _STAGES)])
    with reporter.step("evaluate") as progress:
        if not (made / REPORT_FILE).is_file():
            api.evaluate(task.job.params["avatar_folder"], portrait if has_truth else None, made, progress=progress)
    task.home.remove(place)
    os.replace(made, place)
    return {"has_truth": has_truth}
