"""Helpers of the generalisation benchmark: who is left out, what counts as speech, words found by alignment."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the [train] extra")

from geneface.corpus.dataset import ClipData, CorpusData
from geneface.corpus.voices import Voice
from geneface.geometry.landmarks import KEYPOINT_COUNT

from .test_ablations import load

generalisation, grid_words = load("generalisation"), load("grid_words")


class _Random:
    """A generator that each test starts again."""

    generator = np.random.default_rng(0)

    def standard_normal(self, shape):
        return self.generator.standard_normal(shape)


RNG = _Random()


@pytest.fixture(autouse=True)
def _restart():
    RNG.generator = np.random.default_rng(0)


def clip(name: str, speaker: str, gain: float = 1.0, frames: int = 75, features: np.ndarray | None = None) -> ClipData:
    rows = RNG.standard_normal((2 * frames, 8)) if features is None else features
    displacement = 0.01 * RNG.standard_normal((frames, KEYPOINT_COUNT, 3)).astype(np.float32)
    neutral = RNG.standard_normal((KEYPOINT_COUNT, 3)).astype(np.float32)
    return ClipData(name, speaker, rows.astype(np.float16), displacement, neutral, gain)


def test_other_people_are_left_out_with_all_that_is_known_of_them():
    training = [clip(f"ann__{letter}", "ann") for letter in "abc"] + [clip("bob__a", "bob", 2.0)]
    heldout = [clip("ann__d", "ann"), clip("bob__b", "bob", 2.0)]
    voices = {item.name: [Voice(item.features, np.arange(75, dtype=np.float32))] for item in training}
    data = CorpusData("mel", 8, training, heldout, {"ann": 1.0, "bob": 2.0}, voices)
    kept, others = generalisation.only_reference(data)
    assert {item.name for item in kept.training} == set(kept.voices) == {"ann__a", "ann__b", "ann__c"}
    assert [item.name for item in kept.heldout] == ["ann__d"]
    assert [item.name for item in others["bob"]] == ["bob__a", "bob__b"]
    for item, original in zip(others["bob"], (training[-1], heldout[-1]), strict=True):
        # His amplitude is not told, and his landmarks are the measured ones.
        assert item.gain == 1.0
        np.testing.assert_allclose(item.landmarks, original.landmarks, atol=1e-6)


def test_speech_is_known_by_words_or_by_sound():
    words = [(0.0, 0.4, "sil"), (0.4, 0.8, "bin"), (0.8, 1.21, "blue"), (1.21, 3.0, "sil")]
    assert generalisation._speech(words, None) == slice(10, 31)
    time = np.arange(48_000) / 16_000
    sound = np.where((time > 1) & (time < 2), 0.2 * np.sin(2 * np.pi * 200 * time), 1e-5 * RNG.standard_normal(48_000))
    inside = generalisation._speech(None, sound.astype(np.float32))
    assert inside is not None and abs(inside.start - 25) <= 3 and 48 <= inside.stop <= 62
    assert generalisation._speech(None, None) is None
    assert generalisation._speech([(0.0, 3.0, "sil")], None) is None


def test_the_table_gives_means_and_spreads():
    row = {"width_correlation": 0.5, "opening_amplitude_ratio": 0.9}
    results = {
        "ours": {
            0: {"held out": {**row, "opening_correlation": 0.8, "opening_correlation_in_speech": 0.7}},
            1: {"held out": {**row, "opening_correlation": 0.9, "opening_correlation_in_speech": 0.8}},
        },
        "regression": {0: {"s26": {**row, "opening_correlation": 0.6}}},
    }
    lines = generalisation.table(results).splitlines()
    assert lines[2] == "| held out | 0.850 ± 0.050 (0.50, 0.90) / 0.750 | - |"
    assert lines[3] == "| s26 | - | 0.600 ± 0.000 (0.50, 0.90) |"


def test_words_are_found_by_alignment():
    """Each word is a vector of its own; the speaker of the clip says them at another speed."""
    letters = ["abcdef", "ghijkl"]
    sounds = {(slot, name[slot]): RNG.standard_normal(8) for name in letters for slot in range(6)}

    def said(name: str, durations: list[int]) -> tuple[np.ndarray, list[tuple[float, float, str]]]:
        rows, words, at = [np.zeros((30, 8))], [(0.0, 0.6, "sil")], 30
        for slot, length in enumerate(durations):
            rows.append(sounds[slot, name[slot]] + 0.2 * RNG.standard_normal((length, 8)))
            words.append((at / 50, (at + length) / 50, name[slot].upper()))
            at += length
        rows.append(np.zeros((150 - at, 8)))
        return np.concatenate(rows), [*words, (at / 50, 3.0, "sil")]

    known = {name: said(name, [8, 12, 9, 10, 14, 11]) for name in letters}
    dictionary = grid_words.Dictionary(
        [clip(f"ann__{name}", "ann", features=rows) for name, (rows, _) in known.items()],
        {name: words for name, (_, words) in known.items()},
    )
    features, words = said("abijef", [14, 9, 13, 7, 20, 9])
    loud = np.zeros(48_000, np.float32)
    begin, end = (round(16_000 * seconds) for seconds in (words[1][0], words[-2][1]))
    loud[begin:end] = 0.1 * RNG.standard_normal(end - begin)
    item = clip("bob__bob_abijef", "bob", features=features)
    found = grid_words.word_times(item, loud, dictionary, np.random.default_rng(0))
    assert [word for _, _, word in found] == list("ABIJEF")
    assert max(abs(mine[0] - true[0]) for mine, true in zip(found, words[1:-1], strict=True)) <= 0.06
    unknown = clip("bob__bob_zzzzzz", "bob", features=features)
    assert grid_words.word_times(unknown, loud, dictionary, np.random.default_rng(0)) == []
