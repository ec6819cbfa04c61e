"""A face that talks: the astronaut of scikit-image with a jaw that drops in step with synthetic speech."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.imaging.warp import sample, warp_affine

data = pytest.importorskip("skimage.data", reason="needs scikit-image")

SIZE = 256
_MOUTH, _HALF_WIDTH = (153.5, 150.0), 20
"""Middle of the lower lip's edge in the picture, and half the mouth's width, pixels."""


def opening_curve(frames: int, seed: int = 0) -> np.ndarray:
    """How far the jaw is down, 0 to 1, [F]: syllables of varying length, silence for half a second at both ends."""
    rng = np.random.default_rng(seed)
    time = np.cumsum(0.16 + 0.06 * rng.standard_normal(frames).clip(-1, 1))
    curve = np.clip(np.sin(2 * np.pi * time), 0, 1)
    curve[:12] = curve[-12:] = 0
    return curve.astype(np.float32)


def talking_frames(opening: np.ndarray, drop_px: float = 14.0) -> list[np.ndarray]:
    """Pictures uint8 [SIZE, SIZE, 3] of the head swaying while its jaw follows `opening` [F]."""
    picture = np.ascontiguousarray(data.astronaut()[:300, 70:370])
    y, x = np.mgrid[0:300, 0:300].astype(np.float32)
    across = np.clip(1 - ((x - _MOUTH[0]) / _HALF_WIDTH) ** 2, 0, 1)
    images = []
    for index, amount in enumerate(opening):
        gap = amount * drop_px * across
        below = y > _MOUTH[1]
        # The chin follows, the neck does not.
        shift = np.where(below, gap * np.exp(-(((y - _MOUTH[1]) / 45) ** 2)), 0)
        talking = sample(picture, x + 0.5, y - shift + 0.5)
        inside = below & (y < _MOUTH[1] + gap)
        talking[inside] = (60, 20, 25)
        angle, scale = np.radians(3 * np.sin(index / 9)), SIZE / 300
        turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        middle = SIZE / 2 + np.array([4 * np.sin(index / 7), 3 * np.cos(index / 11)])
        move = np.column_stack([turn, middle - turn @ [150, 150]])
        images.append(np.rint(warp_affine(talking, move, SIZE, SIZE)).astype(np.uint8))
    return images


def talking_sound(opening: np.ndarray, seed: int = 0) -> np.ndarray:
    """Sound [640 F] at 16 kHz, loud where the mouth is open: a buzz through a filter that opens with it."""
    rng = np.random.default_rng(seed)
    loud = np.repeat(opening, 640)
    time = np.arange(len(loud)) / 16_000
    buzz = np.sign(np.sin(2 * np.pi * 120 * time)) * 0.5 + np.sin(2 * np.pi * (500 + 300 * loud) * time)
    return (0.2 * loud * buzz + 1e-3 * rng.standard_normal(len(loud))).astype(np.float32)
