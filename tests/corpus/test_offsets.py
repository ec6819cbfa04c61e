"""Clips whose sound is late by a known time, made by the motion model itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geneface.analysis.speech import load_encoder
from geneface.corpus import offsets
from geneface.corpus.corpus import moved
from geneface.corpus.offsets import agreement_tensors, find_offsets
from geneface.evaluation.protocol.driven import demo_sentence
from geneface.geometry.landmarks import KEYPOINTS
from geneface.io.face_mesh import mean_face
from geneface.io.tensors import save_tensors
from geneface.motion.runtime import MotionModel
from geneface.signal.sound import cut_frames
from geneface.types import FloatArray, Waveform

FRAMES = 90


@pytest.fixture(scope="module")
def said() -> tuple[FloatArray, FloatArray]:
    """A sentence, and lips that move to it: [T], [F, K, 3]."""
    samples, model = demo_sentence().samples, MotionModel.load()
    features = load_encoder(model.config.encoder).encode(samples, len(samples) // 640)
    return samples, model.predict(features)


def test_each_clip_has_an_offset_of_its_own(said: tuple[FloatArray, FloatArray], tmp_path: Path):
    samples, lips = said
    neutral = mean_face()[list(KEYPOINTS)].astype(np.float32)
    late = {"a": 0.0, "b": 0.8, "c": -0.7, "d": 0.0}
    clips = {name: tmp_path / name for name in late}
    for number, (name, own) in enumerate(late.items()):
        first = 60 * number
        points = neutral + lips[first : first + FRAMES]
        sound = cut_frames(Waveform(samples), first - own, FRAMES)
        save_tensors(clips[name], agreement_tensors(sound, points, neutral))
    found = find_offsets({"somebody": clips})
    assert [found[name] for name in late] == pytest.approx(list(late.values()), abs=0.25)


def test_a_sound_that_says_nothing_moves_nothing(said: tuple[FloatArray, FloatArray], tmp_path: Path):
    _, lips = said
    neutral = mean_face()[list(KEYPOINTS)].astype(np.float32)
    noise = 0.1 * np.random.default_rng(0).standard_normal(640 * FRAMES, np.float32)
    save_tensors(tmp_path / "n", agreement_tensors(noise, neutral + lips[:FRAMES], neutral))
    assert find_offsets({"somebody": {"n": tmp_path / "n"}}) == {}


def test_features_of_the_classifiers_encoder_are_not_made_again(said: tuple[FloatArray, FloatArray]):
    samples, lips = said
    neutral = mean_face()[list(KEYPOINTS)].astype(np.float32)
    sound, points = samples[: 640 * FRAMES], neutral + lips[:FRAMES]
    plain = agreement_tensors(sound, points, neutral)
    for encoder in (MotionModel.load().config.encoder, "mel"):
        features = load_encoder(encoder).encode(sound, FRAMES)
        for name, values in agreement_tensors(sound, points, neutral, features).items():
            np.testing.assert_array_equal(values, plain[name])


@pytest.mark.parametrize("late", [-1.5, -0.25, 0.0, 0.5, 2.0])
def test_rows_are_taken_from_where_the_sound_is(late: float):
    """Rows that count: row r holds r, so that the lips of frame i, rows 2 i, belong to 2 (i + late)."""
    rows = np.repeat(np.arange(40, dtype=np.float16)[:, None], 3, axis=1)
    result = moved(rows, late)
    assert result.shape == rows.shape and result.dtype == np.float32
    assert result[10:30, 0] == pytest.approx(np.arange(10, 30) + 2 * late)
    assert result.min() >= 0 and result.max() <= 39


def test_a_clip_that_tells_nothing_has_what_the_others_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    face = np.zeros((FRAMES, len(KEYPOINTS), 3), np.float32)
    save_tensors(tmp_path / "mute", agreement_tensors(np.zeros(640 * FRAMES, np.float32), face, face[0]))
    common = offsets.fit_offset([])
    sure = replace(common, frames=4.0, confidence=1.0)
    monkeypatch.setattr(offsets, "fit_offset", lambda windows: sure)
    assert find_offsets({"somebody": {"mute": tmp_path / "mute"}}) == {"mute": 4.0}
