"""What the user should know about a survey, in sentences. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geneface.geometry.landmarks import KEYPOINTS, lids_have_closed
from geneface.portrait.combing import COMBED, COMBED_REMEDY
from geneface.portrait.manifest import LITTLE_HELDOUT_SECONDS, DroppedSpan
from geneface.portrait.offsets import TOGETHER, describe_source
from geneface.portrait.plan import GOOD_SECONDS
from geneface.portrait.scan import SourceScan
from geneface.portrait.segments import main_framing
from geneface.portrait.source import source_size
from geneface.portrait.survey import Survey
from geneface.types import VIDEO_RATE_HZ

_LARGE_SIZE, _LARGE_SHARE = 512, 0.9
"""A square of at least this share of 512 source pixels is worth that size."""
_TOLD_SPANS = 4
_PLANES, _WORK_PLANES = 5, 6
"""Bytes a pixel of a portrait (picture, two masks), and of what is kept only while it is made (those and a matte)."""
_OTHER_FRAME_BYTES = 11_400
"""Landmarks, poses, speech features and sound of one frame."""
_SOURCE_BYTES = 0.06
"""Of one pixel of a source picture; .03 to .06 were measured."""
_TURNS = {1: "by 90 degrees counterclockwise", 2: "by 180 degrees", 3: "by 90 degrees clockwise"}
_TURNED = {1: "lies on its side", 2: "stands on its head", 3: "lies on its side"}


def describe(survey: Survey, size: int, *, correct_sound: bool) -> list[str]:
    """Notes of a portrait with pictures of so many pixels."""
    notes = []
    deed = "corrected" if correct_sound else "left so"
    for source, scan in enumerate(survey.scans):
        if scan.turns:
            notes.append(f"{scan.name}: {describe_turn(scan)}")
        notes += [f"{scan.name}: {change}" for change in scan.changes]
        if scan.is_variable:
            notes.append(f"{scan.name}: variable frame rate, resampled to {VIDEO_RATE_HZ} by its time stamps")
        if scan.combed:
            notes.append(f"{scan.name}: {COMBED}; {COMBED_REMEDY}")
        if scan.cuts:
            times = ", ".join(f"{cut / VIDEO_RATE_HZ:.2f} s" for cut in scan.cuts)
            notes.append(f"{scan.name}: cut at {times}")
        heard = describe_source(survey.offsets_of(source), deed)
        notes += [f"{scan.name}: {text}" for text in heard if len(heard) > 1 or not text.startswith(TOGETHER)]
    for note in survey.notes:
        scan, start, stop = survey.place(note)
        notes.append(f"{scan.name}: {note.cause} from {start:.2f} to {stop:.2f} s: {note.remedy}")
    lost = sum(span.stop - span.start for span in survey.dropped)
    if round(lost, 1) > 0:
        notes.append(f"{lost:.1f} s are not used: {describe_dropped(survey.dropped, len(survey.scans) > 1)}")
    if not survey.frames:
        return notes
    notes.append(describe_usable(survey.frames))
    notes += describe_scenes(survey)
    heldout = survey.main_heldout_frames / VIDEO_RATE_HZ
    if heldout < LITTLE_HELDOUT_SECONDS:
        notes.append(f"only {heldout:.1f} s are held out: what is measured on them says little about the lips")
    if text := describe_lids(survey):
        notes.append(text)
    if text := describe_size(survey) if size < _LARGE_SIZE else describe_enlargement(survey, size):
        notes.append(text)
    return notes


def describe_turn(scan: SourceScan) -> str:
    """What was done about a face that is not upright."""
    return f"the face {_TURNED[scan.turns]}: the pictures are turned {_TURNS[scan.turns]}"


def describe_usable(frames: int) -> str:
    """How much there is, and whether more would help."""
    seconds = frames / VIDEO_RATE_HZ
    if round(seconds, 1) >= GOOD_SECONDS:
        return f"{seconds:.1f} s are used"
    return f"{seconds:.1f} s are used; {GOOD_SECONDS:.0f} s or more would give better lips and likeness"


def describe_scenes(survey: Survey) -> list[str]:
    """Which scenes there are and what shows them; nothing where there is one."""
    if len(survey.scenes) < 2:
        return []
    told = []
    for scene in survey.scenes:
        spans = [segment.span for segment in survey.in_scene(scene)]
        places = [
            f"{survey.scans[s.source].name} {s.start / VIDEO_RATE_HZ:.2f}-{(s.start + s.frames) / VIDEO_RATE_HZ:.2f} s"
            for s in spans
        ]
        more = f" and {len(places) - _TOLD_SPANS} more" if len(places) > _TOLD_SPANS else ""
        seconds = sum(span.frames for span in spans) / VIDEO_RATE_HZ
        use = "trained by default" if scene == 1 else f"trained with --scene {scene}"
        told.append(f"scene {scene}, {use}: {seconds:.1f} s ({', '.join(places[:_TOLD_SPANS])}{more})")
    return [f"{len(survey.scenes)} scenes differ in light or clothes; an avatar shows one of them", *told]


def describe_lids(survey: Survey) -> str:
    """That the person never blinks in what is used, or ""."""
    points = [segment.span.mesh_px[:, list(KEYPOINTS), :2] for segment in survey.segments]
    if not points or lids_have_closed(np.concatenate(points)):
        return ""
    return "the eyes never close: blinks are made from the face's geometry; a video with blinks shows the person's own"


def describe_size(survey: Survey) -> str:
    """That the videos are worth larger pictures, or ""."""
    side = _main_side(survey)
    if side < _LARGE_SHARE * _LARGE_SIZE:
        return ""
    return f"the square around the head has {side} pixels in the video: prepare with --size 512 keeps more of them"


def describe_enlargement(survey: Survey, size: int) -> str:
    """That pictures of so many pixels are more than the videos have, or ""."""
    side = _main_side(survey)
    if not 0 < side < _LARGE_SHARE * size:
        return ""
    return (
        f"the square around the head is {side} pixels wide in the video: --size {size} only enlarges it and gains "
        f"nothing beyond that, at four times the disk of --size {size // 2}"
    )


def _main_side(survey: Survey) -> int:
    """Side of the square of the main framing, source pixels; 0 where nothing is used."""
    return survey.squares[main_framing(survey.segments)].side if survey.segments else 0


def disk_bytes(frames: int, size: int, source_pixels: float = 0) -> tuple[int, int]:
    """About what a portrait takes: when it is finished, and at most while it is made.

    Args:
        source_pixels: of all whole source pictures together.
    """
    source = round(_SOURCE_BYTES * source_pixels)
    finished = frames * (_PLANES * size**2 + _OTHER_FRAME_BYTES) + source
    return finished, finished + frames * _WORK_PLANES * size**2 + source


def source_pixels(survey: Survey) -> int:
    """Pixels of all source pictures that a portrait keeps."""
    pixels = 0
    for segment in survey.segments:
        scan = survey.scans[segment.span.source]
        width, height = source_size(scan.width, scan.height, survey.squares[segment.span.framing]).even
        pixels += segment.span.frames * width * height
    return pixels


def describe_disk(frames: int, sizes: Sequence[int], source_pixels: float = 0) -> str:
    """The same in words, for portraits of these sizes."""
    told = []
    for size in sizes:
        finished, most = (count / 1e9 for count in disk_bytes(frames, size, source_pixels))
        told.append(f"{finished:.1f} GB at --size {size} ({most:.1f} GB while it is made)")
    return f"the portrait will take about {', '.join(told)} of disk"


def describe_dropped(dropped: Sequence[DroppedSpan], with_source: bool) -> str:
    """The reasons, the costliest first, with their times."""
    by_reason: dict[str, list[DroppedSpan]] = {}
    for span in dropped:
        by_reason.setdefault(span.reason, []).append(span)
    seconds = {reason: sum(span.stop - span.start for span in spans) for reason, spans in by_reason.items()}
    parts = []
    for reason in sorted(by_reason, key=lambda key: -seconds[key]):
        told = []
        for span in by_reason[reason][:_TOLD_SPANS]:
            told.append(f"{span.start:.2f}-{span.stop:.2f} s" + (f" of {span.source}" if with_source else ""))
        more = len(by_reason[reason]) - len(told)
        parts.append(f"{reason} ({', '.join(told)}{f' and {more} more' if more > 0 else ''})")
    return "; ".join(parts)
