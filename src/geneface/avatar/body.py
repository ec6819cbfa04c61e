"""The body loop of an avatar: some seconds of the person's own video, read frame by frame in any order.

body.mp4           the whole source pictures: H.264 yuv420p, BT.709, limited range (`io.indexed`)
matte.mp4          the opacity of the person in them: luma, 0 to 255
body.safetensors   `BodyTrack`: poses, landmarks, turning points, blur and grain

Symbols: P frames of the loop, H, W size of its pictures, both even.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from geneface.avatar.body_track import BodyTrack
from geneface.errors import InputError
from geneface.geometry.landmarks import are_keypoints
from geneface.io.indexed import IndexedVideo
from geneface.io.tensors import TensorFile
from geneface.types import ByteArray, FloatArray

BODY_FILE, MATTE_FILE, BODY_TRACK_FILE = "body.mp4", "matte.mp4", "body.safetensors"
BODY_FILES = (BODY_FILE, MATTE_FILE, BODY_TRACK_FILE)
_MAX_FILE_BYTES = {BODY_FILE: 1 << 30, MATTE_FILE: 1 << 30, BODY_TRACK_FILE: 1 << 26}
_REMEDY = "train the avatar again or copy it again"
_CLEAR, _OPAQUE = 6, 249
"""Levels of the stored matte that stand for 0 and 255: what coding leaves around an edge is neither haze nor a hole."""
_STRETCH = np.round(np.clip((np.arange(256) - _CLEAR) / (_OPAQUE - _CLEAR), 0, 1) * 255).astype(np.uint8)


class Body:
    """The loop of one avatar. Any number of threads may read it; a pickled one is opened again where it arrives."""

    def __init__(self, folder: Path, track: BodyTrack, video: IndexedVideo, matte: IndexedVideo) -> None:
        self.folder = folder
        self.track = track
        self._video, self._matte = video, matte
        self.width, self.height = video.width, video.height

    @staticmethod
    def load(folder: Path | str) -> Body:
        """Open the body loop in an avatar's folder; the files are checked, and decoded as frames are asked for.

        Raises:
            InputError: a file is missing, too large, damaged, or does not fit the others.
        """
        folder = Path(folder).resolve()
        for name, most in _MAX_FILE_BYTES.items():
            if not (folder / name).is_file():
                raise InputError(f"the avatar {folder} lacks the file {name}", _REMEDY)
            if (folder / name).stat().st_size > most:
                raise InputError(f"the file {folder / name} is too large to be an avatar's", _REMEDY)
        file = TensorFile(folder / BODY_TRACK_FILE)
        if not are_keypoints(file.metadata.get("landmarks")):
            raise InputError(f"{file.path} is of another set of landmarks", "train the avatar again with this version")
        track = BodyTrack.from_tensors({name: file.get(name) for name in file.names}, str(file.path))
        video, matte = IndexedVideo(folder / BODY_FILE), IndexedVideo(folder / MATTE_FILE, is_grey=True)
        if len(video) != len(track) or len(matte) != len(track):
            raise InputError(f"{BODY_FILE}, {MATTE_FILE} and {BODY_TRACK_FILE} in {folder} differ in length", _REMEDY)
        if (video.width, video.height) != (matte.width, matte.height):
            raise InputError(f"{BODY_FILE} and {MATTE_FILE} in {folder} differ in size", _REMEDY)
        x, y, side = track.crop
        if min(x, y) < -side or x > video.width or y > video.height or side > 4 * max(video.width, video.height):
            raise InputError(f"{file.path} is damaged: its crop is not in the pictures", _REMEDY)
        return Body(folder, track, video, matte)

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether an avatar's folder holds any part of a body loop."""
        return any((folder / name).exists() for name in BODY_FILES)

    def __reduce__(self) -> tuple[Callable[[Path], Body], tuple[Path]]:
        return Body.load, (self.folder,)

    def __len__(self) -> int:
        return len(self.track)

    @property
    def crop(self) -> FloatArray:
        """[3] x, y, side in pixels of the pictures: the square that the avatar's camera sees."""
        return self.track.crop

    @property
    def blur(self) -> FloatArray:
        """[P] see `BodyTrack.blur`."""
        return self.track.blur

    @property
    def grain(self) -> float:
        """See `BodyTrack.grain`."""
        return self.track.grain

    def planes(self, index: int) -> ByteArray:
        """Frame `index`, 0 to P - 1: uint8 [3 H / 2, W], Y then U and V, read-only, in the range of `ops.to_yuv420`.

        Raises:
            InputError: body.mp4 is damaged there.
        """
        return self._video.picture(int(index))

    def matte(self, index: int) -> ByteArray:
        """Opacity of the person in frame `index`, uint8 [H, W], 255 inside.

        Raises:
            InputError: matte.mp4 is damaged there.
        """
        return _STRETCH[self._matte.picture(int(index))]
