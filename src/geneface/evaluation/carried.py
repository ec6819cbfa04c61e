"""What can be said of an avatar without its portrait, on the bundled sentence: no ground truth, so no likeness.

The avatar speaks the sentence as it would for anybody. Controls are its own motion, late and held still: they show what
the lip-sync classifier can tell of this avatar. F frames at 25 Hz.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from geneface.avatar.performance import Performance
from geneface.evaluation.drawing import RenderClock, speed_table
from geneface.evaluation.metrics.lips import face_width
from geneface.evaluation.metrics.registry import image_keys
from geneface.evaluation.metrics.stability import JITTER_KEYS, stability_figures
from geneface.evaluation.protocol.controls import DELAY_FRAMES, verdicts
from geneface.evaluation.protocol.driven import demo_sentence
from geneface.evaluation.protocol.loop import loop_table
from geneface.evaluation.protocol.speech import MOTION_LIP_KEYS, held_late, held_still, lip_sync_rows
from geneface.evaluation.report.film import FILM_FRAMES, Film, write_film
from geneface.evaluation.report.page import ReportMedia
from geneface.evaluation.report.plots import LipCurve
from geneface.evaluation.schema import Control, MetricRow, MetricTable, Missing, figure, missing
from geneface.evaluation.subjects import EvaluatedAvatar
from geneface.evaluation.tools import Tools
from geneface.geometry.landmarks import lip_opening
from geneface.types import ByteArray, MotionTrack, ProgressFn, Waveform

_OWN_CONTROLS: dict[Control, str] = {
    "late": f"its own motion, {DELAY_FRAMES} frames late",
    "still": "its own mean face, held",
}
_NO_PORTRAIT = "needs the ground truth of a portrait: give it with --portrait"


def measure_carried(
    avatar: EvaluatedAvatar, tools: Tools, films: Path, progress: ProgressFn
) -> tuple[dict[str, MetricTable], ReportMedia]:
    """Tables and media of the bundled sentence. `films`: folder where the film lies until the report is written."""
    sound = demo_sentence()
    motion = avatar.motion(sound, Performance(body="drawn"))
    clock = RenderClock(avatar, avatar.camera.width)
    frames = min(len(motion), FILM_FRAMES)
    naturalness: list[float] = []

    def drawn() -> Iterator[tuple[ByteArray]]:
        for done, image in enumerate(clock.draw(motion[:frames]), start=1):
            if not isinstance(tools.niqe, Missing):
                naturalness.append(tools.niqe.score(image))
            progress("drawing the bundled sentence", done, frames)
            yield (image,)

    path = films / "sentence.mp4"
    write_film(path, drawn(), (avatar.name.upper(),), sound)
    note = f"The bundled sentence, {len(motion)} frames, said by the avatar; there is nothing to compare it with."
    tables = {
        "image_frame": _image(avatar.name, note, tools, naturalness),
        "motion": _motion(avatar, note, motion, sound, tools),
        "speed": speed_table(avatar.name, clock.rate(), avatar.camera),
    }
    pasted = loop_table(avatar, sound, progress)
    if pasted is not None:
        tables = {"pasted": pasted, **tables}
    points = motion.points
    opening = np.asarray(lip_opening(points)) / float(np.mean(face_width(points)))
    return tables, ReportMedia(
        curves=[LipCurve("the bundled sentence", None, opening, sound.samples)],
        films=[Film("the bundled sentence", path, f"{avatar.name} says the bundled sentence.")],
    )


def _image(name: str, note: str, tools: Tools, naturalness: list[float]) -> MetricTable:
    figures = missing(image_keys(("frame",)), _NO_PORTRAIT)
    known = [value for value in naturalness if np.isfinite(value)]
    reason = tools.niqe.reason if isinstance(tools.niqe, Missing) else "the pictures are too small for NIQE"
    figures["frame_niqe"] = figure(float(np.mean(known)) if known else float("nan"), reason)
    return MetricTable(title="Picture", note=note, rows=[MetricRow(name=name, role="evaluated", figures=figures)])


def _motion(avatar: EvaluatedAvatar, note: str, motion: MotionTrack, sound: Waveform, tools: Tools) -> MetricTable:
    """Sync by the lip-sync classifier, and absolute jitter."""
    videos = {
        avatar.name: [motion],
        _OWN_CONTROLS["late"]: [held_late(motion)],
        _OWN_CONTROLS["still"]: [held_still(motion)],
    }
    scored = lip_sync_rows(videos, [sound.samples], [motion], avatar.neutral, tools)
    rows = []
    for name in videos:
        if name == avatar.name:
            rest = stability_figures([motion]) | missing(MOTION_LIP_KEYS, _NO_PORTRAIT)
        else:
            rest = missing(JITTER_KEYS, "a control of the lip-sync classifier")
        role = "evaluated" if name == avatar.name else "control"
        rows.append(MetricRow(name=name, role=role, figures={**scored[name], **rest}))
    note += " The controls spoil its own motion."
    found = verdicts(rows, avatar.name, len(motion), _OWN_CONTROLS)
    return MetricTable(title="Motion from speech", note=note, rows=rows, verdicts=found)
