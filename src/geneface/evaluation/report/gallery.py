"""What a report shows besides its tables: contact sheet, films, error maps, plots. Images are uint8 [H, W, 3] RGB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from geneface.evaluation.metrics.lip_sync import LipSyncScore
from geneface.evaluation.protocol.videos import Chunk, VideoScores
from geneface.evaluation.report.film import FILM_FRAMES, Film, with_error, write_film
from geneface.evaluation.report.page import ReportMedia
from geneface.evaluation.report.plots import LipCurve, Plot, Series
from geneface.evaluation.report.sheet import SheetEntry, contact_sheet, mean_error_map
from geneface.evaluation.report.write import SHEET_FILE
from geneface.io.video import write_png
from geneface.signal.spans import spread_indices
from geneface.types import ByteArray

SHEET_FRAMES = 6
MAX_FILMS = 3
_LABEL_LETTERS = 8
_MAX_CANDIDATES = 8 * SHEET_FRAMES


class Gallery:
    """Collects pictures while chunks pass by; none of them is kept whole."""

    def __init__(
        self,
        films: Path,
        out_dir: Path,
        *,
        film_rows: Sequence[str],
        sheet_rows: Sequence[str],
        names: Sequence[str] = ("GROUND TRUTH", "RENDERED"),
    ) -> None:
        """Args:
        films: folder where films lie until the report is written.
        out_dir: folder of the contact sheet.
        film_rows, sheet_rows: rows that are filmed, and shown on the sheet: one, or the drawn and the pasted one.
        names: of the truth and of the rows, on sheet and films.
        """
        self._folder, self._out_dir, self._names = films, out_dir, names
        self._film_rows, self._sheet_rows = tuple(film_rows), tuple(sheet_rows)
        self._entries: list[SheetEntry] = []
        self._stride = 1
        self._seen = 0
        self._films: list[Film] = []

    def add(self, chunk: Chunk) -> None:
        """Take frames for the sheet, and of the first chunks a film."""
        drawn, *pasted = (chunk.evaluated[row] for row in self._sheet_rows)
        for index in np.linspace(0, len(drawn) - 1, SHEET_FRAMES + 2).astype(int)[1:-1].tolist():
            if self._seen % self._stride == 0:
                reference = chunk.references[index]
                label = f"{chunk.name.split()[0][:_LABEL_LETTERS]} {index}"
                other = pasted[0][index] if pasted else None
                self._entries.append(SheetEntry(reference.image, drawn[index], reference.mouth_box, label, other))
            self._seen += 1
        # How many chunks will come is not known: thin out what is kept.
        while len(self._entries) > _MAX_CANDIDATES:
            self._entries = self._entries[::2]
            self._stride *= 2
        if len(self._films) < MAX_FILMS:
            self._add_film(chunk)

    def _add_film(self, chunk: Chunk) -> None:
        path = self._folder / f"film{len(self._films)}.mp4"
        videos = (chunk.images, *(chunk.evaluated[row] for row in self._film_rows))
        panels = with_error(zip(*(frames[:FILM_FRAMES] for frames in videos), strict=True))
        write_film(path, panels, (*self._names, "ERROR"), chunk.sound_of(self._film_rows[0]))
        rows = "; ".join(("Ground truth", *self._film_rows))
        self._films.append(Film(chunk.name, path, f"{rows}; difference of the last from the ground truth."))

    def media(
        self, curves: Sequence[LipCurve], plots: Sequence[Plot], maps: Sequence[tuple[str, ByteArray]]
    ) -> ReportMedia:
        """All that the report shows; the contact sheet is written here."""
        sheet = None
        if self._entries:
            sheet = self._out_dir / SHEET_FILE
            write_png(sheet, contact_sheet(_spread(self._entries), names=self._names))
        return ReportMedia(curves=curves, plots=plots, films=self._films, error_maps=maps, sheet=sheet)


def _spread(entries: Sequence[SheetEntry]) -> list[SheetEntry]:
    """At most `SHEET_FRAMES` of them, evenly."""
    return [entries[index] for index in spread_indices(len(entries), SHEET_FRAMES)]


def error_maps(scores: VideoScores, rows: Sequence[str]) -> list[tuple[str, ByteArray]]:
    """Mean error of each row over all frames, as heat."""
    out = []
    for name in rows:
        mean = scores.rows[name].images.mean_error if name in scores.rows else None
        if mean is not None:
            out.append((name, mean_error_map(mean)))
    return out


def psnr_plot(scores: VideoScores, rows: Sequence[str]) -> list[Plot]:
    """PSNR of the head, of the whole frame where no head is known, frame by frame."""
    for key, region in (("head_psnr", "head"), ("frame_psnr", "whole frame")):
        curves = {name: scores.rows[name].images.per_frame(key) for name in rows if name in scores.rows}
        series = [
            Series(name, np.arange(len(y), dtype=float), np.asarray(y))
            for name, y in curves.items()
            if np.isfinite(y).any()
        ]
        if series:
            return [Plot(f"PSNR, {region}, frame by frame", "frame", "dB", tuple(series))]
    return []


def lag_plot(scores: Mapping[str, LipSyncScore], rows: Sequence[str]) -> list[Plot]:
    """The lip-sync classifier's distance at each lag: a dip at 0 is what synchrony looks like."""
    series = []
    for name in rows:
        if name in scores:
            curve = np.asarray(scores[name].curve)
            series.append(Series(name, np.arange(len(curve)) - float(len(curve) // 2), curve))
    if not series:
        return []
    note = "A deep dip at 0 is synchrony; a dip to the right means late lips; a flat line, lips that follow no sound."
    return [Plot("Distance of lips and sound by lag", "lag, frames of 40 ms", "lip-sync distance", tuple(series), note)]
