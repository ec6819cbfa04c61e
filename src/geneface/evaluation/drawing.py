"""Draws an avatar's frames, whole or pasted into recorded ones, and times the renderer alone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from geneface.evaluation.schema import Figure, MetricRow, MetricTable, figure
from geneface.evaluation.subjects import EvaluatedAvatar
from geneface.render.composite import from_uint8
from geneface.render.paste import Recorded, paste, seam_window, spoken_face
from geneface.render.renderer import RenderedFrame
from geneface.types import ByteArray, Camera, FloatArray, MotionTrack

_WARM_UP_FRAMES = 3
"""The first frames pay for buffers and threads: they are drawn but not timed."""


class RenderClock:
    """Times the renderer alone while frames are drawn for other ends."""

    def __init__(self, avatar: EvaluatedAvatar, size: int) -> None:
        """`size`: pixels along the side of a picture."""
        self._avatar, self._size = avatar, size
        self._frames, self._seconds = 0, 0.0

    def draw(self, motion: MotionTrack, plate: FloatArray | None = None) -> Iterator[ByteArray]:
        """The motion's frames [H, W, 3], over the avatar's plate or over [H, W, 3] in [0, 1]."""
        frames = self._avatar.drawn(motion, size=self._size)
        for _ in range(len(motion)):
            begin = time.perf_counter()
            frame = next(frames)
            image = frame.to_uint8()
            self._frames += 1
            if self._frames > _WARM_UP_FRAMES:
                self._seconds += time.perf_counter() - begin
            yield image if plate is None else _over(frame, plate)

    def rate(self) -> Figure:
        """Frames a second."""
        timed = self._frames - _WARM_UP_FRAMES
        value = timed / self._seconds if timed > 0 and self._seconds > 0 else float("nan")
        return figure(value, f"fewer than {_WARM_UP_FRAMES + 1} frames were drawn")


def _over(frame: RenderedFrame, plate: FloatArray) -> ByteArray:
    """The frame with its plate exchanged: what shines through it is known."""
    moved = frame.rgb + (1 - frame.opacity[..., None]) * (plate - frame.plate)
    return np.round(np.clip(moved, 0, 1) * 255).astype(np.uint8)


class LowerFaces:
    """Pastes an avatar's lower face into recorded pictures, as its videos on recorded frames are made."""

    def __init__(self, avatar: EvaluatedAvatar, camera: Camera) -> None:
        """`camera`: of the recorded pictures."""
        body = avatar.files.body
        self._renderer, self._camera = avatar.renderer, camera
        self._grain = 0.0 if body is None else body.grain

    def paste(
        self, picture: ByteArray, recorded: MotionTrack, spoken: FloatArray, *, number: int, blur: float = 0.0
    ) -> tuple[ByteArray, FloatArray]:
        """Put the lower face of landmarks into a picture.

        Args:
            picture: [H, W, 3].
            recorded: one row, of the picture itself.
            spoken: [K, 3] the landmarks of which the lower face is drawn.
            number: of the picture in its video.
            blur: of the picture, see `render.paste.Recorded`; of held-out frames it is not known.

        Returns:
            The changed picture [H, W, 3], and how much of each pixel is drawn [H, W].
        """
        rotation, translation = recorded.pose.rotation[0], recorded.pose.translation[0]
        at = Recorded(recorded.points[0], rotation, translation, blur, self._grain, recorded.pose.torso_at(0), number)
        image, mask = np.array(picture), np.zeros(picture.shape[:2], np.float32)
        window = seam_window(at, spoken_face(at.landmarks, spoken), self._camera)
        if window is not None:
            part = window.rows, window.columns
            pasted = paste(from_uint8(image[part]), at, spoken, self._renderer, self._camera, window)
            image[part] = np.round(np.clip(pasted.image, 0, 1) * 255).astype(np.uint8)
            mask[part] = pasted.mask
        return image, mask


def speed_table(name: str, rate: Figure, camera: Camera) -> MetricTable:
    """Frames a second of the renderer alone."""
    row = MetricRow(name=name, role="evaluated", figures={"render_rate": rate})
    note = f"{camera.width} x {camera.height} pixels, the renderer alone; other programs on the machine slow it down."
    return MetricTable(title="Speed", note=note, rows=[row])
