"""Which sounds are held: vowels made of harmonics, speech, noise."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.analysis.steady_sound import REACH_FRAMES, SteadySound, steadiness
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.types import SPEECH_RATE_HZ, FloatArray

FRAME = 640


def vowel(seconds: float, pitch_hz: float = 120.0, formants: tuple[float, float] = (750, 1200)) -> FloatArray:
    """Harmonics under two formants, with vibrato; formants may move to a second pair."""
    time = np.arange(round(seconds * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.01 * np.sin(2 * np.pi * 5 * time))) / SPEECH_RATE_HZ
    sound = np.zeros(len(time))
    for number in range(1, int(5000 / pitch_hz)):
        weight = sum(np.exp(-(((number * pitch_hz - middle) / 200) ** 2)) for middle in formants) + 0.01
        sound += weight / number**0.5 * np.sin(number * phase)
    return (0.1 * sound / sound.std()).astype(np.float32)


@pytest.mark.parametrize("pitch_hz", [100.0, 180.0, 320.0])
def test_a_long_vowel_is_steady_but_for_its_ends(pitch_hz: float):
    quiet = np.zeros(10 * FRAME, np.float32)
    found = steadiness(np.concatenate([quiet, vowel(3, pitch_hz), quiet]))
    assert len(found) == 95
    assert (found[10 + REACH_FRAMES + 1 : 85 - REACH_FRAMES - 1] > 0.9).all()
    assert not found[: 10 + REACH_FRAMES - 1].any() and not found[85 - REACH_FRAMES + 1 :].any()


def test_another_vowel_is_another_sound():
    """From one to the next the mouth may move."""
    found = steadiness(np.concatenate([vowel(1), vowel(1, formants=(300, 2300))]))
    assert not found[25 - REACH_FRAMES + 1 : 25 + REACH_FRAMES - 1].any() and found[10:20].all() and found[31:40].all()


def test_speech_noise_and_silence_are_hardly_ever_steady():
    assert steadiness(read_audio(asset_path("speech", "demo.flac")).samples).mean() < 0.1
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * SPEECH_RATE_HZ).astype(np.float32)
    assert not steadiness(noise).any() and not steadiness(np.zeros_like(noise)).any()
    # What hums below -50 dB is no voice.
    assert not steadiness(vowel(2) * np.float32(0.01)).any()
    assert len(steadiness(noise[:0])) == 0 and len(steadiness(noise[:641])) == 2


def test_pieces_of_any_lengths_give_the_same():
    sound = np.concatenate([vowel(1.5)[:-200], read_audio(asset_path("speech", "demo.flac")).samples[:20_000]])
    whole, follower, rng = steadiness(sound), SteadySound(), np.random.default_rng(0)
    edges = np.sort(rng.integers(0, len(sound), 60))
    parts = [follower.push(part) for part in np.split(sound, edges)]
    # A frame is known when three more and 12 ms have been heard.
    assert sum(map(len, parts)) == (len(sound) - 192) // FRAME - REACH_FRAMES
    assert (np.concatenate([*parts, follower.finish()]) == whole).all() and whole.any()
