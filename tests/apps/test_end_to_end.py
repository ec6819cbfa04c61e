"""The whole chain by its commands: a video of a talking face in, an avatar that speaks another sentence out."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
import soundfile

from geneface.geometry.landmarks import lip_opening
from geneface.io.tensors import load_tensors, save_tensors
from geneface.io.video import write_video
from geneface.io.work import exclusive_folder
from geneface.types import Waveform

from .conftest import Outcome, Run, command, environment
from .talking_face import opening_curve, talking_frames, talking_sound

pytestmark = pytest.mark.slow

FRAMES = 150
CONSENT = "the picture is NASA's, in the public domain"


def _run(*args: object) -> Outcome:
    done = subprocess.run(command(*args), capture_output=True, text=True, timeout=300, env=environment(), check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


class Chain(NamedTuple):
    folder: Path
    portrait: Path
    avatar: Path
    speech: Path
    opening: np.ndarray
    """What the mouth of somebody who spoke `speech` would do, 0 to 1."""
    summary: list[str]
    """What the training said at its end."""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("chain")
    opening = opening_curve(FRAMES)
    write_video(folder / "talk.mp4", iter(talking_frames(opening)), Waveform(talking_sound(opening)))
    prepared = _run("prepare", folder / "talk.mp4", "-o", folder / "portrait", "--size", 128, "--json")
    assert prepared.code == 0, prepared.err
    assert json.loads(prepared.out)["frames"] > 0.9 * FRAMES
    trained = _run(
        "train", folder / "portrait", "-o", folder / "her", "--preset", "tiny", "--consent", CONSENT, "--json"
    )
    assert trained.code == 0, trained.err
    said = json.loads(trained.out)
    assert trained.err == "" and said["preset"] == "tiny"
    other = opening_curve(75, seed=9)
    soundfile.write(folder / "speech.wav", talking_sound(other, seed=9), 16_000)
    return Chain(folder, folder / "portrait", folder / "her", folder / "speech.wav", other, said["summary"])


def test_training_leaves_an_avatar_and_nothing_else(chain: Chain) -> None:
    assert sorted(path.name for path in chain.folder.iterdir()) == ["her", "portrait", "speech.wav", "talk.mp4"]
    assert CONSENT in (chain.avatar / "README.md").read_text()
    assert json.loads((chain.avatar / "config.json").read_text())["consent"] == CONSENT
    assert sum(path.stat().st_size for path in chain.avatar.rglob("*")) < 10e6


def test_training_says_when_too_little_is_held_out_to_tell(chain: Chain) -> None:
    assert 0 < load_tensors(chain.portrait / "tracks.safetensors")["heldout"].sum() < 75, "under three seconds"
    line = r"adaptation: \d\.\d s are held out, under 3 s it can't be told what it gained"
    assert [bool(re.fullmatch(line, said)) for said in chain.summary].count(True) == 1
    assert "under 3 s are held out" in (chain.avatar / "README.md").read_text()


def test_training_says_what_adaptation_gained(chain: Chain, tmp_path: Path) -> None:
    portrait, out = tmp_path / "portrait", tmp_path / "her"
    shutil.copytree(chain.portrait, portrait)
    tracks = load_tensors(portrait / "tracks.safetensors")
    tracks["heldout"][-80:] = True
    save_tensors(portrait / "tracks.safetensors", tracks)
    trained = _run("train", portrait, "-o", out, "--preset", "tiny", "--consent", CONSENT)
    assert trained.code == 0, trained.err
    number = r"-?\d*\.\d+"
    change = f"{number} -> {number}"
    line = (
        f"  lips from speech on 3.2 held-out seconds, generic -> adapted: opening r {change}, width r {change}, "
        f"distance {change} of the face's width, amplitude {change}"
    )
    assert [bool(re.fullmatch(line, said)) for said in trained.out.splitlines()].count(True) == 1, trained.out
    verdict = r"  in short: .+; lips from speech follow the recording at r -?\d*\.\d+ \(1 is perfect\), (.+)"
    said = [found for line in trained.out.splitlines() if (found := re.fullmatch(verdict, line))]
    assert len(said) == 1, trained.out
    assert trained.out.splitlines()[-1] == f"next: geneface render {out} --audio speech.wav -o talking.mp4"
    metrics = json.loads((out / "metrics.json").read_text())
    generic, adapted = (
        row["figures"]["opening_correlation"]["value"] for row in metrics["tables"]["adaptation"]["rows"]
    )
    assert generic != adapted, "the adaptation reaches the motion"
    gain = adapted - generic
    word = "better than" if gain > 0.05 else "worse than" if gain < -0.05 else "about as well as"
    assert said[0][1].startswith(word)
    assert "| generic model | adapted to the person |" in (out / "README.md").read_text()


def test_it_speaks_a_sentence_it_never_heard(chain: Chain) -> None:
    out = chain.folder / "out.mp4"
    rendered = _run("render", chain.avatar, "--audio", chain.speech, "-o", out)
    assert rendered.code == 0, rendered.err
    with av.open(str(out)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt, audio.codec_context.name) == (
            "h264",
            "yuv420p",
            "aac",
        )
        assert video.codec_context.profile == "High" and video.codec_context.colorspace == 1
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video)]
        assert audio.time_base is not None
        assert float((audio.duration or 0) * audio.time_base) == pytest.approx(3.0, abs=0.04)
    assert len(frames) == 75 and frames[0].shape == (128, 128, 3)
    # It is her own video but for the mouth: some frame of the portrait is nearly the same, the others are not.
    recorded = load_tensors(next((chain.portrait / "segments").iterdir()))["frames"].astype(np.float32)
    apart = [np.abs(recorded - frames[number]).mean((1, 2, 3)) for number in (0, 40)]
    assert max(each.min() for each in apart) < 6 and min(each.max() for each in apart) > 10
    out.unlink()


def test_its_lips_follow_the_sound(chain: Chain) -> None:
    out = chain.folder / "motion.safetensors"
    assert _run("render", chain.avatar, "--audio", chain.speech, "-o", out, "--blink", "off").code == 0
    opening = lip_opening(load_tensors(out)["landmarks"])
    assert np.corrcoef(opening, chain.opening)[0, 1] > 0.5
    out.unlink()


@pytest.mark.parametrize("renderer, rate", [("nerf", "rays_per_second"), ("gaussian", "pixels_per_second")])
def test_bench_times_real_steps(chain: Chain, renderer: str, rate: str) -> None:
    args = ("--renderer", renderer, "--portrait", chain.portrait, "--quick", "--repeats", 1, "--json")
    figures = json.loads(_run("bench", "train", *args).out)
    assert figures["size"] == 128 and figures["training_frames"] > 0
    ours = figures["ours"]
    assert 0 < ours["fastest_ms"] <= ours["median_ms"] <= ours["slowest_ms"] and ours[rate] > 0


def test_training_refuses_to_overwrite(chain: Chain) -> None:
    again = _run("train", chain.portrait, "-o", chain.avatar, "--preset", "tiny", "--consent", "x")
    again.refused("exists already")


def test_a_damaged_portrait_is_refused_before_anything_is_trained(chain: Chain, run: Run, tmp_path: Path) -> None:
    args = ("train", tmp_path / "portrait", "-o", tmp_path / "her", "--preset", "tiny", "--consent", "x")
    for damaged in ("segments/*.safetensors", "audio/*", "features.safetensors"):
        shutil.copytree(chain.portrait, tmp_path / "portrait")
        path = next((tmp_path / "portrait").glob(damaged))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        run(*args).refused(path.name)
        shutil.rmtree(tmp_path / "portrait")
        assert list(tmp_path.iterdir()) == []


def test_two_trainings_of_one_avatar_at_once_are_refused(chain: Chain, run: Run, tmp_path: Path) -> None:
    with exclusive_folder(tmp_path / "her.partial"):
        run("train", chain.portrait, "-o", tmp_path / "her", "--preset", "tiny", "--consent", "x").refused(
            "another run"
        )
    assert list(tmp_path.iterdir()) == []


def test_killed_training_resumes_to_the_same_avatar(chain: Chain, tmp_path: Path) -> None:
    out, work = tmp_path / "her", tmp_path / "her.partial"
    args = ("train", chain.portrait, "-o", out, "--preset", "tiny", "--consent", CONSENT)
    process = subprocess.Popen(command(*args), env=environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (work / "renderer.safetensors").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists() and work.is_dir()
    _run(*args).refused("--resume")
    _run(*args[:-1], "other", "--resume").refused("other settings")
    # What the kill spoilt of the finished steps is made again.
    (work / "person" / "adaptation.safetensors").write_bytes(b"half a file")
    resumed = _run(*args, "--resume")
    assert resumed.code == 0, resumed.err
    assert not work.exists()
    for name in (
        "config.json",
        "model.safetensors",
        "motion.safetensors",
        "poster.png",
        "person/adaptation.safetensors",
    ):
        assert (out / name).read_bytes() == (chain.avatar / name).read_bytes(), name


def test_a_training_killed_in_its_summary_only_measures(chain: Chain, tmp_path: Path) -> None:
    out = tmp_path / "her"
    shutil.copytree(chain.avatar, out)
    (out / "metrics.json").unlink()
    args = ("train", chain.portrait, "-o", out, "--preset", "tiny", "--consent", CONSENT)
    _run(*args).refused("exists already")
    resumed = _run(*args, "--resume")
    assert resumed.code == 0 and "lower face under a blink" in resumed.out
    assert (out / "metrics.json").read_bytes() == (chain.avatar / "metrics.json").read_bytes()
    assert (out / "model.safetensors").read_bytes() == (chain.avatar / "model.safetensors").read_bytes()


def test_evaluation_on_the_heldout_frames_is_stored(chain: Chain, tmp_path: Path) -> None:
    args = ("evaluate", chain.avatar, "--portrait", chain.portrait, "-o", tmp_path / "report", "--store", "--json")
    outcome = _run(*args, "--max-frames", 5)
    assert outcome.code == 0, outcome.err
    metrics = json.loads(outcome.out)
    row = next(row for row in metrics["tables"]["image_head"]["rows"] if row["role"] == "evaluated")
    assert row["figures"]["head_psnr"]["value"] > 15
    assert "PSNR, head" in (chain.avatar / "README.md").read_text()
    assert [row["name"] for row in metrics["tables"]["adaptation"]["rows"]] == [
        "generic model",
        "adapted to the person",
    ]
    assert (tmp_path / "report" / "report.html").is_file()


def test_training_needs_no_torch(chain: Chain, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "onnx", "mediapipe", "scipy", "cv2"):
        monkeypatch.setitem(sys.modules, name, None)
    out = tmp_path / "her"
    trained = run("train", chain.portrait, "-o", out, "--preset", "tiny", "--consent", CONSENT, "--budget", "10s")
    assert trained.code == 0, trained.err
    assert run("render", out, "--audio", chain.speech, "-o", tmp_path / "out.mp4").code == 0
