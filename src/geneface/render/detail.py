"""Detail: drawn pictures are softer than recorded ones, and are sharpened until both have as much of it.

A renderer learns what is common to many frames; what differs by half a pixel from one to the next is averaged. How much
sharpening brings back is measured once, on training frames (`fitted_amount`), and kept with the avatar.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from geneface import ops
from geneface.imaging.filters import laplacian
from geneface.render.planes import LUMA
from geneface.render.renderer import RenderedFrame, Renderer, Window
from geneface.types import Camera, FloatArray

MOST = 0.12
"""Part of the Laplacian that is taken away at most: what is softer than that would get outlines instead of detail."""
_STEP = 0.005
_LARGEST_SCALE = 4.0


class SharpenedRenderer:
    """Sharpens what another renderer draws; implements `Renderer`."""

    def __init__(self, renderer: Renderer, amount: float, size: int) -> None:
        """`amount`: of the Laplacian in pictures `size` pixels wide."""
        self.plain = renderer
        self._amount, self._size = amount, size

    def render(
        self,
        landmarks: FloatArray,
        rotation: FloatArray,
        translation: FloatArray,
        camera: Camera,
        window: Window | None = None,
        torso: FloatArray | None = None,
    ) -> RenderedFrame:
        """Draw one frame; see `Renderer.render`."""
        frame = self.plain.render(landmarks, rotation, translation, camera, window, torso)
        # The same softness is more pixels wide in a larger picture, and its Laplacian smaller by the square of that.
        scale = min((camera.width / self._size) ** 2, _LARGEST_SCALE)
        return replace(frame, image=ops.sharpen(frame.image, self._amount * scale))


def sharpened(renderer: Renderer, amount: float, size: int) -> Renderer:
    """The renderer with its pictures sharpened, or itself where that does nothing; see `SharpenedRenderer`."""
    return SharpenedRenderer(renderer, amount, size) if amount > 0 else renderer


def plain(renderer: Renderer) -> Renderer:
    """The renderer without sharpening: what was trained."""
    return renderer.plain if isinstance(renderer, SharpenedRenderer) else renderer


def fitted_amount(pairs: Iterable[tuple[FloatArray, FloatArray]]) -> float:
    """The amount with which drawn pictures have as much detail as recorded ones: variances of the Laplacian are equal.

    Args:
        pairs: recorded and drawn part of the same frames, each [h, w, 3] in 0..1; those under 5 pixels are left out.

    Returns:
        0 to `MOST`.
    """
    amounts = np.arange(0, MOST + _STEP / 2, _STEP)
    recorded, drawn = 0.0, np.zeros(len(amounts))
    for truth, picture in pairs:
        if min(truth.shape[:2]) < 5:
            continue
        recorded += float(laplacian(truth @ LUMA).var())
        once = laplacian(picture @ LUMA)
        twice, inner = laplacian(once), once[1:-1, 1:-1]
        # The Laplacian of a sharpened picture, by linearity.
        drawn += [float((inner - amount * twice).var()) for amount in amounts]
    enough = np.flatnonzero(drawn >= recorded)
    return float(amounts[enough[0]]) if len(enough) else MOST
