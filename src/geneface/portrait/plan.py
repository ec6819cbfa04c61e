"""Which frames of which source are used, and which square is cut out of them. Pure functions of the scans.

Frames count at 25 Hz from a source's first picture; intervals exclude their end. Boxes and squares are in source
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from geneface.errors import InputError
from geneface.portrait.manifest import DroppedSpan
from geneface.portrait.scan import FaceCheck, SourceScan
from geneface.types import VIDEO_RATE_HZ

MIN_SEGMENT_SECONDS = 1.0
MIN_TOTAL_SECONDS = 4.0
MIN_FACE_PX = 48
"""A face narrower than this shows no lips."""

_HEAD_ABOVE, _HEAD_BELOW, _HEAD_ASIDE = 0.42, 0.08, 0.16
"""How far the head with its hair reaches beyond the detector's box, in widths of that box."""
_SIDE_PER_FACE = 2.7
"""Side of the crop in widths of the face box: the head fills some 55 % of the height, shoulders show."""
_HEAD_CENTER = 0.45
"""Height of the head's centre in the crop, from the top."""


@dataclass(frozen=True)
class Square:
    """Region cut out of each picture."""

    x: int
    y: int
    side: int


@dataclass(frozen=True)
class Shot:
    """Consecutive frames of one source that are to be measured."""

    source: int
    """Index into the scans."""
    start: int
    stop: int
    face: tuple[float, float, float, float]
    """Union of the face boxes."""
    face_px: float
    """Median width of the face box."""
    scene: int = 0
    """Shots of one scene share a crop and a background."""

    @property
    def frames(self) -> int:
        return self.stop - self.start


def dropped(scan: SourceScan, start: int, stop: int, reason: str) -> DroppedSpan:
    """A `DroppedSpan` of frames [start, stop)."""
    return DroppedSpan(scan.name, round(start / VIDEO_RATE_HZ, 2), round(stop / VIDEO_RATE_HZ, 2), reason)


def plan_shots(scans: Sequence[SourceScan]) -> tuple[list[Shot], list[DroppedSpan]]:
    """`usable_shots`, if they are enough.

    Raises:
        InputError: nothing, or too little, is usable; names the reason that cost most.
    """
    shots, rest = usable_shots(scans)
    refuse_too_little(sum(shot.frames for shot in shots), rest, [scan.path for scan in scans])
    return shots, rest


def usable_shots(scans: Sequence[SourceScan]) -> tuple[list[Shot], list[DroppedSpan]]:
    """The usable stretches of all sources, and why the rest is not used."""
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
    """Raise an `InputError` if fewer than `MIN_TOTAL_SECONDS` of frames are usable."""
    if frames >= MIN_TOTAL_SECONDS * VIDEO_RATE_HZ:
        return
    subject = paths[0] if len(paths) == 1 else f"the {len(paths)} videos"
    seconds = frames / VIDEO_RATE_HZ
    spans = [span for span in rest if span.reason != _TOO_SHORT] or list(rest)
    if not spans:
        raise InputError(
            f"{subject} gives only {seconds:.1f} s of usable video, at least {MIN_TOTAL_SECONDS:.0f} s are needed",
            "give a longer video, or several clips of the same person (minutes are better)",
        )
    costs: dict[str, float] = {}
    for span in spans:
        costs[span.reason] = costs.get(span.reason, 0.0) + span.stop - span.start
    reason = max(costs, key=lambda key: costs[key])
    first = next(span for span in spans if span.reason == reason)
    raise InputError(
        f"{subject} can't be used, {reason}" + ("" if frames == 0 else f" (only {seconds:.1f} s are usable)"),
        remedy_for(reason),
        f"from {first.start:.2f} to {first.stop:.2f} s" + ("" if len(paths) == 1 else f" of {first.source}"),
    )


def remedy_for(reason: str) -> str:
    """What a user can do about a stretch that is not usable for this reason."""
    return _REMEDIES.get(reason, "give a video of one person who faces the camera and speaks")


_NO_FACE, _TWO_FACES = "no face is seen", "two faces are seen"
_SMALL_FACE = f"the face is narrower than {MIN_FACE_PX} pixels"
_TOO_SHORT = f"the stretch is shorter than {MIN_SEGMENT_SECONDS:g} s"
_REMEDIES = {
    _NO_FACE: "give a video in which one face is seen from the front throughout",
    _TWO_FACES: "cut the picture or the video so that only the person who speaks is seen",
    _SMALL_FACE: "give a closer or larger picture of the face",
    _TOO_SHORT: "give longer stretches without cuts",
    "it has no sound": "give a video with the speech of the person it shows",
    "it is silent": "give a video in which the speech can be heard",
}


def _state(check: FaceCheck) -> str:
    """Why a checked frame can't be used, or ""."""
    if check.box is None:
        return _NO_FACE
    if check.count > 1:
        return _TWO_FACES
    return _SMALL_FACE if check.box[2] - check.box[0] < MIN_FACE_PX else ""


def _split_shot(index: int, scan: SourceScan, start: int, stop: int) -> tuple[list[Shot], list[DroppedSpan]]:
    """Usable stretches of frames [start, stop), in which there is no cut."""
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
            boxes = np.array([check.box for check in checks[first : last + 1] if check.box is not None])
            if end - begin < MIN_SEGMENT_SECONDS * VIDEO_RATE_HZ:
                rest.append(dropped(scan, begin, end, _TOO_SHORT))
            else:
                shots.append(Shot(index, begin, end, _union(boxes), float(np.median(boxes[:, 2] - boxes[:, 0]))))
        first = last + 1
    if not checks:
        rest.append(dropped(scan, start, stop, _TOO_SHORT))
    return shots, rest


def _forgive_single(states: list[str]) -> list[str]:
    """The detector blinks: one bad check between good ones counts as good."""
    return [
        "" if state and 0 < i < len(states) - 1 and not states[i - 1] and not states[i + 1] else state
        for i, state in enumerate(states)
    ]


def _union(boxes: np.ndarray) -> tuple[float, float, float, float]:
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def plan_crops(shots: Sequence[Shot], scans: Sequence[SourceScan]) -> tuple[list[Shot], list[Square]]:
    """Group shots into scenes of one framing, each with one crop.

    Returns:
        the shots with their `scene` set; the square of each scene.
    """
    scenes: list[list[int]] = []
    for index, shot in enumerate(shots):
        for scene in scenes:
            if _fits([shots[member] for member in scene], shot, scans):
                scene.append(index)
                break
        else:
            scenes.append([index])
    numbered = list(shots)
    for number, scene in enumerate(scenes):
        for index in scene:
            numbered[index] = replace(shots[index], scene=number)
    squares = [_square([shots[index] for index in scene], scans[shots[scene[0]].source]) for scene in scenes]
    return numbered, squares


def _fits(members: list[Shot], shot: Shot, scans: Sequence[SourceScan]) -> bool:
    """Whether a shot is framed like the members: same picture size, face as large and at the same place."""
    first, scan = scans[members[0].source], scans[shot.source]
    if (first.width, first.height) != (scan.width, scan.height):
        return False
    size = float(np.median([member.face_px for member in members]))
    if not 0.8 < shot.face_px / size < 1.25:
        return False
    union = _union(np.array([member.face for member in [*members, shot]]))
    return max(union[2] - union[0], union[3] - union[1]) < 1.9 * size


def _square(members: list[Shot], scan: SourceScan) -> Square:
    """Square around all positions of the head, inside the picture."""
    x0, y0, x1, y1 = _union(np.array([member.face for member in members]))
    face = float(np.median([member.face_px for member in members]))
    left, right = x0 - _HEAD_ASIDE * face, x1 + _HEAD_ASIDE * face
    top, bottom = y0 - _HEAD_ABOVE * face, y1 + _HEAD_BELOW * face
    needed = max(right - left, (bottom - top) * 1.25)
    side = int(min(max(_SIDE_PER_FACE * face, needed), scan.width, scan.height))
    x = (left + right) / 2 - side / 2
    y = (top + bottom) / 2 - _HEAD_CENTER * side
    return Square(int(np.clip(round(x), 0, scan.width - side)), int(np.clip(round(y), 0, scan.height - side)), side)
