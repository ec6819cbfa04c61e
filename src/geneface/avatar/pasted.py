"""Pictures of the person's own video with another mouth: `body="source"`.

Each picture is a decoded frame of the avatar's body loop; the lower face is drawn at that frame's head pose and pasted
into it (`render.paste`). What does not change has the bits that were decoded, in the planes that an encoder takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geneface import ops
from geneface.avatar.body import Body
from geneface.avatar.view import View
from geneface.errors import InputError
from geneface.imaging.foreground import foreground
from geneface.imaging.resize import shrink_or_grow
from geneface.render import planes as yuv
from geneface.render.paste import Pasted, Recorded, paste, seam_window, spoken_face
from geneface.render.renderer import Renderer, Window
from geneface.types import ByteArray, FloatArray


@dataclass(frozen=True)
class PastedFrame:
    """One picture; its arrays are its own."""

    planes: ByteArray
    """[3 H / 2, W], see `render.planes`."""
    opacity: ByteArray | None = None
    """[H, W] of the person; None where it was not asked for."""
    plate: FloatArray | None = None
    """[H, W, 3] what is put behind the person, in 0..1; None: what was recorded."""
    recorded_plate: FloatArray | None = None
    """[H, W, 3] what was behind the person, where that is known."""

    def to_uint8(self) -> ByteArray:
        """[H, W, 3] RGB."""
        return yuv.picture(self.planes) if self.plate is None else ops.to_uint8(self._composed)

    def to_yuv420(self) -> ByteArray:
        """[3 H / 2, W] planes for `io.encode.write_video`."""
        return self.planes if self.plate is None else ops.to_yuv420(self._composed)

    def to_rgba(self) -> ByteArray:
        """[H, W, 4] with straight alpha; the colours near the edge are the person's alone."""
        if self.opacity is None:
            raise InputError("these pictures have no opacity", "render webm-alpha, or use Avatar.drawn")
        colour = np.round(255 * self._person).astype(np.uint8)
        return np.dstack([np.where(self.opacity[..., None] > 0, colour, 0), self.opacity])

    @property
    def _person(self) -> FloatArray:
        """[H, W, 3] the person's colours without what was behind them."""
        assert self.opacity is not None
        picture = yuv.picture(self.planes).astype(np.float32) / 255
        return foreground(picture, self.opacity.astype(np.float32) / 255, self.recorded_plate)

    @property
    def _composed(self) -> FloatArray:
        assert self.opacity is not None and self.plate is not None
        alpha = (self.opacity.astype(np.float32) / 255)[..., None]
        return np.ascontiguousarray(self._person * alpha + self.plate * (1 - alpha))


class PastedPictures:
    """Makes the pictures of one view; any number of threads may use it."""

    def __init__(
        self,
        body: Body,
        renderer: Renderer,
        view: View,
        *,
        has_opacity: bool = False,
        plate: FloatArray | None = None,
        recorded_plate: FloatArray | None = None,
    ) -> None:
        """`plate`, `recorded_plate`: of the view's size, see `PastedFrame`; a plate needs the opacity."""
        self._body, self._renderer, self._view = body, renderer, view
        self._has_opacity = has_opacity or plate is not None
        self._plate, self._recorded_plate = plate, recorded_plate

    def picture(self, spoken: FloatArray, index: int) -> PastedFrame:
        """Frame `index` of the loop with the lower face of landmarks [K, 3]."""
        view, track = self._view, self._body.track
        planes = yuv.resized(yuv.cut(self._body.planes(index), view.region), view.height, view.width)
        if not planes.flags.writeable:
            planes = planes.copy()
        recorded = Recorded(
            track.landmarks[index],
            track.pose.rotation[index],
            view.shifted(track.pose.translation[index]),
            float(track.blur[index]) * view.scale,
            # In a smaller picture several pixels of grain make one.
            track.grain * min(view.scale, 1.0),
            track.pose.torso_at(index),
            index,
        )
        face = spoken_face(recorded.landmarks, spoken)
        window = self._inside(seam_window(recorded, face, view.camera))
        pasted = None
        if window is not None:
            at = Window(view.left + window.left, view.top + window.top, window.width, window.height)
            picture = yuv.to_rgb(planes, at)
            pasted = paste(picture, recorded, spoken, self._renderer, view.camera, window)
            yuv.add(planes, at, pasted.change)
        opacity = self._opacity(index, pasted) if self._has_opacity else None
        return PastedFrame(planes, opacity, self._plate, self._recorded_plate)

    def _inside(self, window: Window | None) -> Window | None:
        """The part of a window of the camera's picture that lies in the output."""
        if window is None:
            return None
        view = self._view
        left, top = max(window.left, -view.left), max(window.top, -view.top)
        right = min(window.left + window.width, view.width - view.left)
        bottom = min(window.top + window.height, view.height - view.top)
        return Window(left, top, right - left, bottom - top) if right > left and bottom > top else None

    def _opacity(self, index: int, pasted: Pasted | None) -> ByteArray:
        """The recorded frame's, and in what was replaced the drawing's."""
        view = self._view
        matte = self._body.matte(index)[view.region.rows, view.region.columns]
        matte = shrink_or_grow(matte, view.height, view.width)
        if pasted is not None:
            rows = slice(view.top + pasted.window.top, view.top + pasted.window.top + pasted.window.height)
            columns = slice(view.left + pasted.window.left, view.left + pasted.window.left + pasted.window.width)
            own = matte[rows, columns].astype(np.float32)
            matte[rows, columns] = np.round(own + pasted.mask * (255 * pasted.opacity - own)).astype(np.uint8)
        return matte
