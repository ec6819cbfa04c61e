"""A job of the kind "avatar": a video of a person becomes an avatar. check, prepare, train; each goes on where an
attempt that died had stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geneface import api
from geneface.avatar.folder import CARD_FILE, CONFIG_FILE, METRICS_FILE
from geneface.errors import InputError
from geneface.io.atomic import atomic_path
from geneface.io.records import read_json, write_json
from geneface.portrait.manifest import MANIFEST_NAME
from geneface.serve.jobs.formats import CHECK_FILE, VIDEO
from geneface.serve.jobs.look import STAGES, check_plan, look
from geneface.serve.jobs.progress import StepPlan
from geneface.serve.jobs.task import Task

_PREPARE_STAGES = {
    **STAGES,
    "cut out the head": 10.0,
    "solve the head's pose": 4.0,
    "refine the head's pose": 10.0,
    "clean the background": 1.0,
    "mask head and torso": 10.0,
    "store the pictures": 0.5,
    "store the source pictures": 3.0,
    "follow the torso": 10.0,
    "speech features": 0.5,
}
"""In their order, with their shares, measured on 20 s of 450 x 450 pixels."""
_TRAIN_STAGES = {
    "body loop": 6.0,
    "adapt the motion": 3.0,
    "renderer": 80.0,
    "driven beyond the recording": 9.0,
    "what adaptation gained": 1.0,
}
_TRAIN_SECONDS = {"tiny": 20.0, "fast": 90.0, "good": 400.0}


def make_avatar(task: Task) -> dict[str, Any]:
    """Check, prepare, train, and put the avatar where it is offered.

    Raises:
        InputError: the video can't be used; a setting is refused.
    """
    params, home = task.job.params, task.home
    place = home.avatar(task.job.subject)
    if (place / CONFIG_FILE).is_file():
        # Killed after the last rename.
        return _done(task, place)
    seconds = float(params["seconds"])
    scale = 3.0 if params["size"] == 512 else 1.0
    reporter = task.reporter(
        [
            check_plan(seconds),
            StepPlan("prepare", 5 + 2.0 * scale * seconds, _PREPARE_STAGES),
            StepPlan("train", _TRAIN_SECONDS[params["preset"]] * (0.5 + 0.5 * scale), _TRAIN_STAGES),
        ]
    )
    video = task.input(VIDEO)
    if (task.out / CHECK_FILE).is_file():
        # By an earlier attempt, or the client had it checked before.
        reporter.skip("check")
        found = read_json(task.out / CHECK_FILE)
    else:
        with reporter.step("check") as progress:
            found = look(video, task.out, seconds, progress)
    task.note({"has_preview": found["has_preview"]})
    for finding in found["findings"]:
        if finding["severity"] == "error":
            where = "" if finding["start"] is None else f"from {finding['start']:.2f} to {finding['end']:.2f} s"
            raise InputError(f"the video can't be used: {finding['cause']}", finding["remedy"] or "give another", where)
    portrait = home.portrait(task.job.subject)
    with reporter.step("prepare") as progress:
        if not (portrait / MANIFEST_NAME).is_file():
            api.prepare(video, portrait, size=params["size"], resume=True, progress=progress)
    with reporter.step("train") as progress:
        made = task.work / task.job.subject
        if not (made / METRICS_FILE).is_file():
            _train(task, portrait, made, progress)
    _give_name(made, task.job.subject, params["name"])
    # First what is told of it: as soon as it stands in its place, clients see it.
    task.note(_told(task, place))
    task.offer(made)
    return _done(task, place)


def _train(task: Task, portrait: Path, made: Path, progress: Any) -> None:
    params = task.job.params
    trained = api.train(
        portrait,
        made,
        consent=params["consent"],
        licence=params["licence"],
        attribution=params["attribution"],
        preset=params["preset"],
        body_seconds=params["body_seconds"],
        resume=True,
        progress=progress,
    )
    write_json(
        task.out / "summary.json",
        {"verdict": trained.verdict, "summary": list(trained.summary), "warnings": list(trained.warnings)},
    )


def _done(task: Task, place: Path) -> dict[str, Any]:
    """The end, when the avatar stands in its place: what was learnt from the upload is in the portrait."""
    task.home.remove(task.home.upload(task.job.params["upload"]))
    task.store.delete_upload(task.job.params["upload"])
    return _told(task, place)


def _told(task: Task, place: Path) -> dict[str, Any]:
    told = task.out / "summary.json"
    found = read_json(task.out / CHECK_FILE) if (task.out / CHECK_FILE).is_file() else {}
    return {
        "avatar": place.name,
        "has_preview": bool(found.get("has_preview")),
        "summary": read_json(told) if told.is_file() else None,
    }


def _give_name(folder: Path, was: str, name: str) -> None:
    """The avatar's name is the client's; its folder's stays random."""
    if not name:
        return
    config = read_json(folder / CONFIG_FILE)
    if config["name"] != name:
        # The card first: as long as the configuration has the old name, this is done again.
        card = (folder / CARD_FILE).read_text(encoding="utf-8")
        with atomic_path(folder / CARD_FILE) as temporary:
            plain = " ".join(name.replace("|", "/").replace("<", "&lt;").split())
            temporary.write_text(card.replace(f"# Avatar {was}", f"# Avatar {plain}", 1), encoding="utf-8")
        write_json(folder / CONFIG_FILE, {**config, "name": name})
