"""Zero-phase Gaussian smoothing of tracks, windowed. F frames; sigma in frames; any trailing axes.

An exponential filter delays what it smooths; this symmetric one does not. It is meant for brows, cheeks,
jaw line and head pose. Lips are never smoothed: a closure of "b" or "p" lasts one or two frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import KEYPOINT_COUNT, LIPS
from geneface.types import FloatArray

UPPER_AND_OUTER_FACE: NDArray[np.intp] = np.setdiff1d(np.arange(KEYPOINT_COUNT), LIPS)
"""The named landmarks that may be smoothed: all but the lips."""


def gaussian_kernel(sigma: float) -> FloatArray:
    """Taps of a Gaussian cut at three sigma, sum 1. [2r + 1]; a sigma of 0 gives the single tap 1."""
    radius = int(np.ceil(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-9)) ** 2)
    return (taps / taps.sum()).astype(np.float32)


def smooth(values: FloatArray, sigma: float) -> FloatArray:
    """Smooth along axis 0, the ends repeated outward. values: [F, ...] -> [F, ...]."""
    if len(values) == 0:
        return values
    taps = gaussian_kernel(sigma)
    radius = len(taps) // 2
    padded = np.concatenate([np.repeat(values[:1], radius, 0), values, np.repeat(values[-1:], radius, 0)])
    return _valid_filter(padded, taps)


def smooth_landmark_windows(
    windows: Iterable[FloatArray], sigma: float, columns: NDArray[np.intp] = UPPER_AND_OUTER_FACE
) -> Iterator[FloatArray]:
    """Smooth some landmarks of a track that arrives in windows; the same values whatever the windows are.

    Args:
        windows: consecutive pieces [f, K, 3] of one track, any lengths.
        sigma: frames.
        columns: the landmarks to smooth; the others pass unchanged.

    Yields:
        Pieces [f', K, 3], late by three sigma, with as many rows in all as came in.
    """
    taps = gaussian_kernel(sigma)
    radius = len(taps) // 2
    pending: FloatArray | None = None
    for window in windows:
        if len(window) == 0:
            continue
        pending = np.concatenate([np.repeat(window[:1], radius, 0) if pending is None else pending, window])
        if len(pending) > 2 * radius:
            ready = len(pending) - 2 * radius
            yield _smoothed_columns(pending, taps, columns)
            pending = pending[ready:]
    if pending is not None and len(pending) > radius:
        yield _smoothed_columns(np.concatenate([pending, np.repeat(pending[-1:], radius, 0)]), taps, columns)


class LiveSmoother:
    """Smooths some landmarks of a track that must not wait: with the half of the kernel that lies in the past.

    Delays what it smooths by about a sigma, so it is not for the jaw, which belongs to the lips.
    """

    def __init__(self, sigma: float, columns: NDArray[np.intp], kept: int = 0) -> None:
        """`kept`: so many of the last frames can be taken back (`step_back`)."""
        taps = gaussian_kernel(sigma)[: int(np.ceil(3 * sigma)) + 1]
        self._taps = (taps / taps.sum()).astype(np.float32)
        self._columns = columns
        self._ring: FloatArray | None = None
        """What came in, frame f at f modulo its length; pages that were never written take no memory."""
        self._ring_frames = kept + len(self._taps)
        self._count = 0
        self._oldest = 0
        """First frame that is still in the ring."""

    @property
    def reach(self) -> int:
        """Frames that `step_back` can take back now."""
        # The frame that becomes the last one needs its own past, unless the track begins there.
        return self._count - self._oldest - (len(self._taps) if self._oldest else 0)

    def push(self, points: FloatArray) -> FloatArray:
        """[f, K, 3] -> [f, K, 3]; pieces of any lengths give the same values."""
        if len(points) == 0:
            return points
        padded = np.concatenate([self._last(len(self._taps) - 1, points[0]), points])
        result = points.copy()
        result[:, self._columns] = _valid_filter(padded[:, self._columns], self._taps)
        self._keep(points)
        return result

    def step_back(self, frames: int) -> FloatArray | None:
        """Forget the last `frames`, at most `reach`; returns what `push` made of the one before, [K, 3], if any."""
        if not 0 <= frames <= self.reach:
            raise ValueError(f"{frames} frames can't be taken back, only 0 to {self.reach}")
        self._count -= frames
        if self._ring is None or self._count == 0:
            return None
        padded = self._last(len(self._taps), self._ring[0])
        result = padded[-1].copy()
        result[self._columns] = _valid_filter(padded[:, self._columns], self._taps)[0]
        return result

    def _last(self, frames: int, first: FloatArray) -> FloatArray:
        """[frames, K, 3] what came in last; before the track its first frame (`first` while there is none)."""
        if self._ring is None or self._count == 0:
            return np.repeat(first[None], frames, 0)
        return self._ring[np.maximum(np.arange(self._count - frames, self._count), 0) % len(self._ring)]

    def _keep(self, points: FloatArray) -> None:
        if self._ring is None:
            self._ring = np.empty((self._ring_frames, *points.shape[1:]), np.float32)
        size = len(self._ring)
        self._count += len(points)
        kept = points[-size:]
        self._ring[np.arange(self._count - len(kept), self._count) % size] = kept
        self._oldest = max(self._oldest, self._count - size)


def _smoothed_columns(padded: FloatArray, taps: FloatArray, columns: NDArray[np.intp]) -> FloatArray:
    radius = len(taps) // 2
    result = padded[radius : len(padded) - radius].copy()
    result[:, columns] = _valid_filter(padded[:, columns], taps)
    return result


def _valid_filter(padded: FloatArray, taps: FloatArray) -> FloatArray:
    # Tap by tap and not by a library convolution: each row is then summed in the same order whatever
    # the length of the piece, so that a windowed run equals a whole one to the bit.
    count = len(padded) - len(taps) + 1
    result = np.zeros((count, *padded.shape[1:]), np.float32)
    for offset, tap in enumerate(taps):
        result += tap * padded[offset : offset + count]
    return result
