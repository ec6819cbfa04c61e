"""Media that eats memory, time or disk is read in a child that may not."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from geneface.errors import InputError
from geneface.io.image import read_image, write_png
from geneface.serve import sandbox
from geneface.serve.conversation import chat, listen
from geneface.serve.limits import Limits, limit_process
from geneface.serve.live.decoding import decode_sound
from geneface.voice import openai_speech

from .jobs_server import tone

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits of processes")


def test_sound_is_measured(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(tone(0.5))
    assert sandbox.look_at("sound", tmp_path / "a")["seconds"] == pytest.approx(0.5)


def test_a_picture_becomes_one_of_ours(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (30, 20, 3), np.uint8)
    write_png(tmp_path / "a.png", picture)
    given = tmp_path / "given"
    (tmp_path / "a.png").rename(given)
    with open(given, "ab") as file:
        file.write(b"<script>")
    sandbox.look_at("picture", given, tmp_path / "b.png")
    assert (read_image(tmp_path / "b.png") == picture).all() and b"script" not in (tmp_path / "b.png").read_bytes()


def test_what_was_refused_is_told_without_the_servers_paths(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"nothing")
    with pytest.raises(InputError) as error:
        sandbox.look_at("sound", tmp_path / "a")
    assert str(tmp_path) not in str(error.value) and error.value.remedy


def test_a_child_that_hangs_is_ended(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    began = time.monotonic()
    # The child stands still while it loads, if it does not refuse the pipe first.
    with pytest.raises(InputError):
        sandbox.look_at("sound", tmp_path / "a", seconds=0.05)
    assert time.monotonic() - began < 20


def test_a_child_that_is_killed_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(tone(0.5))
    with pytest.raises(InputError, match="limits"):
        sandbox.look_at("sound", tmp_path / "a", seconds=0)


def in_child(limits: Limits, do: object) -> int:
    """Status of a fork that runs `do` with limits: 0, or 7 for an InputError, 8 MemoryError, 9 OSError."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            limit_process(limits)
            do()  # pyright: ignore[reportCallIssue]
            status = 0
        except InputError:
            status = 7
        except MemoryError:
            status = 8
        except OSError:
            status = 9
        finally:
            os._exit(status)
    _, waited = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(waited)


FREE = Limits(memory_bytes=1 << 36, cpu_seconds=1000, file_bytes=1 << 30, open_files=64)


def test_memory_is_bounded() -> None:
    limits = Limits(64 << 20, 1000, 1 << 30, 64)
    assert in_child(FREE, lambda: bytearray(200 << 20)) == 0
    assert in_child(limits, lambda: bytearray(200 << 20)) == 8


def test_time_is_bounded_with_a_sentence_and_then_without() -> None:
    def busy() -> None:
        while True:
            pass

    assert in_child(Limits(1 << 36, 1, 1 << 30, 64), busy) == 7


def test_files_are_bounded(tmp_path: Path) -> None:
    def write() -> None:
        (tmp_path / "large").write_bytes(b"\0" * (2 << 20))

    def many() -> None:
        for number in range(100):
            os.open(tmp_path / str(number), os.O_CREAT | os.O_WRONLY)

    assert in_child(FREE, write) == 0
    assert in_child(Limits(1 << 36, 1000, 1 << 20, 64), write) == 9
    assert in_child(FREE, many) == 9


@pytest.mark.parametrize("name", ["a b", "-rf", "ü\u202e", "a\nb"])
def test_names_of_files_are_no_commands(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(tone(0.2))
    assert sandbox.look_at("sound", tmp_path / name)["seconds"] == pytest.approx(0.2)


def test_children_know_of_the_servers_secrets_only_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"GENEFACE_TOKEN", chat.KEY_VARIABLE, listen.KEY_VARIABLE, openai_speech.KEY_VARIABLE}
    for name in names:
        monkeypatch.setenv(name, f"secret-{name}")
    assert not names & set(sandbox.child_environment())
    kept = sandbox.child_environment(keeps=[openai_speech.KEY_VARIABLE], TMPDIR="/x")
    assert names & set(kept) == {openai_speech.KEY_VARIABLE} and kept["TMPDIR"] == "/x"


def test_samples_come_out_as_they_went_in(tmp_path: Path) -> None:
    samples = (0.5 * np.sin(np.arange(24_000) / 20)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, samples, 48_000, format="WAV", subtype="FLOAT")
    assert np.array_equal(decode_sound(file.getvalue(), 0.5), samples)
    with pytest.raises(InputError, match="longer than 0 s"):
        decode_sound(file.getvalue(), 0.4)
