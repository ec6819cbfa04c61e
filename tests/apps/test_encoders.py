"""Avatars that hear with an encoder which does not ship: from its weights to a video, by the commands alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import soundfile

from geneface.corpus.corpus import Corpus
from geneface.io.encode import write_video
from geneface.types import Waveform

from ..analysis.tiny_models import tiny_hubert, tiny_whisper
from ..avatar.avatar_fixtures import make_avatar, motion_model, speech
from ..corpus.corpus_fixtures import track_clips
from .conftest import Run, run_here
from .talking_face import opening_curve, talking_frames, talking_sound

pytestmark = pytest.mark.slow

pytest.importorskip("torch")
pytest.importorskip("transformers")

FRAMES = 110


class Hearing(NamedTuple):
    avatar: Path
    weights: Path
    name: str


@pytest.fixture(scope="module")
def by_whisper(tmp_path_factory: pytest.TempPathFactory) -> Hearing:
    """The whole way with a random Whisper: corpus, portrait, avatar; only the motion model is not trained on the corpus."""
    folder = tmp_path_factory.mktemp("whisper")
    weights, clips, corpus, model = (folder / name for name in ("tiny-whisper", "ann", "corpus", "model"))
    tiny_whisper().save_pretrained(weights, safe_serialization=True)
    encoder = ("--encoder", "whisper", "--encoder-path", weights)
    track_clips(clips, corpus, "whisper", speech(2.0))
    run_here("corpus", "prepare", clips, "-o", corpus, *encoder, "--resume").succeeded()
    heard = Corpus.load(corpus).manifest
    motion_model(model, heard.encoder, heard.feature_width)
    opening = opening_curve(FRAMES)
    write_video(folder / "talk.mp4", iter(talking_frames(opening)), Waveform(talking_sound(opening)))
    run_here("prepare", folder / "talk.mp4", "-o", folder / "portrait", "--size", 64, *encoder).succeeded()
    train = ("train", folder / "portrait", "-o", folder / "her", "--preset", "tiny", "--consent", "drawn by a program")
    # Refused before the work, and not when the avatar is loaded after it.
    run_here(*train, "--motion", model).refused("whisper:tiny-whisper", "--encoder-path")
    assert not list(folder.glob("her*"))
    run_here(*train, "--motion", model, "--encoder-path", weights).succeeded()
    return Hearing(folder / "her", weights, "whisper:tiny-whisper")


@pytest.fixture(scope="module")
def by_hubert(tmp_path_factory: pytest.TempPathFactory) -> Hearing:
    """An avatar that hears with a random HuBERT."""
    folder = tmp_path_factory.mktemp("hubert")
    weights = tiny_hubert(folder / "tiny-hubert")
    name = "hubert:tiny-hubert"
    return Hearing(make_avatar(folder / "tiny", folder / "work", name, 24), weights, name)


@pytest.fixture(params=["by_whisper", "by_hubert"])
def hearing(request: pytest.FixtureRequest) -> Hearing:
    return request.getfixturevalue(request.param)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "speech.wav", speech(1.0), 16_000)
    return tmp_path / "speech.wav"


def test_it_renders(run: Run, hearing: Hearing, sound: Path, tmp_path: Path) -> None:
    command = ("render", hearing.avatar, "--audio", sound, "-o", tmp_path / "a.mp4", "--json")
    run(*command).refused(hearing.name, "--encoder-path")
    assert not (tmp_path / "a.mp4").exists()
    rendered = run(*command, "--encoder-path", hearing.weights)
    assert json.loads(rendered.out)["frames"] == 25 and (tmp_path / "a.mp4").stat().st_size > 1000


def test_it_renders_a_table(run: Run, hearing: Hearing, sound: Path, tmp_path: Path) -> None:
    table = tmp_path / "jobs.csv"
    table.write_text(f"avatar,audio,out\n{hearing.avatar},{sound},one.mp4\ngrid-s1,{sound},two.mp4\n")
    command = ("batch", table, "-o", tmp_path / "videos", "--json")
    outcome = json.loads(run(*command).out)
    assert outcome["rendered"] == 1 and "--encoder-path" in outcome["failed"][0]["reason"]
    outcome = json.loads(run(*command, "--encoder-path", hearing.weights).out)
    assert (outcome["rendered"], outcome["skipped"], outcome["failed"]) == (1, 1, [])


def test_it_is_evaluated(run: Run, hearing: Hearing, tmp_path: Path) -> None:
    command = ("evaluate", hearing.avatar, "-o", tmp_path / "report", "--no-driven", "--json")
    run(*command).refused(hearing.name, "--encoder-path")
    metrics = json.loads(run(*command, "--encoder-path", hearing.weights).out)
    assert "motion" in metrics["tables"] and (tmp_path / "report" / "report.html").is_file()


def test_it_is_timed(run: Run, by_hubert: Hearing) -> None:
    command = ("bench", "motion", "--avatar", by_hubert.avatar, "--quick", "--repeats", 1, "--json")
    run(*command).refused("--encoder-path")
    assert json.loads(run(*command, "--encoder-path", by_hubert.weights).out)["ours"]["times_real_time"] > 0


def test_other_weights_are_refused(run: Run, by_hubert: Hearing, sound: Path, tmp_path: Path) -> None:
    other = tiny_hubert(tmp_path / "other")
    command = ("render", by_hubert.avatar, "--audio", sound, "-o", tmp_path / "a.mp4", "--encoder-path", other)
    run(*command).refused("hubert:other, not of hubert:tiny-hubert")


def test_a_shipped_encoder_needs_no_weights_and_ignores_them(run: Run, by_hubert: Hearing, sound: Path, tmp_path: Path):
    command = ("render", "grid-s1", "--audio", sound, "-o", tmp_path / "a.mp4", "--encoder-path", by_hubert.weights)
    run(*command).succeeded()
