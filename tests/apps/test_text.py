# ruff: noqa: RUF001  (full-width punctuation is meant)
"""--text and the column text: the video that the same sound would give, whichever voice speaks."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hibari import Hibari

from geneface.apps.table import read_table
from geneface.voice.registry import open_voice
from geneface.voice.voice import save_speech

from ..voice.stand_in import Answer, StandIn
from .conftest import Run

TEXT = "Good morning. It works."


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn().running() as stand_in:
        file = io.BytesIO()
        soundfile.write(file, 0.3 * np.sin(np.arange(12_000) / 20), 24_000, format="WAV")
        stand_in.answers["/v1/audio/speech"] = lambda _: Answer([file.getvalue()], "audio/wav")
        yield stand_in


def test_text_gives_the_bytes_that_its_sound_gives(run: Run, avatar_folder: Path, tmp_path: Path) -> None:
    save_speech(TEXT, tmp_path / "said.wav", open_voice())
    common = ("render", avatar_folder, "--seed", 3)
    for name in ("a.mp4", "a.safetensors"):
        from_text, from_sound = tmp_path / name, tmp_path / f"of-sound-{name}"
        run(*common, "--text", TEXT, "-o", from_text).succeeded()
        run(*common, "--audio", tmp_path / "said.wav", "-o", from_sound).succeeded()
        assert from_text.read_bytes() == from_sound.read_bytes()


def test_the_sound_of_the_video_is_what_the_engine_says(run: Run, avatar_folder: Path, tmp_path: Path) -> None:
    """Against the engine by itself, whose silence before the words is left out."""
    run("render", avatar_folder, "--text", "Good morning.", "-o", tmp_path / "a.mp4").succeeded()
    with av.open(str(tmp_path / "a.mp4")) as container:
        heard = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in container.decode(audio=0)])
    engine = Hibari()("Good morning.", seed=0)
    doubled = np.repeat(engine, 2)  # 24 to 48 kHz, roughly
    power = np.fft.rfft(doubled, 1 << 18)
    agreement = np.fft.irfft(np.conj(power) * np.fft.rfft(heard, 1 << 18))
    assert agreement.max() > 0.8 * np.linalg.norm(heard) * np.linalg.norm(doubled)


def test_another_server_speaks(run: Run, avatar_folder: Path, tmp_path: Path, server: StandIn) -> None:
    out = tmp_path / "a.safetensors"
    said = ("--text", "你好。再见。", "--voice", "nova", "--voice-url", server.url)
    run("render", avatar_folder, *said, "-o", out).succeeded()
    assert [json.loads(asked.body)["input"] for asked in server.asked] == ["你好。", "再见。"]
    server.answers.clear()
    (tmp_path / "b").mkdir()
    run("render", avatar_folder, *said, "-o", tmp_path / "b" / "b.mp4").refused("answered 404", server.url)
    assert list((tmp_path / "b").iterdir()) == []


def test_options_that_do_not_go_together(run: Run, avatar_folder: Path, tmp_path: Path) -> None:
    common = ("render", avatar_folder, "-o", tmp_path / "a.mp4", "--text", TEXT)
    run(*common, "--lang", "it").refused("--lang", "--voice-folder")
    run(*common, "--voice-folder", tmp_path, "--voice-url", "http://127.0.0.1").refused("--voice-folder", "--voice-url")
    run(*common, "--voice-folder", tmp_path).refused("holds 0 .onnx files", "docs/text.md")
    run(*common, "--voice-url", "nowhere").refused("no address of a server")
    run("batch", tmp_path / "jobs.csv", "-o", tmp_path / "v", "--lang", "it").refused("--lang")
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_one_sentence_names_it(
    run: Run, avatar_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geneface.voice import hibari

    hibari._load.cache_clear()
    monkeypatch.setitem(sys.modules, "hibari", None)
    run("render", avatar_folder, "--text", TEXT, "-o", tmp_path / "a.mp4").refused("hibari", "pip install '.[tts]'")
    assert list(tmp_path.iterdir()) == []


def test_batch_speaks_rows_of_text(run: Run, avatar_folder: Path, sound: Path, tmp_path: Path, server: StandIn) -> None:
    jobs = tmp_path / "jobs.csv"
    jobs.write_text(
        "avatar,audio,text,voice,out,format\n"
        f'{avatar_folder},,"Good morning, all!",,,landmarks\n'
        f"{avatar_folder},{sound},,,b.safetensors,landmarks\n"
        f"{avatar_folder},,Bye.,nobody,c.safetensors,landmarks\n"
    )
    out = tmp_path / "videos"
    first = run("batch", jobs, "-o", out, "--json")
    first.refused("1 of 3 jobs failed", "line 4", "no voice 'nobody'")
    assert (out / "good-morning-all.safetensors").is_file() and json.loads(first.out)["rendered"] == 2
    jobs.write_text(jobs.read_text().replace("nobody", ""))
    assert "1 rendered, 2 done before" in run("batch", jobs, "-o", out).out
    assert "3 done before" in run("batch", jobs, "-o", out).out
    jobs.write_text(jobs.read_text().replace("Bye", "Good bye"))
    assert "1 rendered, 2 done before" in run("batch", jobs, "-o", out).out
    # Another voice makes what is spoken again, and nothing else.
    assert "2 rendered, 1 done before" in run("batch", jobs, "-o", out, "--voice-url", server.url).out
    run("render", avatar_folder, "--text", "Good morning, all!", "-o", tmp_path / "a.safetensors").succeeded()


@pytest.mark.parametrize(
    "row, words",
    [
        ("a,,,,", ("audio or text",)),
        ("a,b.wav,Hello,,", ("audio or text",)),
        ("a,b.wav,,heart,", ("voice goes with text",)),
        (f"a,,{'word ' * 5000},,", ("24999 characters", "at most 20000")),
        (f"a,{'b' * 5000}.wav,,,", ("5004 characters", "at most 4096")),
    ],
)
def test_a_row_needs_one_of_sound_and_text(row: str, words: tuple[str, ...], tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.csv"
    jobs.write_text(f"avatar,audio,text,voice,out\n{row}\na,,Fine.,,\n")
    first, second = read_table(jobs)
    assert first.job is None and second.job is not None and second.job.file_name == "fine.mp4"
    for word in words:
        assert word in str(first.fault)


def test_names_made_of_texts(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.csv"
    texts = ("../../etc/passwd: it's!", "你好，世界。", "a" * 300, "many words " * 20, "🙂 1")
    jobs.write_text("avatar,text\n" + "".join(f'a,"{text}"\n' for text in texts))
    names = [row.job.file_name if row.job else None for row in read_table(jobs)]
    assert names[:3] == ["etc-passwd-it-s.mp4", "你好-世界.mp4", f"{'a' * 40}.mp4"]
    assert len(names[3] or "") <= 44 and names[4] == "1.mp4"
