"""Drawn faces whose mouths open and close, and things before them."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.portrait.covered import covered
from geneface.portrait.unwrap import TEXELS, texel_of

LIPS, CHIN = texel_of(13), texel_of(152)


def speaking(frames: int, seed: int = 0, light: float = 1.0) -> np.ndarray:
    """[f, T, T, 3] flat faces with a mouth of varying opening, some shadow and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:TEXELS, 0:TEXELS]
    skin = 130 + 20 * np.sin(x / 7) + 15 * np.cos(y / 5)
    faces = []
    for _ in range(frames):
        opening, width = rng.uniform(0.3, 4), rng.uniform(5, 7)
        shadow = 1 + rng.uniform(-0.08, 0.08) * (x - TEXELS / 2) / TEXELS
        edge = ((y - LIPS[0]) / opening) ** 2 + ((x - LIPS[1]) / width) ** 2
        mouth = 1 / (1 + np.exp(np.minimum(4 * (edge - 1), 50)))
        face = (skin * shadow)[..., None] * [1.0, 0.8, 0.7] * (1 - 0.7 * mouth[..., None])
        faces.append(light * face + rng.normal(scale=2, size=face.shape))
    return np.clip(faces, 0, 255).astype(np.uint8)


def hand(faces: np.ndarray, colour: tuple[float, float, float], reach: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[0:TEXELS, 0:TEXELS]
    held = ((y - LIPS[0]) / (6 * reach)) ** 2 + ((x - LIPS[1]) / (9 * reach)) ** 2 < 1
    result = faces.copy()
    result[:, held] = np.array(colour, np.uint8)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("colour", [(30, 30, 35), (180, 120, 95), (220, 225, 230)])
def test_a_hand_a_microphone_and_a_mask_are_found(colour):
    faces = speaking(120)
    faces[50:62] = hand(faces[50:62], colour)
    flags = covered(faces, np.zeros(120, int))
    assert flags[51:61].all()
    assert not flags[:49].any() and not flags[63:].any()


def test_a_free_mouth_is_not_covered_in_any_light():
    faces = np.concatenate([speaking(80), speaking(40, 1, light=0.55), speaking(20, 2, light=1.3)])
    assert not covered(faces, np.repeat([0, 1, 2], [80, 40, 20])).any()
    assert not covered(faces, np.repeat([0, 1, 2], [80, 40, 20]), alone=True).any()


def test_a_single_picture_counts_only_where_it_is_asked_for():
    faces = speaking(120)
    faces[70:71] = hand(faces[70:71], (180, 120, 95))
    assert not covered(faces, np.zeros(120, int)).any()
    assert np.flatnonzero(covered(faces, np.zeros(120, int), alone=True)).tolist() == [70]


def test_a_mouth_covered_for_a_quarter_of_the_time_does_not_become_usual():
    faces = speaking(120)
    faces[60:90] = hand(faces[60:90], (40, 40, 45))
    flags = covered(faces, np.zeros(120, int))
    assert flags[60:90].all() and not flags[:59].any() and not flags[91:].any()


def test_a_shot_in_another_light_is_not_covered():
    """Even a shot whose mouth is shaded so that no picture of the other one explains it."""
    y, x = np.mgrid[0:TEXELS, 0:TEXELS]
    beard = 1 - 0.4 * (np.hypot((y - LIPS[0]) / 12, (x - LIPS[1]) / 14) < 1)
    shaded = (speaking(60, 1) * beard[..., None]).astype(np.uint8)
    assert not covered(np.concatenate([speaking(90), shaded]), np.repeat([0, 1], [90, 60])).any()


def test_too_few_pictures_say_nothing():
    assert not covered(hand(speaking(10), (0, 0, 0)), np.zeros(10, int)).any()
    assert covered(np.zeros((0, TEXELS, TEXELS, 3), np.uint8), np.zeros(0, int)).shape == (0,)
