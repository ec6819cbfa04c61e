"""A job of the kind "report": an avatar is measured, against what it was trained on if that is kept."""

from __future__ import annotations

import os
from typing import Any

from geneface import api
from geneface.portrait.manifest import MANIFEST_NAME
from geneface.serve.jobs.formats import REPORT_FILE
from geneface.serve.jobs.progress import StepPlan
from geneface.serve.jobs.task import Task

_WITH_TRUTH = {
    "speech to motion": 40.0,
    "pictures": 20.0,
    "what adaptation gained": 10.0,
    "driven beyond the recording": 60.0,
}
_WITHOUT = {
    "drawing the bundled sentence": 18.0,
    "the bundled sentence on its own video": 14.0,
    "driven beyond the recording": 60.0,
}


def make_report(task: Task) -> dict[str, Any]:
    """Measure, and replace an older report as a whole.

    Raises:
        InputError: the avatar can't be used.
    """
    portrait = task.home.portrait(task.job.subject)
    has_truth = (portrait / MANIFEST_NAME).is_file()
    made, place = task.work / "report", task.home.report(task.job.subject)
    stages = _WITH_TRUTH if has_truth else _WITHOUT
    reporter = task.reporter([StepPlan("evaluate", sum(stages.values()), stages)])
    with reporter.step("evaluate") as progress:
        if not (made / REPORT_FILE).is_file():
            api.evaluate(task.job.params["avatar_folder"], portrait if has_truth else None, made, progress=progress)
    task.home.remove(place)
    os.replace(made, place)
    return {"has_truth": has_truth}
