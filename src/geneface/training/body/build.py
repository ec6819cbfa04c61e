"""The files of a body loop, from a portrait: body.mp4; then matte.mp4 and body.safetensors, measured on what it shows.

Each is written whole; what an interrupted run finished is kept. Symbols: P frames of the loop, H, W their size, S that
of the portrait's square.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.tracker import open_segmenter
from geneface.avatar.body import BODY_FILE, BODY_TRACK_FILE, MATTE_FILE, Body
from geneface.avatar.body_track import MOST_FRAMES, BodyTrack
from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINT_NAMES
from geneface.io.indexed import IndexedVideo, write_indexed
from geneface.io.tensors import save_tensors
from geneface.portrait.portrait import Portrait
from geneface.portrait.source import SourcePictures
from geneface.training.body.choice import choose_frames
from geneface.training.body.matte import MatteMaker, steady
from geneface.training.body.sharpness import SharpnessMeter
from geneface.training.body.ways import face_pixels, find_jumps, find_turns, look_at, picture_cells
from geneface.types import VIDEO_RATE_HZ, ByteArray, FloatArray, MotionTrack, ProgressFn

DEFAULT_SECONDS = 20.0
MOST_SECONDS = 60.0
_STAGE = "body loop"
assert MOST_SECONDS * VIDEO_RATE_HZ <= MOST_FRAMES


def build_body(portrait: Portrait, folder: Path, seconds: float, progress: ProgressFn) -> str:
    """Choose a loop and write its files into `folder`, which is made; or nothing, if there can be none.

    Args:
        folder: may hold files of an interrupted run on the same portrait and of the same length.
        seconds: of the loop at most; 0: none.
        progress: called with "body loop".

    Returns:
        How long it is, or why there is none, in words for the avatar's card.
    """
    if seconds == 0:
        return "none: not wanted"
    if any(portrait.source(number) is None for number in range(len(portrait.segments))):
        return "none: the portrait holds no source pictures, prepare it again for them"
    chosen = choose_frames(portrait, round(seconds * VIDEO_RATE_HZ))
    if not len(chosen):
        return "none: no second of the training frames is in one piece"
    folder.mkdir(exist_ok=True)
    said = f"{len(chosen) / VIDEO_RATE_HZ:.1f} s of the person's own video"
    if is_whole(folder):
        return said
    loop = _Loop(portrait, chosen)
    if not _is_video(folder / BODY_FILE, len(chosen)):
        write_indexed(folder / BODY_FILE, _told(loop.pictures(), len(chosen), progress))
    video = IndexedVideo(folder / BODY_FILE)
    _write_measured(loop, video, folder, progress)
    return said


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a finished loop."""
    try:
        Body.load(folder)
    except InputError:
        return False
    return True


def _is_video(path: Path, frames: int) -> bool:
    try:
        return len(IndexedVideo(path)) == frames
    except InputError:
        return False


class _Loop:
    """The chosen frames of a portrait."""

    def __init__(self, portrait: Portrait, chosen: NDArray[np.intp]) -> None:
        self._portrait, self._chosen = portrait, chosen
        breaks = (np.diff(chosen) != 1) | (np.diff(portrait.segment[chosen]) != 0)
        self.run = np.concatenate([[0], np.cumsum(breaks)]).astype(np.int32)
        self.track = MotionTrack(portrait.landmarks, portrait.pose)[chosen]
        self.crop = self._source(int(chosen[0])).crop
        self.size = portrait.size

    def places(self) -> FloatArray:
        """[P, K, 2] landmarks in pixels of the source pictures."""
        x, y, side = self.crop
        in_square = face_pixels(self.track, self._portrait.camera)
        return (in_square * (side / self.size) + np.array([x, y])).astype(np.float32)

    def pictures(self) -> Iterator[ByteArray]:
        """The source pictures, RGB uint8 [H, W, 3]."""
        edges = [0, *(np.flatnonzero(np.diff(self.run)) + 1).tolist(), len(self._chosen)]
        for first, last in pairwise(edges):
            index = int(self._chosen[first])
            row = index - self._portrait.frames_of(int(self._portrait.segment[index])).start
            yield from self._source(index).pictures(row, row + last - first)

    def masks(self, number: int) -> ByteArray:
        """[S, S, 2] the portrait's masks of frame `number` of the loop."""
        return self._portrait.frame(int(self._chosen[number]))[1]

    def _source(self, index: int) -> SourcePictures:
        source = self._portrait.source(int(self._portrait.segment[index]))
        assert source is not None
        return source


def _write_measured(loop: _Loop, video: IndexedVideo, folder: Path, progress: ProgressFn) -> None:
    """matte.mp4 and body.safetensors, in one pass over body.mp4."""
    maker = MatteMaker(video.width, video.height, loop.crop, loop.size)
    meter, cells, places = SharpnessMeter(), list[FloatArray](), loop.places()
    grey = np.full((video.height // 2, video.width), 128, np.uint8)

    def mattes() -> Iterator[ByteArray]:
        with _coarse_mattes(video, maker) as coarse:
            for number in range(len(video)):
                luma = video.picture(number)[: video.height].astype(np.float32)
                meter.add(luma, places[number])
                cells.append(picture_cells(luma, loop.crop[2]))
                yield np.concatenate([maker.matte(luma, loop.masks(number), next(coarse)), grey])

    write_indexed(folder / MATTE_FILE, _told(mattes(), len(video), progress, len(video)), is_matte=True)
    look = look_at(np.stack(cells), places, loop.crop, (video.height, video.width), loop.run)
    track = BodyTrack(
        loop.track.pose,
        loop.track.points,
        np.array(loop.crop, np.float32),
        loop.run,
        find_turns(look),
        find_jumps(look),
        meter.blurs(),
        meter.grain(),
    )
    save_tensors(folder / BODY_TRACK_FILE, track.tensors(), {"landmarks": KEYPOINT_NAMES})


@contextmanager
def _coarse_mattes(video: IndexedVideo, maker: MatteMaker) -> Iterator[Iterator[FloatArray | None]]:
    """Steadied mattes of whole pictures, one a frame; None where nobody needs them."""
    if not maker.needs_segmenter:
        yield iter([None] * len(video))
        return
    with open_segmenter() as segmenter:
        yield steady(maker.coarse(video.picture(number), segmenter) for number in range(len(video)))


def _told(pictures: Iterator[ByteArray], count: int, progress: ProgressFn, done: int = 0) -> Iterator[ByteArray]:
    """Pictures, and progress: reading and measuring are a half each."""
    for number, picture in enumerate(pictures):
        progress(_STAGE, done + number, 2 * count)
        yield picture
    if done:
        progress(_STAGE, 2 * count, 2 * count)
