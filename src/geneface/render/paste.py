"""The lower face that was drawn, blended into a recorded picture: lips and jaw are the drawing's, all else is real.

What is replaced is the hull of jaw and base of the nose, of the recorded face and of the drawn one together: where the
recorded jaw was lower, the drawing's neck takes its place. It is grown a little, and fades out over some pixels. Light
that differs along this seam is carried over to the drawing as a smooth field, so that no edge is left (normalised
convolution, Knutsson and Westin 1993, of the differences in the seam).

Pixels are those of a square camera, S x S; K named landmarks in the head frame; pictures are float32 RGB in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.camera import project
from geneface.geometry.landmarks import JAW, LOWER_FACE, MESH_NOSE_BASE, positions
from geneface.imaging.filters import gaussian_blur
from geneface.render.renderer import Renderer, Window
from geneface.types import Camera, FloatArray

_OUTLINE = np.concatenate([JAW[2:-2], positions((MESH_NOSE_BASE,))])
"""Base of the nose, and the jaw without its ends near the ears, which speech does not move: there may be hair."""
GROWN, FEATHER = 1 / 50, 1 / 90
"""How far what is replaced reaches beyond its outline, and the deviation of its soft edge: parts of S."""
_REACH = 3.0
"""Deviations after which the edge has faded out."""
_MASK_CELLS = 80
"""Masks are made on a grid of S / 80 pixels."""
_OPAQUE = 0.99
_CELLS = 64
"""The field of light is made on a grid of S / 64 pixels."""
_SPREAD = _CELLS / 20
"""Deviation of its smoothing, cells."""
_TRUST = 3e-2
"""Weight, of all cells of one, of there being no difference: what is far from the seam keeps the drawing's colours."""
_CELL_PIXELS = 4
"""So many pixels of a cell's side are looked at."""
_LEAST_BLUR, _LEAST_GRAIN = 0.25, 1 / 512
"""Less is not seen."""
_GRAIN_PX, _GRAIN_BLUR = 512, 0.6
"""Side of the tile of grain, and its softness, pixels."""
_LARGEST_DIFFERENCE = 0.15
"""Differences beyond it are not light: hair, a collar, a hand across the seam."""


@dataclass(frozen=True)
class Pasted:
    """The part of the recorded picture that was changed."""

    window: Window
    picture: FloatArray
    """[h, w, 3] the recorded picture in the window."""
    change: FloatArray
    """[h, w, 3] what is added to it; the sum is now and then outside of [0, 1]."""
    mask: FloatArray
    """[h, w] share of the drawing."""
    opacity: FloatArray
    """[h, w] of the drawn person."""

    @property
    def image(self) -> FloatArray:
        """[h, w, 3] the picture that is shown."""
        return self.picture + self.change


@dataclass(frozen=True)
class Recorded:
    """What a recorded picture shows, and how well."""

    landmarks: FloatArray
    """[K, 3] of the recorded face."""
    rotation: FloatArray
    translation: FloatArray
    """[3] each: its head pose."""
    blur: float = 0.0
    """Deviation in pixels of the camera by which the picture is less sharp than the best of its video."""
    grain: float = 0.0
    """Deviation of its noise, in 0..1."""
    torso: FloatArray | None = None
    """[G, 2] where its torso is, see `HeadPose.torso`."""
    number: int = 0
    """Of the picture in its video: each has grain of its own."""


def spoken_face(recorded: FloatArray, spoken: FloatArray) -> FloatArray:
    """The recorded landmarks [..., K, 3] with lips, jaw and cheeks of the spoken ones."""
    face = np.array(recorded, np.float32)
    face[..., LOWER_FACE, :] = spoken[..., LOWER_FACE, :]
    return face


def seam_window(recorded: Recorded, face: FloatArray, camera: Camera, grid: int = 2) -> Window | None:
    """What `paste` will change, on a grid of pixels; None if that lies outside of the picture."""
    outline = np.concatenate(_outlines(recorded, face, camera))
    margin = (GROWN + _REACH * FEATHER) * camera.width
    low = np.floor((outline.min(0) - margin) / grid).astype(int) * grid
    high = np.ceil((outline.max(0) + margin) / grid).astype(int) * grid
    size = np.array([camera.width, camera.height]) // grid * grid
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    if (high <= low).any():
        return None
    left, top, right, bottom = (int(value) for value in (*low, *high))
    return Window(left, top, right - left, bottom - top)


def paste(
    picture: FloatArray, recorded: Recorded, spoken: FloatArray, renderer: Renderer, camera: Camera, window: Window
) -> Pasted:
    """Draw the lower face of the spoken landmarks under the recorded head pose, and blend it into the picture.

    Args:
        picture: [h, w, 3] the recorded picture in the window.
        spoken: [K, 3] landmarks of which the lower face is drawn.
        window: of `seam_window`, for the face of `spoken_face`.
    """
    face = spoken_face(recorded.landmarks, spoken)
    frame = renderer.render(face, recorded.rotation, recorded.translation, camera, window, recorded.torso)
    seam = _Seam(_outlines(recorded, face, camera), window, camera.width)
    mask = seam.mask
    drawn = np.ascontiguousarray(frame.rgb)
    if ((frame.opacity < _OPAQUE) & (mask > 0)).any():
        # What is behind the drawing is the recorded picture, but for the recorded face itself.
        elsewhere = (1 - frame.opacity) * (1 - seam.recorded)
        drawn = drawn + elsewhere[..., None] * (picture - frame.plate)
    if recorded.blur > _LEAST_BLUR:
        drawn = gaussian_blur(drawn, recorded.blur)
    # In place: a window of a large picture is too large for the processor's cache.
    change = drawn - picture
    change += _field(change, 4 * mask * (1 - mask), camera.width / _CELLS)
    if recorded.grain > _LEAST_GRAIN:
        change += recorded.grain * _grain(recorded.number, window)
    change *= mask[..., None]
    return Pasted(window, picture, change, mask, frame.opacity)


def _outlines(recorded: Recorded, face: FloatArray, camera: Camera) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[N, 2] pixels of the recorded face's outline, and of the drawn one's."""
    points = np.stack([recorded.landmarks[_OUTLINE], face[_OUTLINE]])
    both = project(points, recorded.rotation, recorded.translation, camera)
    return both[0], both[1]


class _Seam:
    """Masks of a window, made on a coarse grid: distances to outlines change slowly."""

    def __init__(self, outlines: tuple[NDArray[np.float64], NDArray[np.float64]], window: Window, size: float) -> None:
        """`outlines`: of the recorded face and of the drawn one; `size`: S."""
        self._window, self._size = window, size
        self._step = step = max(1, round(size / _MASK_CELLS))
        rows, columns = (np.arange(0, length + step, step) + 0.5 for length in (window.height, window.width))
        grid = np.stack(np.meshgrid(columns + window.left, rows + window.top), axis=-1).reshape(-1, 2)
        before, after = (_outside(grid, convex_hull(points)).reshape(len(rows), len(columns)) for points in outlines)
        self._before, self._both = before, np.minimum(before, after)

    @property
    def mask(self) -> FloatArray:
        """[h, w] how much is replaced."""
        return self._soft(self._both, GROWN)

    @property
    def recorded(self) -> FloatArray:
        """[h, w] how much of the recorded face is there."""
        return self._soft(self._before, 0.0)

    def _soft(self, outside: NDArray[np.float64], grown: float) -> FloatArray:
        """[h, w] 1 inside, 0 outside of outlines that are grown by a part of S."""
        ramp = np.clip((outside - grown * self._size) / (_REACH * FEATHER * self._size), -1, 1)
        # A raised sine has no corner that would be seen as a line.
        coarse = (0.5 - 0.5 * np.sin(0.5 * np.pi * ramp)).astype(np.float32)
        return _between(coarse, self._step, self._window.height, self._window.width)


def _outside(points: NDArray[np.float64], hull: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far points [N, 2] lie outside of a convex polygon [M, 2], negative inside."""
    edge = np.roll(hull, -1, axis=0) - hull
    length = np.maximum(np.linalg.norm(edge, axis=1), 1e-9)
    along = edge / length[:, None]
    # [M, N] how far a point has gone along each edge's line, and how far it is right of it, which is outside.
    gone = along @ points.T - (along * hull).sum(1)[:, None]
    right = along[:, 1:] * points[:, 0] - along[:, :1] * points[:, 1]
    right -= (along[:, 1] * hull[:, 0] - along[:, 0] * hull[:, 1])[:, None]
    beyond = gone - np.clip(gone, 0, length[:, None])
    furthest = right.max(0)
    return np.where(furthest <= 0, furthest, np.hypot(right, beyond).min(0))


def convex_hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners [M, 2] of the convex hull of points [N, 2], with the inside to the left of each edge (x right, y up).

    By Andrew's monotone chain (1979).
    """
    ordered = sorted(map(tuple, points.tolist()))

    def half(places: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        chain: list[tuple[float, ...]] = []
        for x, y in places:
            while len(chain) > 1 and (chain[-1][0] - chain[-2][0]) * (y - chain[-2][1]) <= (
                chain[-1][1] - chain[-2][1]
            ) * (x - chain[-2][0]):
                chain.pop()
            chain.append((x, y))
        return chain[:-1]

    return np.array(half(ordered) + half(ordered[::-1]))


def _field(change: FloatArray, weight: FloatArray, cell: float) -> FloatArray:
    """What takes a change [h, w, 3] of light back where there is weight [h, w], as a smooth field over the window."""
    step = max(1, round(cell))
    # Of large pictures some pixels of each cell are enough.
    skip = max(1, step // _CELL_PIXELS)
    some = weight[::skip, ::skip, None]
    part = np.clip(change[::skip, ::skip], -_LARGEST_DIFFERENCE, _LARGEST_DIFFERENCE) * -some
    sums, weights = _cell_means(part, step // skip), _cell_means(some, step // skip)
    total = gaussian_blur(np.concatenate([sums, weights], axis=-1), _SPREAD * cell / step)
    coarse = total[..., :3] / (total[..., 3:] + _TRUST)
    return _between(coarse, step // skip * skip, *change.shape[:2], centre=(step - 1) / 2)


def _cell_means(values: FloatArray, step: int) -> FloatArray:
    """Sums over cells of step x step pixels, by their number: cells at the far edges may hold fewer."""
    rows, columns = (np.arange(0, length, step) for length in values.shape[:2])
    return np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1) / np.float32(step * step)


def _between(coarse: FloatArray, step: int, height: int, width: int, centre: float = 0.0) -> FloatArray:
    """Values on a grid of `step` pixels, the first at pixel `centre`, interpolated to [height, width]."""
    down, across = (_taps(n, step, length, centre) for n, length in zip(coarse.shape, (height, width), strict=False))
    flat = coarse.reshape(len(coarse), -1)
    rows = (down @ flat).reshape(height, *coarse.shape[1:])
    if rows.ndim == 2:
        return np.ascontiguousarray(rows @ across.T)
    return np.ascontiguousarray(np.einsum("xc,yck->yxk", across, rows, optimize=True))


@lru_cache(maxsize=256)
def _taps(count: int, step: int, length: int, centre: float) -> FloatArray:
    """[length, count] weights of linear interpolation."""
    place = np.clip((np.arange(length) - centre) / step, 0, count - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(count))).astype(np.float32)


def _grain(number: int, window: Window) -> FloatArray:
    """Film grain [h, w, 1] of deviation 1; pictures of other numbers have another."""
    tile = _grain_tile()
    rows, columns = (
        (np.arange(length) + step * number) % _GRAIN_PX for length, step in ((window.height, 389), (window.width, 577))
    )
    return tile[rows][:, columns, None]


@lru_cache(maxsize=1)
def _grain_tile() -> FloatArray:
    noise = np.random.default_rng(0).standard_normal((_GRAIN_PX, _GRAIN_PX)).astype(np.float32)
    # What a video's coding leaves of grain is softer than single pixels.
    soft = gaussian_blur(noise, _GRAIN_BLUR)
    return (soft / soft.std()).astype(np.float32)
