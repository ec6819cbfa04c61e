"""The seam's figures: against scipy, plain loops, and pastes whose fault is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from geneface.evaluation.metrics.pixels import luminance
from geneface.evaluation.metrics.seam import cell_means, seam_change, seam_regions, seam_steps

SIZE = 256
DISTANCE = np.hypot(*(np.indices((SIZE, SIZE)) - SIZE / 2 + 0.5))
"""[S, S] pixels from the middle."""


def soft_disc(radius: float = 64, soft: float = 8) -> np.ndarray:
    """A mask that falls from 1 to 0 around a circle."""
    return np.clip(0.5 + (radius - DISTANCE) / (2 * soft), 0, 1).astype(np.float32)


def grey(level: float = 120) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), level, np.float32)


def as_bytes(image: np.ndarray) -> np.ndarray:
    return np.round(np.clip(image, 0, 255)).astype(np.uint8)


def textured(seed: int = 0) -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(SIZE, SIZE, 3)), (3, 3, 0))
    return np.clip(120 + 250 * smooth, 30, 200)


def test_regions_are_where_the_mask_mixes_and_a_rim() -> None:
    mask = soft_disc()
    regions = seam_regions(mask)
    np.testing.assert_array_equal(regions.lower_face, mask >= 0.9)
    away = np.asarray(ndimage.distance_transform_edt(mask <= 0.1))
    # A disc of whole pixels has steps: only what lies more than a pixel off is certain.
    radius = SIZE / 40
    seam = regions.seam
    assert seam[(mask < 0.9) & (away < radius - 1)].all()
    assert not seam[away > radius + 1].any() and not (seam & regions.lower_face).any()


def test_without_a_paste_there_is_no_seam() -> None:
    empty = np.zeros((SIZE, SIZE), np.float32)
    assert not seam_regions(empty).seam.any() and not seam_regions(empty).lower_face.any()
    steps = seam_steps(as_bytes(grey()), as_bytes(grey(130)), empty)
    assert np.isnan(steps.across) and np.isnan(steps.inner)
    assert seam_change([as_bytes(grey())] * 3, [empty] * 3) == (0.0, 0)


@pytest.mark.parametrize("level", [3, -8, 20])
def test_an_edge_of_light_is_a_step_of_its_height(level: int) -> None:
    truth = textured()
    mask = (DISTANCE < 64).astype(np.float32)
    steps = seam_steps(as_bytes(truth), as_bytes(truth + level * mask[..., None]), mask)
    # Squares that the circle cuts through are in neither line.
    assert np.sqrt(steps.across) == pytest.approx(abs(level), rel=0.02)
    assert np.sqrt(steps.inner) < 0.005 * abs(level) + 0.02


def test_a_soft_edge_is_a_step_of_nearly_its_height() -> None:
    truth, mask = textured(), soft_disc()
    steps = seam_steps(as_bytes(truth), as_bytes(truth + 10 * mask[..., None]), mask)
    assert 8 < np.sqrt(steps.across) < 10.1


def test_what_is_wrong_everywhere_or_fine_grained_is_no_step() -> None:
    truth, mask = textured(), soft_disc()
    everywhere = seam_steps(as_bytes(truth), as_bytes(truth + 9), mask)
    assert np.sqrt(everywhere.across) < 0.1
    noise = np.random.default_rng(1).normal(0, 12, truth.shape)
    grainy = seam_steps(as_bytes(truth), as_bytes(truth + noise * mask[..., None]), mask)
    assert np.sqrt(grainy.across) < 1


def test_a_colour_that_keeps_its_luma_is_not_a_step_of_light() -> None:
    truth, mask = grey(), (DISTANCE < 64).astype(np.float32)
    tint = np.array([11.4, 0, -29.9])
    assert tint @ np.array([0.299, 0.587, 0.114]) == pytest.approx(0, abs=1e-4)
    steps = seam_steps(as_bytes(truth), as_bytes(truth + tint * mask[..., None]), mask)
    assert np.sqrt(steps.across) < 0.5


def test_an_error_that_grows_evenly_inwards_is_the_same_step_at_both_lines() -> None:
    truth, mask = grey(), soft_disc(radius=96)
    slope = 0.5 * np.clip(112 - DISTANCE, 0, None)
    steps = seam_steps(as_bytes(truth), as_bytes(truth + slope[..., None]), mask)
    # Lines of two squares of four pixels, 15 to 25 pixels apart.
    assert 0.5 * 15 < np.sqrt(steps.inner) < 0.5 * 25
    assert 0.5 * 15 < np.sqrt(steps.across) < 0.5 * 30


def test_squares_are_a_64th_of_the_width() -> None:
    values = np.random.default_rng(0).normal(size=(260, 263)).astype(np.float32)
    means = cell_means(values)
    assert means.shape == (65, 65)
    assert means[3, 7] == pytest.approx(values[12:16, 28:32].mean(), rel=1e-5)
    small = values[:40, :50]
    np.testing.assert_array_equal(cell_means(small), small)


def test_change_is_that_of_plain_loops() -> None:
    rng = np.random.default_rng(4)
    frames = [rng.integers(0, 256, (20, 24, 3), dtype=np.uint8) for _ in range(5)]
    masks = [rng.uniform(0, 1, (20, 24)).astype(np.float32) for _ in frames]
    total, count = 0.0, 0
    for t in range(1, 4):
        for y in range(20):
            for x in range(24):
                if all(0.1 < masks[t + k][y, x] < 0.9 for k in (-1, 0, 1)):
                    before, now, after = (float(luminance(frames[t + k][y, x])) for k in (-1, 0, 1))
                    total, count = total + (after - 2 * now + before) ** 2, count + 1
    measured, number = seam_change(frames, masks)
    assert number == count > 100
    assert measured == pytest.approx(total, rel=1e-5)


def test_change_sees_flicker_and_not_steady_motion() -> None:
    mask = soft_disc()
    fading = [as_bytes(grey(100 + 4 * t)) for t in range(6)]
    assert seam_change(fading, [mask] * 6)[0] == 0
    flickering = [as_bytes(grey(100 + 3 * (t % 2))) for t in range(6)]
    total, count = seam_change(flickering, [mask] * 6)
    assert total / count == pytest.approx(6.0**2, rel=1e-4), "up by 3, down by 3"
    assert seam_change(flickering[:2], [mask] * 2) == (0.0, 0)
