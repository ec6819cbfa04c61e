"""The clean plate of a synthetic scene whose background is known everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.analysis.background import clean_plate, fill_smoothly

SIZE, COUNT = 64, 24


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures, mattes, truth: a disc that always covers the middle and sways over a gradient with grain."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    truth = np.stack([x * 2 + 40, y * 2 + 50, 150 - x], axis=-1).astype(np.float32)
    images, mattes = [], []
    for index in range(COUNT):
        center = SIZE / 2 + 9 * np.sin(index)
        matte = np.clip(14 - np.hypot(x - center, y - SIZE / 2), 0, 1)
        image = truth * (1 - matte[..., None]) + np.array([200, 150, 120]) * matte[..., None]
        images.append(np.clip(image + rng.normal(size=image.shape) * 3, 0, 255).round())
        mattes.append((255 * matte).round())
    return np.array(images, np.uint8), np.array(mattes, np.uint8), truth


def test_seen_background_is_exact_and_free_of_the_person(scene):
    images, mattes, truth = scene
    plate = clean_plate(images, mattes)
    seen = plate.known > 0
    assert 0.5 < seen.mean() < 1
    assert np.abs(plate.image - truth)[seen].mean() < 1.5
    assert np.abs(plate.image - truth)[seen].max() < 12


def test_unseen_background_is_continued_smoothly(scene):
    images, mattes, truth = scene
    plate = clean_plate(images, mattes)
    hidden = plate.known == 0
    assert hidden.any()
    # A gradient is recovered from its surroundings; the person's colour, 100 levels away, is not in it.
    assert np.abs(plate.image - truth)[hidden].mean() < 12


def test_noise_is_that_of_the_pictures(scene):
    plate = clean_plate(*scene[:2])
    assert 2 < np.median(plate.noise) < 12


def test_even_places_are_trusted_and_rough_invented_ones_are_not():
    rng = np.random.default_rng(0)
    images = np.full((6, SIZE, SIZE, 3), 90, np.uint8)
    images[:, :, SIZE // 2 :] = rng.integers(0, 255, size=(SIZE, SIZE // 2, 3))
    mattes = np.zeros((6, SIZE, SIZE), np.uint8)
    mattes[:, 24:40, :] = 255
    plate = clean_plate(images, mattes)
    assert plate.trust[32, 4] > 0.9
    assert plate.trust[5, 60] > 0.9
    assert plate.trust[26, 60] < 0.1


def test_person_everywhere_gives_a_plate_nevertheless():
    plate = clean_plate(np.full((3, 16, 16, 3), 80, np.uint8), np.full((3, 16, 16), 255, np.uint8))
    assert np.isfinite(plate.image).all() and not plate.known.any()


@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (33, 17)])
def test_filling_keeps_what_is_known(shape: tuple[int, int]):
    rng = np.random.default_rng(1)
    image = rng.random((*shape, 3)).astype(np.float32)
    weight = (rng.random(shape) > 0.6).astype(np.float32)
    weight.flat[0] = 1
    filled = fill_smoothly(image, weight)
    np.testing.assert_allclose(filled[weight > 0], image[weight > 0], atol=1e-6)
    low, high = image[weight > 0].min(0) - 1e-5, image[weight > 0].max(0) + 1e-5
    assert ((filled >= low) & (filled <= high)).all()
