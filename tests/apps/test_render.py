"""render, batch and their refusals: exit 2, one sentence, nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from geneface.io.tensors import load_tensors

from .conftest import Run, command, environment


def _visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_render_in_a_process_of_its_own(run_process: Run, avatar_folder: Path, sound: Path, tmp_path: Path) -> None:
    out = tmp_path / "talk.mp4"
    outcome = run_process("render", avatar_folder, "--audio", sound, "-o", out, "--json")
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    assert facts["frames"] == 50 and facts["out"] == str(out) and facts["frames_per_second"] > 0
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(container.streams.video[0])) == 50
    assert outcome.err == ""


@pytest.mark.slow
def test_render_options(run: Run, avatar_folder: Path, sound: Path, tmp_path: Path) -> None:
    common = ("render", avatar_folder, "--audio", sound)
    assert run(*common, "-o", tmp_path / "a.mp4", "--size", 96, "--background", "#102030", "--seed", 4).code == 0
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.width == 96
    assert run(*common, "-o", tmp_path / "a.safetensors", "--blink", "off", "--mouth-gain", 1.2).code == 0
    assert run(*common, "-o", tmp_path / "b.safetensors", "--blink", "off", "--mouth-gain", 1.2).code == 0
    first, second = (load_tensors(tmp_path / f"{name}.safetensors") for name in "ab")
    for name in ("landmarks", "rotation", "translation"):
        np.testing.assert_array_equal(first[name], second[name])
    assert run(*common, "-o", tmp_path / "pictures", "--format", "png").code == 0
    assert len(_visible(tmp_path / "pictures")) == 50
    text = run(*common, "-o", tmp_path / "c.webm")
    assert text.code == 0 and "50 frames" in text.out


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes, words",
    [
        ({"avatar": "nobody"}, ("nobody", "bundled")),
        ({"--audio": "missing.wav"}, ("missing.wav",)),
        ({"--audio": None}, ("--audio", "--text")),
        ({"--text": "hello"}, ("--audio", "--text")),
        ({"--audio": None, "--text": "..."}, ("no words",)),
        ({"--audio": None, "--text": "hello", "--voice": "nobody"}, ("no voice 'nobody'", "heart")),
        ({"--size": "77"}, ("77",)),
        ({"--blink": "often"}, ("often",)),
        ({"--format": "gif"}, ("gif", "mp4", "webm-alpha", "png", "landmarks")),
        ({"-o": "x.gif"}, ("x.gif", ".mp4 (mp4)", ".webm (webm-alpha)", "without suffix (png)", ".safetensors")),
        ({"--audio": "x" * 300 + ".wav"}, ("xxx",)),
        ({"avatar": "x" * 300}, ("xxx",)),
        ({"--format": "webm-alpha"}, (".webm",)),
        ({"--background": "plaid"}, ("plaid",)),
        ({"--mouth-gain": "nan"}, ("mouth-gain",)),
        ({"--temperature": "-1"}, ("temperature",)),
        ({"--style": "1.2"}, ("style", "calm, neutral, lively")),
        ({"--style": "angry"}, ("no style or clip 'angry'", "names no clips")),
        ({"--seed": str(2**63)}, ("--seed",)),
        ({"--background": "x" * 5000}, ("background",)),
        ({"avatar": ""}, ("no avatar",)),
    ],
)
def test_refused_options_leave_nothing(
    run: Run, avatar_folder: Path, sound: Path, tmp_path: Path, changes: dict[str, str | None], words: tuple[str, ...]
) -> None:
    options: dict[str, object] = {"--audio": sound, "-o": tmp_path / "out.mp4", **changes}
    avatar = options.pop("avatar", avatar_folder)
    flat = [part for name, value in options.items() if value is not None for part in (name, value)]
    run("render", avatar, *flat).refused(*words)
    assert _visible(tmp_path) == []


@pytest.mark.slow
def test_more_pixels_than_the_avatar_has_are_made_with_a_word(
    run: Run, avatar_folder: Path, sound: Path, tmp_path: Path
) -> None:
    common = ("render", avatar_folder, "--audio", sound, "-o", tmp_path / "a.mp4", "--size")
    small, large = run(*common, 64), run(*common, 256)
    assert small.code == large.code == 0 and small.err == ""
    assert large.err.count("\n") == 1 and "256 pixels are more than the 64" in large.err and "prepare" in large.err


def test_a_name_that_is_too_long_is_told_as_such(run: Run, avatar_folder: Path, sound: Path, tmp_path: Path) -> None:
    long = "n" * 300
    run("render", avatar_folder, "--audio", sound, "-o", tmp_path / f"{long}.mp4").refused("the name is too long")
    for words in (("prepare", long, "-o", tmp_path / "p"), ("check", long), ("compare", long, long)):
        outcome = run(*words)
        outcome.refused("too long")
        assert "cannot write" not in outcome.err
    assert _visible(tmp_path) == []


def test_a_demo_is_an_mp4(run: Run, tmp_path: Path) -> None:
    for name in ("demo.gif", "demo", "/dev/null"):
        run("demo", "-o", tmp_path / name).refused("not a name for mp4")
    assert _visible(tmp_path) == []


def test_a_refused_rendering_makes_no_folders(run: Run, avatar_folder: Path, sound: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "er" / "out.mp4"
    for option in (("--size", 77), ("--background", "plaid")):
        run("render", avatar_folder, "--audio", sound, "-o", out, *option).refused(str(option[1]))
    assert list(tmp_path.iterdir()) == []


def test_neither_the_speech_nor_the_avatar_is_overwritten(
    run: Run, avatar_folder: Path, sound: Path, tmp_path: Path
) -> None:
    movie = tmp_path / "talk.mp4"
    assert run("render", avatar_folder, "--audio", sound, "-o", movie).code == 0
    before = movie.read_bytes()
    (tmp_path / "same.mp4").symlink_to(movie)
    for out in (movie, tmp_path / "same.mp4"):
        run("render", avatar_folder, "--audio", movie, "-o", out).refused("the speech itself")
    assert movie.read_bytes() == before
    target = avatar_folder / "model.safetensors"
    before = target.read_bytes()
    run("render", avatar_folder, "--audio", sound, "-o", target, "--format", "landmarks").refused("avatar's folder")
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    "samples, word",
    [
        (np.zeros(0), "empty"),
        (np.array([0.1, np.nan] * 8000), "NaN"),
        (np.array([0.1, np.inf] * 8000), "infinite"),
        (np.full(16000, 3e4), "-1..1"),
    ],
)
def test_bad_sound(run: Run, avatar_folder: Path, tmp_path: Path, samples: np.ndarray, word: str) -> None:
    sound = tmp_path / "bad.wav"
    soundfile.write(sound, samples.astype(np.float32), 16_000, subtype="FLOAT")
    run("render", avatar_folder, "--audio", sound, "-o", tmp_path / "out.mp4").refused("bad.wav", word)
    assert _visible(tmp_path) == ["bad.wav"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", [b"", b"hello, this is text\n" * 50, b"#EXTM3U\n#EXTINF:1,\nhttp://localhost/x.ts\n"]
)
def test_what_is_not_sound(run_process: Run, avatar_folder: Path, tmp_path: Path, content: bytes) -> None:
    sound = tmp_path / "notes.mp4"
    sound.write_bytes(content)
    run_process("render", avatar_folder, "--audio", sound, "-o", tmp_path / "out.mp4").refused("notes.mp4")
    assert _visible(tmp_path) == ["notes.mp4"]


def test_damaged_avatar(run: Run, avatar_folder: Path, sound: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(avatar_folder, tmp_path / "copy"))
    (copy / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    run("render", copy, "--audio", sound, "-o", tmp_path / "out.mp4").refused("lacks")
    (copy / "config.json").unlink()
    run("render", copy, "--audio", sound, "-o", tmp_path / "out.mp4").refused("config.json")
    assert _visible(tmp_path) == ["copy"]


def test_output_that_cannot_be_written(run: Run, avatar_folder: Path, sound: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    run("render", avatar_folder, "--audio", sound, "-o", tmp_path / "file" / "out.mp4").refused("file")
    (tmp_path / "folder.mp4").mkdir()
    run("render", avatar_folder, "--audio", sound, "-o", tmp_path / "folder.mp4").refused("folder")
    assert (tmp_path / "file").read_text() == "mine"
    assert _visible(tmp_path) == ["file", "folder.mp4"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder(run: Run, avatar_folder: Path, sound: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    run("render", avatar_folder, "--audio", sound, "-o", locked / "out.mp4").refused("locked", "written")


def test_unwritable_folder_as_the_system_reports_it(
    run: Run, avatar_folder: Path, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import tempfile

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    run("render", avatar_folder, "--audio", sound, "-o", tmp_path / "out.mp4").refused("out.mp4", "written")


@pytest.fixture
def tiny_disk(tmp_path: Path):
    """A file system of 200 kB, where one can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "pictures", "out.safetensors"])
def test_full_disk(run: Run, avatar_folder: Path, long_sound: Path, tiny_disk: Path, name: str) -> None:
    extra = ("--format", "png") if name == "pictures" else ()
    run("render", avatar_folder, "--audio", long_sound, "-o", tiny_disk / name, *extra).refused("full", name)
    assert _visible(tiny_disk) == []


def test_full_disk_without_a_mount(
    run: Run, avatar_folder: Path, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from geneface.io import atomic

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "_sync", full)
    run("render", avatar_folder, "--audio", sound, "-o", tmp_path / "out.mp4").refused("out.mp4", "full")
    assert _visible(tmp_path) == []


@pytest.mark.slow
def test_kill_leaves_no_broken_output(avatar_folder: Path, long_sound: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"the video of yesterday")
    process = subprocess.Popen(
        command("render", avatar_folder, "--audio", long_sound, "-o", out, "--size", 1024), env=environment()
    )
    deadline = time.monotonic() + 60
    while len(_visible(tmp_path)) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert out.read_bytes() == b"the video of yesterday"
    assert [name for name in _visible(tmp_path) if not name.startswith(".")] == ["out.mp4"]


@pytest.mark.slow
def test_interrupt_exits_130_and_cleans_up(avatar_folder: Path, long_sound: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("render", avatar_folder, "--audio", long_sound, "-o", tmp_path / "out.mp4", "--size", 1024),
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background of a shell inherits an ignored SIGINT, and so would the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not _visible(tmp_path) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err and "Traceback" not in err
    assert _visible(tmp_path) == []
