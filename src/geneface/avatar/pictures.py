"""An avatar's motion as pictures: all of them drawn, or the lower face put on frames of the person's own video.

Which of both is decided row by row, by `MotionTrack.body`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.background import KEEP, background_plate
from geneface.avatar.body import Body
from geneface.avatar.folder import AvatarFiles
from geneface.avatar.inputs import motion_values, picture_size
from geneface.avatar.pasted import PastedPictures
from geneface.avatar.view import SOURCE, Frame, Size, View, asks_for_source, check_frame, source_view
from geneface.errors import InputError
from geneface.render.composite import resize
from geneface.render.renderer import Picture, RenderedFrame, Renderer
from geneface.types import ByteArray, Camera, FloatArray, MotionTrack

_WORKERS = 2
"""Threads that put lower faces on recorded pictures."""
RendererOver = Callable[[FloatArray], Renderer]
"""The avatar's renderer over a plate [H, W, 3]."""


def drawn_frames(
    files: AvatarFiles,
    renderer_over: RendererOver,
    motion: Iterable[MotionTrack],
    size: int | None,
    background: str | Path,
) -> Generator[RenderedFrame, None, None]:
    """Every row drawn whole, over the avatar's plate or another. Size and background are checked at once."""
    camera = _camera(files, size)
    renderer = renderer_over(background_plate(background, files.plate))

    def frames() -> Generator[RenderedFrame, None, None]:
        for piece in motion:
            track = motion_values(piece)
            yield from _all_drawn(renderer, camera, track)

    return frames()


def _all_drawn(renderer: Renderer, camera: Camera, track: MotionTrack) -> Iterator[RenderedFrame]:
    pose = track.pose
    torsos = [None] * len(track) if pose.torso is None else pose.torso
    for points, rotation, translation, torso in zip(track.points, pose.rotation, pose.translation, torsos, strict=True):
        yield renderer.render(points, rotation, translation, camera, torso=torso)


def pieces_of(motion: MotionTrack | Iterable[MotionTrack]) -> Iterable[MotionTrack]:
    """The pieces of a motion, one if it is whole."""
    if not isinstance(motion, MotionTrack | Iterable):
        raise InputError(f"the motion is of the type {type(motion).__name__}", "give a MotionTrack, or several")
    return [motion] if isinstance(motion, MotionTrack) else motion


def as_bytes(pictures: Generator[Picture, None, None]) -> Generator[ByteArray, None, None]:
    """RGB of each picture; closes them when it is closed."""
    with closing(pictures):
        for picture in pictures:
            yield picture.to_uint8()


class Pictures:
    """Makes the pictures of one output: one size, one background."""

    def __init__(
        self,
        files: AvatarFiles,
        renderer_over: RendererOver,
        *,
        size: Size | None = None,
        frame: Frame | None = None,
        background: str | Path = KEEP,
        has_opacity: bool = False,
    ) -> None:
        """Checks all of it.

        Args:
            size: pixels of the shorter side; "source": as many as were recorded; None: the size of the training.
            frame: "crop", the square around the head; "source", the whole recorded picture; None: the whole picture
                with the size "source", otherwise the square.
            has_opacity: the pictures' opacity is wanted.

        Raises:
            InputError: one that can't be used, or that asks for a recorded picture which the avatar does not carry.
        """
        self._files, self._renderer_over = files, renderer_over
        if isinstance(size, str) and size != SOURCE:
            raise InputError(f"the size is {size!r}", "give pixels, or source")
        self._needs_body = asks_for_source(size, frame)
        default: Frame = "source" if asks_for_source(size) else "crop"
        self._frame: Frame = default if frame is None else check_frame(frame)
        self._size: Size | None = size if size is None or isinstance(size, str) else picture_size(size)
        self._background = background
        self._own_plate = background_plate(background, files.plate)
        self._replaces = self._own_plate is not files.plate
        self._has_opacity = has_opacity
        if self._needs_body and files.body is None:
            raise InputError(
                f"the avatar {files.config.name} carries no video of the person",
                "give the size in pixels and the frame crop, or train it with --body-seconds",
            )
        self._pasted = lru_cache(maxsize=1)(self._make_pasted)
        self._drawn = lru_cache(maxsize=1)(self._make_drawn)

    def of(self, motion: Iterable[MotionTrack]) -> Generator[Picture, None, None]:
        """The pictures of a motion, as its pieces are asked for."""
        body = self._files.body
        for piece in motion:
            track = motion_values(piece)
            if track.body is None or body is None:
                # The motion of another person's video is drawn whole by an avatar without one.
                yield from _all_drawn(*self._drawn(), track)
                continue
            _refuse_other_video(track, track.body, body)
            yield from _side_by_side(self._pasted().picture, zip(track.points, track.body.tolist(), strict=True))

    def _make_drawn(self) -> tuple[Renderer, Camera]:
        if self._needs_body:
            raise InputError(
                "this motion is drawn whole, so that there is no recorded picture around it",
                "give the size in pixels and the frame crop, or the body source",
            )
        assert not isinstance(self._size, str)
        return self._renderer_over(self._own_plate), _camera(self._files, self._size)

    def _make_pasted(self) -> PastedPictures:
        files, body = self._files, self._files.body
        assert body is not None
        size = self._size if self._size is not None or self._frame == "source" else files.config.size
        view = source_view(body.width, body.height, body.crop, files.config.focal, size, self._frame)
        plate = self._plate_behind(view) if self._replaces else None
        known = _plate_in(view, files.plate) if self._has_opacity or self._replaces else None
        return PastedPictures(
            body,
            self._renderer_over(files.plate),
            view,
            has_opacity=self._has_opacity,
            plate=plate,
            recorded_plate=known,
        )

    def _plate_behind(self, view: View) -> FloatArray:
        """What replaces the recorded background: round things stay round."""
        is_square = view.width == view.height
        aspect = view.width / view.height
        plate = self._own_plate if is_square else background_plate(self._background, self._files.plate, aspect)
        return resize(plate, view.height, view.width)


def _side_by_side(
    make: Callable[[FloatArray, int], Picture], rows: Iterable[tuple[FloatArray, int]]
) -> Generator[Picture, None, None]:
    """make(*row) of each row, in their order, made by `_WORKERS` threads: most of a picture is work on one core."""
    process = os.getpid()
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="picture") as pool:
        waiting: deque[Future[Picture]] = deque()
        try:
            for row in rows:
                waiting.append(pool.submit(make, *row))
                if len(waiting) > _WORKERS:
                    yield waiting.popleft().result()
                    _refuse_child(process)
            while waiting:
                yield waiting.popleft().result()
                _refuse_child(process)
        finally:
            # Closed, or broken off: what nobody waits for is not begun.
            pool.shutdown(cancel_futures=True)


def _refuse_child(process: int) -> None:
    """A fork's child would wait for ever for threads of its parent."""
    if os.getpid() != process:
        raise RuntimeError("the threads behind this generator live in the parent process: begin a new one")


def _refuse_other_video(track: MotionTrack, frames: NDArray[np.int32], body: Body) -> None:
    """Refuse a motion that names frames of another video than the body loop: its heads are elsewhere."""
    known = body.track.pose
    if len(frames) and not (
        0 <= frames.min() <= frames.max() < len(body)
        and np.allclose(track.pose.rotation, known.rotation[frames], atol=1e-4)
        and np.allclose(track.pose.translation, known.translation[frames], atol=1e-4)
    ):
        raise InputError(
            "the motion is of another video than the one that the avatar carries",
            "draw it with the avatar that made it",
        )


def _plate_in(view: View, plate: FloatArray) -> FloatArray | None:
    """The avatar's plate where the view shows it; None where the view shows more than that."""
    if view.camera.width < max(view.width, view.height) - 2:
        return None
    return resize(plate, view.height, view.width)


def _camera(files: AvatarFiles, size: int | None) -> Camera:
    pixels = files.config.size if size is None else picture_size(size)
    return Camera(files.config.focal, pixels, pixels)
