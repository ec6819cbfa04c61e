"""Media that eats memory, time or disk is read in a child that may not."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import av
import pytest

from geneface.errors import InputError
from geneface.io.image import read_image, write_png
from geneface.serve import sandbox
from geneface.serve.conversation import chat, listen
from geneface.serve.limits import Limits, limit_process
from geneface.voice import openai_speech

from .jobs_server import tone

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits of processes")


def test_sound_is_measured(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(tone(0.5))
    assert sandbox.look_at("sound", tmp_path / "a")["seconds"] == pytest.approx(0.5)


def test_a_picture_becomes_one_of_ours(tmp_path: Path) -> None:
    import numpy as np

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


def test_a_child_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Python runs this file when it starts.
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="limits"):
        sandbox.look_at("sound", tmp_path / "a", seconds=3)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_header_that_understates_a_video_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", 1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(60):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    # The element Duration of Matroska: a double in milliseconds.
    at = data.index(b"\x44\x89\x88") + 3
    assert struct.unpack(">d", data[at : at + 8])[0] == pytest.approx(60_000)
    path.write_bytes(data[:at] + struct.pack(">d", 10_000.0) + data[at + 8 :])
    with av.open(str(path)) as container:
        assert container.duration == 10_000_000, "FFmpeg believes it"
    assert sandbox.look_at("video", path)["seconds"] == pytest.approx(60, abs=0.1)


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
    assert in_child(FREE, lambda: bytearray(4 << 30)) == 0
    assert in_child(limits, lambda: bytearray(4 << 30)) == 8


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
