"""Alignment against a plain implementation and against known warps; layout, rejection and spelling of resynthesised clips."""

# ruff: noqa: RUF001  (phonetic letters are meant)
from __future__ import annotations

import functools
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from geneface.analysis.speech import load_encoder
from geneface.corpus import resynthesis as module
from geneface.corpus.resynthesis import AlignmentError, Resynthesis, align, resynthesise, sentence, synthesiser, warp
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.signal.sound import resample
from geneface.voice.kokoro import phonemes

RATE = 16_000
LEAD, TAIL = 0.6, 0.8
KOKORO = Path(os.environ.get("GENEFACE_KOKORO", "/dev/null/voices"))
"""A voice folder as `geneface.voice.kokoro` describes it."""
NAMES = {
    "a": "A", "b": "bi", "c": "si", "d": "di", "e": "i", "f": "ɛf", "g": "ʤi", "h": "Aʧ", "i": "I", "j": "ʤA", "k": "kA",
    "l": "ɛl", "m": "ɛm", "n": "ɛn", "o": "O", "p": "pi", "q": "kju", "r": "ɑ", "s": "ɛs", "t": "ti", "u": "ju",
    "v": "vi", "x": "ɛks", "y": "wI", "z": "zɛd",
}  # fmt: skip
"""GRID's letters (it has no w) as Kokoro writes them, without stress and length."""


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@functools.cache
def demo(start: float, end: float) -> np.ndarray:
    return read_audio(asset_path("speech", "demo.flac")).samples[round(start * RATE) : round(end * RATE)]


@functools.cache
def encoder():
    return load_encoder()


def phrase() -> np.ndarray:
    """ "I'm a synthetic face", two seconds; noise fills its stops, so that none passes for a pause."""
    return demo(1.65, 3.55) + 8e-4 * rng(2).standard_normal(len(demo(1.65, 3.55))).astype(np.float32)


def other_phrase() -> np.ndarray:
    """ "-ned in minutes on two process-" """
    return demo(4.2, 6.1)


@functools.cache
def clip() -> tuple[list[tuple[float, float, str]], np.ndarray, np.ndarray]:
    """Words, samples and features of a clip: a hum all along, a click before the speech, a first word that is too early."""
    speech = phrase()
    length = round((LEAD + TAIL) * RATE) + len(speech)
    sound = 0.02 * np.sin(2 * np.pi * 50 * np.arange(length) / RATE) + 1e-4 * rng().standard_normal(length)
    sound[round(LEAD * RATE) :][: len(speech)] += speech
    sound[round(0.25 * RATE) :][:160] += 0.2 * rng(1).standard_normal(160)
    sound = sound[: length // 640 * 640].astype(np.float32)
    end = LEAD + len(speech) / RATE
    words = [(0.0, 0.2, "sil"), (0.2, 1.0, "I'm"), (1.0, 2.0, "synthetic"), (2.0, end, "face"), (end, 9.0, "sil")]
    return words, sound, encoder().encode(sound).values


def say(speaker, seed: int = 0) -> Resynthesis:
    words, samples, features = clip()
    return resynthesise(words, samples, features, speaker, encoder(), rng(seed))


def naive_cost(cost: np.ndarray, bend: float) -> float:
    """Sakoe & Chiba's symmetric form, cell by cell."""

    @functools.cache
    def best(i: int, j: int) -> float:
        if i < 0 or j < 0:
            return np.inf
        if (i, j) == (0, 0):
            return 2 * cost[0, 0]
        if i == 0 or j == 0:
            return np.inf
        choices = [best(i - 1, j - 1) + 2 * cost[i, j]]
        choices.append(best(i - 1, j - 2) + 2 * cost[i, j - 1] + cost[i, j] + bend)
        choices.append(best(i - 2, j - 1) + 2 * cost[i - 1, j] + cost[i, j] + bend)
        if j >= 2:
            choices.append(best(i - 1, j - 3) + 2 * cost[i, j - 2] + cost[i, j - 1] + cost[i, j] + 2 * bend)
        if i >= 2:
            choices.append(best(i - 3, j - 1) + 2 * cost[i - 2, j] + cost[i - 1, j] + cost[i, j] + 2 * bend)
        return min(choices)

    return best(cost.shape[0] - 1, cost.shape[1] - 1)


def path_cost(cost: np.ndarray, path: np.ndarray, bend: float) -> float:
    total = 2 * cost[0, 0]
    for (i, j), (k, m) in zip(path[:-1].tolist(), path[1:].tolist(), strict=True):
        cells = [(i + 1, n) for n in range(j + 1, m + 1)] if k == i + 1 else [(n, j + 1) for n in range(i + 1, k + 1)]
        total += cost[cells[0]] + sum(cost[cell] for cell in cells) + bend * (len(cells) - 1)
    return total


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (2, 4), (4, 2), (7, 7), (9, 16), (14, 6), (13, 37), (31, 12)])
def test_the_path_is_the_cheapest(shape: tuple[int, int]) -> None:
    for seed in range(5):
        cost = rng(seed).random(shape) * 2
        total, path = warp(cost)
        assert total == pytest.approx(naive_cost(cost, module._BEND))
        assert total == pytest.approx(path_cost(cost, path, module._BEND))
        assert path[0].tolist() == [0, 0] and path[-1].tolist() == [shape[0] - 1, shape[1] - 1]
        assert {tuple(step) for step in np.diff(path, axis=0).tolist()} <= {(1, 1), (1, 2), (1, 3), (2, 1), (3, 1)}


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (2, 5), (8, 2), (10, 29), (50, 10)])
def test_slopes_beyond_three_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(AlignmentError, match=f"{shape[0]} rows"):
        warp(np.ones(shape))


def test_a_sentence_takes_milliseconds() -> None:
    cost = rng().random((150, 150))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        warp(cost)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05


def test_a_known_warp_is_found_again() -> None:
    real = encoder().encode(demo(4.0, 7.5)).values
    for seed in range(4):
        # Slopes between 0.5 and 1.8, changing within a few tenths of a second.
        speeds = np.exp(
            np.interp(np.arange(220), np.arange(0, 240, 20), rng(seed).uniform(np.log(0.5), np.log(1.8), 12))
        )
        truth = np.cumsum(speeds) - speeds[0]
        truth = truth[truth <= len(real) - 1]
        truth[-1] = len(real) - 1
        spoken = np.stack([np.interp(truth, np.arange(len(real)), column) for column in real.T], axis=1)
        # Another level, and another microphone that adds something to all rows.
        spoken = 1.7 * spoken + 0.3 * rng(seed).standard_normal(spoken.shape) + 300.0 * rng(seed).random(len(real.T))
        errors = np.abs(align(real, spoken.astype(np.float32)) - truth)
        assert np.median(errors) < 0.5 and errors.max() < 3.0


def test_equal_recordings_are_aligned_row_by_row() -> None:
    real = encoder().encode(phrase()).values
    np.testing.assert_allclose(align(real, 3.0 * real + 100.0), np.arange(len(real)), atol=1e-4)


@pytest.mark.parametrize("counts", [(60, 60), (40, 110), (110, 40), (5, 6), (30, 88)])
def test_slopes_stay_within_a_third_and_three(counts: tuple[int, int]) -> None:
    for seed in range(5):
        real, spoken = (rng(seed + n).standard_normal((n, 8)).astype(np.float32) for n in counts)
        rows = align(real, spoken)
        assert rows.shape == (counts[1],) and rows.dtype == np.float32
        assert (rows[0], rows[-1]) == pytest.approx((0.0, counts[0] - 1), abs=1e-4)
        slopes = np.diff(rows.astype(np.float64))
        assert slopes.min() > 1 / 3 - 1e-4 and slopes.max() < 3 + 1e-4


def test_constant_features_are_no_trouble() -> None:
    rows = align(np.ones((20, 4), np.float32), np.zeros((30, 4), np.float32))
    assert np.isfinite(rows).all() and (np.diff(rows) > 0).all()


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.25])
def test_a_resynthesised_clip_shows_the_clips_frames(speed: float) -> None:
    # Played slower or faster: another pitch and another vocal tract, too.
    voice = np.pad(resample(phrase(), RATE * speed, RATE), (1500, 5000))
    result = say(lambda text: voice)
    frames = len(result.frame_times)
    assert result.samples.shape == (640 * frames,) and result.features.shape == (2 * frames, encoder().width)
    assert abs(frames / 25 - (LEAD + TAIL + len(phrase()) / speed / RATE)) < 0.1
    lead, speech = round(LEAD * 25), len(phrase()) / speed / RATE * 25
    # The alignment may bend 0.2 s around the speech; before, and after, the clip runs at its own speed.
    early = lead - 6
    np.testing.assert_allclose(result.frame_times[:early], np.arange(early))
    late = round(lead + speech) + 7
    np.testing.assert_allclose(np.diff(result.frame_times[late:-1]), 1.0, atol=1e-4)
    shift = result.frame_times[late:-1] - np.arange(late, frames - 1)
    np.testing.assert_allclose(shift, len(phrase()) / 640 - speech, atol=0.7)
    middle = np.arange(lead + 2, int(lead + speech) - 2)
    expected = lead + (middle - lead) * speed
    errors = np.abs(result.frame_times[middle] - expected)
    assert np.median(errors) < 0.6 and errors.max() < 2.0
    slopes = np.diff(result.frame_times[:-1])
    assert slopes.min() > 0.33 and slopes.max() < 3.01
    assert 0.0 <= result.mismatch < (0.3 if speed == 1.0 else 0.7)


def test_the_features_are_those_of_the_samples() -> None:
    result = say(lambda text: phrase())
    np.testing.assert_array_equal(result.features, encoder().encode(result.samples).values)


def test_silence_is_a_quiet_room() -> None:
    result = say(lambda text: phrase())
    lead = result.samples[: round(0.5 * RATE)]
    speech_db = 10 * np.log10(np.square(phrase()).mean())
    assert -75 < 10 * np.log10(np.square(lead).mean()) - speech_db < -35
    assert np.abs(result.samples).max() <= 1.0 and np.isfinite(result.samples).all()
    np.testing.assert_array_equal(result.samples, say(lambda text: phrase()).samples)
    assert not np.array_equal(result.samples, say(lambda text: phrase(), seed=1).samples)


def test_a_pause_of_the_voice_is_shortened() -> None:
    cut = round(0.72 * RATE)  # a stop, quiet already
    plain = say(lambda text: phrase())
    paused = say(lambda text: np.concatenate([phrase()[:cut], np.zeros(RATE // 2, np.float32), phrase()[cut:]]))
    assert 0 <= len(paused.samples) - len(plain.samples) <= 0.15 * RATE


def test_the_voice_is_given_the_sentence() -> None:
    heard = []

    def speaker(text: str) -> np.ndarray:
        heard.append(text)
        return phrase()

    say(speaker)
    assert heard == ["I'm synthetic face"]


@pytest.mark.parametrize(
    "voice",
    [
        other_phrase,
        lambda: phrase()[::-1].copy(),
        lambda: phrase()[: RATE // 3],
        lambda: np.zeros(RATE, np.float32),
        lambda: 0.1 * rng().standard_normal(2 * RATE).astype(np.float32),
        lambda: np.zeros(0, np.float32),
        lambda: np.tile(phrase(), 4),
    ],
)
def test_other_speech_is_refused(voice) -> None:
    with pytest.raises(AlignmentError):
        say(lambda text: voice())


@pytest.mark.slow
def test_clips_without_speech_are_refused() -> None:
    words, samples, features = clip()
    for bad_words, sound in (
        ([(0.0, 3.0, "sil")], samples),
        ([], samples),
        ([(70.0, 80.0, "late")], samples),
        (words, samples[:0]),
        (words, np.zeros_like(samples)),
    ):
        with pytest.raises(AlignmentError):
            resynthesise(
                bad_words,
                sound,
                encoder().encode(sound, len(features) // 2).values,
                lambda text: phrase(),
                encoder(),
                rng(),
            )


def test_a_sentence_has_words_alone() -> None:
    words = [
        (0.0, 0.5, "sil"),
        (0.5, 0.7, "bin"),
        (0.7, 0.9, "blue"),
        (0.9, 1.0, "at"),
        (1.0, 1.2, "A"),
        (1.2, 1.4, "z"),
    ]
    assert sentence(words) == "bin blue at eigh zed"
    assert sentence([*words, (1.4, 1.9, "sil")]) == "bin blue at eigh zed"
    assert sentence([*words, (1.4, 1.41, "sp"), (1.41, 2.0, "now")]) == "bin blue at eigh zed now"
    assert sentence([*words, (1.4, 1.6, "sp"), (1.6, 2.0, "now")]) == "bin blue at eigh zed, now"
    assert sentence([*words, (1.4, 1.6, "sp"), (1.6, 2.0, "sil")]) == "bin blue at eigh zed"
    assert sentence([(0.0, 0.4, "sp"), (0.4, 0.6, "place")]) == "place"
    assert sentence([(0.0, 2.0, "sil")]) == ""


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
@pytest.mark.parametrize("language", ["en-gb", "en-us"])
def test_letters_are_named(language: str) -> None:
    said = [(0.0, 1.0, word) for letter in NAMES for word in ("with", letter, "two")]
    words = phonemes(sentence(said), language).translate({ord(mark): None for mark in "ˈˌː"}).replace("Q", "O").split()
    assert len(words) == 3 * len(NAMES)
    named = dict(zip(NAMES, words[1::3], strict=True))
    assert named == NAMES | {"r": "ɑɹ" if language == "en-us" else "ɑ"}


@pytest.mark.skipif(not KOKORO.is_dir(), reason="GENEFACE_KOKORO names no voice folder")
def test_two_synthetic_voices_say_the_same() -> None:
    words = [(0.5, 9.0, "place"), *((9.0, 9.0, word) for word in ("red", "in", "z", "nine", "please"))]
    real = np.pad(synthesiser(KOKORO, "am_michael", "en-gb")(sentence(words)), (8000, 3200))
    real = real[: len(real) // 640 * 640]
    seconds = len(real) / RATE
    words = [(0.4, seconds, word) for _, _, word in words]
    features = encoder().encode(real).values
    voice = synthesiser(KOKORO, "bf_emma")
    result = resynthesise(words, real, features, voice, encoder(), rng())
    assert result.mismatch < 0.6
    other = [(0.4, seconds, word) for word in ("set", "white", "by", "f", "two", "again")]
    with pytest.raises(AlignmentError):
        resynthesise(other, real, features, voice, encoder(), rng())
