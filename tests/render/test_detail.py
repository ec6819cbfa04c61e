"""Sharpening brings drawn pictures to the detail of recorded ones, and no further."""

from __future__ import annotations

import numpy as np
import pytest

from geneface import ops
from geneface.imaging.filters import gaussian_blur
from geneface.render.detail import MOST, SharpenedRenderer, fitted_amount
from geneface.render.renderer import RenderedFrame
from geneface.types import Camera, FloatArray

LUMA = np.array([0.2126, 0.7152, 0.0722])


def variance_of_laplacian(picture: FloatArray) -> float:
    """By its definition, pixel by pixel."""
    grey = picture.astype(np.float64) @ LUMA
    rows, columns = grey.shape
    values = [
        grey[y - 1, x] + grey[y + 1, x] + grey[y, x - 1] + grey[y, x + 1] - 4 * grey[y, x]
        for y in range(2, rows - 2)
        for x in range(2, columns - 2)
    ]
    return float(np.var(values))


def test_the_fitted_amount_gives_the_detail_of_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth = [gaussian_blur(rng.random((40, 50, 3)).astype(np.float32), 1.0) for _ in range(3)]
    drawn = [gaussian_blur(picture, 0.4) for picture in truth]
    amount = fitted_amount(zip(truth, drawn, strict=True))
    assert 0 < amount < MOST
    sharpened = [variance_of_laplacian(ops.sharpen(picture, amount)) for picture in drawn]
    assert sum(sharpened) / sum(map(variance_of_laplacian, truth)) == pytest.approx(1, abs=0.1)


def test_what_is_sharp_enough_is_left_alone() -> None:
    picture = np.random.default_rng(1).random((30, 30, 3)).astype(np.float32)
    assert fitted_amount([(gaussian_blur(picture, 0.7), picture)]) == 0


def test_what_no_sharpening_brings_back_gets_the_most() -> None:
    picture = np.random.default_rng(1).random((60, 60, 3)).astype(np.float32)
    assert fitted_amount([(picture, gaussian_blur(picture, 4.0))]) == MOST
    assert fitted_amount([(picture[:4, :4], picture[:4, :4])]) == 0


class Blurred:
    """Draws one picture at any size."""

    def render(self, landmarks, rotation, translation, camera, window=None, torso=None) -> RenderedFrame:  # type: ignore[no-untyped-def]
        columns = np.linspace(0, 2 * np.pi, camera.width, dtype=np.float32)
        picture = np.tile(0.5 + 0.3 * np.sin(columns)[None, :, None], (camera.height, 1, 4))
        opacity = np.ones(picture.shape[:2], np.float32)
        return RenderedFrame(picture.astype(np.float32), opacity, picture[..., :3])


def test_sharpening_is_the_same_at_every_size() -> None:
    renderer = SharpenedRenderer(Blurred(), 0.4, 64)
    nothing = np.zeros(3, np.float32)
    gains = []
    for size in (64, 128):
        frame = renderer.render(np.zeros((1, 3), np.float32), nothing, nothing, Camera(2.0, size, size))
        plain = Blurred().render(None, None, None, Camera(2.0, size, size))
        np.testing.assert_array_equal(frame.head_opacity, plain.head_opacity)
        inner = slice(2, -2)
        gains.append(float(np.ptp(frame.rgb[inner, inner]) - np.ptp(plain.rgb[inner, inner])))
    assert gains[0] > 0 and gains[1] == pytest.approx(gains[0], rel=0.05)
