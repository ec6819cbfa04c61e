"""Planes of video pictures, against the kernel that makes them from colours and the formulas of ITU-R BT.709."""

from __future__ import annotations

import numpy as np
import pytest

from geneface import ops
from geneface.render import planes as yuv
from geneface.render.renderer import Window
from geneface.types import FloatArray


def smooth_picture(height: int, width: int) -> FloatArray:
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    picture = np.stack([0.2 + 0.6 * rows, 0.5 + 0.3 * np.sin(2 * columns), 0.8 - 0.5 * columns], axis=-1)
    return picture.astype(np.float32)


@pytest.mark.parametrize("window", [Window(0, 0, 32, 24), Window(6, 4, 10, 2), Window(30, 22, 2, 2)])
def test_colours_come_back_from_any_window(window: Window) -> None:
    picture = smooth_picture(24, 32)
    back = yuv.to_rgb(ops.to_yuv420(picture), window)
    assert back.shape == (window.height, window.width, 3)
    # A level of luma is 1/219; four pixels share their difference of colour.
    assert np.abs(back - picture[window.rows, window.columns]).max() < 0.03


def test_a_pixel_by_the_formulas() -> None:
    red, green, blue = 0.3, 0.6, 0.9
    picture = np.full((2, 2, 3), (red, green, blue), np.float32)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    expected = [16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556, 128 + 224 * (red - luma) / 1.5748]
    planes = np.full((3, 2), 0, np.uint8)
    planes[:2], planes[2] = 16, 128
    yuv.add(planes, Window(0, 0, 2, 2), picture)
    assert planes.reshape(-1).tolist() == [round(expected[0])] * 4 + [round(value) for value in expected[1:]]


def test_added_to_black_is_what_the_kernel_makes() -> None:
    picture = smooth_picture(24, 32)
    planes = np.concatenate([np.full((24, 32), 16, np.uint8), np.full((12, 32), 128, np.uint8)])
    yuv.add(planes, Window(0, 0, 32, 24), picture)
    assert np.abs(planes.astype(int) - ops.to_yuv420(picture)).max() <= 1


def test_what_does_not_change_keeps_its_bits() -> None:
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 256, (36, 32), np.uint8)
    window, change = Window(8, 6, 12, 10), np.zeros((10, 12, 3), np.float32)
    change[4:6, 4:6] = 0.2
    after = planes.copy()
    yuv.add(after, window, change)
    moved = after != planes
    luma, blue, red = yuv.split(moved)
    assert luma[10:12, 12:14].all() and luma.sum() == 4
    assert blue.sum() <= 1 and red.sum() <= 1


def test_a_cut_is_that_part_of_every_plane() -> None:
    planes = np.random.default_rng(1).integers(0, 256, (36, 32), np.uint8)
    part = yuv.cut(planes, Window(4, 10, 20, 6))
    for cut, whole, shift in zip(yuv.split(part), yuv.split(planes), (1, 2, 2), strict=True):
        assert np.array_equal(cut, whole[10 // shift : 16 // shift, 4 // shift : 24 // shift])
    part[:] = 0
    assert planes.any()


@pytest.mark.parametrize("size", [(12, 16), (48, 64), (24, 32)])
def test_resized_shows_the_same(size: tuple[int, int]) -> None:
    resized = yuv.resized(ops.to_yuv420(smooth_picture(24, 32)), *size)
    expected = smooth_picture(*size)
    inner = (slice(2, -2), slice(2, -2))
    assert np.abs(yuv.picture(resized)[inner] / 255 - expected[inner]).max() < 0.05


def test_a_picture_has_the_colours_of_its_planes() -> None:
    picture = smooth_picture(24, 32)
    assert np.abs(yuv.picture(ops.to_yuv420(picture)) / 255 - picture).max() < 0.05
