"""The alignment of `benchmarks/phonetic_teacher.py`, on sentences whose phones' times are known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the [train] extra")


def _load() -> ModuleType:
    """The benchmark, which is in no package."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "phonetic_teacher.py"
    spec = importlib.util.spec_from_file_location("phonetic_teacher", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


teacher = _load()
_LETTERS = sorted(set("".join(teacher.PRONUNCIATIONS.values())))


def test_phones_are_found_within_their_words() -> None:
    rng = np.random.default_rng(0)
    sounds = {letter: rng.normal(size=60).astype(np.float32) for letter in ["", *_LETTERS]}
    features, states, truth = [], [], []
    for _ in range(12):
        words, phones, time = [], [], 0
        for word in ("sil", *rng.choice(["set", "lay", "soon", "bin", "now", "five"], 4), "sil"):
            start = time
            for letter in teacher.PRONUNCIATIONS.get(word, "") or [""]:
                rows = int(rng.integers(4, 15))
                phones += [letter] * rows
                time += rows
            words.append((start / 50, time / 50, word))
        rows = np.stack([sounds[letter] for letter in phones])
        features.append(rows + rng.normal(scale=0.7, size=rows.shape).astype(np.float32))
        states.append(teacher.states_of(words, len(rows)))
        truth.append(phones)
    found = teacher.align(features, states)
    right = np.mean([a == b for one, other in zip(found, truth, strict=True) for a, b in zip(one, other, strict=True)])
    assert right > 0.97


def test_every_phone_of_the_corpus_has_an_articulation_of_its_own_kind() -> None:
    vectors = {letter: teacher.articulation(letter) for letter in ["", *_LETTERS]}
    assert len({tuple(vector) for vector in vectors.values()}) == len(vectors)
    assert vectors["m"][1] == 1
    assert vectors[""].sum() == 1


def test_silence_belongs_to_no_half_of_the_words() -> None:
    halves = teacher.half_of_frames([(0.0, 0.4, "sil"), (0.4, 0.8, "bin"), (0.8, 1.2, "lay"), (1.2, 2.0, "sil")], 50)
    assert halves.tolist() == [-1] * 10 + [0] * 10 + [1] * 10 + [-1] * 20
