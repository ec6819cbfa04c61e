"""`preview.jpg`: what is used of the videos, framed how, with which landmarks and masks, and why the rest is not.

A sheet for people; nothing reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geneface.geometry.landmarks import KEYPOINTS
from geneface.io.image import read_png, write_jpeg
from geneface.io.tensors import TensorFile
from geneface.portrait import sheet, steps
from geneface.portrait.crops import Square
from geneface.portrait.follow import STILL_FIRST, STILL_FRAMES, load_still
from geneface.portrait.manifest import DroppedSpan
from geneface.portrait.notes import describe
from geneface.portrait.plan import remedy_for
from geneface.portrait.portrait import segment_path
from geneface.portrait.segments import Segment
from geneface.portrait.survey import Survey
from geneface.signal.spans import spread_indices
from geneface.types import VIDEO_RATE_HZ, ByteArray, FloatArray

PREVIEW_NAME = "preview.jpg"

USED, HELDOUT = (76, 158, 96), (66, 116, 204)
REASON_COLORS = (
    (206, 72, 60),
    (232, 152, 44),
    (150, 84, 184),
    (140, 96, 64),
    (216, 110, 160),
    (60, 150, 160),
    (110, 114, 120),
)
_SQUARE, _DOT = (255, 64, 48), (64, 255, 96)
_HEAD_TINT, _TORSO_TINT = np.array((255, 96, 64), np.float32), np.array((64, 128, 255), np.float32)
_FRAMINGS, _PICTURES = 4, 4
_TILE = 280
_SOURCE_WIDTH = 380
_SOURCES, _SPANS = 16, 16
_LABEL_WIDTH, _BAR = 300, 22


@dataclass(frozen=True)
class _Shown:
    """One frame to show."""

    segment: Segment
    row: int
    """Of the segment."""

    @property
    def frame(self) -> int:
        """Of the source."""
        return self.segment.span.start + self.row


def write_preview(path: Path, image: ByteArray) -> None:
    """Write a sheet as JPEG, atomically.

    Raises:
        InputError: it can't be written.
    """
    write_jpeg(path, image)


def portrait_preview(
    prep: steps.Preparation, found: Survey, meshes: Sequence[FloatArray], plates: dict[int, str], correct_sound: bool
) -> ByteArray:
    """The sheet of a portrait: `meshes` of each segment in pixels of its pictures, `plates` framing -> file name."""
    mesh_of = {segment.name: mesh for segment, mesh in zip(found.segments, meshes, strict=True)}
    rows = _head(found)
    for framing in _largest_framings(found):
        shown = _choose(found, framing)
        crops, mattes = [], []
        for one in shown:
            file = TensorFile(segment_path(prep.work.out, one.segment.name))
            picture = file.rows("frames", one.row, one.row + 1)[0]
            crops.append(_with_landmarks(picture, mesh_of[one.segment.name][one.row]))
            mattes.append(_tinted(picture, file.rows("masks", one.row, one.row + 1)[0]))
        plate = sheet.fit(read_png(prep.work.out / plates[framing]), _TILE, _TILE)[0]
        rows += _framing(prep, found, framing, shown, crops)
        captions = ["head and torso"] * len(mattes)
        rows.append(sheet.tiles([*mattes, plate], [*captions, "background"]))
    return sheet.stack([*rows, *_end(found, prep.size, correct_sound)])


def check_preview(prep: steps.Preparation, found: Survey) -> ByteArray:
    """The sheet of videos that were only looked at: crops are cut out of the pictures that tracking left."""
    rows = _head(found)
    for framing in _largest_framings(found):
        shown, crops = _choose(found, framing), []
        for one in shown:
            if (still := _still(prep, found, one)) is None:
                continue
            scan, square = found.scans[one.segment.span.source], found.squares[framing]
            scale = still.shape[1] / scan.width
            x, y, side = (max(0, round(value * scale)) for value in (square.x, square.y, square.side))
            mesh = (one.segment.span.mesh_px[one.row, :, :2] - (square.x, square.y)) * scale
            crops.append(_with_landmarks(still[y : y + side, x : x + side], mesh))
        rows += _framing(prep, found, framing, shown, crops)
    return sheet.stack([*rows, *_end(found, prep.size, True)])


def _head(found: Survey) -> list[ByteArray]:
    total = sum(scan.frames for scan in found.scans) / VIDEO_RATE_HZ
    used, heldout = found.frames / VIDEO_RATE_HZ, found.heldout_frames / VIDEO_RATE_HZ
    names = found.scans[0].name if len(found.scans) == 1 else f"{len(found.scans)} videos"
    facts = f"{used:.1f} of {total:.1f} s are used, {heldout:.1f} s of them held out" if used else "nothing is used"
    return [sheet.title(f"{names}: {facts}")]


def _largest_framings(found: Survey) -> list[int]:
    counts: dict[int, int] = {}
    for segment in found.segments:
        counts[segment.span.framing] = counts.get(segment.span.framing, 0) + segment.span.frames
    return sorted(counts, key=lambda framing: (-counts[framing], framing))[:_FRAMINGS]


def _choose(found: Survey, framing: int) -> list[_Shown]:
    """Frames spread over a framing, of which whole pictures were kept; others only where there are none."""
    members = [segment for segment in found.segments if segment.span.framing == framing]
    all_shown = [_Shown(segment, row) for segment in members for row in range(segment.span.frames)]
    kept = [one for one in all_shown if _is_kept(found, one)] or all_shown
    return [kept[index] for index in spread_indices(len(kept), _PICTURES)]


def _is_kept(found: Survey, shown: _Shown) -> bool:
    return (shown.frame - found.shots[shown.segment.span.shot].start) % STILL_FRAMES == STILL_FIRST


def _still(prep: steps.Preparation, found: Survey, shown: _Shown) -> ByteArray | None:
    """The whole picture of a frame, if it was kept."""
    if not _is_kept(found, shown):
        return None
    shot = shown.segment.span.shot
    return load_still(prep.followed(shot), shown.frame - found.shots[shot].start)


def _framing(
    prep: steps.Preparation, found: Survey, framing: int, shown: Sequence[_Shown], crops: Sequence[ByteArray]
) -> list[ByteArray]:
    """A source picture with its square, and crops."""
    square, first = found.squares[framing], shown[0]
    scan = found.scans[first.segment.span.source]
    seconds = sum(segment.span.frames for segment in found.segments if segment.span.framing == framing) / VIDEO_RATE_HZ
    scene = f"Scene {first.segment.span.scene}: " if len(found.scenes) > 1 else ""
    text = f"{scene}Square of {square.side} pixels out of {scan.width} x {scan.height}, for {seconds:.1f} s"
    images, captions = list(crops), [_place(found, one) for one in shown[: len(crops)]]
    if (still := _still(prep, found, first)) is not None:
        images.insert(0, _with_square(still, square, scan.width))
        captions.insert(0, f"{scan.name} at {first.frame / VIDEO_RATE_HZ:.2f} s")
    return [sheet.paragraph(text), *([sheet.tiles(images, captions)] if images else [])]


def _place(found: Survey, shown: _Shown) -> str:
    seconds = f"{shown.frame / VIDEO_RATE_HZ:.2f} s"
    return seconds if len(found.scans) == 1 else f"{found.scans[shown.segment.span.source].name} {seconds}"


def _with_square(still: ByteArray, square: Square, width: int) -> ByteArray:
    small, scale = sheet.fit(still, _SOURCE_WIDTH, _TILE)
    scale *= still.shape[1] / width
    x, y, side = square.x * scale, square.y * scale, square.side * scale
    sheet.draw_square(small, (x, y, x + side, y + side), _SQUARE)
    return small


def _with_landmarks(crop: ByteArray, mesh: FloatArray) -> ByteArray:
    small, scale = sheet.fit(crop, _TILE, _TILE)
    sheet.draw_points(small, mesh[list(KEYPOINTS), :2] * scale, _DOT)
    return small


def _tinted(picture: ByteArray, masks: ByteArray) -> ByteArray:
    """Head red, torso blue, the rest pale."""
    share = masks.astype(np.float32)[..., None] / 255
    gray = picture.mean(-1, keepdims=True, dtype=np.float32)
    head, torso = 0.5 * gray + 0.5 * _HEAD_TINT, 0.5 * gray + 0.5 * _TORSO_TINT
    rest = 0.3 * gray + 0.7 * 255
    mixed = share[..., 0, :] * head + share[..., 1, :] * torso + (1 - share[..., 0, :] - share[..., 1, :]) * rest
    return sheet.fit(np.clip(mixed, 0, 255).astype(np.uint8), _TILE, _TILE)[0]


def _end(found: Survey, size: int, correct_sound: bool) -> list[ByteArray]:
    """Time line, reasons and notes."""
    rows = [sheet.title("What is used when", sheet.HEADING), *time_line(found)]
    notes = describe(found, size, correct_sound=correct_sound)
    return [*rows, sheet.title("Notes", sheet.HEADING), *(sheet.paragraph(f"- {note}") for note in notes)]


def time_line(found: Survey) -> list[ByteArray]:
    """A bar for each source, and what its colours mean."""
    colors = {span.reason: REASON_COLORS[0] for span in found.dropped}
    for number, reason in enumerate(sorted(colors, key=lambda key: -_cost(found, key))):
        colors[reason] = REASON_COLORS[min(number, len(REASON_COLORS) - 1)]
    longest = max((scan.frames for scan in found.scans), default=1)
    # Where not all fit, those that are not used at all come first.
    partly = {span.source for span in found.dropped}
    order = sorted(range(len(found.scans)), key=lambda index: (found.scans[index].name not in partly, index))
    rows = [_bar(found, index, longest, colors) for index in sorted(order[:_SOURCES])]
    if len(order) > _SOURCES:
        rows.append(sheet.paragraph(f"and {len(order) - _SOURCES} more videos", sheet.PALE))
    rows += [_ticks(longest), sheet.paragraph("used for training", mark=USED)]
    rows.append(sheet.paragraph("held out: measured on, never trained on", mark=HELDOUT))
    for span in found.dropped[:_SPANS]:
        source = f" of {span.source}" if len(found.scans) > 1 else ""
        text = f"{span.start:.2f} to {span.stop:.2f} s{source}: {span.reason}; {remedy_for(span.reason)}"
        rows.append(sheet.paragraph(text, mark=colors[span.reason]))
    if len(found.dropped) > _SPANS:
        rows.append(sheet.paragraph(f"and {len(found.dropped) - _SPANS} more parts, see manifest.json", sheet.PALE))
    return rows


def _cost(found: Survey, reason: str) -> float:
    return sum(span.stop - span.start for span in found.dropped if span.reason == reason)


def _bar(found: Survey, source: int, longest: int, colors: dict[str, sheet.Color]) -> ByteArray:
    scan = found.scans[source]
    row = sheet.blank(_BAR + 10)
    name = sheet.shorten(scan.name, _LABEL_WIDTH - 2 * sheet.MARGIN, sheet.SMALL)
    sheet.draw_text(row, name, (sheet.MARGIN, 22), sheet.INK, sheet.SMALL)
    _fill(row, 0, scan.frames, longest, (214, 214, 210))
    spans: list[DroppedSpan] = [span for span in found.dropped if span.source == scan.name]
    for segment in found.segments:
        if segment.span.source == source:
            start, held = segment.span.start, segment.span.start + segment.training_frames
            _fill(row, start, held, longest, USED)
            _fill(row, held, start + segment.span.frames, longest, HELDOUT)
    for span in spans:
        _fill(row, span.start * VIDEO_RATE_HZ, span.stop * VIDEO_RATE_HZ, longest, colors[span.reason])
    return row


def _fill(row: ByteArray, start: float, stop: float, longest: int, color: sheet.Color) -> None:
    """Colour frames [start, stop) of a bar; a part too short to be seen is one pixel wide."""
    if stop > start:
        x0 = time_x(start, longest)
        row[6 : 6 + _BAR, x0 : max(x0 + 1, time_x(stop, longest))] = color


def time_x(frame: float, longest: int) -> int:
    """Where a frame stands in the bars, pixels."""
    return _LABEL_WIDTH + round(frame / longest * (sheet.WIDTH - _LABEL_WIDTH - sheet.MARGIN))


def _ticks(longest: int) -> ByteArray:
    """Seconds below the bars."""
    row = sheet.blank(34)
    seconds = longest / VIDEO_RATE_HZ
    step = next(
        step
        for step in (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600)
        if step * 12 >= seconds or step == 3600
    )
    for number in range(int(seconds / step) + 1):
        x = time_x(number * step * VIDEO_RATE_HZ, longest)
        row[:6, x : x + 1] = sheet.INK
        sheet.draw_text(row, f"{number * step:g} s", (min(x, sheet.WIDTH - 60), 24), sheet.PALE, sheet.SMALL)
    return row
