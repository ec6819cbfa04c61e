"""Woven fields of a moving picture against whole pictures."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from geneface.portrait.combing import comb_share, is_combed


def pictures(count: int, stripes: bool = False) -> list[np.ndarray]:
    """A bright square that moves before a wall, uint8 [96, 128, 3], at 50 Hz."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(count):
        picture = np.full((96, 128, 3), 70.0)
        x = 10 + 2 * index
        picture[20:70, x : x + 30] = 170
        if stripes:
            picture[20:70:2, x : x + 30] = 90
        found.append((picture + rng.normal(scale=2, size=picture.shape)).clip(0, 255).astype(np.uint8))
    return found


def shares(frames: list[np.ndarray]) -> np.ndarray:
    found = [comb_share(before, after) for before, after in pairwise(frames)]
    return np.array([value for value in found if value is not None])


def woven(fields: list[np.ndarray]) -> list[np.ndarray]:
    frames = []
    for first, second in zip(fields[::2], fields[1::2], strict=True):
        frame = first.copy()
        frame[1::2] = second[1::2]
        frames.append(frame)
    return frames


def test_woven_fields_are_combed_and_whole_pictures_are_not():
    fields = pictures(40)
    assert is_combed(shares(woven(fields)))
    assert not is_combed(shares(fields[::2]))
    assert shares(fields[::2]).max() < 0.002


def test_little_motion_says_nothing():
    still = [pictures(1)[0]] * 12
    assert comb_share(still[0], still[1]) is None
    assert not is_combed(shares(still))
    assert not is_combed(np.full(5, 0.9))
    assert comb_share(still[0][:3], still[1][:3]) is None
