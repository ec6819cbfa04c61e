"""Polygons against fine grids and closed forms, connected parts against a flood."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.imaging.shapes import connected_parts, inside_polygon, pixels_inside_polygon, polygon_coverage

STAR = np.array(
    [(10, 1), (12.3, 8), (19, 8.5), (13.7, 12), (16, 19.2), (10, 14.6), (3.5, 18), (6, 11), (0.4, 7), (8, 7)]
)


def even_odd(x: float, y: float, corners: np.ndarray) -> bool:
    """Whether a ray to the right crosses the outline an odd number of times."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if min(y0, y1) <= y < max(y0, y1) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) > x:
            crossings += 1
    return crossings % 2 == 1


def fine_coverage(corners: np.ndarray, height: int, width: int, times: int = 40) -> np.ndarray:
    inside = pixels_inside_polygon(corners * times, height * times, width * times)
    return inside.reshape(height, times, width, times).mean((1, 3))


def test_pixels_inside_are_those_a_ray_tells():
    mask = pixels_inside_polygon(STAR, 20, 21)
    expected = [[even_odd(x + 0.5, y + 0.5, STAR) for x in range(21)] for y in range(20)]
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(inside_polygon(np.array([(10.0, 10.0), (0.0, 0.0)]), STAR), [True, False])
    assert not pixels_inside_polygon(np.zeros((0, 2)), 4, 4).any()


@pytest.mark.parametrize("corners", [STAR, STAR[::-1], STAR + 0.37, STAR - 8, STAR * 1.7 - 6])
def test_coverage_is_that_of_a_fine_grid(corners):
    result = polygon_coverage(corners, 20, 23)
    assert result.dtype == np.float32 and result.min() >= 0 and result.max() <= 1
    np.testing.assert_allclose(result, fine_coverage(corners, 20, 23), atol=0.03)


def test_coverage_of_boxes_is_exact():
    box = np.array([(1.25, 2.5), (4.5, 2.5), (4.5, 3.75), (1.25, 3.75)])
    expected = np.outer([0, 0, 0.5, 0.75, 0], [0, 0.75, 1, 1, 0.5, 0])
    np.testing.assert_allclose(polygon_coverage(box, 5, 6), expected, atol=1e-6)
    # Whole pixels, the whole picture and more, one pixel, none.
    np.testing.assert_array_equal(polygon_coverage(np.array([(1, 1), (3, 1), (3, 2), (1, 2)]), 3, 4).sum(), 2)
    far = 1e4 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    np.testing.assert_allclose(polygon_coverage(far, 7, 5), 1, atol=1e-6)
    np.testing.assert_allclose(polygon_coverage(np.array([(0, 0), (1, 0), (0, 1)]), 1, 1), 0.5, atol=1e-6)
    for nothing in (far + 1e5, np.array([(1, 1), (3, 3)]), np.zeros((0, 2))):
        assert polygon_coverage(nothing, 4, 4).max(initial=0) < 1e-6


def test_the_area_is_the_shoelace_formulas():
    rng = np.random.default_rng(3)
    for _ in range(20):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 12))
        corners = 20 + rng.uniform(2, 18, (12, 1)) * np.stack([np.cos(angle), np.sin(angle)], -1)
        # Between neighbours more than half a turn apart the outline may leave its corners' order.
        x, y = corners.T
        area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
        if np.diff(angle, append=angle[0] + 2 * np.pi).max() < np.pi:
            assert polygon_coverage(corners, 40, 40).sum() == pytest.approx(area, abs=1e-3)


def test_a_loop_wound_the_other_way_is_filled_too():
    eight = np.array([(1, 1), (9, 9), (9, 1), (1, 9)])
    np.testing.assert_allclose(polygon_coverage(eight, 10, 10).sum(), 32, atol=0.6)


def test_coverage_is_opencvs_at_a_fine_size():
    cv2 = pytest.importorskip("cv2", reason="no OpenCV here")
    fine = np.zeros((32 * 20, 32 * 23), np.uint8)
    cv2.fillPoly(fine, [np.round((STAR * 32 - 0.5) * 256).astype(np.int32)], 255, shift=8)
    expected = cv2.resize(fine, (23, 20), interpolation=cv2.INTER_AREA) / 255
    # OpenCV draws the outline too, half a fine pixel to each side.
    np.testing.assert_allclose(polygon_coverage(STAR, 20, 23), expected, atol=0.05)


def flood(mask: np.ndarray) -> np.ndarray:
    """Numbers of parts, spread from pixel to pixel."""
    labels, count = np.zeros(mask.shape, int), 0
    for first in zip(*np.nonzero(mask), strict=True):
        if labels[first]:
            continue
        count += 1
        labels[first], waiting = count, [first]
        while waiting:
            y, x = waiting.pop()
            for near in ((y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1)):
                inside = 0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1]
                if inside and mask[near] and not labels[near]:
                    labels[near] = count
                    waiting.append(near)
    return labels


def spiral(size: int) -> np.ndarray:
    """One part that leads to its middle over many rows."""
    mask = np.zeros((size, size), bool)
    y = x = 0
    step, seen = (0, 1), {(0, 0)}
    mask[0, 0] = True
    for _ in range(4 * size):
        for _ in range(size):
            ahead, beyond = (y + step[0], x + step[1]), (y + 2 * step[0], x + 2 * step[1])
            if not (0 <= ahead[0] < size and 0 <= ahead[1] < size) or beyond in seen:
                break
            y, x = ahead
            mask[y, x] = True
            seen.add(ahead)
        step = (step[1], -step[0])
    return mask


@pytest.mark.parametrize("size", [(1, 1), (1, 12), (12, 1), (9, 14), (40, 33)])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_parts_are_those_of_a_flood(size, share):
    for seed in range(5):
        mask = np.random.default_rng(seed).random(size) < share
        labels, counts = connected_parts(mask)
        expected = flood(mask)
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(counts, np.bincount(expected.reshape(-1)))


def test_long_ways_are_one_part():
    mask = spiral(41)
    assert 0.4 < mask.mean() < 0.6
    assert connected_parts(mask)[0].max() == flood(mask).max() == 1
    comb = np.zeros((20, 21), bool)
    comb[:, ::2] = True
    assert connected_parts(comb)[0].max() == 11
    comb[-1] = True
    assert connected_parts(comb)[0].max() == 1


def test_no_pixels_are_no_parts():
    labels, counts = connected_parts(np.zeros((0, 5), bool))
    assert labels.shape == (0, 5) and counts.tolist() == [0]


def test_parts_are_opencvs():
    cv2 = pytest.importorskip("cv2", reason="no OpenCV here")
    for seed in range(5):
        mask = np.random.default_rng(seed).random((50, 37)) < 0.35
        count, labels, areas, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
        ours, sizes = connected_parts(mask)
        assert len(sizes) == count
        np.testing.assert_array_equal(np.sort(sizes), np.sort(areas[:, cv2.CC_STAT_AREA]))
        assert len(np.unique(np.stack([labels, ours]).reshape(2, -1), axis=1).T) == count
