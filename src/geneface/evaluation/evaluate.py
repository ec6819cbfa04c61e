"""Evaluates an avatar: likeness, speech to lips, stability and speed, into metrics.json and report.html.

With a portrait the avatar is measured on the frames that were held out when it was trained. Without one it is measured
on what it carries: the bundled sentence, for what needs no ground truth, and the figures stored with it, marked so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geneface.errors import InputError
from geneface.evaluation.jitter import stability_figures
from geneface.evaluation.likeness import RenderClock, measure_likeness
from geneface.evaluation.lips import face_width
from geneface.evaluation.report import (
    SHEET_FILE,
    LipCurve,
    machine_facts,
    report_folder,
    software_versions,
    write_report,
)
from geneface.evaluation.schema import (
    IMAGE_KEYS,
    LIP_KEYS,
    EvaluationReport,
    Figure,
    MetricRow,
    MetricTable,
    missing,
    used_definitions,
)
from geneface.evaluation.sheet import SheetEntry, contact_sheet
from geneface.evaluation.speech import cut, measure_speech
from geneface.evaluation.subjects import EvaluatedAvatar, ReferencePortrait
from geneface.geometry.landmarks import lip_opening
from geneface.io.audio import read_audio
from geneface.io.store import asset_path
from geneface.io.video import write_png
from geneface.types import LandmarkTrack, MotionTrack, ProgressFn, no_progress

MAX_LIKENESS_FRAMES = 300
_SHEET_FRAMES = 6
_SPEED_FRAMES = 100
_FOCAL_TOLERANCE = 1e-3
_NO_PORTRAIT = "needs the ground truth of a portrait: give it with --portrait"


def evaluate_avatar(
    avatar: EvaluatedAvatar,
    portrait: ReferencePortrait | None,
    out_dir: Path,
    *,
    max_frames: int = MAX_LIKENESS_FRAMES,
    progress: ProgressFn = no_progress,
) -> dict[str, Any]:
    """Measure an avatar and write metrics.json, report.html and, with a portrait, contact_sheet.png into `out_dir`.

    Args:
        portrait: the one the avatar was trained on, or None.
        max_frames: how many held-out frames the image metrics use at most, evenly spaced.

    Returns:
        The content of metrics.json (`EvaluationReport`).

    Raises:
        InputError: the avatar was trained on another portrait.
    """
    if portrait is not None:
        _check_same_person(avatar, portrait)
    with report_folder(out_dir):
        return _evaluate(avatar, portrait, out_dir, max_frames, progress).model_dump()


def _evaluate(
    avatar: EvaluatedAvatar,
    portrait: ReferencePortrait | None,
    out_dir: Path,
    max_frames: int,
    progress: ProgressFn,
) -> EvaluationReport:
    """Measure, and write the report."""
    if portrait is None:
        tables, curves = _without_truth(avatar, progress)
        entries: list[SheetEntry] = []
    else:
        tracked = MotionTrack(LandmarkTrack(portrait.landmarks), portrait.pose)
        likeness = measure_likeness(
            avatar, portrait, tracked, max_frames=max_frames, sheet_frames=_SHEET_FRAMES, progress=progress
        )
        speech = measure_speech(avatar, portrait, tracked, progress=progress)
        speed = _speed_table(avatar, likeness.render_rate, (portrait.camera.width, portrait.camera.height))
        tables = {"image": likeness.table, "lips": speech.lips, "stability": speech.stability, "speed": speed}
        curves, entries = speech.curves, likeness.entries
    report = EvaluationReport(
        subject=avatar.name,
        reference=None if portrait is None else "the held-out frames of its portrait",
        tables=tables,
        definitions=used_definitions(tables),
        as_trained=None if portrait is not None else _as_trained(avatar.metrics),
        versions=software_versions(),
        machine=machine_facts(),
    )
    write_report(report, out_dir, curves, _write_sheet(entries, out_dir))
    return report


def _as_trained(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    """The stored figures; those inside, if what is stored was itself measured without a portrait."""
    return stored if stored is None else stored.get("as_trained") or stored


def _write_sheet(entries: Sequence[SheetEntry], out_dir: Path) -> Path | None:
    if not entries:
        return None
    path = out_dir / SHEET_FILE
    write_png(path, contact_sheet(entries))
    return path


def _check_same_person(avatar: EvaluatedAvatar, portrait: ReferencePortrait) -> None:
    """The focal length is fitted once a portrait: another one means another portrait."""
    if abs(avatar.camera.focal - portrait.camera.focal) > _FOCAL_TOLERANCE * avatar.camera.focal:
        raise InputError(
            f"the avatar {avatar.name} was trained on another portrait (focal length {avatar.camera.focal:.3f}, "
            f"the portrait's is {portrait.camera.focal:.3f})",
            "give the portrait that the avatar was trained on",
        )


def _without_truth(avatar: EvaluatedAvatar, progress: ProgressFn) -> tuple[dict[str, MetricTable], list[LipCurve]]:
    """What can be said without ground truth, on the bundled sentence."""
    motion = avatar.motion(read_audio(asset_path("speech", "demo.flac")))
    clock = RenderClock(avatar, avatar.camera)
    frames = min(len(motion), _SPEED_FRAMES)
    for index in range(frames):
        clock.draw(motion, index)
        progress("rendering speed", index + 1, frames)
    note = f"The bundled sentence, {len(motion)} frames."

    def table(title: str, figures: dict[str, Figure]) -> MetricTable:
        return MetricTable(
            title=title, note=note, rows=[MetricRow(name=avatar.name, role="evaluated", figures=figures)]
        )

    tables = {
        "image": table("Likeness", missing(IMAGE_KEYS, _NO_PORTRAIT)),
        "lips": table("Speech to lips", missing(LIP_KEYS, _NO_PORTRAIT)),
        "stability": table("Stability of the motion", stability_figures([cut(motion, 0, len(motion))])),
        "speed": _speed_table(avatar, clock.rate(), (avatar.camera.width, avatar.camera.height)),
    }
    points = motion.landmarks.points
    opening = lip_opening(points) / float(np.mean(face_width(points)))
    return tables, [LipCurve("the bundled sentence", None, opening)]


def _speed_table(avatar: EvaluatedAvatar, rate: Figure, size: tuple[int, int]) -> MetricTable:
    row = MetricRow(name=avatar.name, role="evaluated", figures={"render_rate": rate})
    note = f"{size[0]} x {size[1]} pixels, the renderer alone; other programs on the machine slow it down."
    return MetricTable(title="Speed", note=note, rows=[row])
