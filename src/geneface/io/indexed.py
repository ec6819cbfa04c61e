"""Videos of ours that are read picture by picture, in any order: H.264 in short closed groups of pictures.

Symbols: P pictures at 25 Hz, H, W their size, both even. A group is the pictures
from one key frame to the next: nothing outside it is needed to decode it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.codec.context import CodecContext
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from geneface.errors import InputError
from geneface.io.encode import GROUP_FRAMES, write_video
from geneface.io.media import MAX_PIXELS, find_video, open_media
from geneface.types import VIDEO_RATE_HZ, ByteArray

MOST_GROUP_FRAMES = 50
_KEPT_GROUPS, _KEPT_BYTES = 2, 32 << 20
"""Decoded groups that are kept: so many, and more while they are small."""
_MOST_GROUP_BYTES = 256 << 20
"""Of one decoded group."""
CRF = 20
"""Quality of x264: about .1 MB a second at 512 x 512 pixels."""
_REMEDY = "train the avatar again or copy it again"


def write_indexed(path: Path | str, planes: Iterable[ByteArray], *, is_matte: bool = False) -> int:
    """Write an MP4 that `IndexedVideo` reads; whole or not at all.

    Args:
        planes: uint8 [3 H / 2, W]: a video's (`ops.to_yuv420`), or a matte's: opacity in the luma, 0 to 255.

    Returns:
        The number of pictures.
    """
    what = "The opacity of the person in recorded pictures" if is_matte else "Recorded pictures of a person"
    tags = {"comment": f"{what}: part of a geneface avatar."}
    return write_video(
        path, planes, None, metadata=tags, crf=CRF, gop=GROUP_FRAMES, preset="medium", is_synthetic=False
    )


@dataclass(frozen=True)
class _Stored:
    """One compressed picture, where it lies in the file."""

    place: int
    size: int
    time: int
    """Number of the picture."""


@dataclass(frozen=True)
class _Group:
    start: int
    """Number of its first picture."""
    stored: tuple[_Stored, ...]
    """In the order of decoding."""


class IndexedVideo:
    """Pictures of a file by number, forwards and backwards alike, in memory that does not grow.

    Any number of threads may read at once: a group is decoded by the first that asks, and the others wait for it.
    Between groups no file stays open, so that a process may fork, and the file move with its folder.
    """

    def __init__(self, path: Path | str, *, is_grey: bool = False) -> None:
        """Read the index and decode the first picture.

        Args:
            is_grey: only the luma counts.

        Raises:
            InputError: it is missing, damaged, or not as `write_indexed` writes.
        """
        self.path = Path(path)
        self._is_grey = is_grey
        with self._opened() as container:
            stream = find_video(container)
            if stream is None or not container.format.name.startswith("mov"):
                raise self._foreign("it is no MP4 with pictures")
            context = stream.codec_context
            if context.name != "h264" or context.pix_fmt != "yuv420p" or context.extradata is None:
                raise self._foreign(f"its pictures are {context.name} {context.pix_fmt}, not h264 yuv420p")
            self.width, self.height = context.width, context.height
            if self.width % 2 or self.height % 2:
                raise self._foreign(f"its size is odd: {self.width}x{self.height}")
            self._extradata = bytes(context.extradata)
            self._groups = self._index(container, stream)
        self._group_of = np.repeat(np.arange(len(self._groups)), [len(group.stored) for group in self._groups])
        self._begin()
        _VIDEOS.add(self)
        self._decode(_Group(0, self._groups[0].stored[:1]))

    def __len__(self) -> int:
        return len(self._group_of)

    def _begin(self) -> None:
        """With nothing decoded."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Future[list[ByteArray]]] = OrderedDict()

    @contextmanager
    def _opened(self) -> Iterator[InputContainer]:
        """The file; what is wrong with it is told as of a part of an avatar."""
        with ExitStack() as stack:
            try:
                container = stack.enter_context(open_media(self.path))
            except InputError as error:
                raise InputError(error.cause, _REMEDY, error.where) from error
            yield container

    def picture(self, index: int) -> ByteArray:
        """Picture `index` of 0 to P - 1, read-only: planes [3 H / 2, W] (Y, then U and V), or the luma [H, W].

        Raises:
            IndexError: there is no such picture.
            InputError: the file is damaged there.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"the video has {len(self)} pictures, none of number {index}")
        number = int(self._group_of[index])
        with self._lock:
            future = self._kept.get(number)
            is_mine = future is None
            if future is None:
                future = self._kept[number] = Future()
                self._make_room()
            self._kept.move_to_end(number)
        if is_mine:
            try:
                future.set_result(self._decode(self._groups[number]))
            except BaseException as error:
                with self._lock:
                    self._kept.pop(number, None)
                future.set_exception(error)
                raise
        return future.result()[index - self._groups[number].start]

    def _make_room(self) -> None:
        """Forget the groups that were not asked for the longest. The newest stays, whatever it takes."""
        bytes_of_picture = self.width * self.height * (2 if self._is_grey else 3) // 2
        sizes = {number: bytes_of_picture * len(self._groups[number].stored) for number in self._kept}
        while len(self._kept) > _KEPT_GROUPS and sum(sizes.values()) > _KEPT_BYTES:
            oldest, _ = self._kept.popitem(last=False)
            del sizes[oldest]

    def _index(self, container: InputContainer, stream: VideoStream) -> list[_Group]:
        """Groups of the stream, which must hold every picture of 25 Hz once, from 0 on."""
        groups: list[list[_Stored]] = []
        most = min(MOST_GROUP_FRAMES, _MOST_GROUP_BYTES // max(1, 3 * self.width * self.height // 2))
        size = self.path.stat().st_size
        try:
            for packet in container.demux(stream):
                if packet.pts is None or packet.time_base is None or packet.pos is None or not packet.size:
                    continue  # the mark of the end
                time = packet.pts * packet.time_base * VIDEO_RATE_HZ
                if time.denominator != 1 or packet.pos < 0 or packet.pos + packet.size > size:
                    raise self._foreign("its pictures are not at 25 a second from 0 on")
                if packet.is_keyframe:
                    groups.append([])
                if not groups or len(groups[-1]) == most:
                    raise self._foreign("key frames are missing")
                groups[-1].append(_Stored(packet.pos, packet.size, int(time)))
        except (av.error.FFmpegError, OSError) as error:
            raise self._damaged() from error
        start, found = 0, list[_Group]()
        for group in groups:
            if sorted(picture.time for picture in group) != list(range(start, start + len(group))):
                raise self._foreign("its pictures are not at 25 a second from 0 on")
            found.append(_Group(start, tuple(group)))
            start += len(group)
        if not found:
            raise self._foreign("it has no pictures")
        return found

    def _decode(self, group: _Group) -> list[ByteArray]:
        """All pictures of a group, in the order in which they are shown."""
        decoder = CodecContext.create("h264", "r")
        decoder.extradata = self._extradata
        # One thread: whoever draws has the other cores. What is damaged is refused instead of being painted over.
        decoder.options = {"threads": "1", "max_pixels": str(MAX_PIXELS), "err_detect": "explode"}
        pictures: list[ByteArray] = []
        try:
            with open(self.path, "rb") as file:
                for stored in group.stored:
                    file.seek(stored.place)
                    packet = Packet(file.read(stored.size))
                    packet.pts = packet.dts = stored.time
                    packet.time_base = Fraction(1, VIDEO_RATE_HZ)
                    pictures += map(self._copy, decoder.decode(packet))  # pyright: ignore[reportAttributeAccessIssue]
            pictures += map(self._copy, decoder.decode(None))  # pyright: ignore[reportAttributeAccessIssue]
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._damaged() from error
        if len(pictures) != len(group.stored):
            raise self._damaged()
        return pictures

    def _copy(self, frame: VideoFrame) -> ByteArray:
        """The planes of a decoded picture without the decoder's padding."""
        if (frame.width, frame.height, frame.format.name) != (self.width, self.height, "yuv420p") or frame.is_corrupt:
            raise ValueError("a picture of another kind")
        rows = self.height if self._is_grey else 3 * self.height // 2
        planes = np.empty(rows * self.width, np.uint8)
        begin = 0
        for plane in frame.planes[: 1 if self._is_grey else 3]:
            end = begin + plane.width * plane.height
            padded = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)  # pyright: ignore
            planes[begin:end].reshape(plane.height, plane.width)[:] = padded[: plane.height, : plane.width]
            begin = end
        planes.flags.writeable = False
        return planes.reshape(rows, self.width)

    def _foreign(self, why: str) -> InputError:
        return InputError(f"{self.path} is not a video that this version wrote ({why})", _REMEDY)

    def _damaged(self) -> InputError:
        return InputError(f"the video {self.path} is damaged", _REMEDY)


_VIDEOS: weakref.WeakSet[IndexedVideo] = weakref.WeakSet()
"""All of this process."""


def _begin_in_child() -> None:
    """After a fork the threads that decoded, or held a lock, are in the parent alone: nobody may wait for them."""
    for video in list(_VIDEOS):
        video._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
