"""Held vowels: where they are, that pitch and the rest of the sound stay, and that frames follow the sound."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.corpus.held_vowels import HeldVowel, draw_held_vowel, held_frames, hold_vowel, vowel_moments

from .test_augmentation import RATE, fundamental_hz, resonances_hz, rng, vowel


def syllables() -> np.ndarray:
    """A vowel from 0.5 to 0.9 s, hissing from 1.2 to 1.6 s as loud, 2 s in all."""
    sound = np.zeros(2 * RATE, np.float32)
    sound[8000:14_400] = vowel(120, (650, 1700), 0.4)
    hiss = np.diff(rng().standard_normal(6401))
    sound[19_200:25_600] = 0.1 * hiss / hiss.std()
    return sound


def test_vowels_are_found_and_hissing_is_not():
    moments = vowel_moments(syllables())
    assert len(moments) > 20 and moments.min() > 0.49 and moments.max() < 0.91
    for nothing in (np.zeros(RATE, np.float32), np.zeros(100, np.float32), syllables()[19_200:25_600]):
        assert not len(vowel_moments(nothing)) and draw_held_vowel(nothing, rng()) is None


def test_a_vowel_is_held_at_its_pitch_and_nothing_else_changes():
    sound, hold = syllables(), HeldVowel(0.7, 0.8)
    held = hold_vowel(sound, hold)
    assert len(held) == len(sound) + 12_800
    inside = held[round(0.68 * RATE) : round(1.52 * RATE)]
    assert fundamental_hz(inside[2000:9000]) == pytest.approx(120, rel=0.03)
    expected = resonances_hz(vowel(120, (650, 1700))[2000:9000])[:2]
    found = resonances_hz(inside[2000:9000])
    assert all(np.abs(found - value).min() < 0.08 * value for value in expected)
    level = np.sqrt(np.mean(sound[8800:13_600] ** 2))
    blocks = np.sqrt(np.mean(inside[: len(inside) // 320 * 320].reshape(-1, 320) ** 2, axis=1))
    assert (np.abs(blocks / level - 1) < 0.5).all()
    # Before and after: the same sound, at most 6 ms off.
    for part, shift in ((slice(8000, 9600), 0), (slice(19_200, 25_600), 12_800)):
        original = sound[part]
        likeness = [
            np.corrcoef(original, held[part.start + shift + lag : part.stop + shift + lag])[0, 1]
            for lag in range(-96, 97)
        ]
        assert max(likeness) > 0.9


def test_frames_follow_the_sound():
    hold = HeldVowel(0.7, 0.8)
    frames = held_frames(np.arange(70, dtype=np.float32), hold)
    np.testing.assert_allclose(frames[:16], np.arange(16), atol=1e-4)
    assert np.abs(frames[20:36] - 17.5).max() < 0.8 and (np.diff(frames) > 0).all()
    np.testing.assert_allclose(frames[40:], np.arange(40, 70) - 20, atol=1e-4)


def test_a_vowel_at_the_very_start_may_be_held():
    sound, hold = syllables()[8000:], HeldVowel(0.02, 0.3)
    held = hold_vowel(sound, hold)
    assert len(held) == len(sound) + 4800 and np.isfinite(held).all()
    frames = held_frames(np.arange(40, dtype=np.float32), hold)
    assert frames.min() >= 0 and (np.diff(frames) >= 0).all()


@pytest.mark.slow
def test_the_same_state_draws_the_same_vowel():
    sound = syllables()
    assert draw_held_vowel(sound, rng(4)) == draw_held_vowel(sound, rng(4))
    drawn = [draw_held_vowel(sound, rng(seed)) for seed in range(50)]
    assert all(hold is not None and 0.49 < hold.moment < 0.91 and 0.2 <= hold.seconds <= 4.0 for hold in drawn)
