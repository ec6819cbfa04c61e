"""First look at a source: size, cuts, where faces are, whether there is sound. Frames count at 25 Hz.

Boxes are (x0, y0, x1, y1) in source pixels, as the face detector draws them: from the hairline to the chin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geneface.analysis.tracker import FaceDetector, comparable_faces, open_detector
from geneface.errors import InputError, MissingExtraError
from geneface.imaging.cuts import find_cuts, picture_change, thumbnail
from geneface.io.audio import read_audio
from geneface.io.media import probe
from geneface.io.video import VideoFrame, read_frames
from geneface.portrait.combing import comb_share, is_combed
from geneface.portrait.speech_presence import holds_speech
from geneface.signal.timing import whole_frames
from geneface.types import VIDEO_RATE_HZ, ByteArray, FloatArray, Waveform
from geneface.workers import advance

FACE_CHECK_FRAMES = 5
"""A face is looked for in every fifth frame."""
_CLOSER_WIDTHS, _CLOSER_SHARE = 6.0, 0.7
"""Where a face was, so many of its widths are looked at again, if that is less than this share of the picture."""
_PARTS_FRAMES, _PART_PX = 25, 360
"""How often all parts of a picture are looked at where no face is seen, and their least side."""
_TURN_FRAMES, _TURN_LOOKS, _TURN_LIMIT = 25, 5, 40
"""How a face that stands on its side or on its head is looked for: in so many frames with a face, this far apart, in
at most so many frames."""
_TURN_SCORE, _TURN_MARGIN, _UPRIGHT_SCORE = 0.85, 0.04, 0.9
"""A turned picture is right if the detector is this sure of its face, and by so much surer than of the picture as it
is; a picture whose face is found with `_UPRIGHT_SCORE` needs no other look. Upright faces reach .92 to .96, the same
faces on their side .74 to .88, on their head .56 to .76."""
_COMB_LOOKS, _COMB_PX = 60, 640
"""Woven fields are looked for in so many pictures in which something moves, in their middle."""
_SILENCE_PEAK = 10 ** (-50 / 20)
"""Sound that never exceeds -50 dB of full scale is silence."""


@dataclass(frozen=True)
class FaceCheck:
    """Faces in one frame."""

    frame: int
    box: tuple[float, float, float, float] | None
    """The largest face, or None."""
    count: int
    """Faces of comparable size."""


@dataclass(frozen=True)
class SourceScan:
    """What a first pass over a source finds."""

    path: str
    width: int
    height: int
    frames: int
    frame_rate: float
    is_variable: bool
    repeats: int
    """Frames of the 25 Hz grid that repeat the one before."""
    cuts: tuple[int, ...]
    """First frames of the shots after a cut."""
    checks: tuple[FaceCheck, ...]
    sound: str
    """"" if there is sound, otherwise what is wrong with it."""
    changes: tuple[str, ...] = ()
    """What reading does to pictures that are not ordinary (`VideoInfo.changes`)."""
    combed: bool = False
    """Two fields are woven into each picture, though the file does not say so."""
    turns: int = 0
    """Quarter turns counterclockwise that set the face upright; sizes and boxes are those of the turned picture."""

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return Path(self.path).name

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SourceScan:
        """The inverse of `to_json`."""
        checks = tuple(
            FaceCheck(check["frame"], tuple(check["box"]) if check["box"] else None, check["count"])
            for check in values["checks"]
        )
        return cls(
            **{**values, "cuts": tuple(values["cuts"]), "checks": checks, "changes": tuple(values.get("changes", ()))}
        )


def read_pictures(path: Path | str, turns: int) -> Iterator[VideoFrame]:
    """`read_frames` at 25 Hz, turned by so many quarter turns counterclockwise."""
    for frame in read_frames(path):
        yield replace(frame, image=np.ascontiguousarray(np.rot90(frame.image, turns))) if turns else frame


def refuse_unreadable(videos: Sequence[Path]) -> None:
    """Open each video, so that a bad one among many is named before any work.

    Raises:
        InputError: one can't be opened or has no pictures; says how many others are as bad.
    """
    errors: list[InputError] = []
    for video in videos:
        try:
            if probe(video).video is None:
                raise _no_pictures(video)
        except InputError as error:
            errors.append(error)
    if len(errors) > 1:
        first, count = errors[0], len(errors) - 1
        others = f"(and {count} more of the {len(videos)} videos can't be used; `geneface check` lists them)"
        raise InputError(first.cause, first.remedy, f"{first.where} {others}".strip())
    if errors:
        raise errors[0]


def _no_pictures(path: Path) -> InputError:
    return InputError(f"{path} has no pictures", "give a video that shows a face")


def expected_frames(path: Path) -> int:
    """About how many frames `scan_source` will look through; 0 where the file does not say."""
    try:
        video = probe(path).video
    except InputError:
        return 0
    return round(video.frame_count * VIDEO_RATE_HZ / video.frame_rate) if video and video.frame_rate > 0 else 0


Scanned = tuple[SourceScan, Waveform | None]
"""What was seen of a source, and its sound; None where that can't be used."""


def scan_or_error(path: Path) -> Scanned | InputError:
    """`scan_source`, with what is wrong with the file as a value."""
    try:
        return scan_source(path)
    except MissingExtraError:
        raise
    except InputError as error:
        return error


def scan_source(path: Path) -> Scanned:
    """Look through a video once, and hear its sound once.

    Raises:
        InputError: it can't be read as a video.
    """
    info = probe(path)
    if info.video is None:
        raise _no_pictures(path)
    checks: list[FaceCheck] = []
    differences: list[float] = []
    gaps: set[int] = set()
    combs: list[float] = []
    before: NDArray[np.float32] | None = None
    last: ByteArray | None = None
    frames = repeats = 0
    size = (info.video.width, info.video.height)
    with open_detector() as detector:
        turns, search = _find_turns(detector, path), FaceSearch(detector)
        for index, frame in enumerate(read_pictures(path, turns)):
            small = thumbnail(frame.image)
            differences.append(0.0 if before is None else picture_change(before, small))
            before = small
            if frame.is_cut:
                gaps.add(index)
            if index % FACE_CHECK_FRAMES == 0:
                checks.append(search.check(frame.image, index))
                if last is not None and len(combs) < _COMB_LOOKS:
                    combs += _combs(np.rot90(last, -turns), np.rot90(frame.image, -turns))
            last = frame.image
            advance(1)
            frames, repeats = index + 1, repeats + frame.is_repeat
            size = frame.image.shape[1], frame.image.shape[0]
    sound = read_audio(path) if info.audio is not None else None
    fault = "it has no sound" if sound is None else _sound_fault(sound.samples)
    found = SourceScan(
        path=str(path),
        width=size[0],
        height=size[1],
        frames=frames,
        frame_rate=info.video.frame_rate,
        is_variable=info.video.is_variable,
        repeats=repeats,
        cuts=tuple(sorted(gaps.union(find_cuts(differences)))),
        checks=tuple(checks),
        sound=fault,
        changes=info.video.changes,
        combed=is_combed(combs),
        turns=turns,
    )
    return found, None if fault else sound


def _combs(before: ByteArray, after: ByteArray) -> list[float]:
    """`comb_share` of the middle of two pictures as they are in the file; empty where too little moves."""
    height, width = after.shape[:2]
    rows = slice(max(0, (height - _COMB_PX) // 2), (height + _COMB_PX) // 2)
    columns = slice(max(0, (width - _COMB_PX) // 2), (width + _COMB_PX) // 2)
    share = comb_share(before[rows, columns], after[rows, columns])
    return [] if share is None else [share]


def _find_turns(detector: FaceDetector, path: Path) -> int:
    """Quarter turns that set the faces of a video upright: the same in all pictures that were looked at, or 0."""
    scores: list[list[float]] = []
    for index, frame in enumerate(read_frames(path)):
        if index % _TURN_FRAMES:
            continue
        found = [detector.score(np.rot90(frame.image, turns)) for turns in range(4)]
        if found[0] == max(found) and found[0] >= _UPRIGHT_SCORE:
            return 0
        if max(found) > 0:
            scores.append(found)
        if len(scores) == _TURN_LOOKS or index >= _TURN_LIMIT * _TURN_FRAMES:
            break
    return choose_turns(scores)


def choose_turns(scores: ArrayLike) -> int:
    """Quarter turns after which faces are upright.

    Args:
        scores: [N, 4] how sure the detector is of a face in N pictures, turned by 0 to 3 quarter turns.
    """
    values = np.asarray(scores, np.float64).reshape(-1, 4)
    best = values.argmax(1)
    if not len(values) or (best != best[0]).any():
        return 0
    middle = np.median(values, axis=0)
    turns = int(best[0])
    is_sure = middle[turns] >= _TURN_SCORE and middle[turns] >= middle[0] + _TURN_MARGIN
    return turns if is_sure else 0


class FaceSearch:
    """Looks for faces in the frames of one video, in their order.

    The detector sees 192 pixels of a picture: a face of 80 pixels in 1920 is lost now and then. Where none is seen in
    the whole picture, it looks closer at where the last one was, and now and then at all parts of a large picture.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._last: FloatArray | None = None

    def check(self, image: ByteArray, frame: int) -> FaceCheck:
        """Faces in one frame."""
        boxes = self._detector.boxes(image)
        if not len(boxes):
            boxes = self._closer(image, frame)
        if not len(boxes):
            return FaceCheck(frame, None, 0)
        self._last = boxes[0]
        x0, y0, x1, y1 = (float(value) for value in boxes[0])
        return FaceCheck(frame, (x0, y0, x1, y1), comparable_faces(boxes))

    def _closer(self, image: ByteArray, frame: int) -> FloatArray:
        """[N, 4] boxes in the first part of the picture that shows a face."""
        for x0, y0, x1, y1 in self._windows(image.shape[0], image.shape[1], frame):
            found = self._detector.boxes(np.ascontiguousarray(image[y0:y1, x0:x1]))
            if len(found):
                return found + np.array([x0, y0, x0, y0], np.float32)
        return np.zeros((0, 4), np.float32)

    def _windows(self, height: int, width: int, frame: int) -> Iterator[tuple[int, int, int, int]]:
        if self._last is not None:
            x0, y0, x1, y1 = (float(value) for value in self._last)
            reach = _CLOSER_WIDTHS / 2 * (x1 - x0)
            x, y = (x0 + x1) / 2, (y0 + y1) / 2
            left, right = (int(np.clip(value, 0, width)) for value in (x - reach, x + reach))
            top, bottom = (int(np.clip(value, 0, height)) for value in (y - reach, y + reach))
            # In a window that is nearly the picture there is no more to see than in the picture.
            if 0 < max(right - left, bottom - top) < _CLOSER_SHARE * max(height, width):
                yield left, top, right, bottom
        side = max(_PART_PX, min(height, width) // 2)
        if frame % _PARTS_FRAMES == 0 and max(height, width) > side / _CLOSER_SHARE:
            for top in _starts(height, side):
                for left in _starts(width, side):
                    yield left, top, min(left + side, width), min(top + side, height)


def _starts(length: int, side: int) -> list[int]:
    """Where windows of this side begin that cover a length, half of each over the next one."""
    if length <= side:
        return [0]
    count = 1 + -(-2 * (length - side) // side)
    return np.linspace(0, length - side, count).astype(int).tolist()


def _sound_fault(samples: FloatArray) -> str:
    """Why a sound can't be used; empty if it can."""
    if not whole_frames(len(samples)):
        return "its sound is empty"
    if float(np.abs(samples).max()) < _SILENCE_PEAK:
        return "it is silent"
    return "" if holds_speech(samples) else "no speech is heard in it"
