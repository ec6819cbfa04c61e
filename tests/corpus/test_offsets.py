"""Clips whose sound is late by a known time, made by the motion model itself."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.analysis.speech import DEFAULT_ENCODER, load_encoder
from geneface.corpus.dataset import ClipData, CorpusData
from geneface.corpus.offsets import corrected, find_offsets, moved
from geneface.corpus.voices import Voice
from geneface.evaluation.protocol.driven import demo_sentence
from geneface.geometry.landmarks import KEYPOINTS
from geneface.io.face_mesh import mean_face
from geneface.motion.runtime import MotionModel
from geneface.signal.sound import cut_frames
from geneface.types import FloatArray, Waveform

FRAMES = 90


@pytest.fixture(scope="module")
def said() -> tuple[FloatArray, FloatArray]:
    """A sentence, and lips that move to it: [T], [F, K, 3]."""
    samples = demo_sentence().samples
    features = load_encoder(DEFAULT_ENCODER).encode(samples, len(samples) // 640)
    return samples, MotionModel.load().predict(features)


def clip(said: tuple[FloatArray, FloatArray], first: int, late: float, name: str, speaker: str = "a") -> ClipData:
    samples, lips = said
    sound = cut_frames(Waveform(samples), first - late, FRAMES)
    features = load_encoder(DEFAULT_ENCODER).encode(sound, FRAMES).values.astype(np.float16)
    neutral = mean_face()[list(KEYPOINTS)].astype(np.float32)
    return ClipData(name, speaker, features, lips[first : first + FRAMES], neutral, 1.0)


def test_each_clip_is_moved_by_its_own_offset(said: tuple[FloatArray, FloatArray]):
    late = {"a": 0.0, "b": 0.8, "c": -0.7, "d": 0.0}
    clips = [clip(said, 60 * number, own, name) for number, (name, own) in enumerate(late.items())]
    found = find_offsets(clips, DEFAULT_ENCODER)
    assert [found[name] for name in late] == pytest.approx(list(late.values()), abs=0.25)
    # A voice is aligned with the clip's sound: frame 10 of that is frame 10 - late of the lips.
    voice = Voice(clips[1].features, np.arange(FRAMES, dtype=np.float32))
    data = CorpusData(DEFAULT_ENCODER, 512, clips[:3], clips[3:], {"a": 1.0}, {"b": [voice]})
    whole = corrected(data)
    assert whole.voices["b"][0].times[10] == pytest.approx(10 - found["b"])
    # What is left of an offset is about none.
    again = find_offsets([*whole.training, *whole.heldout], DEFAULT_ENCODER)
    assert max(map(abs, again.values())) <= 0.25


def test_features_of_another_encoder_stay(said: tuple[FloatArray, FloatArray]):
    assert find_offsets([clip(said, 0, 2.0, "a")], "mel") == {}


@pytest.mark.parametrize("late", [-1.5, -0.25, 0.0, 0.5, 2.0])
def test_rows_are_taken_from_where_the_sound_is(late: float):
    """Rows that count: row r holds r, so that the lips of frame i, rows 2 i, belong to 2 (i + late)."""
    rows = np.repeat(np.arange(40, dtype=np.float16)[:, None], 3, axis=1)
    result = moved(rows, late)
    assert result.shape == rows.shape and result.dtype == np.float16
    assert result[10:30, 0] == pytest.approx(np.arange(10, 30) + 2 * late)
    assert result.min() >= 0 and result.max() <= 39
