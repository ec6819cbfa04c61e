"""Evaluates an avatar into metrics.json and report.html.

With a portrait the avatar is measured on the frames that were held out when it was trained: the pictures it draws, from
speech and from tracked landmarks, and the motion it makes of speech. Without one it is measured on the bundled
sentence, as far as that needs no ground truth, and the figures stored with it are shown as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from geneface.errors import InputError
from geneface.evaluation.carried import measure_carried
from geneface.evaluation.drawing import speed_table
from geneface.evaluation.formats import upgraded
from geneface.evaluation.metrics.blinks import blink_table
from geneface.evaluation.metrics.lips import face_width
from geneface.evaluation.metrics.registry import used_definitions
from geneface.evaluation.protocol.adaptation import adaptation_table
from geneface.evaluation.protocol.chunks import PortraitChunks, choose_pieces
from geneface.evaluation.protocol.controls import CONTROL_NAMES, ENCODED, TRUTH
from geneface.evaluation.protocol.driven import demo_sentence, driven_table, measure_driven
from geneface.evaluation.protocol.rare import rare_table
from geneface.evaluation.protocol.seams import SeamScores
from geneface.evaluation.protocol.speech import SpokenSpan, motion_table, predict_spans
from geneface.evaluation.protocol.tables import Person, VideoTables
from geneface.evaluation.protocol.videos import VideoScores
from geneface.evaluation.report.driven_sheet import driven_pictures
from geneface.evaluation.report.gallery import Gallery, error_maps, lag_plot, psnr_plot
from geneface.evaluation.report.page import Picture, ReportMedia
from geneface.evaluation.report.plots import LipCurve
from geneface.evaluation.report.write import (
    machine_facts,
    report_folder,
    software_versions,
    write_report,
)
from geneface.evaluation.schema import EvaluationReport, MetricTable
from geneface.evaluation.subjects import EvaluatedAvatar, ReferencePortrait, heldout_spans
from geneface.evaluation.tools import MetricWeights, Tools, open_tools, weights_facts
from geneface.geometry.landmarks import KEYPOINTS, lip_opening
from geneface.types import FloatArray, MotionTrack, ProgressFn, no_progress

MAX_FRAMES = 300
_NEUTRAL_TOLERANCE = 0.005
"""Head units, mean over the mesh. One person prepared twice: .0006, from two videos: .003; two persons: .008-.014."""
_FOCAL_TOLERANCE = 1e-6
"""Image widths."""
_MAX_CURVES = 6
_WHY = {
    "head": "the head masks are empty",
    "mouth": "the mouth is outside of every frame",
}


def evaluate_avatar(
    avatar: EvaluatedAvatar,
    portrait: ReferencePortrait | None,
    out_dir: Path,
    *,
    max_frames: int = MAX_FRAMES,
    driven: bool = True,
    weights: MetricWeights | None = None,
    progress: ProgressFn = no_progress,
) -> dict[str, Any]:
    """Measure an avatar and write metrics.json, report.html and sheets of pictures into `out_dir`.

    Args:
        portrait: the one the avatar was trained on, or None.
        max_frames: how many held-out frames are drawn at most, in runs of consecutive frames spread over the portrait.
        driven: drive the avatar beyond its recording too, for some 1400 frames more.
        weights: third-party weights for LPIPS, FID and LSE; without them these are n/a.

    Returns:
        The content of metrics.json (`EvaluationReport`).

    Raises:
        InputError: the avatar was trained on another portrait; damaged weights.
    """
    if portrait is not None:
        _check_same_person(avatar, portrait)
    tools = open_tools(weights)
    with report_folder(out_dir), TemporaryDirectory() as films:
        if portrait is None:
            tables, media = measure_carried(avatar, tools, Path(films), progress)
        else:
            tables, media = _measure(avatar, portrait, tools, Path(films), out_dir, max_frames, progress)
        if driven:
            more, pictures = _drive(avatar, portrait, out_dir, progress)
            tables, media = tables | more, replace(media, driven=pictures)
        report = EvaluationReport(
            subject=avatar.name,
            reference=None if portrait is None else "the held-out frames of its portrait",
            tables=tables,
            definitions=used_definitions(tables),
            as_trained=None if portrait is not None else _as_trained(avatar.metrics),
            versions=software_versions() | weights_facts(weights),
            machine=machine_facts(),
        )
        write_report(report, out_dir, media)
    return report.model_dump()


def _measure(
    avatar: EvaluatedAvatar,
    portrait: ReferencePortrait,
    tools: Tools,
    films: Path,
    out_dir: Path,
    max_frames: int,
    progress: ProgressFn,
) -> tuple[dict[str, MetricTable], ReportMedia]:
    tracked = MotionTrack(portrait.landmarks, portrait.pose)
    spans = heldout_spans(portrait.segment, portrait.heldout)
    spoken = predict_spans(avatar, portrait, tracked, spans, progress)
    chunks = PortraitChunks(avatar, portrait, tracked, spans, [span.predicted for span in spoken])
    pieces = choose_pieces(spans, max_frames)
    scores = VideoScores(tools, chunks.rows)
    drawn = (chunks.from_speech, chunks.from_landmarks)
    seams = SeamScores(drawn, chunks.pasted, chunks.pasted_from_landmarks) if chunks.pasted else None
    gallery = _gallery(chunks, films, out_dir)
    total = sum(map(len, pieces))
    for piece in pieces:
        chunk = chunks.draw(piece)
        gallery.add(chunk)
        scores.add(chunk)
        if seams is not None:
            seams.add(chunk)
        progress("pictures", scores.frames, total)
    heldout = int(portrait.heldout.sum())
    note = f"{scores.frames} of {heldout} held-out frames, in {len(pieces)} runs."
    built = VideoTables(scores, Person(portrait.neutral, portrait.camera), note, _WHY)
    of_videos = built.tables()
    tables = {
        **({} if seams is None else {"pasted": seams.table(of_videos, note)}),
        **of_videos,
        "image_rare": rare_table(avatar, portrait),
        "motion": motion_table(avatar.name, spoken, portrait.neutral, tools),
        "adaptation": adaptation_table(avatar, portrait, [span.predicted for span in spoken], progress),
        "speed": speed_table(avatar.name, chunks.clock.rate(), portrait.camera),
    }
    rows = (*chunks.rows, ENCODED, CONTROL_NAMES["late"], CONTROL_NAMES["still"])
    plots = [*psnr_plot(scores, rows), *lag_plot(built.lip_sync, (TRUTH, *rows))]
    return tables, gallery.media(_curves(spoken, portrait.neutral), plots, error_maps(scores, rows))


def _gallery(chunks: PortraitChunks, films: Path, out_dir: Path) -> Gallery:
    """Films show speech, the sheet tracked landmarks; both drawn, and pasted where the avatar's videos are."""
    filmed, shown = [chunks.from_speech], [chunks.from_landmarks]
    if not chunks.pasted:
        return Gallery(films, out_dir, film_rows=filmed, sheet_rows=shown)
    filmed.append(chunks.pasted_from_speech)
    shown.append(chunks.pasted_from_landmarks)
    return Gallery(films, out_dir, film_rows=filmed, sheet_rows=shown, names=("GROUND TRUTH", "DRAWN", "PASTED"))


def _drive(
    avatar: EvaluatedAvatar, portrait: ReferencePortrait | None, out_dir: Path, progress: ProgressFn
) -> tuple[dict[str, MetricTable], list[Picture]]:
    """The avatar beyond its recording: tables, and sheets of pictures in the folder."""
    sentence = demo_sentence()
    scores = measure_driven(avatar, portrait, sentence, progress=progress)
    tables = {"blink": blink_table(avatar, sentence), "driven": driven_table(avatar.name, scores)}
    return tables, driven_pictures(avatar, scores, out_dir)


def _curves(spoken: Sequence[SpokenSpan], neutral: FloatArray) -> list[LipCurve]:
    """Lip opening of the first spans, measured and predicted, in face widths."""
    width = float(face_width(neutral[list(KEYPOINTS)]))

    def opening(motion: MotionTrack) -> FloatArray:
        return np.asarray(lip_opening(motion.points)) / width

    return [
        LipCurve(span.name, opening(span.reference), opening(span.predicted), span.samples, span.words or ())
        for span in spoken[:_MAX_CURVES]
    ]


def _as_trained(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    """The stored figures; those inside, if what is stored was itself measured without a portrait."""
    if stored is None:
        return None
    content = upgraded(stored)
    return content.get("as_trained") or content


def _check_same_person(avatar: EvaluatedAvatar, portrait: ReferencePortrait) -> None:
    """The face at rest is fitted once a portrait: another one means another person."""
    distance = float(np.linalg.norm(avatar.neutral - portrait.neutral, axis=-1).mean())
    if distance > _NEUTRAL_TOLERANCE:
        raise InputError(
            f"the avatar {avatar.name} was trained on another person's portrait (their faces at rest are "
            f"{distance:.3f} head units apart)",
            "give the portrait that the avatar was trained on",
        )
    if abs(avatar.camera.focal - portrait.camera.focal) > _FOCAL_TOLERANCE:
        raise InputError(
            f"the portrait's focal length is {portrait.camera.focal:g}, that of the avatar {avatar.name} "
            f"{avatar.camera.focal:g}",
            "give the portrait that the avatar was trained on",
        )
