"""Levels of flat faces, and the steps in them."""

from __future__ import annotations

import numpy as np

from geneface.portrait.light import face_level, level_steps
from geneface.portrait.unwrap import TEXELS


def test_the_level_is_the_logarithm_of_the_light():
    rng = np.random.default_rng(0)
    face = rng.uniform(60, 120, (TEXELS, TEXELS, 3))
    level = face_level(np.stack([face, 0.5 * face, 2 * face]).astype(np.uint8))
    np.testing.assert_allclose(level - level[0], [0, -np.log(2), np.log(2)], atol=0.02)


def test_steps_are_told_once_and_nods_are_not():
    rng = np.random.default_rng(0)
    level = 4.5 + 0.03 * np.sin(np.arange(60) / 5) + rng.normal(scale=0.005, size=60)
    assert level_steps(level) == []
    level[20:] += 0.3
    level[40:] -= 0.2
    steps = level_steps(level)
    assert [frame for frame, _ in steps] == [20, 40]
    np.testing.assert_allclose([change for _, change in steps], [0.3, -0.2], atol=0.05)
    # A flash of one picture is no lasting change.
    flash = np.full(60, 4.5)
    flash[30] = 5.2
    assert level_steps(flash) == []
    assert level_steps(flash[:4]) == []
