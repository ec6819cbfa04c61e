"""Videos with a real face for tests: the astronaut picture that ships with scikit-image, moved and zoomed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from geneface.imaging.warp import sample, warp_affine
from geneface.types import SPEECH_RATE_HZ

data = pytest.importorskip("skimage.data", reason="needs scikit-image")


def astronaut() -> np.ndarray:
    """Head and shoulders, uint8 [300, 300, 3]."""
    return np.ascontiguousarray(data.astronaut()[:300, 70:370])


def turned(degrees: float, scale: float, center: ArrayLike, target: ArrayLike) -> np.ndarray:
    """[2, 3] a turn and a zoom that bring a place to another."""
    across, down = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    factor = np.array([[across, down], [-down, across]])
    return np.column_stack([factor, np.asarray(target) - factor @ np.asarray(center)])


def moving_face(frames: int, zoom: float = 1.0, size: int = 240, speaks: bool = True) -> list[np.ndarray]:
    """The face swaying and nodding a little, uint8 [size, size, 3] each; with `speaks` its mouth opens and closes."""
    picture = astronaut()
    images = []
    for index in range(frames):
        angle, scale = 3 * np.sin(index / 9), zoom * size / 300 * (1 + 0.02 * np.sin(index / 14))
        sway = np.array([4 * np.sin(index / 7), 3 * np.cos(index / 11)])
        move = turned(angle, scale, (150, 150), sway + size / 2)
        shown = open_mouth(picture, 5 * (1 - np.cos(index * 0.9))) if speaks else picture
        images.append(np.rint(warp_affine(shown, move, size, size)).astype(np.uint8))
    return images


def open_mouth(picture: np.ndarray, drop_px: float) -> np.ndarray:
    """The astronaut's lower lip and chin further down, the mouth dark between the lips."""
    middle, line, half_width = 153.5, 150.0, 20
    y, x = np.mgrid[0:300, 0:300].astype(np.float32)
    gap = drop_px * np.clip(1 - ((x - middle) / half_width) ** 2, 0, 1)
    below = y > line
    shift = np.where(below, gap * np.exp(-(((y - line) / 45) ** 2)), 0).astype(np.float32)
    opened = np.rint(sample(picture, x + 0.5, y - shift + 0.5)).astype(np.uint8)
    opened[below & (y < line + gap)] = (60, 20, 25)
    return opened


def murmur(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that swells four times a second, dull and sharp in turn as vowels and sibilants are, float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    noise = rng.normal(size=len(time))
    dull = np.convolve(noise, np.hanning(24) / 8, "same")
    sharp = np.diff(noise, prepend=0.0) / 1.4
    sound = np.where(np.sin(2 * np.pi * 2 * time) > 0, dull, sharp)
    return (0.2 * sound * (0.5 - 0.5 * np.cos(2 * np.pi * 4 * time))).clip(-1, 1).astype(np.float32)
