"""Clips whose sound is late by a known time, made by the motion model itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geneface.analysis.speech import load_encoder
from geneface.corpus import offsets
from geneface.corpus.corpus import moved
from geneface.corpus.offsets import ListenStep, find_offsets
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


def test_each_clip_has_an_offset_of_its_own(said: tuple[FloatArray, FloatArray], tmp_path: Path, make_wav):
    samples, lips = said
    neutral = mean_face()[list(KEYPOINTS)].astype(np.float32)
    late = {"a": 0.0, "b": 0.8, "c": -0.7, "d": 0.0}
    for number, (name, own) in enumerate(late.items()):
        first = 60 * number
        sound = make_wav(f"{name}.wav", cut_frames(Waveform(samples), first - own, FRAMES))
        raw, clip = tmp_path / f"{name}.raw", tmp_path / f"{name}.clip"
        frames = {"found": np.ones(FRAMES, np.uint8), "face_count": np.ones(FRAMES, np.uint8)}
        save_tensors(raw, {**frames, "size": np.array([9, 9], np.int32), "first_frame_seconds": np.zeros(1)})
        save_tensors(clip, {"landmarks": neutral + lips[first : first + FRAMES]})
        step = ListenStep(name, (sound, raw, clip), tmp_path, neutral)
        assert step.run() == "" and step.product.is_file()
    found = find_offsets(tmp_path, {"somebody": list(late)})
    assert [found[name] for name in late] == pytest.approx(list(late.values()), abs=0.25)


def test_a_sound_that_says_nothing_moves_nothing(said: tuple[FloatArray, FloatArray], tmp_path: Path, make_wav):
    _, lips = said
    neutral = mean_face()[list(KEYPOINTS)].astype(np.float32)
    noise = 0.1 * np.random.default_rng(0).standard_normal(640 * FRAMES, np.float32)
    raw, clip = tmp_path / "n.raw", tmp_path / "n.clip"
    frames = {"found": np.ones(FRAMES, np.uint8), "face_count": np.ones(FRAMES, np.uint8)}
    save_tensors(raw, {**frames, "size": np.array([9, 9], np.int32), "first_frame_seconds": np.zeros(1)})
    save_tensors(clip, {"landmarks": neutral + lips[:FRAMES]})
    assert ListenStep("n", (make_wav("n.wav", noise), raw, clip), tmp_path, neutral).run() == ""
    assert find_offsets(tmp_path, {"somebody": ["n"]}) == {}


@pytest.mark.parametrize("late", [-1.5, -0.25, 0.0, 0.5, 2.0])
def test_rows_are_taken_from_where_the_sound_is(late: float):
    """Rows that count: row r holds r, so that the lips of frame i, rows 2 i, belong to 2 (i + late)."""
    rows = np.repeat(np.arange(40, dtype=np.float16)[:, None], 3, axis=1)
    result = moved(rows, late)
    assert result.shape == rows.shape and result.dtype == np.float32
    assert result[10:30, 0] == pytest.approx(np.arange(10, 30) + 2 * late)
    assert result.min() >= 0 and result.max() <= 39


def test_a_clip_that_tells_nothing_has_what_the_others_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nothing = {name: np.zeros(0) for name in ("middle", "values", "frames", "speech_frames")}
    save_tensors(offsets.agreements_path(tmp_path, "mute"), nothing)
    common = offsets.fit_offset([])
    sure = replace(common, frames=4.0, confidence=1.0)
    monkeypatch.setattr(offsets, "fit_offset", lambda windows: sure)
    assert find_offsets(tmp_path, {"somebody": ["mute"]}) == {"mute": 4.0}
