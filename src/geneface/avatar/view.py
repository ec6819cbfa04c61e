"""Which part of the person's own video is shown, how large, and where in it the avatar's camera looks.

A view has output pixels; the square that the camera sees lies in it at `left`, `top`, `side` pixels wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from geneface.avatar.inputs import picture_size
from geneface.errors import InputError
from geneface.render.renderer import Window
from geneface.types import Camera, FloatArray

Frame = Literal["crop", "source"]
FRAMES: tuple[Frame, ...] = get_args(Frame)
SOURCE: Literal["source"] = "source"
Size = int | Literal["source"]
_LONGEST_PX = 8192
"""Sides of pictures: more than the longest of any recording that training keeps, and less than encoders refuse."""


def asks_for_source(*values: object) -> bool:
    """Whether one of them, a size or a frame, means what was recorded."""
    return any(isinstance(value, str) and value == SOURCE for value in values)


@dataclass(frozen=True)
class View:
    """A part of the recorded pictures, and the size at which it is shown."""

    region: Window
    """The part, in pixels of the recorded pictures; all even."""
    width: int
    height: int
    """Of the output, even."""
    camera: Camera
    """The avatar's, at the size that its square has in the output."""
    left: int
    top: int
    """Where the camera's picture begins in the output, even; it may lie outside a little."""
    beyond: tuple[float, float]
    """What is left of the square's true place right and below of that, output pixels."""

    @property
    def scale(self) -> float:
        """Output pixels for one of the recorded pictures."""
        return self.width / self.region.width

    def shifted(self, translation: FloatArray) -> FloatArray:
        """A head's translation [3] that puts it where it is, although the camera's picture begins at whole pixels."""
        per_pixel = -translation[2] / (self.camera.focal * self.camera.width)
        x, y = self.beyond
        return translation + np.array([x * per_pixel, -y * per_pixel, 0], np.float32)


def source_view(width: int, height: int, crop: FloatArray, focal: float, size: Size | None, frame: Frame) -> View:
    """The view of recorded pictures of width x height pixels.

    Args:
        crop: [3] x, y and side of the camera's square in them.
        focal: of the camera, in widths of its square.
        size: pixels: the width of the square, or the shorter side of the whole picture; "source" or None: as recorded.
        frame: "crop", the camera's square, or "source", the whole picture.

    Raises:
        InputError: a size that can't be drawn.
    """
    x, y, side = (float(value) for value in crop)
    if frame == "source":
        region = Window(0, 0, width, height)
    else:
        # The square may stick out by the part of a pixel that an even size lacks.
        square = max(2, min(_even(side), width, height))
        left, top = (min(max(_even(place), 0), room - square) for place, room in ((x, width), (y, height)))
        region = Window(left, top, square, square)
    short = min(region.width, region.height)
    scale = 1.0 if size is None or isinstance(size, str) else picture_size(size) / short
    out_width, out_height = max(2, _even(region.width * scale)), max(2, _even(region.height * scale))
    if max(out_width, out_height) > _LONGEST_PX:
        raise InputError(f"the picture would be {out_width}x{out_height} pixels", "give a smaller size")
    scale = out_width / region.width
    pixels = max(1, round(side * scale))
    places = ((x - region.left) * scale, (y - region.top) * scale)
    left, top = (_even(place) for place in places)
    beyond = places[0] - left, places[1] - top
    return View(region, out_width, out_height, Camera(focal, pixels, pixels), left, top, beyond)


def check_frame(frame: object) -> Frame:
    """A choice of frame that somebody gave.

    Raises:
        InputError: there is no such choice.
    """
    for known in FRAMES:
        if isinstance(frame, str) and frame == known:
            return known
    raise InputError(f"there is no frame {frame!r}", f"choose one of: {', '.join(FRAMES)}")


def _even(value: float) -> int:
    return 2 * round(value / 2)
