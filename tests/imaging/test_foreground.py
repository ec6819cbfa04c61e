"""Colours of a person that were mixed with a background are found again."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.imaging.foreground import foreground


def mixed(height: int, width: int) -> tuple[np.ndarray, ...]:
    """Picture, matte, the person's colours and the background's: a soft disc of a dark gradient before a blue one."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    matte = np.clip((0.3 * width - np.hypot(x - width / 2, y - height / 2)) / 8 + 0.5, 0, 1).astype(np.float32)
    person = np.stack([0.3 + 0.2 * x / width, 0.2 + 0 * x, 0.1 + 0.1 * y / height], axis=-1).astype(np.float32)
    behind = np.stack([0.1 + 0 * x, 0.4 + 0.1 * y / height, 0.9 - 0.1 * x / width], axis=-1).astype(np.float32)
    return person * matte[..., None] + behind * (1 - matte[..., None]), matte, person, behind


@pytest.mark.parametrize("size", [(96, 128), (75, 61)])
@pytest.mark.parametrize("is_known", [False, True])
def test_the_old_background_is_gone(size: tuple[int, int], is_known: bool) -> None:
    picture, matte, person, behind = mixed(*size)
    found = foreground(picture, matte, behind if is_known else None)
    edge = (matte > 0.02) & (matte < 0.98)
    error, before = (np.abs(image - person)[edge].mean() for image in (found, picture))
    assert error < before / (10 if is_known else 6)
    # What is shown before white is what the person alone would be.
    white = found * matte[..., None] + 1 - matte[..., None]
    assert np.abs(white - (person * matte[..., None] + 1 - matte[..., None])).max() < 0.06


def test_a_wrong_plate_does_no_harm_that_is_seen() -> None:
    """Where the plate is off by noise, thin hair must not sparkle."""
    picture, matte, person, behind = mixed(96, 128)
    plate = behind + np.random.default_rng(0).normal(0, 0.03, behind.shape).astype(np.float32)
    found = foreground(picture, matte, plate)
    assert (np.abs(found - person).max(-1) * matte).max() < 0.1


def test_whole_pixels_are_left_alone() -> None:
    picture, matte, *_ = mixed(40, 40)
    found = foreground(picture, matte)
    assert np.array_equal(found[matte == 1], picture[matte == 1])
    assert np.array_equal(foreground(picture, np.ones_like(matte)), picture)
    tiny = foreground(picture[:2, :3], np.full((2, 3), 0.5, np.float32))
    assert np.isfinite(tiny).all()
