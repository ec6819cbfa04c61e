"""Blur and grain that were put in are found."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.geometry.landmarks import BROWS, EYES, KEYPOINT_COUNT, LEFT_EYE, OVAL
from geneface.imaging.filters import gaussian_blur
from geneface.training.body.sharpness import SharpnessMeter

SIZE = 200
BLURS = [0.0, 0.0, 0.8, 1.5, 0.0, 2.5, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]


def places() -> np.ndarray:
    """[K, 2] a face that fills most of the picture."""
    points = np.full((KEYPOINT_COUNT, 2), 100.0, np.float32)
    turns = 2 * np.pi * np.arange(len(OVAL)) / len(OVAL)
    points[OVAL] = np.stack([100 + 80 * np.sin(turns), 100 - 90 * np.cos(turns)], axis=1)
    points[EYES] = (130, 90)
    points[LEFT_EYE] = (70, 90)
    points[BROWS, 1] = 70
    points[EYES[:3], 0] += 8
    return points


def meter_of(blurs: list[float], noise: float, shift: int = 0) -> SharpnessMeter:
    rng = np.random.default_rng(3)
    texture = gaussian_blur(rng.normal(128, 60, (SIZE, SIZE)).astype(np.float32), 1.0)
    meter = SharpnessMeter()
    for number, blur in enumerate(blurs):
        picture = gaussian_blur(texture, blur) if blur else texture
        picture = np.roll(picture, shift * number, axis=1) + rng.normal(0, noise, texture.shape) if noise else picture
        meter.add(picture.astype(np.float32), places())
    return meter


@pytest.mark.parametrize("noise", [0.0, 1.5])
def test_blur(noise: float) -> None:
    assert meter_of(BLURS, noise).blurs() == pytest.approx(np.array(BLURS), abs=0.25)


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0, 4.0])
def test_grain(noise: float) -> None:
    assert 255 * meter_of([0.0] * 8, noise).grain() == pytest.approx(noise, rel=0.15, abs=0.02)


def test_blinks_are_no_blur() -> None:
    texture = np.random.default_rng(3).normal(128, 20, (SIZE, SIZE)).astype(np.float32)
    meter = SharpnessMeter()
    for number in range(8):
        picture = texture.copy()
        if number % 2:
            picture[87:92, 69:79] += 400 * (np.arange(10) % 2)
        meter.add(picture, places())
    assert meter.blurs().max() < 0.35


def test_a_face_too_small_to_measure() -> None:
    meter = SharpnessMeter()
    for _ in range(3):
        meter.add(np.zeros((20, 20), np.float32), places() / 10)
    assert meter.blurs().tolist() == [0, 0, 0] and meter.grain() == 0
