"""A mouth that is held."""

import numpy as np

from geneface.avatar.held_lips import HeldLips
from geneface.geometry.landmarks import BROWS, KEYPOINT_COUNT, LOWER_FACE

POINTS = np.random.default_rng(0).standard_normal((40, KEYPOINT_COUNT, 3)).astype(np.float32)
STEADY = np.zeros(40, np.float32)
STEADY[10:30] = 1


def test_the_mouth_stays_while_the_sound_does_and_catches_up_after_it():
    held = HeldLips().push(POINTS, STEADY)
    assert (held[:10] == POINTS[:10]).all()
    assert (held[10:30, LOWER_FACE] == POINTS[9, LOWER_FACE]).all()
    assert (held[:, BROWS] == POINTS[:, BROWS]).all()
    a_third = held[29, LOWER_FACE] + (POINTS[30, LOWER_FACE] - held[29, LOWER_FACE]) / 3
    assert np.allclose(held[30, LOWER_FACE], a_third, atol=1e-6)
    assert np.allclose(held[32:], POINTS[32:], atol=1e-6)


def test_half_steady_is_half_as_fast():
    half = HeldLips().push(POINTS[:2], np.array([0, 0.5], np.float32))
    assert np.allclose(half[1, LOWER_FACE], POINTS[:2, LOWER_FACE].mean(0), atol=1e-6)


def test_pieces_of_any_lengths_give_the_same():
    whole = HeldLips().push(POINTS, STEADY)
    lips = HeldLips()
    pieces = [lips.push(POINTS[a:b], STEADY[a:b]) for a, b in ((0, 9), (9, 9), (9, 11), (11, 31), (31, 40))]
    assert (np.concatenate(pieces) == whole).all()


def test_speech_that_is_never_steady_is_left_alone():
    assert (HeldLips().push(POINTS, np.zeros(40, np.float32)) == POINTS).all()
    # An utterance that begins with a held sound begins with its first mouth.
    assert (HeldLips().push(POINTS, np.ones(40, np.float32))[:, LOWER_FACE] == POINTS[0, LOWER_FACE]).all()
