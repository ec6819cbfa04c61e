"""The interface of everything that draws a head: landmarks and a pose in, a picture over the plate out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import numpy as np

from geneface import ops
from geneface.errors import InputError
from geneface.render.composite import straight_alpha
from geneface.types import ByteArray, Camera, FloatArray

T = TypeVar("T")
_CAMERAS_KEPT = 8
"""As many sizes are drawn in turn without preparing anything twice."""


@dataclass(frozen=True)
class Window:
    """A part of a camera's picture, in its pixels. It lies inside of the picture."""

    left: int
    top: int
    width: int
    height: int

    @property
    def rows(self) -> slice:
        """Its rows of the picture."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """Its columns of the picture."""
        return slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class RenderedFrame:
    """One picture. Its arrays are its own, but for the plate, which all frames of a renderer share."""

    image: FloatArray
    """[H, W, 4]: red, green, blue of head over torso over plate, now and then outside of [0, 1]; share of the head."""
    opacity: FloatArray
    """[H, W] of head and torso together."""
    plate: FloatArray
    """[H, W, 3], what the picture lies over."""

    @property
    def rgb(self) -> FloatArray:
        """[H, W, 3]."""
        return self.image[..., :3]

    @property
    def head_opacity(self) -> FloatArray:
        """[H, W] of the head alone."""
        return self.image[..., 3]

    def to_uint8(self) -> ByteArray:
        """[H, W, 3] RGB, a fresh array."""
        return ops.to_uint8(self.image)

    def to_yuv420(self) -> ByteArray:
        """[3 H / 2, W] planes for `io.encode.write_video`, a fresh array; a fifth of the time of going through RGB."""
        return ops.to_yuv420(self.image)

    def to_rgba(self) -> ByteArray:
        """[H, W, 4] with straight alpha, the plate removed."""
        return straight_alpha(self.rgb, self.opacity, self.plate)


class Picture(Protocol):
    """What is shown of one frame, in the forms that outputs take; fresh arrays."""

    def to_uint8(self) -> ByteArray:
        """[H, W, 3] RGB."""
        ...

    def to_yuv420(self) -> ByteArray:
        """[3 H / 2, W] planes for `io.encode.write_video`."""
        ...

    def to_rgba(self) -> ByteArray:
        """[H, W, 4] with straight alpha."""
        ...


class Renderer(Protocol):
    """Draws single frames; equal arguments give equal pixels, from any number of threads at once."""

    def render(
        self,
        landmarks: FloatArray,
        rotation: FloatArray,
        translation: FloatArray,
        camera: Camera,
        window: Window | None = None,
        torso: FloatArray | None = None,
    ) -> RenderedFrame:
        """Draw one frame.

        Args:
            landmarks: [K, 3] named landmarks in the canonical head frame.
            rotation, translation: [3] rotation vector and translation, head frame to camera frame.
            camera: of any size; the focal length must be the avatar's.
            window: the part of the picture that is wanted, in less time than all of it; the rest is not made.
            torso: [G, 2] where the torso is, see `HeadPose.torso`; None: as the head's pose has it.
        """
        ...


def per_camera(make: Callable[[Camera], T], focal: float) -> Callable[[Camera], T]:
    """`make`, called once for a camera as long as few others come between; for cameras of the avatar's focal length.

    `make` must not hold the renderer, or neither would be freed in time.
    """

    @lru_cache(maxsize=_CAMERAS_KEPT)
    def prepared(camera: Camera) -> T:
        if abs(camera.focal - focal) > 1e-6:
            raise InputError(
                f"the camera's focal length is {camera.focal}, the avatar's {focal}",
                "render with the avatar's own focal length",
            )
        return make(camera)

    return prepared


class RendererModel(Protocol):
    """What the training of a renderer returns and an avatar stores."""

    def tensors(self) -> dict[str, np.ndarray]:
        """The learnt values by name."""
        ...

    def config(self) -> dict[str, Any]:
        """What `tensors` cannot hold, as JSON."""
        ...

    def facts(self) -> dict[str, int]:
        """Its size, for the avatar's card."""
        ...
