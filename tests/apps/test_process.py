"""Signals, and standard streams that are missing, closed or full: the right exit status, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import command, environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and descriptors of POSIX systems")

_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] if sys.platform != "win32" else []
_START = """
import signal, sys
{how}
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            signal.raise_signal({number})
sys.meta_path.insert(0, Finder())
sys.argv = ["geneface", *{args!r}]
from geneface.__main__ import main
main()
"""


def _default_signals() -> None:
    """Tests that are run in the background of a shell inherit ignored signals."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def _start(module: str, number: int, *args: object, how: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command that gets a signal when it imports a module for the first time."""
    program = _START.format(module=module, number=int(number), args=[str(arg) for arg in args], how=how)
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment(),
        preexec_fn=_default_signals,
        timeout=60,
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", _SIGNALS)
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_in_the_middle_leaves_nothing(
    avatar_folder: Path, long_sound: Path, tmp_path: Path, number: signal.Signals, times: int
) -> None:
    out = tmp_path / "new" / "out.mp4"
    process = subprocess.Popen(
        command("render", avatar_folder, "--audio", long_sound, "-o", out, "--size", 1024),
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_default_signals,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("new/.*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.002)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err == "geneface: interrupted: nothing was written\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("module", ["typer", "geneface.apps.cli", "av", "numpy", "onnxruntime"])
def test_a_signal_while_everything_is_loaded(module: str, avatar_folder: Path, sound: Path, tmp_path: Path) -> None:
    done = _start(module, signal.SIGINT, "render", avatar_folder, "--audio", sound, "-o", tmp_path / "a.mp4")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "geneface: interrupted: nothing was written\n")
    assert list(tmp_path.iterdir()) == []


def test_a_signal_in_a_destructor_is_not_lost() -> None:
    how = """
import geneface.apps.process as process, time
class Bad:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
def protect(prepare=process.protect):
    prepare()
    Bad()
    time.sleep(20)
process.protect = protect
"""
    done = _start("nothing at all", signal.SIGTERM, "--version", how=how)
    assert done.returncode == 143 and "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_the_starter_ignores_stays_ignored() -> None:
    how = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"  # nohup
    done = _start("typer", signal.SIGHUP, "--version", how=how)
    assert done.returncode == 0 and done.stdout.startswith("geneface ")


@pytest.mark.slow
def test_python_m_and_the_script_are_one() -> None:
    done = subprocess.run(command("--version"), capture_output=True, text=True, env=environment())
    assert done.returncode == 0 and done.stdout.startswith("geneface ")


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", ">&- 2>&- <&-"])
def test_missing_streams(closed: str, avatar_folder: Path, sound: Path, tmp_path: Path) -> None:
    import shlex

    out = tmp_path / "a.safetensors"
    good = shlex.join(command("render", avatar_folder, "--audio", sound, "-o", out))
    bad = shlex.join(command("render", "nobody", "--audio", sound, "-o", out))
    assert subprocess.run(["sh", "-c", f"{bad} {closed}"], env=environment(), capture_output=True).returncode == 2
    assert list(tmp_path.iterdir()) == []
    done = subprocess.run(["sh", "-c", f"{good} {closed}"], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    from geneface.io.tensors import load_tensors

    assert len(load_tensors(out)["landmarks"]) == 50


@pytest.mark.slow
@pytest.mark.parametrize(
    "args, status", [(("--help",), 0), (("doctor", "--help"), 0), (("--version",), 0), (("check", "gone.mp4"), 2)]
)
def test_nobody_reads_what_is_printed(args: tuple[str, ...], status: int) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command(*args), stdout=write, stderr=subprocess.PIPE, text=True, env=environment())
    os.close(write)
    assert done.returncode == status
    assert "BrokenPipe" not in done.stderr and "Exception ignored" not in done.stderr
    # Nor what is complained about.
    read, write = os.pipe()
    os.close(read)
    assert subprocess.run(command(*args), stdout=write, stderr=write, env=environment()).returncode == status
    os.close(write)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_the_standard_output() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(command("--help"), stdout=full, stderr=subprocess.PIPE, text=True, env=environment())
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "the disk is full" in done.stderr


@pytest.mark.slow
def test_names_that_the_terminal_cannot_show(avatar_folder: Path, sound: Path, tmp_path: Path) -> None:
    for name, encoding in (("語り.mp4", "latin-1"), ("語り.mp4", "ascii"), ("é.mp4", "utf-8")):
        for extra in ((), ("--json",)):
            words = ("render", avatar_folder, "--audio", sound, "-o", tmp_path / name, "--size", 64, *extra)
            done = subprocess.run(
                command(*words), capture_output=True, env={**environment(), "PYTHONIOENCODING": encoding}
            )
            assert done.returncode == 0, done.stderr
            if extra:
                import json

                assert json.loads(done.stdout.decode(encoding))["out"] == str(tmp_path / name)
