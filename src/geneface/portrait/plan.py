"""Which spans of which source are to be tracked, and where in the picture. Pure functions of the scans.

Frames count at 25 Hz from a source's first picture; intervals exclude their end. Boxes are in source pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geneface.errors import InputError
from geneface.portrait.manifest import DroppedSpan
from geneface.portrait.scan import FaceCheck, SourceScan
from geneface.types import VIDEO_RATE_HZ

MIN_SEGMENT_SECONDS = 1.0
MIN_TOTAL_SECONDS = 3.0
GOOD_SECONDS = 60.0
"""More speech than this still helps, but little."""
MIN_FACE_PX = 48
"""A face narrower than this shows no lips."""

_MEDIAN_CHECKS = 5
"""A second: boxes are steadied over so many checks, so that two false ones in a row change nothing."""
_MOVED_SHARE, _SCALED_RATIO = 0.75, 1.4
"""A face whose steadied box moves by this share of its width from check to check, or grows by this factor, is another
face, or the same one after a cut that the picture did not show."""
_REGION_MARGIN = 1.0
"""Widths of the face around all its places in which it is tracked: hair and shoulders are inside."""


@dataclass(frozen=True)
class Shot:
    """Consecutive frames of one source in which one face is to be tracked."""

    source: int
    """Index into the scans."""
    start: int
    stop: int
    region: tuple[int, int, int, int]
    """x0, y0, x1, y1: the part of the picture in which the face is tracked."""
    boxes: tuple[tuple[int, float, float, float, float], ...]
    """(frame, x0, y0, x1, y1): where the detector saw the largest face, steadied."""
    seen: tuple[tuple[float, float, float, float], ...]
    """The same as they were seen."""

    @property
    def frames(self) -> int:
        """Its length."""
        return self.stop - self.start

    @property
    def face_px(self) -> float:
        """Median width of the face's boxes."""
        return float(np.median([box[3] - box[1] for box in self.boxes]))


def dropped(scan: SourceScan, start: int, stop: int, reason: str) -> DroppedSpan:
    """A `DroppedSpan` of frames [start, stop)."""
    return DroppedSpan(scan.name, round(start / VIDEO_RATE_HZ, 2), round(stop / VIDEO_RATE_HZ, 2), reason)


def usable_shots(scans: Sequence[SourceScan]) -> tuple[list[Shot], list[DroppedSpan]]:
    """The spans of all sources that are worth tracking, and why the rest is not used."""
    shots: list[Shot] = []
    rest: list[DroppedSpan] = []
    for index, scan in enumerate(scans):
        if scan.sound:
            rest.append(dropped(scan, 0, scan.frames, scan.sound))
            continue
        edges = [0, *scan.cuts, scan.frames]
        for start, stop in pairwise(edges):
            found, lost = _split_shot(index, scan, start, stop)
            shots += found
            rest += lost
    return shots, rest


def refuse_too_little(frames: int, rest: Sequence[DroppedSpan], paths: Sequence[str]) -> None:
    """Raise an `InputError` if fewer than `MIN_TOTAL_SECONDS` of frames are usable; names the reason that cost most."""
    if frames >= MIN_TOTAL_SECONDS * VIDEO_RATE_HZ:
        return
    subject = paths[0] if len(paths) == 1 else f"the {len(paths)} videos"
    # Rounded down: 2.96 s must not read as the 3.0 s that are asked for.
    seconds = 10 * frames // VIDEO_RATE_HZ / 10
    spans = [span for span in rest if span.reason != TOO_SHORT] or list(rest)
    if not spans:
        verb = "gives" if len(paths) == 1 else "give"
        raise InputError(
            f"{subject} {verb} only {seconds:.1f} s of usable video, at least {MIN_TOTAL_SECONDS:.0f} s are needed",
            "give a longer video, or several clips of the same person (minutes are better)",
        )
    costs: dict[str, float] = {}
    for span in spans:
        costs[span.reason] = costs.get(span.reason, 0.0) + span.stop - span.start
    reason = max(costs, key=lambda key: costs[key])
    first = next(span for span in spans if span.reason == reason)
    needed = f"(only {seconds:.1f} s are usable, at least {MIN_TOTAL_SECONDS:.0f} s are needed)"
    raise InputError(
        f"{subject} can't be used, {reason}" + ("" if frames == 0 else f" {needed}"),
        remedy_for(reason),
        f"from {first.start:.2f} to {first.stop:.2f} s" + ("" if len(paths) == 1 else f" of {first.source}"),
    )


def remedy_for(reason: str) -> str:
    """What a user can do about a span that is not usable for this reason."""
    return _REMEDIES.get(reason, "give a video of one person who faces the camera and speaks")


NO_FACE, TWO_FACES = "no face is seen", "two faces are seen"
SMALL_FACE = f"the face is narrower than {MIN_FACE_PX} pixels"
TOO_SHORT = f"the stretch is shorter than {MIN_SEGMENT_SECONDS:g} s"
FACE_LOST, OTHER_FACE = "the face is lost", "another face is tracked than the largest"
TRACKED_TOO_SHORT = f"the face is tracked for less than {MIN_SEGMENT_SECONDS:g} s"
FACE_LEAVES, HEAD_LEAVES = "the face leaves the picture", "the head leaves the square that holds it most of the time"
NO_SOUND_HERE = "there is no sound for these pictures"
ONLY_A_PICTURE, OTHER_PERSON = "the face never moves: it is a picture of a face", "another person is seen"
CAMERA_MOVES, SIZE_CHANGES = "the camera pans or zooms", "the face is much larger or smaller than usual"
LIGHT_CHANGES, MOUTH_COVERED = "the face is much brighter or darker than usual", "something covers the mouth"
OTHER_SCENE = "the light or the clothes are others than in most of the video"
_REMEDIES = {
    NO_FACE: "give a video in which one face is seen from the front throughout",
    TWO_FACES: "cut the picture or the video so that only the person who speaks is seen",
    SMALL_FACE: "give a closer or larger picture of the face",
    TOO_SHORT: "give longer stretches without cuts",
    FACE_LOST: "keep the face in view: turned away or covered, it can't be measured",
    OTHER_FACE: "cut the picture or the video so that only the person who speaks is seen",
    TRACKED_TOO_SHORT: "keep the face in view: turned away or covered, it can't be measured",
    FACE_LEAVES: "keep the whole head in the picture",
    HEAD_LEAVES: "keep the head at about one place, or give the parts of the video as files of their own",
    NO_SOUND_HERE: "give a video whose sound is as long as its pictures",
    ONLY_A_PICTURE: "give a video of the person who speaks, not a photograph",
    OTHER_PERSON: "give videos of one person only",
    OTHER_SCENE: "give more video in one light and the same clothes",
    CAMERA_MOVES: "put the camera on something firm, and give the part in which it stands still",
    SIZE_CHANGES: "keep the distance and don't zoom, or give the parts of the video as files of their own",
    LIGHT_CHANGES: "keep the light and fix the exposure",
    MOUTH_COVERED: "keep hands, cups and microphones away from the mouth",
    "it has no sound": "give a video with the speech of the person it shows",
    "it is silent": "give a video in which the speech can be heard",
    "no speech is heard in it": "give a video in which the person who is seen speaks",
}


def _state(check: FaceCheck) -> str:
    """Why a checked frame can't be used, or ""."""
    if check.box is None:
        return NO_FACE
    if check.count > 1:
        return TWO_FACES
    return SMALL_FACE if check.box[2] - check.box[0] < MIN_FACE_PX else ""


def _split_shot(index: int, scan: SourceScan, start: int, stop: int) -> tuple[list[Shot], list[DroppedSpan]]:
    """Usable spans of frames [start, stop), in which there is no cut."""
    checks = [check for check in scan.checks if start <= check.frame < stop]
    states = _forgive_single([_state(check) for check in checks])
    shots: list[Shot] = []
    rest: list[DroppedSpan] = []
    first = 0
    while first < len(checks):
        last = first
        while last + 1 < len(checks) and states[last + 1] == states[first]:
            last += 1
        # Between a good check and a bad one anything may have happened: what lies there counts as bad.
        is_bad = bool(states[first])
        begin = start if first == 0 else checks[first - 1].frame + 1 if is_bad else checks[first].frame
        end = stop if last + 1 == len(checks) else checks[last + 1].frame if is_bad else checks[last].frame + 1
        if is_bad:
            rest.append(dropped(scan, begin, end, states[first]))
        else:
            found, lost = _split_stays(index, scan, begin, end, checks[first : last + 1])
            shots += found
            rest += lost
        first = last + 1
    if not checks:
        rest.append(dropped(scan, start, stop, TOO_SHORT))
    return shots, rest


def _forgive_single(states: list[str]) -> list[str]:
    """The detector blinks: one bad check between good ones counts as good."""
    return [
        "" if state and 0 < i < len(states) - 1 and not states[i - 1] and not states[i + 1] else state
        for i, state in enumerate(states)
    ]


def _split_stays(
    index: int, scan: SourceScan, start: int, stop: int, checks: Sequence[FaceCheck]
) -> tuple[list[Shot], list[DroppedSpan]]:
    """Divide frames [start, stop) with good checks where the face is suddenly at another place or of another size."""
    seen = [check for check in checks if check.box is not None]
    boxes = steady_boxes(np.array([check.box for check in seen], np.float64))
    shots: list[Shot] = []
    rest: list[DroppedSpan] = []
    breaks = [0, *(np.flatnonzero(_is_elsewhere(boxes)) + 1).tolist(), len(seen)]
    for first, last in pairwise(breaks):
        begin = start if first == 0 else seen[first].frame
        end = stop if last == len(seen) else seen[last].frame
        if end - begin < MIN_SEGMENT_SECONDS * VIDEO_RATE_HZ:
            rest.append(dropped(scan, begin, end, TOO_SHORT))
            continue
        # The median still mixes two stays at their border: each is steadied by itself.
        members = seen[first:last]
        raw = tuple(check.box for check in members if check.box is not None)
        own = steady_boxes(np.array(raw, np.float64))
        places = [(check.frame, *box) for check, box in zip(members, own.tolist(), strict=True)]
        shots.append(Shot(index, begin, end, _region(own, scan), tuple(places), raw))
    return shots, rest


def steady_boxes(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes [N, 4] with their running median over a second: a few false ones leave no trace."""
    reach = _MEDIAN_CHECKS // 2
    rows = np.arange(len(boxes))
    # At the ends the window is moved, not cut: a false first box must not stand alone.
    first = np.clip(rows - reach, 0, max(0, len(boxes) - _MEDIAN_CHECKS))
    return np.array([np.median(boxes[start : start + _MEDIAN_CHECKS], axis=0) for start in first]).reshape(-1, 4)


def _is_elsewhere(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N - 1] whether a box is far from the one before, or of quite another size."""
    width = boxes[:, 2] - boxes[:, 0]
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    moved = np.linalg.norm(np.diff(center, axis=0), axis=-1) / np.minimum(width[1:], width[:-1])
    return (moved > _MOVED_SHARE) | (np.abs(np.diff(np.log(width))) > np.log(_SCALED_RATIO))


def _region(boxes: NDArray[np.float64], scan: SourceScan) -> tuple[int, int, int, int]:
    """The boxes' places with a margin, inside the picture."""
    margin = _REGION_MARGIN * float(np.median(boxes[:, 2] - boxes[:, 0]))
    x0, y0 = np.floor(boxes[:, :2].min(0) - margin).astype(int)
    x1, y1 = np.ceil(boxes[:, 2:].max(0) + margin).astype(int)
    return max(0, int(x0)), max(0, int(y0)), min(scan.width, int(x1)), min(scan.height, int(y1))
