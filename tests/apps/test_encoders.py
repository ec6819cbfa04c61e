"""Encoders which do not ship: from their weights to a video, by the commands alone."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
import soundfile

import geneface
from geneface.analysis.encoder_weights import ENCODER_VARIABLE
from geneface.analysis.speech import encoder_name
from geneface.analysis.whisper_weights import read_whisper
from geneface.errors import InputError
from geneface.io.encode import write_video
from geneface.io.records import read_json
from geneface.types import Waveform

from ..analysis.tiny_models import ctranslate2_bytes, tiny_hubert, tiny_whisper
from ..avatar.avatar_fixtures import make_avatar, speech
from ..corpus.corpus_fixtures import track_clips
from ..serve.jobs_server import OPEN, refused
from .conftest import Run, run_here
from .talking_face import opening_curve, talking_frames, talking_sound
from .test_serve import started

pytestmark = pytest.mark.slow

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnx")

FRAMES = 75


class Hearing(NamedTuple):
    folder: Path
    """portrait, model, her: the avatar."""
    weights: Path
    name: str


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    opening = opening_curve(FRAMES)
    path = tmp_path_factory.mktemp("talk") / "talk.mp4"
    write_video(path, iter(talking_frames(opening)), Waveform(talking_sound(opening)))
    return path


@pytest.fixture(scope="module", params=["whisper-2", "hubert"])
def hearing(request: pytest.FixtureRequest, talk: Path, tmp_path_factory: pytest.TempPathFactory) -> Hearing:
    """The whole way: corpus, motion model, portrait, avatar."""
    folder = tmp_path_factory.mktemp(request.param)
    weights = whisper_parts(folder) if request.param == "whisper-2" else tiny_hubert(folder / "hubert")
    name = encoder_name(request.param, weights)
    encoder = ("--encoder", request.param, "--encoder-path", weights)
    track_clips(folder / "ann", folder / "corpus", name, speech(2.0))
    run_here("corpus", "prepare", folder / "ann", "-o", folder / "corpus", *encoder, "--resume").succeeded()
    run_here("pretrain", "motion", folder / "corpus", "-o", folder / "model", "--preset", "tiny").succeeded()
    run_here("prepare", talk, "-o", folder / "portrait", "--size", 64, *encoder).succeeded()
    train = ("train", folder / "portrait", "-o", folder / "her", "--preset", "tiny", "--consent", "drawn by a program")
    # Refused before the work, and not when the avatar is loaded after it.
    run_here(*train).refused(name, "--motion")
    run_here(*train, "--motion", folder / "model").refused(name, "--encoder-path", ENCODER_VARIABLE)
    assert not list(folder.glob("her*"))
    run_here(*train, "--motion", folder / "model", "--encoder-path", weights).succeeded()
    return Hearing(folder, weights, name)


def whisper_parts(folder: Path) -> Path:
    """A random Whisper as CTranslate2 stores it, in two parts."""
    tiny_whisper().save_pretrained(folder / "hugging", safe_serialization=True)
    data = ctranslate2_bytes(read_whisper(folder / "hugging"))
    weights = folder / "weights"
    weights.mkdir()
    (weights / "model.bin.part1").write_bytes(data[: len(data) // 2])
    (weights / "model.bin.part2").write_bytes(data[len(data) // 2 :])
    return weights


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "speech.wav", speech(1.0), 16_000)
    return tmp_path / "speech.wav"


def test_the_avatar_carries_the_motion_model_and_names_the_encoder(hearing: Hearing) -> None:
    made, carried = hearing.folder / "model", hearing.folder / "her" / "motion"
    assert (carried / "motion.onnx").read_bytes() == (made / "motion.onnx").read_bytes()
    for record in (hearing.folder / "her", carried, hearing.folder / "portrait"):
        file = record / ("manifest.json" if record.name == "portrait" else "config.json")
        assert read_json(file)["encoder"] == hearing.name


def test_it_renders(run: Run, hearing: Hearing, sound: Path, tmp_path: Path) -> None:
    command = ("render", hearing.folder / "her", "--audio", sound, "-o", tmp_path / "a.mp4", "--json")
    run(*command).refused(hearing.name, "--encoder-path")
    assert not (tmp_path / "a.mp4").exists()
    rendered = run(*command, "--encoder-path", hearing.weights)
    assert json.loads(rendered.out)["frames"] == 25 and (tmp_path / "a.mp4").stat().st_size > 1000


def test_it_is_evaluated(run: Run, hearing: Hearing, tmp_path: Path) -> None:
    command = ("evaluate", hearing.folder / "her", "--portrait", hearing.folder / "portrait", "-o", tmp_path / "report")
    run(*command, "--no-driven").refused(hearing.name, "--encoder-path")
    outcome = run(*command, "--no-driven", "--json", "--max-frames", 8, "--encoder-path", hearing.weights)
    outcome.succeeded()
    assert "motion" in json.loads(outcome.out)["tables"] and (tmp_path / "report" / "report.html").is_file()


def test_the_corpus_gets_more_voices(run: Run, hearing: Hearing) -> None:
    counts = ("--augmentations", 1, "--held-vowels", 0, "--non-speech", 0, "--json")
    command = ("corpus", "voices", hearing.folder / "corpus", hearing.folder / "ann", *counts)
    run(*command).refused(hearing.name, "--encoder-path")
    if hearing.name.startswith("whisper"):  # transformers takes each worker seconds to load
        outcome = run(*command, "--encoder-path", hearing.weights)
        outcome.succeeded()
        assert json.loads(outcome.out)["recordings"] == 9


def test_a_portrait_goes_on_with_the_same_weights_alone(run: Run, hearing: Hearing, talk: Path, tmp_path: Path) -> None:
    kind = hearing.name.partition(":")[0]
    settings = ("--size", 64, "--encoder", kind, "--resume", "--encoder-path")
    command = ("prepare", talk, "-o", hearing.folder / "portrait", *settings)
    run(*command, shutil.copytree(hearing.weights, tmp_path / "moved")).succeeded()
    other = tiny_hubert(tmp_path / "other", seed=1) if kind == "hubert" else hearing.folder / "hugging"
    run(*command, other).refused("other videos or settings")


class Tiny(NamedTuple):
    avatar: Path
    weights: Path
    name: str


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """An avatar that hears with a random HuBERT, without the way to it."""
    folder = tmp_path_factory.mktemp("tiny")
    weights = tiny_hubert(folder / "hubert")
    name = encoder_name("hubert", weights)
    return Tiny(make_avatar(folder / "tiny", folder / "work", name, 24), weights, name)


def test_a_table_gives_weights_to_those_that_need_them(run: Run, tiny: Tiny, sound: Path, tmp_path: Path) -> None:
    table = tmp_path / "jobs.csv"
    table.write_text(f"avatar,audio,out\n{tiny.avatar},{sound},one.mp4\ngrid-s1,{sound},two.mp4\n")
    command = ("batch", table, "-o", tmp_path / "videos", "--json")
    outcome = json.loads(run(*command).out)
    assert outcome["rendered"] == 1 and "--encoder-path" in outcome["failed"][0]["reason"]
    outcome = json.loads(run(*command, "--encoder-path", tiny.weights).out)
    assert (outcome["rendered"], outcome["skipped"], outcome["failed"]) == (1, 1, [])
    table.write_text(f"avatar,audio,out\ngrid-s1,{sound},three.mp4\n")
    run(*command, "--encoder-path", tiny.weights).refused(str(tiny.weights), "leave out --encoder-path")


def test_it_is_timed(run: Run, tiny: Tiny) -> None:
    command = ("bench", "motion", "--avatar", tiny.avatar, "--quick", "--repeats", 1, "--json")
    run(*command).refused("--encoder-path")
    assert json.loads(run(*command, "--encoder-path", tiny.weights).out)["ours"]["times_real_time"] > 0
    run("bench", "train", "--encoder-path", tiny.weights).refused("leave out --encoder-path")


def test_other_weights_are_refused(run: Run, tiny: Tiny, sound: Path, tmp_path: Path) -> None:
    """By what is in them, not by what their folder is called."""
    command = ("render", tiny.avatar, "--audio", sound, "-o", tmp_path / "a.mp4", "--encoder-path")
    moved = shutil.copytree(tiny.weights, tmp_path / "elsewhere")
    run(*command, moved).succeeded()
    other = tiny_hubert(tmp_path / "hubert", seed=1)
    digest = tiny.name.removeprefix("hubert:")
    run(*command, other).refused(f"{other} are those of hubert:", f"not of the speech encoder {tiny.name}", digest)
    run(*command, tmp_path / "nowhere").refused("nowhere does not exist")


def test_a_corpus_goes_on_with_the_same_weights_alone(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    track_clips(tmp_path / "ann", tmp_path / "corpus", tiny.name)
    other = tiny_hubert(tmp_path / "other", seed=1)
    encoder = ("--encoder", "hubert", "--encoder-path", other, "--resume")
    run("corpus", "prepare", tmp_path / "ann", "-o", tmp_path / "corpus", *encoder).refused("another encoder")


def test_an_avatar_that_is_loaded_has_its_weights(tiny: Tiny) -> None:
    avatar = geneface.Avatar.load(tiny.avatar, tiny.weights)
    assert pickle.loads(pickle.dumps(avatar)).motion(Waveform(speech(0.4))).points.shape[0] == 10
    with pytest.raises(InputError, match=r"give them to Avatar.load"):
        geneface.evaluate(avatar, encoder_path=tiny.weights)


def test_the_environment_names_weights(
    run: Run, tiny: Tiny, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_hubert(tmp_path / "other", seed=1)
    command = ("render", tiny.avatar, "--audio", sound, "-o", tmp_path / "a.mp4")
    monkeypatch.setenv(ENCODER_VARIABLE, os.pathsep.join(map(str, [other, tiny.weights])))
    run(*command).succeeded()
    # Where the encoder ships it is nobody's business; an option is.
    run("render", "grid-s1", "--audio", sound, "-o", tmp_path / "b.mp4").succeeded()
    monkeypatch.setenv(ENCODER_VARIABLE, str(other))
    run(*command).refused(tiny.name)


def test_a_server_finds_weights_in_its_jobs_and_refuses_live_speech(run: Run, sound: Path, tmp_path: Path) -> None:
    weights = whisper_parts(tmp_path)
    name = encoder_name("whisper", weights)
    make_avatar(tmp_path / "her", tmp_path / "work", name, 32)
    run("serve", "--home", tmp_path / "home", tmp_path / "her").refused(name, "--encoder-path")
    with (
        started(tmp_path / "home", tmp_path / "her", "--encoder-path", weights) as (_, lines),
        httpx2.Client(base_url=lines[0], timeout=60) as client,
    ):
        refused(client.post("/v1/live", json={"model": "her"}), 422, "bad_input", name, "the whole recording")
        form = {"model": "her", "size": "64"}
        made = client.post("/v1/videos", data=form, files={"audio": sound.read_bytes()}).json()
        end = time.monotonic() + 60
        while (job := client.get(f"/v1/videos/{made['id']}").json())["status"] in OPEN:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert job["status"] == "completed", job


@pytest.mark.parametrize(
    "command",
    [
        ("render", "grid-s1", "--audio", "speech.wav", "-o", "a.mp4"),
        ("evaluate", "grid-s1", "-o", "report"),
        ("prepare", "talk.mp4", "-o", "portrait"),
        ("corpus", "prepare", "clips", "-o", "corpus"),
        ("bench", "motion", "--quick"),
    ],
)
def test_weights_for_a_shipped_encoder_are_refused(
    run: Run, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("speech.wav", speech(1.0), 16_000)
    Path("clips").mkdir()
    for file in ("talk.mp4", "clips/ann_talk.mp4"):
        Path(file).touch()
    there = sorted(tmp_path.rglob("*"))
    run(*command, "--encoder-path", "weights").refused("whisper-2-streaming", "leave out --encoder-path")
    assert sorted(tmp_path.rglob("*")) == there
