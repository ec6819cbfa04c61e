"""Compares two videos of the same size frame by frame, and their lips by tracking both again.

No portrait is needed, so there are no head masks: sharpness and luminance are taken over the whole frame. Lips need the
tracker of the [prepare] or [metrics] extra; without it they are n/a with that reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.tracker import FaceTracker
from geneface.errors import InputError, MissingExtraError
from geneface.evaluation.image import ImageScores
from geneface.evaluation.lips import face_width, lip_figures
from geneface.evaluation.report import (
    SHEET_FILE,
    LipCurve,
    machine_facts,
    report_folder,
    software_versions,
    write_report,
)
from geneface.evaluation.schema import (
    LIP_KEYS,
    EvaluationReport,
    Figure,
    MetricRow,
    MetricTable,
    missing,
    used_definitions,
)
from geneface.evaluation.sheet import SheetEntry, contact_sheet
from geneface.geometry.landmarks import KEYPOINTS, LIPS, lip_opening
from geneface.io.media import probe
from geneface.io.video import read_frames, write_png
from geneface.types import VIDEO_RATE_HZ, ByteArray, FloatArray, ProgressFn, no_progress

TrackFn = Callable[[ByteArray], FloatArray | None]
"""Image [H, W, 3] -> mesh [478, 3] in pixels, or None where no face is found; called on consecutive frames."""

_MIN_TRACKED_SHARE = 0.5
_MOUTH_MARGIN = 0.18
_SHEET_FRAMES = 6
_NO_MASKS = "two videos come without head masks; evaluate an avatar with its portrait to have this"


@dataclass
class _Tracks:
    """Landmarks of both videos, in face widths, of the frames in which both show a face."""

    reference: list[FloatArray] = field(default_factory=list)
    other: list[FloatArray] = field(default_factory=list)
    frames: int = 0

    def add(self, reference: FloatArray | None, other: FloatArray | None) -> None:
        self.frames += 1
        if reference is not None and other is not None:
            self.reference.append(reference)
            self.other.append(other)

    def figures(self) -> dict[str, Figure]:
        if len(self.reference) < max(2, _MIN_TRACKED_SHARE * self.frames):
            return missing(LIP_KEYS, f"both faces were found in only {len(self.reference)} of {self.frames} frames")
        return lip_figures([(np.stack(self.reference), np.stack(self.other))])


def compare_videos(
    reference: Path,
    other: Path,
    out_dir: Path | None = None,
    *,
    progress: ProgressFn = no_progress,
) -> dict[str, Any]:
    """Measure how far `other` is from `reference`, over the frames that both have (25 a second).

    Args:
        out_dir: where metrics.json, report.html and contact_sheet.png go; None writes nothing.

    Returns:
        The content of metrics.json (`EvaluationReport`).

    Raises:
        InputError: one can't be read, or their sizes differ.
    """
    total = _frame_count(reference, other)
    with ExitStack() as stack:
        if out_dir is not None:
            stack.enter_context(report_folder(out_dir))
        try:
            trackers = stack.enter_context(FaceTracker()), stack.enter_context(FaceTracker())
        except MissingExtraError as error:
            track, no_lips = None, str(error)
        else:
            track, no_lips = (trackers[0].track, trackers[1].track), ""
        return _compare(reference, other, out_dir, track, no_lips, total, progress)


def _compare(
    reference: Path,
    other: Path,
    out_dir: Path | None,
    track: tuple[TrackFn, TrackFn] | None,
    no_lips: str,
    total: int,
    progress: ProgressFn,
) -> dict[str, Any]:
    scores, tracks, entries = ImageScores(), _Tracks(), []
    shown = set(np.linspace(0, max(total - 1, 0), _SHEET_FRAMES + 2).astype(int)[1:-1].tolist())
    pairs = _Pairs(reference, other)
    for index, (image, image_other) in enumerate(pairs):
        meshes = (track[0](image), track[1](image_other)) if track else (None, None)
        box = None if meshes[0] is None else _mouth_box(meshes[0])
        scores.add(image, image_other, None, box)
        if track:
            tracks.add(_face_points(meshes[0]), _face_points(meshes[1]))
        if index in shown:
            entries.append(SheetEntry(image, image_other, box, str(index)))
        progress("comparing", index + 1, total)
    lips = tracks.figures() if track else missing(LIP_KEYS, no_lips)
    report = _report(reference, other, scores, lips, pairs, no_lips or "no face was found")
    if out_dir is not None:
        sheet = None
        if entries:
            sheet = out_dir / SHEET_FILE
            write_png(sheet, contact_sheet(entries, names=("REFERENCE", "OTHER")))
        write_report(report, out_dir, _curves(tracks, other), sheet)
    return report.model_dump()


class _Pairs:
    """Iterates over the frames of both videos side by side and counts each; stops with the shorter."""

    def __init__(self, reference: Path, other: Path) -> None:
        self._paths = reference, other
        self.counts = [0, 0]

    def __iter__(self) -> Iterator[tuple[ByteArray, ByteArray]]:
        for a, b in zip_longest(read_frames(self._paths[0]), read_frames(self._paths[1])):
            self.counts[0] += a is not None
            self.counts[1] += b is not None
            if a is not None and b is not None:
                yield a.image, b.image


def _frame_count(reference: Path, other: Path) -> int:
    """Expected number of frames of the shorter video.

    Raises:
        InputError: their sizes differ, or one has no picture.
    """
    sizes, seconds = [], []
    for path in (reference, other):
        info = probe(path)
        if info.video is None:
            raise InputError(f"{path} has no picture", "give a video")
        sizes.append((info.video.width, info.video.height))
        seconds.append(info.duration_seconds)
    if sizes[0] != sizes[1]:
        (w, h), (w_other, h_other) = sizes
        raise InputError(
            f"the videos differ in size: {reference} has {w}x{h} pixels, {other} has {w_other}x{h_other}",
            "bring them to one size first, for example with: ffmpeg -i VIDEO -vf scale=WIDTH:HEIGHT OUT.mp4",
        )
    return round(min(seconds) * VIDEO_RATE_HZ)


def _face_points(mesh_px: FloatArray | None) -> FloatArray | None:
    """[478, 3] pixels -> named landmarks [K, 2] in widths of this face, so that its distance plays no part."""
    if mesh_px is None:
        return None
    points = mesh_px[list(KEYPOINTS), :2]
    return points / float(face_width(points))


def _mouth_box(mesh_px: FloatArray) -> NDArray[np.int64]:
    """Box around the lips and a margin: x0, y0, x1, y1 in pixels."""
    lips = mesh_px[list(KEYPOINTS), :2][LIPS]
    low, high = lips.min(0), lips.max(0)
    margin = _MOUTH_MARGIN * (high[0] - low[0])
    return np.array([*np.floor(low - margin), *np.ceil(high + margin)], np.int64)


def _curves(tracks: _Tracks, other: Path) -> list[LipCurve]:
    if not tracks.reference:
        return []
    return [LipCurve(other.name, lip_opening(np.stack(tracks.reference)), lip_opening(np.stack(tracks.other)))]


def _report(
    reference: Path, other: Path, scores: ImageScores, lips: dict[str, Figure], pairs: _Pairs, no_mouth: str
) -> EvaluationReport:
    frames = f"{scores.frames} frames compared; {reference.name} has {pairs.counts[0]}, {other.name} {pairs.counts[1]}."
    image_row = MetricRow(name=other.name, role="evaluated", figures=scores.figures(_NO_MASKS, no_mouth))
    tables = {
        "image": MetricTable(title="Image", note=frames, rows=[image_row]),
        "lips": MetricTable(
            title="Lips",
            note="Landmarks tracked in both videos, in the picture plane, each frame in widths of its face.",
            rows=[MetricRow(name=other.name, role="evaluated", figures=lips)],
        ),
    }
    return EvaluationReport(
        subject=other.name,
        reference=reference.name,
        tables=tables,
        definitions=used_definitions(tables),
        versions=software_versions(),
        machine=machine_facts(),
    )
