"""The three walks (render, prepare, train): every sound is decoded once, the motion model is loaded once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from geneface.io import audio, media
from geneface.io.assets import asset_path
from geneface.io.encode import write_video
from geneface.motion.runtime import MotionModel
from geneface.types import Waveform

from ..avatar.avatar_fixtures import speech
from .conftest import run_here
from .talking_face import opening_curve, talking_frames, talking_sound

FRAMES = 110


class Counts:
    """How often what was done: decodings of sound and openings of media files by name, motion models by folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decoded: Counter[str] = Counter()
        self.opened: Counter[str] = Counter()
        self.models: Counter[Path] = Counter()
        decode, opening, load = audio.decode, media.open_media, MotionModel.load

        def decoding(path: Path, container: Any, stream: Any, *rest: Any) -> Iterator[Any]:
            if stream.type == "audio":
                self.decoded[Path(path).name] += 1
            return decode(path, container, stream, *rest)

        def open_media(path: Path | str) -> Any:
            self.opened[Path(path).name] += 1
            return opening(path)

        def loading(folder: Path | None = None) -> MotionModel:
            self.models[asset_path("motion") if folder is None else Path(folder)] += 1
            return load(folder)

        monkeypatch.setattr(audio, "decode", decoding)
        for module in (audio, media):
            monkeypatch.setattr(module, "open_media", open_media)
        monkeypatch.setattr(MotionModel, "load", loading)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    return Counts(monkeypatch)


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of a talking face, beside which its portrait will lie."""
    folder = tmp_path_factory.mktemp("walks")
    opening = opening_curve(FRAMES)
    write_video(folder / "talk.mp4", iter(talking_frames(opening)), Waveform(talking_sound(opening)))
    return folder / "portrait"


@pytest.mark.parametrize("channels", [1, 2])
def test_a_render(counts: Counts, tmp_path: Path, channels: int) -> None:
    samples = np.stack([speech(1.0, seed) for seed in range(channels)], axis=1)
    soundfile.write(tmp_path / "speech.wav", samples, 44_100)
    run_here("render", "grid-s1", "--audio", tmp_path / "speech.wav", "-o", tmp_path / "out.mp4").succeeded()
    assert counts.decoded == {"speech.wav": 1}
    # Whether it has pictures, how it counts time, its samples.
    assert counts.opened["speech.wav"] == 3
    assert list(counts.models.values()) == [1, 1]  # for live and for recorded speech


@pytest.mark.slow
def test_a_preparation(counts: Counts, portrait: Path) -> None:
    run_here("prepare", portrait.parent / "talk.mp4", "-o", portrait, "--size", 64).succeeded()
    assert counts.decoded == {"talk.mp4": 1}
    assert list(counts.models.values()) == [1]


@pytest.mark.slow
def test_a_training(counts: Counts, portrait: Path, tmp_path: Path) -> None:
    if not portrait.exists():
        run_here("prepare", portrait.parent / "talk.mp4", "-o", portrait, "--size", 64).succeeded()
        counts.decoded.clear()
        counts.models.clear()
    train = ("train", portrait, "-o", tmp_path / "her", "--preset", "tiny", "--consent", "drawn by a program")
    run_here(*train).succeeded()
    sounds = {path.name: 1 for path in (portrait / "audio").iterdir()}
    assert sounds and counts.decoded == {**sounds, "demo.flac": 1}
    assert set(counts.models.values()) == {1}  # for live and for recorded speech, and the trained one


def test_a_sound_that_is_kept_is_what_a_second_reading_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.stack([speech(3.0, seed) for seed in range(2)], axis=1)
    soundfile.write(tmp_path / "speech.wav", samples, 22_050)
    heard, sound = audio.read_speech(tmp_path / "speech.wav")
    blocks = np.concatenate(list(audio.SoundReader(tmp_path / "speech.wav").blocks(audio.SOUNDTRACK_RATE_HZ, 2)))
    assert sound.kept is not None
    np.testing.assert_array_equal(sound.kept, blocks)
    np.testing.assert_array_equal(heard.samples, audio.read_audio(tmp_path / "speech.wav").samples)
    monkeypatch.setattr(audio, "KEPT_BYTES", sound.kept.nbytes // 2)
    again, long = audio.read_speech(tmp_path / "speech.wav")
    assert long.kept is None
    np.testing.assert_array_equal(again.samples, heard.samples)
