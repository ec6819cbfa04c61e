"""Mattes at the pictures' resolution, against what is known of made ones."""

from __future__ import annotations

import av
import numpy as np
import pytest

from geneface.imaging.resize import resize_area, resize_linear
from geneface.training.body.matte import MatteMaker, _small_rgb, guided, solid, steady


def strands(size: int) -> np.ndarray:
    """[size, size] a body with thin strands at its edge."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    edge = size / 2 + 6 * np.sin(y / 5)
    return np.clip(edge - x, 0, 1)


def test_a_coarse_edge_becomes_that_of_the_picture() -> None:
    truth = strands(240)
    rough = resize_linear(resize_area(truth, 60, 60), 240, 240)
    fine = guided(np.float32(0.2) + np.float32(0.5) * truth, rough, 4)
    assert np.abs(fine - truth).mean() < 0.6 * np.abs(rough - truth).mean()
    assert (fine[:, :90] == 1).all() and (fine[:, 150:] == 0).all()


def test_a_picture_without_an_edge_changes_little() -> None:
    truth = strands(240)
    rough = resize_linear(resize_area(truth, 60, 60), 240, 240)
    grain = np.random.default_rng(0).normal(0.4, 0.004, truth.shape).astype(np.float32)
    assert np.abs(guided(grain, rough, 4) - rough).mean() < 0.02


def test_half_clear_places_within_are_filled_and_gaps_are_kept() -> None:
    matte = np.clip(strands(256) * 1.0, 0, 1)
    jewel, gap = (slice(60, 80), slice(40, 60)), (slice(150, 190), slice(40, 80))
    matte[jewel], matte[gap] = 0.3, 0.0
    matte[62:65, 42:45] = 0.0
    filled = solid(matte)
    assert (filled[jewel] == 1).all() and (filled[155:185, 45:75] == 0).all()
    assert np.array_equal(filled[:, 110:], np.maximum(matte, filled)[:, 110:]) and (filled >= matte).all()
    near = np.abs(np.mgrid[:256, :256][1] - 128) < 3
    assert np.allclose(filled[near], matte[near])


def test_steadied_mattes_are_means_of_three() -> None:
    mattes = [np.full((2, 2), value, np.float32) for value in (0.0, 1.0, 0.0, 0.4)]
    assert [float(matte[0, 0]) for matte in steady(mattes)] == pytest.approx([0.25, 0.5, 0.35, 0.3])
    assert [float(matte[0, 0]) for matte in steady(mattes[1:2])] == [1.0]
    assert list(steady([])) == []


def test_small_pictures_have_the_right_colours() -> None:
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (4, 6, 3)).astype(np.uint8).repeat(32, axis=0).repeat(32, axis=1)
    frame = av.VideoFrame.from_ndarray(blocks, format="rgb24")
    planes = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG").to_ndarray()
    small = _small_rgb(planes.astype(np.uint8), 64, 96)
    middles = small[8::16, 8::16].astype(int) - blocks[16::32, 16::32]
    assert np.abs(middles).max() <= 4


class Everywhere:
    """A segmenter that sees a person on the left of any picture."""

    def __enter__(self) -> Everywhere:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def matte(self, image: np.ndarray) -> np.ndarray:
        left = np.arange(image.shape[1]) < image.shape[1] / 4
        return np.repeat(left[None].astype(np.float32), image.shape[0], axis=0)


def test_the_portrait_counts_in_its_square_and_the_segmenter_around() -> None:
    maker = MatteMaker(160, 80, (60.0, 0.0, 80.0), 80)
    assert maker.needs_segmenter
    coarse = maker.coarse(np.full((120, 160), 128, np.uint8), Everywhere())
    masks = np.zeros((80, 80, 2), np.uint8)
    masks[20:60, 20:60, 0] = 200
    masks[60:, 20:60, 1] = 255
    matte = maker.matte(np.full((80, 160), 100, np.float32), masks, coarse)
    assert matte.shape == (80, 160) and matte.dtype == np.uint8
    assert (matte[:, :30] == 255).all() and (matte[:, 45:70] < 10).all() and (matte[65:, 85:115] == 255).all()
    assert (matte[40:60, 90:110] >= 199).all() and (matte[:15, 66:] == 0).all()


def test_a_square_that_is_the_whole_picture_needs_no_segmenter() -> None:
    maker = MatteMaker(80, 80, (0.0, 0.0, 80.0), 40)
    assert not maker.needs_segmenter
    masks = np.zeros((40, 40, 2), np.uint8)
    masks[10:, 10:30, 0] = 255
    matte = maker.matte(np.full((80, 80), 100, np.float32), masks, None)
    assert (matte[26:, 26:54] == 255).all() and (matte[:14] == 0).all()
