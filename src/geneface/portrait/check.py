"""`geneface check`: what is wrong with a video, where, and what to do about it, before an hour is spent on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from geneface.analysis.tracker import track_frames
from geneface.errors import InputError, MissingExtraError
from geneface.io.audio import read_audio
from geneface.io.video import read_frames
from geneface.portrait.manifest import DroppedSpan
from geneface.portrait.plan import MIN_FACE_PX, MIN_TOTAL_SECONDS, Shot, plan_crops, remedy_for, usable_shots
from geneface.portrait.scan import SourceScan, scan_source
from geneface.portrait.sound import measured_opening, source_offsets
from geneface.types import SPEECH_RATE_HZ, VIDEO_RATE_HZ, ByteArray, ProgressFn, Waveform, no_progress

Severity = Literal["error", "warning", "info"]

_GOOD_FACE_PX = 100
_GOOD_SECONDS = 60.0
_OFFSET_SECONDS = 20
"""So much of each video is tracked to compare sound and lips."""
_CLIPPED_SHARE = 1e-3
_QUIET_LEVEL = 10 ** (-45 / 20)
_DARK_LEVEL, _BRIGHT_LEVEL = 45, 235


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


def check_videos(paths: Sequence[Path], progress: ProgressFn = no_progress) -> list[Finding]:
    """Look at videos of one person as `prepare_portrait` would; writes nothing.

    Raises:
        MissingExtraError: the [prepare] extra is not installed.
    """
    findings: list[Finding] = []
    usable = 0
    for number, path in enumerate(paths):
        path = Path(path)
        try:
            scan = scan_source(path)
        except MissingExtraError:
            raise
        except InputError as error:
            findings.append(Finding("error", str(path), error.cause, error.where, error.remedy))
            continue
        shots, rest = usable_shots([scan])
        usable += sum(shot.frames for shot in shots)
        findings += _look(path, scan, shots, rest)
        progress("check", number + 1, len(paths))
    seconds = usable / VIDEO_RATE_HZ
    subject = str(paths[0]) if len(paths) == 1 else f"{len(paths)} videos"
    if seconds < MIN_TOTAL_SECONDS:
        cause = f"only {seconds:.1f} s are usable, at least {MIN_TOTAL_SECONDS:g} s are needed"
        findings.append(Finding("error", subject, cause, "", "give more video of the same person"))
    elif seconds < _GOOD_SECONDS:
        cause = f"{seconds:.1f} s are usable"
        findings.append(Finding("warning", subject, cause, "", "a minute or more gives better lips and likeness"))
    else:
        findings.append(Finding("info", subject, f"{seconds:.1f} s are usable", "", ""))
    return findings


def _look(path: Path, scan: SourceScan, shots: list[Shot], rest: list[DroppedSpan]) -> Iterator[Finding]:
    """All findings about one readable video."""
    name = str(path)
    yield from _look_at_rate(name, scan)
    for change in scan.changes:
        yield Finding("info", name, change, "", "")
    for cut in scan.cuts:
        yield Finding("info", name, "a cut: prepare splits the video here", f"at {cut / VIDEO_RATE_HZ:.2f} s", "")
    for span in rest:
        severity = "warning" if shots else "error"
        where = f"from {span.start:.2f} to {span.stop:.2f} s"
        yield Finding(severity, name, span.reason, where, remedy_for(span.reason))
    if shots:
        yield from _look_at_face(name, scan, shots)
    if not scan.sound:
        sound = read_audio(path)
        yield from _look_at_sound(name, sound)
        if shots:
            yield from _look_at_offset(path, scan, max(shots, key=lambda shot: shot.frames), sound)


def _look_at_rate(name: str, scan: SourceScan) -> Iterator[Finding]:
    if scan.is_variable:
        cause = f"variable frame rate, {scan.frame_rate:.2f} on average: prepare resamples it by its time stamps"
        yield Finding("info", name, cause, "", "")
    elif abs(scan.frame_rate - VIDEO_RATE_HZ) > 0.01:
        yield Finding("info", name, f"{scan.frame_rate:.2f} frames/s: prepare resamples it to {VIDEO_RATE_HZ}", "", "")
    if scan.repeats > 0.05 * scan.frames:
        cause = f"{100 * scan.repeats / scan.frames:.0f} % of the pictures at {VIDEO_RATE_HZ} frames/s are repeats"
        yield Finding("warning", name, cause, "", f"record at {VIDEO_RATE_HZ} frames/s or more")


def _look_at_face(name: str, scan: SourceScan, shots: list[Shot]) -> Iterator[Finding]:
    face = float(np.median([shot.face_px for shot in shots]))
    if face < _GOOD_FACE_PX:
        cause = f"the face is {face:.0f} pixels wide (at least {MIN_FACE_PX})"
        yield Finding("warning", name, cause, "", f"{_GOOD_FACE_PX} pixels or more give sharper lips")
    else:
        yield Finding("info", name, f"the face is {face:.0f} pixels wide", "", "")
    _, squares = plan_crops(shots, [scan])
    if len(squares) > 1:
        cause = f"{len(squares)} different framings"
        yield Finding("warning", name, cause, "", "one framing and one background throughout give the best result")
    for shot in shots:
        x0, y0, x1, y1 = shot.face
        if x0 < 0 or y0 < 0 or x1 > scan.width or y1 > scan.height:
            where = f"from {shot.start / VIDEO_RATE_HZ:.2f} to {shot.stop / VIDEO_RATE_HZ:.2f} s"
            yield Finding("warning", name, "the face leaves the picture", where, "keep the whole head in the picture")


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
    # The longest stretch that is 35 dB below the loud parts.
    frames = len(sound.samples) * VIDEO_RATE_HZ // SPEECH_RATE_HZ
    energy = np.square(sound.samples[: frames * SPEECH_RATE_HZ // VIDEO_RATE_HZ]).reshape(max(frames, 1), -1).mean(-1)
    quiet = energy < 10**-3.5 * np.quantile(energy, 0.95)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(int), [0]])))
    lengths = edges[1::2] - edges[::2]
    if len(lengths) and lengths.max() > 3 * VIDEO_RATE_HZ:
        start, stop = (edges[2 * int(lengths.argmax()) + side] / VIDEO_RATE_HZ for side in (0, 1))
        where = f"from {start:.2f} to {stop:.2f} s"
        yield Finding("info", name, "a long silence, from which lips learn nothing", where, "")


def _look_at_offset(path: Path, scan: SourceScan, shot: Shot, sound: Waveform) -> Iterator[Finding]:
    """Compare sound and lips over the start of the longest stretch; look at its light on the way."""
    stop = min(shot.stop, shot.start + _OFFSET_SECONDS * VIDEO_RATE_HZ)
    levels: list[float] = []
    track = track_frames(_faces(path, scan, shot, stop, levels), face_check_frames=0)
    name = str(path)
    light = float(np.median(levels))
    if not _DARK_LEVEL < light < _BRIGHT_LEVEL:
        side = "dark" if light <= _DARK_LEVEL else "bright"
        yield Finding("warning", name, f"the face is too {side}", "", "change the light or the exposure")
    if not track.found.any():
        yield Finding("error", name, "the face can't be tracked", "", "give a video that shows it from the front")
        return
    opening = measured_opening(track.mesh_px)
    offset = source_offsets([sound], [(0, shot.start, opening)])[0]
    if offset is None or not offset.confident:
        cause = "whether sound and picture are together can't be told from the lips"
        yield Finding("info", name, cause, "", "")
    elif offset.frames:
        side = "late" if offset.frames > 0 else "early"
        cause = f"the sound is {abs(offset.frames) * 1000 // VIDEO_RATE_HZ} ms {side}: prepare corrects it"
        yield Finding("info", name, cause, "", "")
    else:
        yield Finding("info", name, "sound and picture are together", "", "")


def _faces(path: Path, scan: SourceScan, shot: Shot, stop: int, levels: list[float]) -> Iterator[ByteArray]:
    """Crops of frames [shot.start, stop); their brightness at the face is added to `levels`."""
    shots, squares = plan_crops([shot], [scan])
    square = squares[shots[0].scene]
    x0, y0, x1, y1 = (max(0, int(value)) for value in shot.face)
    for index, frame in enumerate(read_frames(path)):
        if index >= stop:
            return
        if index >= shot.start:
            levels.append(float(frame.image[y0:y1, x0:x1].mean()))
            yield np.ascontiguousarray(
                frame.image[square.y : square.y + square.side, square.x : square.x + square.side]
            )
