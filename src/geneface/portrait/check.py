"""`geneface check`: what is wrong with a video, where, and what to do about it, before an hour is spent on it.

The videos are judged by the same code as in `prepare_portrait` (`survey`), so the same seconds are usable.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from geneface.errors import InputError
from geneface.portrait import steps
from geneface.portrait.combing import COMBED, COMBED_REMEDY
from geneface.portrait.manifest import LITTLE_HELDOUT_SECONDS
from geneface.portrait.notes import (
    describe_disk,
    describe_lids,
    describe_scenes,
    describe_size,
    describe_turn,
    source_pixels,
)
from geneface.portrait.offsets import describe_source
from geneface.portrait.plan import GOOD_SECONDS, MIN_FACE_PX, MIN_TOTAL_SECONDS, NO_SOUND_HERE, remedy_for
from geneface.portrait.preview import check_preview, write_preview
from geneface.portrait.scan import SourceScan
from geneface.portrait.survey import Survey, survey
from geneface.portrait.workspace import Workspace
from geneface.signal.spans import true_spans
from geneface.signal.timing import SAMPLES_PER_FRAME, whole_frames
from geneface.types import VIDEO_RATE_HZ, ProgressFn, Waveform, no_progress

Severity = Literal["error", "warning", "info"]

_GOOD_FACE_PX = 100
_SMALL_SECONDS = 0.5
_CLIPPED_SHARE = 1e-3
_QUIET_LEVEL = 10 ** (-45 / 20)
_SIZE = 256
"""Size of the portrait that `prepare` makes by default."""


@dataclass(frozen=True)
class Finding:
    """One thing to know about a video."""

    severity: Severity
    """`error`: can't be used; `warning`: usable, but the result suffers; `info`: handled, or fine."""
    path: str
    cause: str
    where: str
    """Place inside the file ("from 3.20 to 4.00 s"), or ""."""
    remedy: str
    """What to do, or ""."""
    is_used: bool = True
    """Whether the seconds of `where` are used all the same."""


def check_videos(
    paths: Sequence[Path], progress: ProgressFn = no_progress, preview: Path | None = None, workers: int = 2
) -> list[Finding]:
    """Look at videos of one person as `prepare_portrait` would.

    Args:
        preview: a JPEG file to write, with pictures of what would be used; by default nothing is written.
        workers: processes at work; the findings do not depend on it.

    Raises:
        InputError: the preview can't be written. What is wrong with a video is a finding.
    """
    videos = sorted((Path(path) for path in paths), key=lambda path: (path.name, str(path)))
    findings: list[Finding] = []
    scans: list[SourceScan] = []
    sounds: list[Waveform | None] = []
    with tempfile.TemporaryDirectory(prefix="geneface-check-") as folder:
        prep = steps.Preparation(Workspace(Path(folder)), _SIZE, workers, progress)
        for path, scanned in zip(videos, steps.scan(prep, videos, strict=False), strict=True):
            if isinstance(scanned, InputError):
                findings.append(Finding("error", str(path), scanned.cause, scanned.where, scanned.remedy))
            else:
                scans.append(scanned[0])
                sounds.append(scanned[1])
        found = survey(prep, scans, sounds, correct_sound=True)
        for source, (scan, sound) in enumerate(zip(scans, sounds, strict=True)):
            findings += _look(prep, found, source, scan, sound)
        if found.frames or not any(finding.severity == "error" for finding in findings):
            # Where nothing is usable and the cause is said, "give more video" would be a wrong remedy.
            findings += _look_at_all(found, str(paths[0]) if len(paths) == 1 else f"{len(paths)} videos")
        if preview:
            write_preview(preview, check_preview(prep, found))
    return findings


def _look(
    prep: steps.Preparation, found: Survey, source: int, scan: SourceScan, sound: Waveform | None
) -> Iterator[Finding]:
    """All findings about one readable video."""
    name = scan.path
    if scan.turns:
        yield Finding("info", name, describe_turn(scan), "", "")
    yield from _look_at_rate(name, scan)
    for change in scan.changes:
        yield Finding("info", name, change, "", "")
    if scan.combed:
        yield Finding("warning", name, COMBED, "", COMBED_REMEDY)
    for cut in scan.cuts:
        yield Finding("info", name, "a cut: prepare splits the video here", f"at {cut / VIDEO_RATE_HZ:.2f} s", "")
    is_used = any(segment.span.source == source for segment in found.segments)
    for span in found.dropped:
        if span.source == scan.name:
            where = f"from {span.start:.2f} to {span.stop:.2f} s"
            # Sound and pictures seldom end together: a few frames of that need no mending.
            small = is_used and span.reason == NO_SOUND_HERE and span.stop - span.start < _SMALL_SECONDS
            severity: Severity = "info" if small else "warning" if is_used else "error"
            remedy = "" if small else remedy_for(span.reason)
            yield Finding(severity, name, span.reason, where, remedy, is_used=False)
    for note in found.notes:
        place, start, stop = found.place(note)
        if place is scan:
            yield Finding("warning", name, note.cause, f"from {start:.2f} to {stop:.2f} s", note.remedy)
    if is_used:
        yield from _look_at_face(found, source, name)
    if sound is not None:
        yield from _look_at_sound(name, sound)
        if is_used:
            for text in describe_source(found.offsets_of(source), "prepare corrects it"):
                yield Finding("info", name, text, "", "")


def _look_at_rate(name: str, scan: SourceScan) -> Iterator[Finding]:
    if scan.is_variable:
        cause = f"variable frame rate, {scan.frame_rate:.2f} on average: prepare resamples it by its time stamps"
        yield Finding("info", name, cause, "", "")
    elif abs(scan.frame_rate - VIDEO_RATE_HZ) > 0.01:
        yield Finding("info", name, f"{scan.frame_rate:.2f} frames/s: prepare resamples it to {VIDEO_RATE_HZ}", "", "")
    if scan.repeats > 0.05 * scan.frames:
        cause = f"{100 * scan.repeats / scan.frames:.0f} % of the pictures at {VIDEO_RATE_HZ} frames/s are repeats"
        yield Finding("warning", name, cause, "", f"record at {VIDEO_RATE_HZ} frames/s or more")


def _look_at_face(found: Survey, source: int, name: str) -> Iterator[Finding]:
    used = [index for index, shot in enumerate(found.shots) if shot.source == source]
    used = [index for index in used if any(segment.span.shot == index for segment in found.segments)]
    face = float(np.median([found.shots[index].face_px for index in used]))
    if face < _GOOD_FACE_PX:
        cause = f"the face is {face:.0f} pixels wide (at least {MIN_FACE_PX})"
        yield Finding("warning", name, cause, "", f"{_GOOD_FACE_PX} pixels or more give sharper lips")
    else:
        yield Finding("info", name, f"the face is {face:.0f} pixels wide", "", "")


def _look_at_sound(name: str, sound: Waveform) -> Iterator[Finding]:
    level = float(np.sqrt(np.mean(np.square(sound.samples, dtype=np.float64))))
    if level < _QUIET_LEVEL:
        cause = f"the sound is very quiet ({20 * np.log10(max(level, 1e-6)):.0f} dB)"
        yield Finding("warning", name, cause, "", "record closer to the microphone")
    if float((np.abs(sound.samples) > 0.999).mean()) > _CLIPPED_SHARE:
        yield Finding("warning", name, "the sound is clipped", "", "record at a lower level")
    if abs(sound.start_seconds) > 0.5:
        cause = f"the sound starts {sound.start_seconds:+.2f} s from the first picture"
        yield Finding("info", name, f"{cause}: pictures without sound are not used", "", "")
    # The longest span that is 35 dB below the loud parts.
    frames = whole_frames(len(sound.samples))
    energy = np.square(sound.samples[: frames * SAMPLES_PER_FRAME]).reshape(max(frames, 1), -1).mean(-1)
    quiet = energy < 10**-3.5 * np.quantile(energy, 0.95)
    start, stop = max(true_spans(quiet), key=lambda span: span[1] - span[0], default=(0, 0))
    if stop - start > 3 * VIDEO_RATE_HZ:
        where = f"from {start / VIDEO_RATE_HZ:.2f} to {stop / VIDEO_RATE_HZ:.2f} s"
        yield Finding("info", name, "a long silence, from which lips learn nothing", where, "")


def _look_at_all(found: Survey, subject: str) -> Iterator[Finding]:
    """Findings about all videos together."""
    for text in describe_scenes(found):
        yield Finding("info", subject, text, "", "")
    framings = {segment.span.framing for segment in found.in_scene(1)}
    if len(framings) > 1:
        remedy = "one framing and one background throughout give the best result"
        yield Finding("warning", subject, f"{len(framings)} different framings", "", remedy)
    if lids := describe_lids(found):
        yield Finding("info", subject, lids, "", "")
    if large := describe_size(found):
        yield Finding("info", subject, large, "", "")
    seconds, heldout = found.frames / VIDEO_RATE_HZ, found.main_heldout_frames / VIDEO_RATE_HZ
    if found.main_frames < MIN_TOTAL_SECONDS * VIDEO_RATE_HZ:
        # Rounded down: 2.96 s must not read as the 3.0 s that are asked for.
        least = 10 * found.main_frames // VIDEO_RATE_HZ / 10
        one = " in one light and one set of clothes" if len(found.scenes) > 1 else ""
        cause = f"only {least:.1f} s are usable{one}, at least {MIN_TOTAL_SECONDS:g} s are needed"
        yield Finding("error", subject, cause, "", "give more video of the same person")
        return
    if heldout < LITTLE_HELDOUT_SECONDS:
        cause = f"only {heldout:.1f} s would be held out: figures measured on them say little about the lips"
        yield Finding("info", subject, cause, "", "")
    if round(seconds, 1) < GOOD_SECONDS:
        remedy = f"{GOOD_SECONDS:.0f} s or more give better lips and likeness"
        yield Finding("warning", subject, f"{seconds:.1f} s are usable", "", remedy)
    else:
        yield Finding("info", subject, f"{seconds:.1f} s are usable", "", "")
    disk = describe_disk(found.frames, (_SIZE, 2 * _SIZE), source_pixels(found))
    yield Finding("info", subject, disk, "", "")
