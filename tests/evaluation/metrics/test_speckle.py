"""Speckle and dots against naive loops and against pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from geneface.evaluation.metrics.pixels import luminance
from geneface.evaluation.metrics.speckle import (
    FaceRegions,
    dots,
    frame_speckle,
    median_residual,
    with_beads,
    worst_window,
)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (23, 31, 3), dtype=np.uint8)


def test_the_residual_is_the_distance_from_the_median(picture: np.ndarray) -> None:
    luma = luminance(picture)
    expected = np.abs(luma - ndimage.median_filter(luma, 3))
    expected[[0, -1]] = expected[:, [0, -1]] = 0
    np.testing.assert_allclose(median_residual(luma), expected, atol=1e-4)
    mask = np.zeros(luma.shape, bool)
    mask[5:15, 5:20] = True
    # Beyond the picture the head may go on, so its edge counts as rim.
    with_rim = ndimage.binary_dilation(mask, np.ones((7, 7)), border_value=1)
    measured = frame_speckle(picture, FaceRegions(mask, mask, None))["speckle"]
    assert measured == pytest.approx(expected[with_rim].mean(), rel=1e-5)


@pytest.mark.parametrize("radius", [1, 2, 4])
def test_dots_are_what_stands_out_of_the_square_around(picture: np.ndarray, radius: int) -> None:
    luma = luminance(picture)
    found = dots(luma, radius)
    height, width = luma.shape
    for y in range(height):
        for x in range(width):
            if not (radius <= y < height - radius and radius <= x < width - radius):
                assert found[y, x] == 0
                continue
            around = luma[y - radius : y + radius + 1, x - radius : x + radius + 1].copy()
            around[1:-1, 1:-1] = np.nan
            over, under = luma[y, x] - np.nanmax(around), np.nanmin(around) - luma[y, x]
            assert found[y, x] == pytest.approx(max(over, 0) + max(under, 0), abs=1e-4)


def test_a_bead_and_a_hole_are_dots_and_strands_and_edges_are_not() -> None:
    plain = np.full((64, 64), 100, np.float32)
    bead, hole, strand, edge = (plain.copy() for _ in range(4))
    bead[30:32, 30:32], hole[30:32, 30:32] = 160, 40
    strand[:, 30:32], edge[:, 30:] = 160, 160
    assert dots(bead).sum() == pytest.approx(4 * 60) and dots(hole).sum() == pytest.approx(4 * 60)
    assert dots(strand).sum() == 0 and dots(edge).sum() == 0
    assert median_residual(strand).sum() == 0, "two pixels are wide enough for the median"


def test_dots_grow_with_the_picture() -> None:
    """The same picture at twice the size has the same dots."""
    small = ndimage.zoom(np.random.default_rng(1).uniform(60, 200, (64, 64)), 4, order=1)
    image = np.repeat(np.asarray(small)[..., None], 3, axis=2).round().astype(np.uint8)
    assert image.shape[1] == 256
    image = with_beads(image, np.ones((256, 256), bool), np.random.default_rng(0))
    large = image.repeat(2, axis=0).repeat(2, axis=1)
    everywhere = [
        FaceRegions(np.ones(one.shape[:2], bool), np.ones(one.shape[:2], bool), None) for one in (image, large)
    ]
    first, second = (frame_speckle(one, regions) for one, regions in zip((image, large), everywhere, strict=True))
    assert second["face_dots"] == pytest.approx(first["face_dots"], rel=0.1)


def test_beads_are_seen_in_their_region_only() -> None:
    rng = np.random.default_rng(3)
    smooth = ndimage.gaussian_filter(rng.normal(size=(256, 256)), 3) * 200 + 120
    image = np.repeat(smooth[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)
    head, torso = np.zeros((256, 256), bool), np.zeros((256, 256), bool)
    head[40:160, 60:180], torso[180:] = True, True
    regions = FaceRegions(head, head, torso)
    before, after = frame_speckle(image, regions), frame_speckle(with_beads(image, head, rng), regions)
    assert all(after[key] > 1.3 * before[key] for key in ("speckle", "face_dots", "head_dots"))
    assert after["torso_dots"] == before["torso_dots"]
    assert np.isnan(frame_speckle(image, FaceRegions(head, head, None))["torso_dots"])
    assert np.isnan(frame_speckle(image, FaceRegions(head, ~head & ~torso & False, torso))["face_dots"])


def test_beads_beside_the_outline_count_to_the_head() -> None:
    image = np.full((256, 256, 3), 90, np.uint8)
    head = np.zeros((256, 256), bool)
    head[60:180, 60:180] = True
    image[100:102, 181:183] = 200
    values = frame_speckle(image, FaceRegions(head, head, None))
    assert values["head_dots"] > 0 and values["face_dots"] == 0


def test_the_worst_second_is_the_worst_run() -> None:
    values = np.ones(100)
    values[40:50] = 5
    start, mean = worst_window(values, 25)
    assert 25 <= start <= 40 and mean == pytest.approx((10 * 5 + 15) / 25)
    assert worst_window(values[:3], 25) == (0, 1.0)
    values[:] = np.nan
    assert np.isnan(worst_window(values, 25)[1])
    values[7] = 3
    assert worst_window(values, 25)[1] == 3, "frames without the region don't thin it out"
