"""What is counted as flapping lips, and as lips that hold a vowel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from geneface.geometry.landmarks import KEYPOINT_COUNT, LIPS, LOWER_INNER
from geneface.types import SPEECH_RATE_HZ, HeadPose, MotionTrack

from .test_ablations import load

quiet, lip_curves = load("quiet"), load("lip_curves")


class _Live:
    """Lips that open while a sound lasts, at most so many frames of it."""

    def __init__(self, most_frames: int) -> None:
        self.most, self.frames, self.rest = most_frames, 0, np.zeros(0)

    def push(self, samples: np.ndarray) -> MotionTrack:
        self.rest = np.concatenate([self.rest, samples])
        count = len(self.rest) // 640
        points = np.zeros((count, KEYPOINT_COUNT, 3), np.float32)
        for index, block in enumerate(self.rest[: count * 640].reshape(count, 640)):
            self.frames = self.frames + 1 if block.std() > 0.003 else 0
            points[index, LOWER_INNER, 1] = -0.1 * (0 < self.frames <= self.most)
        self.rest = self.rest[count * 640 :]
        still = np.zeros((count, 3), np.float32)
        return MotionTrack(points, HeadPose(still, still))


class _Avatar:
    def __init__(self, most_frames: int) -> None:
        self.most = most_frames

    def live(self) -> Any:
        return _Live(self.most)


def test_lips_that_hold_a_vowel_are_told_from_lips_that_close():
    held = quiet.held_openings(_Avatar(10_000))
    sung = [value for name, value in held.items() if name.startswith("sung")]
    assert len(sung) == 6 and np.allclose(sung, 1, atol=0.01)
    closing = quiet.held_openings(_Avatar(40))
    assert all(value < 0.01 for name, value in closing.items() if name.startswith("sung"))


def test_speed_of_lips_is_that_of_their_shape():
    points = np.zeros((5, KEYPOINT_COUNT, 3))
    points += np.arange(5)[:, None, None]
    assert quiet.lip_speed(points, np.ones(4, bool)) == pytest.approx(0)
    points[1::2, LIPS[0], 1] += 0.4
    count = len(LIPS)
    # One of the landmarks moves by .4 in every frame, and the centre by its share of it.
    expected = 0.4 * np.sqrt((1 / count) * (1 - 1 / count))
    assert quiet.lip_speed(points, np.ones(4, bool)) == pytest.approx(expected)


def test_a_sound_after_speech_is_watched_when_the_lips_have_had_time_to_close():
    speech, sound = np.full(SPEECH_RATE_HZ, 0.5, np.float32), np.full(SPEECH_RATE_HZ, 0.1, np.float32)
    samples, first = quiet._after(speech, sound)
    assert len(samples) == 2.5 * SPEECH_RATE_HZ and samples[-1] == pytest.approx(0.1)
    assert 37 < first < 62


def test_a_held_vowel_has_its_pitch_all_along():
    sound = lip_curves.held_vowel("a", 220.0, 2.0, np.random.default_rng(0))
    for start in (4000, 24_000):
        spectrum = np.abs(np.fft.rfft(sound[start : start + 4000] * np.hanning(4000)))
        peaks = [int(np.argmax(spectrum[int(k * 220 / 4) - 8 : int(k * 220 / 4) + 9])) - 8 for k in (1, 2, 3)]
        assert np.abs(peaks).max() <= 3
    assert np.abs(sound).max() <= 0.31
