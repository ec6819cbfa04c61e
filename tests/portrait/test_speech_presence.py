"""Speech against what is not: tones, hum, noise, music by synthesis."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from geneface.io.audio import read_audio
from geneface.portrait.speech_presence import holds_speech
from geneface.types import SPEECH_RATE_HZ

TIME = np.arange(5 * SPEECH_RATE_HZ) / SPEECH_RATE_HZ
RNG = np.random.default_rng(0)


def tone(hertz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * TIME)


def melody() -> np.ndarray:
    """Four notes a second, each with overtones, that fade."""
    time = TIME[: SPEECH_RATE_HZ // 4]
    notes = RNG.choice([262, 294, 330, 349, 392, 440, 494, 523], 20)
    return np.concatenate(
        [sum(np.sin(2 * np.pi * k * f * time) / k for k in range(1, 5)) * np.exp(-6 * time) for f in notes]
    )


NOT_SPEECH = {
    "silence": 0 * TIME,
    "a tone": tone(440),
    "a tone with noise": tone(440) + 0.1 * RNG.normal(size=len(TIME)),
    "a trembling tone": tone(440) * (1 + tone(4)) / 2,
    "a warbling tone": np.sin(2 * np.pi * 440 * TIME + 3 * tone(5)),
    "beeps": tone(1000) * (2 * TIME % 1 < 0.5),
    "a sweep": np.sin(2 * np.pi * (100 * TIME + 200 * TIME**2)),
    "a chord": tone(262) + tone(330) + tone(392),
    "hum": sum(tone(50 * k) / k for k in range(1, 12)),
    "white noise": RNG.normal(size=len(TIME)),
    "brown noise": np.cumsum(RNG.normal(size=len(TIME))) * 0.01,
    "waves": RNG.normal(size=len(TIME)) * (1 + tone(4)) / 2,
    "a melody": melody(),
}


def at_level(samples: np.ndarray) -> np.ndarray:
    return (0.3 * samples / max(float(np.abs(samples).max()), 1e-9)).astype(np.float32)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return read_audio(Path(str(resources.files("geneface"))) / "assets" / "speech" / "demo.flac").samples


@pytest.mark.parametrize("name", NOT_SPEECH)
def test_what_is_not_speech_is_not(name):
    assert not holds_speech(at_level(NOT_SPEECH[name]))


@pytest.mark.parametrize("name", ["white noise", "hum", "a melody"])
def test_speech_is_heard_among_other_sounds(name, speech):
    other = np.resize(NOT_SPEECH[name], len(speech))
    other *= np.sqrt(np.mean(speech**2) / np.mean(other**2))
    assert holds_speech(speech)
    assert holds_speech((speech + other).astype(np.float32))
    assert holds_speech((speech / 30).astype(np.float32))


def test_a_word_after_minutes_of_silence_is_heard(speech):
    quiet = np.zeros(90 * SPEECH_RATE_HZ, np.float32)
    assert not holds_speech(quiet)
    assert holds_speech(np.concatenate([quiet, speech]))
    assert not holds_speech(quiet[:100])
    assert not holds_speech(quiet[:0])
