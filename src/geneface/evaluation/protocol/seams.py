"""The table of pasted pictures: how good they are, region by region, and whether their seam is seen.

A row of a pasted picture has the mask that it was pasted with. The drawn rows and the controls are measured where the
first pasted row that knows only the recorded face (from tracked landmarks) has its own, so that a drawn lower face can
be compared with a pasted one; they have no seam, so they have no figures of one. S x S pixels, F frames at 25 Hz.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from geneface.evaluation.metrics.psnr import psnr
from geneface.evaluation.metrics.seam import NO_SEAM, SEAM_KEYS, Steps, seam_change, seam_regions, seam_steps
from geneface.evaluation.protocol.controls import ENCODED, SEAM_CONTROL_NAMES, encoded, spoilt_pastes, verdicts
from geneface.evaluation.protocol.videos import Chunk
from geneface.evaluation.schema import Figure, MetricRow, MetricTable, Role, figure, missing
from geneface.types import ByteArray

PICTURE_KEYS = ("frame_psnr", "head_psnr", "mouth_psnr", "mouth_sharpness_ratio")
"""Taken over from the tables of pictures."""
_WORKERS = 2
_REST_KEYS = SEAM_KEYS[2:]
_DRAWN_WHOLE = "drawn whole: there is no seam"
_STILL = "the ground truth does not move there, or no run has three frames"
_NOTE = (
    "Pasted rows are recorded held-out frames in which only the lower face is drawn, as in the avatar's own videos: of "
    "their whole frame and head most pixels are real, so compare them with one another, and with drawn rows only in "
    "the mouth and the lower face. The seam is where drawing and recording mix. Controls are the ground truth with its "
    "own lower face pasted in badly."
)


@dataclass
class _Row:
    """What is known of one row after some chunks; nan where a frame has none."""

    lower_face: list[float] = field(default_factory=list)
    seam: list[float] = field(default_factory=list)
    steps: list[Steps] = field(default_factory=list)
    change: list[tuple[float, int]] = field(default_factory=list)
    truth_change: list[tuple[float, int]] = field(default_factory=list)


class SeamScores:
    """Rows of pasted pictures, the drawn ones beside them, and the controls."""

    def __init__(self, drawn: Sequence[str], pasted: Sequence[str], place: str) -> None:
        """`place`: the pasted row whose masks the other rows are measured with."""
        self._drawn, self._pasted, self._place = tuple(drawn), tuple(pasted), place
        names = (*drawn, *pasted, ENCODED, *SEAM_CONTROL_NAMES.values())
        self._rows = {name: _Row() for name in names}
        self.frames = 0

    def add(self, chunk: Chunk) -> None:
        """Measure one chunk in all rows."""
        with ThreadPoolExecutor(_WORKERS) as pool:
            for name, frames in self._videos(chunk):
                self._add_row(name, frames, chunk, pool)
        self.frames += len(chunk.references)

    def _videos(self, chunk: Chunk) -> Iterator[tuple[str, Sequence[ByteArray]]]:
        yield from chunk.evaluated.items()
        yield ENCODED, encoded(chunk.images)
        for control, frames in spoilt_pastes(chunk.images, chunk.masks[self._place]):
            yield SEAM_CONTROL_NAMES[control], frames

    def _add_row(self, name: str, frames: Sequence[ByteArray], chunk: Chunk, pool: ThreadPoolExecutor) -> None:
        row, has_seam = self._rows[name], name not in self._drawn
        masks = chunk.masks.get(name, chunk.masks[self._place])

        def measured(index: int) -> tuple[float, float, Steps | None]:
            truth, image, mask = chunk.references[index].image, frames[index], masks[index]
            regions = seam_regions(mask)
            steps = seam_steps(truth, image, mask) if has_seam else None
            return psnr(truth, image, regions.lower_face), psnr(truth, image, regions.seam), steps

        for lower_face, seam, steps in pool.map(measured, range(len(frames))):
            row.lower_face.append(lower_face)
            row.seam.append(seam)
            if steps is not None:
                row.steps.append(steps)
        if has_seam:
            row.change.append(seam_change(frames, masks))
            row.truth_change.append(seam_change(chunk.images, masks))

    def table(self, pictures: Mapping[str, MetricTable] | None, note: str) -> MetricTable:
        """The table.

        Args:
            pictures: tables by name, in which the rows' `PICTURE_KEYS` are; None: the frames are no ground truth of the
                lips, and only the seam is stated.
            note: which frames were measured.
        """
        known = {} if pictures is None else _figures_of(pictures)
        rows = []
        for name, row in self._rows.items():
            is_control = name not in (*self._drawn, *self._pasted)
            role: Role = "control" if is_control else "evaluated"
            figures = self._figures(name, row)
            if pictures is None:
                figures = {key: figures[key] for key in _REST_KEYS}
            else:
                of_pictures = known.get(name) or missing(PICTURE_KEYS, "not measured of this control")
                figures = {key: of_pictures[key] for key in PICTURE_KEYS} | figures
            rows.append(MetricRow(name=name, role=role, figures=figures))
        return MetricTable(
            title="Pasted into the recording",
            note=note if pictures is None else f"{note} {_NOTE}",
            rows=rows,
            verdicts=verdicts(rows, ENCODED, self.frames, SEAM_CONTROL_NAMES),
        )

    def _figures(self, name: str, row: _Row) -> dict[str, Figure]:
        figures = {
            "lower_face_psnr": figure(_mean(row.lower_face), NO_SEAM),
            "seam_psnr": figure(_mean(row.seam), NO_SEAM),
        }
        if name in self._drawn:
            return figures | missing(_REST_KEYS, _DRAWN_WHOLE)
        across = _mean([step.across for step in row.steps])
        inner = _mean([step.inner for step in row.steps])
        change, truth = _mean_change(row.change), _mean_change(row.truth_change)
        return figures | {
            "seam_step": figure(float(np.sqrt(across)), NO_SEAM),
            "seam_error_ratio": figure(float(np.sqrt(across / inner)) if inner > 0 else float("nan"), NO_SEAM),
            "seam_flicker_ratio": figure(float(np.sqrt(change / truth)) if truth > 0 else float("nan"), _STILL),
        }


def _figures_of(tables: Mapping[str, MetricTable]) -> dict[str, dict[str, Figure]]:
    """Row -> key -> figure, of all tables together."""
    found: dict[str, dict[str, Figure]] = {}
    for table in tables.values():
        for row in table.rows:
            found.setdefault(row.name, {}).update(row.figures)
    return found


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _mean_change(parts: Sequence[tuple[float, int]]) -> float:
    """Mean square over all chunks."""
    count = sum(number for _, number in parts)
    return sum(total for total, _ in parts) / count if count else float("nan")
