"""The sound's offset from meshes and sound, on a face whose lips are known to follow the bundled sentence; in words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from geneface.analysis.speech import load_encoder
from geneface.analysis.sync_offset import UNKNOWN, SoundOffset
from geneface.geometry.camera import project
from geneface.geometry.landmarks import KEYPOINTS, lip_opening
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.io.face_mesh import mean_face
from geneface.motion.runtime import MotionModel
from geneface.portrait.lips_asked import LipListener, head_landmarks, rest_shape, sounding_frames
from geneface.portrait.offsets import SpanOffset, describe_offsets, describe_source, span_offsets
from geneface.signal.sound import cut_frames
from geneface.signal.timing import SAMPLES_PER_FRAME
from geneface.types import Camera, FloatArray, Waveform

CAMERA = Camera(4.5, 256, 256)


@pytest.fixture(scope="module")
def listener() -> LipListener:
    return LipListener()


@pytest.fixture(scope="module")
def sentence() -> FloatArray:
    """The bundled sentence, three times over: some 15 s."""
    return np.tile(read_audio(asset_path("speech", "demo.flac")).samples, 3)


@pytest.fixture(scope="module")
def heads(sentence: FloatArray) -> np.ndarray:
    """Meshes [F, 478, 3] that say it, not as the model would: less, and with much that the sound does not ask for."""
    features = load_encoder().encode(sentence)
    moved = MotionModel.load().predict(features, temperature=1.0, seed=3)
    rng = np.random.default_rng(0)
    frames = len(moved)
    head = np.repeat(mean_face()[None], frames, axis=0)
    slow = np.stack([np.convolve(row, np.hanning(9), "same") for row in rng.normal(size=(3, frames))], axis=-1)
    head[:, list(KEYPOINTS)] += 0.7 * moved + 0.002 * slow[:, None] * rng.normal(size=(len(KEYPOINTS), 3))
    return head


@pytest.fixture(scope="module")
def lips(heads: np.ndarray) -> np.ndarray:
    return heads[:, list(KEYPOINTS)]


@pytest.fixture(scope="module")
def faces(heads: np.ndarray) -> np.ndarray:
    """Pixels [F, 478, 3] of these heads, nodding and turning, with a tracker's noise."""
    rng = np.random.default_rng(1)
    time = np.arange(len(heads))[:, None] / 25
    turn = 0.15 * np.sin(time * np.array([1.1, 0.7, 0.4]) + [0, 1, 2])
    place = np.array([0, 0, -4.5]) + 0.1 * np.sin(time * np.array([0.5, 0.9, 0.3]))
    pixels = np.concatenate([project(heads, turn, place, CAMERA), -200 * heads[..., 2:]], axis=-1)
    return (pixels + 0.15 * rng.normal(size=pixels.shape)).astype(np.float32)


def found(listener: LipListener, faces: np.ndarray, samples: FloatArray) -> SoundOffset:
    return span_offsets([Waveform(samples)], [(0, 0, faces)], listener)[0]


@pytest.mark.slow
def test_a_file_with_another_voice_does_not_share_the_offset_of_the_others(
    listener: LipListener, faces: np.ndarray, sentence: FloatArray
):
    """Three files, recorded alike; the last one's sound is of another moment."""
    sounds = [Waveform(cut_frames(Waveform(sentence), first - 4, 120)) for first in (0, 120)]
    strange = Waveform(cut_frames(Waveform(sentence[::-1].copy()), 0, 120))
    runs = [(0, 0, faces[:120]), (1, 0, faces[120:240]), (2, 0, faces[60:180])]
    first, second, third = span_offsets([*sounds, strange], runs, listener)
    assert first.confident and [first.frames, second.frames] == pytest.approx([4, 4], abs=0.5)
    assert not third.confident and third.shift(0) == 0


@pytest.mark.slow
def test_short_files_are_each_moved_to_their_own_lips(listener: LipListener, faces: np.ndarray, sentence: FloatArray):
    late = [2.0, 2.0, 2.8]
    sounds = [
        Waveform(cut_frames(Waveform(sentence), first - own, 100))
        for first, own in zip((0, 100, 200), late, strict=True)
    ]
    runs = [(number, 0, faces[100 * number : 100 * number + 100]) for number in range(3)]
    found = span_offsets(sounds, runs, listener)
    assert all(offset.confident for offset in found)
    assert [offset.frames for offset in found] == pytest.approx(late, abs=0.4)


@pytest.mark.slow
@pytest.mark.parametrize("late", [-8, -2.5, 0, 3, 6.5])
@pytest.mark.parametrize("first", [0, 60, 140])
def test_four_seconds_tell_their_offset_and_its_sign(
    listener: LipListener, faces: np.ndarray, sentence: FloatArray, late: float, first: int
):
    """The file's sound ends with its pictures; what it says comes `late` frames after the lips."""
    sound = cut_frames(Waveform(sentence), first - late, 100)
    offset = found(listener, faces[first : first + 100], sound)
    assert offset.confident and offset.frames == pytest.approx(late, abs=0.5)


def test_a_run_inside_a_file_is_compared_with_its_own_place(
    listener: LipListener, faces: np.ndarray, sentence: FloatArray
):
    sound = Waveform(sentence, start_seconds=0.12)
    offset = span_offsets([sound], [(0, 100, faces[100:250])], listener)[0]
    assert offset.confident and offset.frames == pytest.approx(3, abs=0.5)


@pytest.mark.slow
def test_of_two_sources_and_runs_each_has_its_own(listener: LipListener, faces: np.ndarray, sentence: FloatArray):
    assert len(faces) > 375
    early, silent = Waveform(sentence, start_seconds=-0.2), None
    late = Waveform(sentence, start_seconds=0.16)
    runs = [(0, 0, faces), (1, 20, faces[20:200]), (2, 0, faces[:200])]
    offsets = span_offsets([early, silent, late], runs, listener)
    assert offsets[0].frames == pytest.approx(-5, abs=0.5)
    assert offsets[1] is UNKNOWN
    assert offsets[2].frames == pytest.approx(4, abs=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("jump", [2, 7])
def test_a_cut_after_which_the_sound_is_late(listener: LipListener, faces: np.ndarray, sentence: FloatArray, jump: int):
    """The second shot's sound comes late, after so many frames of silence."""
    cut = 200 * SAMPLES_PER_FRAME
    sound = np.concatenate([sentence[:cut], np.zeros(jump * SAMPLES_PER_FRAME, np.float32), sentence[cut:]])
    runs = [(0, 0, faces[:200]), (0, 200, faces[200:])]
    offsets = span_offsets([Waveform(sound)], runs, listener)
    assert [offset.frames for offset in offsets] == pytest.approx([0, jump], abs=0.5)


@pytest.mark.slow
def test_a_drift_is_found(listener: LipListener, faces: np.ndarray, sentence: FloatArray):
    ppm = 2000.0
    lips, said = np.concatenate([faces, faces]), np.concatenate([sentence, sentence])
    # What is played slower becomes later and later.
    sound = cut_frames(Waveform(said), -1, len(lips), 1e6 * (1 / (1 + 1e-6 * ppm) - 1))
    offset = found(listener, lips, sound)
    assert offset.drift_ppm == pytest.approx(ppm, rel=0.3)
    for frame in (0, len(lips)):
        assert offset.shift(frame) == pytest.approx(1 + 1e-6 * ppm * frame, abs=0.5)


def tune(samples: int) -> FloatArray:
    """Four chords and a beat."""
    time = np.arange(samples) / 16_000
    beat = time % 0.5
    chord = np.array([220.0, 262.0, 294.0, 247.0])[(time // 2).astype(int) % 4]
    phase = 2 * np.pi * np.cumsum(chord) / 16_000
    notes = sum(np.sin(phase * ratio) / ratio for ratio in (1, 1.26, 1.5, 2, 3))
    drum = np.random.default_rng(2).normal(size=samples) * np.exp(-20 * beat)
    return (0.03 * (notes * np.exp(-beat) + 2 * drum)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["music", "backwards", "silence", "noise"])
def test_other_sounds_are_left_as_they_are(listener: LipListener, faces: np.ndarray, sentence: FloatArray, wrong: str):
    sounds: dict[str, Callable[[], FloatArray]] = {
        "music": lambda: tune(len(sentence)),
        "backwards": lambda: np.ascontiguousarray(sentence[::-1]),
        "silence": lambda: np.zeros_like(sentence),
        "noise": lambda: 0.1 * np.random.default_rng(1).normal(size=len(sentence)).astype(np.float32),
    }
    sound = sounds[wrong]()
    for first, last in ((0, len(faces)), (0, 100), (150, 250)):
        offset = found(listener, faces[first:last], sound[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME])
        assert not offset.confident and offset.frames == 0 and offset.shift(100) == 0


@pytest.mark.slow
def test_speech_is_found_under_music(listener: LipListener, faces: np.ndarray, sentence: FloatArray):
    late = cut_frames(Waveform(sentence), -4, len(faces))
    offset = found(listener, faces, late + tune(len(late)))
    assert offset.confident and offset.frames == pytest.approx(4, abs=0.5)


def test_too_short_runs_and_no_runs_are_no_error(listener: LipListener, faces: np.ndarray, sentence: FloatArray):
    assert span_offsets([Waveform(sentence)], [], listener) == []
    assert not found(listener, faces[:8], sentence).confident
    far = Waveform(sentence, start_seconds=1000.0)
    assert not span_offsets([far], [(0, 0, faces)], listener)[0].confident


def test_the_head_frame_keeps_the_lips_and_loses_the_head(faces: np.ndarray, lips: np.ndarray):
    points = head_landmarks(faces, rest_shape([faces]))
    # A forehead that moved by a tenth of the face stands still.
    assert faces[:, 10].std(0).max() > 0.02 * np.ptp(faces[0, :, 1])
    assert points[:, list(KEYPOINTS).index(10)].std(0).max() < 0.01
    # The lips are those of the face as it was made, before it was moved.
    seen, made = (np.gradient(lip_opening(values)) for values in (points, lips))
    assert np.corrcoef(seen, made)[0, 1] > 0.9


def test_frames_that_sound():
    samples = np.zeros(20 * SAMPLES_PER_FRAME, np.float32)
    samples[5 * SAMPLES_PER_FRAME : 12 * SAMPLES_PER_FRAME] = 0.1
    assert np.flatnonzero(sounding_frames(samples)).tolist() == list(range(5, 12))


SURE = SoundOffset(2.5, 0.0, 0.974, 2.5, 9.0, 5.0)


def test_offsets_are_told_in_plain_sentences():
    def told(offset: SoundOffset) -> str:
        (text,) = describe_source([SpanOffset(0, 50, 1050, offset)], "corrected")
        return text

    assert told(SURE) == "the sound is 2.5 frames (100 ms) late (corrected; confidence 0.97)"
    assert told(SoundOffset(-1.0, 0.0, 1.0, -1.0, 9.0, 5.0)).startswith("the sound is 1 frame (40 ms) early (")
    assert told(SoundOffset(0.1, 0.0, 1.0, 0.1, 9.0, 5.0)) == "sound and picture are together (confidence 1.00)"
    unsure = "whether the sound fits the lips can't be told (confidence 0.31): it is left as it is"
    assert told(SoundOffset(0.0, 0.0, 0.31, 4.0, 3.0, 1.0)) == unsure
    drifting = told(SoundOffset(0.5, 1000.0, 1.0, 0.5, 9.0, 5.0))
    assert drifting.startswith("the sound is 0.6 frames (22 ms) late at first and 1.6 frames (62 ms) late in the end (")


def test_shots_with_another_offset_are_told_with_their_place():
    runs = [SpanOffset(0, 0, 100, SURE), SpanOffset(0, 100, 150, UNKNOWN), SpanOffset(0, 200, 300, SURE)]
    first, second = describe_source(runs, "left so")
    assert first.startswith("the sound is 2.5 frames") and "left so" in first
    assert second.startswith("in 4.00-6.00 s whether")
    assert describe_source([], "corrected") == []


def test_one_offset_is_told_once_and_different_ones_by_name():
    same = [SpanOffset(0, 0, 100, SURE), SpanOffset(1, 0, 100, SURE)]
    assert describe_offsets({0: "a", 1: "b"}, same)["frames"] == 2.5
    mixed = [*same, SpanOffset(1, 100, 200, UNKNOWN)]
    sources = describe_offsets({0: "a", 1: "b"}, mixed)["sources"]
    assert sources["a"]["frames"] == 2.5  # type: ignore[index]
    assert [(part["start"], part["confident"]) for part in sources["b"]] == [(0, True), (4, False)]  # type: ignore[index]
