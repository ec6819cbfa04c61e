"""The opacity of the person in whole source pictures.

Inside the square that the portrait holds it is the portrait's own (head and torso, refined with the clean plate),
outside the segmentation of the whole picture; they fade into each other at the square's border. Where the pictures are
finer than either, the edge is brought to their resolution by a guided filter on the luma (He, Sun and Tang, "Guided
Image Filtering", ECCV 2010; the coefficients at the mattes' own size, as in He and Sun 2015).

The pictures keep the old background's colour in half-clear pixels: `imaging.foreground` takes it out when they are put
before another background, and is called by who draws them there.

Symbols: H, W size of the pictures, S of the portrait's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.tracker import PersonSegmenter
from geneface.imaging.filters import box_blur, dilate, disc, erode, square
from geneface.imaging.resize import resize_area, resize_linear
from geneface.imaging.shapes import connected_parts
from geneface.imaging.warp import sample
from geneface.types import ByteArray, FloatArray

_FADE_SHARE = 0.06
"""Of the square's side: the band inside its border in which the mattes fade into each other."""
_COARSE_PX = 256
"""Side of what the segmenter sees of a picture."""
_FINE_ENOUGH = 1.3
"""Pictures so much larger than the mattes need no filter."""
_GUIDE_REACH, _GUIDE_EPSILON, _MATTE_EPSILON = 2, 1e-4, 1e-3
"""Half the filter's span in pixels of the coarse matte; variances of luma and matte (0..1) that are taken for noise."""
_CLEAR, _SPECK_SHARE, _SOFT_SHARE = 0.15, 0.02, 0.014
"""What counts as clear; side of a speck, and width of the softest edge, in sides of the square."""


class MatteMaker:
    """Mattes of pictures of one size."""

    def __init__(self, width: int, height: int, crop: tuple[float, float, float], size: int) -> None:
        """Prepare for pictures.

        Args:
            width, height: of the pictures.
            crop: x, y and side of the portrait's square in them.
            size: S.
        """
        self._shape = height, width
        x, y, side = crop
        self._own = _fade(height, width, crop)
        seen = self._own > 0
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        self._box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        self._rows, self._columns = _taps(y, side, rows, size), _taps(x, side, columns, size)
        self._own_step, self._coarse_step = _step(side / size), _step(min(width, height) / _COARSE_PX)

    @property
    def needs_segmenter(self) -> bool:
        """Whether there is anything outside the portrait's square."""
        return bool(self._own.min() < 1)

    def coarse(self, planes: ByteArray, segmenter: PersonSegmenter) -> FloatArray:
        """What the segmenter says of a picture's planes [3 H / 2, W]: [h, w], the shorter about `_COARSE_PX`."""
        height, width = self._shape
        scale = min(1.0, _COARSE_PX / min(height, width))
        return segmenter.matte(_small_rgb(planes, max(1, round(height * scale)), max(1, round(width * scale))))

    def matte(self, luma: FloatArray, masks: ByteArray, coarse: FloatArray | None) -> ByteArray:
        """The matte of one picture, uint8 [H, W].

        Args:
            luma: [H, W] levels of 0-255.
            masks: [S, S, 2] head and torso of the portrait.
            coarse: the whole picture's, where something lies outside the square.
        """
        guide = luma / np.float32(255)
        # Together they are at most 255.
        own = solid((masks[..., 0] + masks[..., 1]) / np.float32(255))
        placed = np.ascontiguousarray(_along(_along(own, self._rows).T, self._columns).T)
        matte = guided(np.ascontiguousarray(guide[self._box]), placed, self._own_step)
        if coarse is not None:
            around = guided(guide, resize_linear(coarse, *self._shape), self._coarse_step)
            around[self._box] += self._own[self._box] * (matte - around[self._box])
            matte = around
        return np.round(255 * np.clip(matte, 0, 1)).astype(np.uint8)


def solid(matte: FloatArray) -> FloatArray:
    """Fill what is half clear within a person [S, S]: jewels, ears and shining hair, where they look like the plate.

    Only around places that are clear, and not mere specks, may an edge be: so near as a strand of hair is soft.
    """
    size = len(matte)
    labels, areas = connected_parts(matte < _CLEAR)
    is_speck = areas < (_SPECK_SHARE * size) ** 2
    is_speck[0] = True
    near = dilate(~is_speck[labels], disc(max(2, round(_SOFT_SHARE * size))))
    span = max(2, round(_SOFT_SHARE * size)) // 2 * 2 + 1
    return np.maximum(matte, box_blur((~near).astype(np.float32), span))


_Taps = tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]


def _taps(start: float, side: float, pixels: NDArray[np.intp], size: int) -> _Taps:
    """For each of the pixels the two of `size` pixels, spread over [start, start + side), next to it, and how near it
    is to the second; the edge goes on for ever.
    """
    place = np.clip((pixels + 0.5 - start) * size / side - 0.5, 0, size - 1)
    first = np.minimum(place.astype(np.intp), max(size - 2, 0))
    return first, np.minimum(first + 1, size - 1), (place - first).astype(np.float32)[:, None]


def _along(values: FloatArray, taps: _Taps) -> FloatArray:
    """Rows of an image between its rows: bilinear interpolation along the first axis."""
    first, second, share = taps
    low = values[first]
    return low + share * (values[second] - low)


def _step(fineness: float) -> int:
    """By how much a guided filter shrinks pictures so much finer than a matte; 1: they are not, no filter."""
    return 1 if fineness <= _FINE_ENOUGH else max(2, round(fineness))


def steady(mattes: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """Each matte averaged with its neighbours in time: 1/4, 1/2, 1/4. The ends stand for what is beyond them."""
    before: FloatArray | None = None
    now: FloatArray | None = None
    for after in mattes:
        if now is not None:
            yield (now if before is None else before) / 4 + now / 2 + after / 4
        before, now = now, after
    if now is not None:
        yield (now if before is None else before) / 4 + 3 * now / 4


def guided(guide: FloatArray, rough: FloatArray, step: int) -> FloatArray:
    """Bring a matte's edge to that of the guide.

    In each window of the shrunk guide the matte is fitted as scale times guide plus offset; both are averaged over the
    windows that a pixel is in, enlarged, and applied to the guide.

    Args:
        guide: [H, W] in 0..1.
        rough: [H, W] in 0..1, the matte; its edge is blurred over about `step` pixels.
        step: by which factor both are shrunk; 1: nothing is done.
    """
    if step == 1:
        return rough
    height, width = guide.shape
    rows, columns = max(1, height // step), max(1, width // step)
    small, matte = resize_area(guide, rows, columns), resize_area(rough, rows, columns)
    span = 2 * _GUIDE_REACH + 1
    moments = np.stack([small, matte, small * matte, small * small, matte * matte], axis=-1).astype(np.float32)
    mean, level, both, squared, power = np.moveaxis(box_blur(moments, span), -1, 0)
    together, own = both - mean * level, squared - mean * mean + _GUIDE_EPSILON
    scale = together / own
    # Where luma does not tell person from background the fit is a blur: the matte stays what it was.
    told = together**2 / (own * (power - level * level + _MATTE_EPSILON))
    fit = box_blur(np.stack([scale, level - scale * mean, told], axis=-1), span)
    # Far from the edge the matte is sure, and grain must not show in it.
    around = square(2 * _GUIDE_REACH)
    is_edge = (erode(matte, around) <= 0.99) & (dilate(matte, around) >= 0.01)
    place = np.flatnonzero(_enlarged(is_edge, height, width))
    y, x = place // width, place % width
    scale, offset, told = sample(fit, (x + 0.5) * (columns / width), (y + 0.5) * (rows / height)).T
    result = rough.copy()
    before = rough.reshape(-1)[place]
    fine = np.clip(scale * guide.reshape(-1)[place] + offset, 0, 1)
    result.reshape(-1)[place] = before + np.clip(told, 0, 1) * (fine - before)
    return result


def _enlarged(flags: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Flags [h, w] spread over [height, width]: each pixel has that of the nearest."""
    rows, columns = flags.shape
    return flags[np.arange(height) * rows // height][:, np.arange(width) * columns // width]


def _small_rgb(planes: ByteArray, rows: int, columns: int) -> ByteArray:
    """A shrunk RGB picture [rows, columns, 3] of planes [3 H / 2, W], BT.709 in limited range."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    luma = resize_area(planes[:height].astype(np.float32), rows, columns)
    chroma = planes[height:].reshape(2, height // 2, width // 2).astype(np.float32)
    high, wide = min(rows, height // 2), min(columns, width // 2)
    blue, red = (resize_linear(resize_area(part, high, wide), rows, columns) - 128 for part in chroma)
    y = 255 / 219 * (luma - 16)
    blue, red = 255 / 224 * blue, 255 / 224 * red
    channels = y + 1.5748 * red, y - 0.1873 * blue - 0.4681 * red, y + 1.8556 * blue
    return np.clip(np.round(np.stack(channels, axis=-1)), 0, 255).astype(np.uint8)


def _fade(height: int, width: int, crop: tuple[float, float, float]) -> FloatArray:
    """[H, W] how much the portrait's own matte counts: 1 inside its square, 0 outside; 1 too at the border that lies at
    the picture's.
    """
    x, y, side = crop
    band = max(_FADE_SHARE * side, 1.0)

    def along(start: float, length: int) -> FloatArray:
        place = np.arange(length) + 0.5
        before = np.clip((place - start) / band, 0, 1) if start > 1 else (place >= start - 1).astype(float)
        stop = start + side
        after = np.clip((stop - place) / band, 0, 1) if stop < length - 1 else (place <= stop + 1).astype(float)
        return (before * after).astype(np.float32)

    return along(y, height)[:, None] * along(x, width)[None]
