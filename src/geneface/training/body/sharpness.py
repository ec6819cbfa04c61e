"""How soft a recorded frame is, against the sharpest of the same recording, and how grainy: what is drawn into it must
be made alike.

Softness is measured in the upper face without its eyes, which blinks change: the energy of luma's gradient there,
without that of the grain. How the energy falls with the deviation of a Gaussian blur is measured on the sharpest frame
itself, and read backwards. Symbols: P frames, K landmarks.
"""

from __future__ import annotations

import numpy as np

from geneface.geometry.landmarks import BROWS, EYES, OVAL
from geneface.imaging.filters import box_blur, gaussian_blur
from geneface.types import FloatArray

_BLURS_PX = np.array([0, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0, 4.0, 5.5])
_REFERENCE_PERCENTILE = 95
_BLOCK = 16
_GRAIN_PERCENTILE = 25
"""Of the blocks of a pair of frames: those that moved least."""


class SharpnessMeter:
    """Measures frames as they come by. A frame's upper face is looked at, at full resolution."""

    def __init__(self) -> None:
        self._energy: list[float] = []
        self._noise: list[float] = []
        self._sharpest: tuple[float, FloatArray, FloatArray] | None = None
        self._before: FloatArray | None = None

    def add(self, luma: FloatArray, places: FloatArray) -> None:
        """Look at the next frame.

        Args:
            luma: [H, W] levels of 0-255.
            places: [K, 2] landmarks in pixels of the picture.
        """
        rows, columns = _upper_face(places, luma.shape)
        patch = luma[rows, columns]
        if min(patch.shape) < 2 * _BLOCK:
            self._energy.append(0.0)
            self._before = None
            return
        weight = _without_eyes(places - (columns.start, rows.start), patch.shape)
        energy = _gradient_energy(patch, weight)
        self._energy.append(energy)
        if self._sharpest is None or energy > self._sharpest[0]:
            self._sharpest = energy, patch.copy(), weight
        self._noise.append(_pair_noise(self._before, luma, rows, columns) if self._before is not None else np.inf)
        self._before = luma

    def grain(self) -> float:
        """Standard deviation of the recording's noise in still skin, levels of 0 to 1."""
        finite = [noise for noise in self._noise if np.isfinite(noise)]
        # Of pairs of frames too those count in which least moved.
        return float(np.percentile(finite, _GRAIN_PERCENTILE)) / 255 if finite else 0.0

    def blurs(self) -> FloatArray:
        """[P] deviations in pixels; 0 for frames as sharp as the sharpest twentieth, and where no face was large
        enough to measure.
        """
        energy = np.array(self._energy)
        blurs = np.zeros(len(energy), np.float32)
        if self._sharpest is None:
            return blurs
        # The gradient of white noise of deviation s has the energy 4 s^2 (two differences of 2 s^2 each).
        noise = 4 * (255 * self.grain()) ** 2
        _, patch, weight = self._sharpest
        curve = [_gradient_energy(gaussian_blur(patch, float(b)) if b else patch, weight) for b in _BLURS_PX]
        curve = np.minimum.accumulate(np.maximum(np.array(curve) - noise * _noise_left(_BLURS_PX), 1e-6))
        measured = np.maximum(energy - noise, 1e-6)
        seen = energy > 0
        top = float(np.percentile(measured[seen], _REFERENCE_PERCENTILE))
        share = np.minimum(measured[seen] / top, 1.0)
        blurs[seen] = np.interp(-share, -curve / curve[0], _BLURS_PX)
        return blurs


def _upper_face(places: FloatArray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The box from the top of the outline to below the eyes, as far as it lies in the picture."""
    x0, x1 = places[OVAL, 0].min(), places[OVAL, 0].max()
    y0, y1 = places[OVAL, 1].min(), places[EYES, 1].max() + 0.5 * (places[EYES, 1].max() - places[BROWS, 1].min())
    high, wide = shape
    return (
        slice(int(np.clip(y0, 0, high)), int(np.clip(y1, 0, high))),
        slice(int(np.clip(x0, 0, wide)), int(np.clip(x1, 0, wide))),
    )


def _without_eyes(places: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """[h, w] 1 where softness is measured."""
    weight = np.ones(shape, np.float32)
    eyes = places[EYES]
    middle = float(eyes[:, 0].mean())
    for eye in (eyes[eyes[:, 0] < middle], eyes[eyes[:, 0] >= middle]):
        low, high = eye.min(0), eye.max(0)
        # As high as an open eye whether it is open or shut.
        half = 0.3 * (high[0] - low[0])
        centre = (low[1] + high[1]) / 2
        top, bottom = int(max(centre - 1.4 * half, 0)), int(max(centre + half, 0))
        weight[top:bottom, int(max(low[0] - half / 2, 0)) : int(max(high[0] + half / 2, 0))] = 0
    return weight


def _gradient_energy(patch: FloatArray, weight: FloatArray) -> float:
    down, across = np.diff(patch, axis=0)[:, 1:], np.diff(patch, axis=1)[1:]
    inner = weight[1:, 1:]
    return float(((down**2 + across**2) * inner).sum() / max(float(inner.sum()), 1.0))


def _noise_left(deviations: FloatArray) -> FloatArray:
    """Share of the gradient energy of white noise that a blur leaves."""
    left = []
    for deviation in deviations:
        reach = np.arange(-24, 25)
        taps = np.exp(-0.5 * (reach / deviation) ** 2) if deviation else (reach == 0).astype(float)
        taps = taps / taps.sum()
        left.append(float((taps**2).sum() * (np.diff(taps, prepend=0, append=0) ** 2).sum() / 2))
    return np.array(left)


def _pair_noise(before: FloatArray, after: FloatArray, rows: slice, columns: slice) -> float:
    """Deviation of the noise of either frame in their stillest blocks, levels."""
    if before.shape != after.shape:
        return np.inf
    change = after[rows, columns] - before[rows, columns]
    change = change - box_blur(change, 5)
    height, width = (length // _BLOCK * _BLOCK for length in change.shape)
    blocks = change[:height, :width].reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    # A box of 25 takes 1/25 of the variance of white noise away; a difference of two frames has twice that of one.
    deviations = np.sqrt((blocks**2).mean((1, 3)) / 2 / (1 - 1 / 25))
    return float(np.percentile(deviations, _GRAIN_PERCENTILE))
