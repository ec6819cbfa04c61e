"""Graphs are opened without a word to anybody: no socket, nothing in HOME, nothing on stderr."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from geneface.errors import InputError
from geneface.io.assets import asset_path
from geneface.io.session import open_session

SOCKET_CALL = {"x86_64": 41, "aarch64": 198}.get(platform.machine())
GUARD = f"""
import ctypes, struct
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
# seccomp(2): load the number of the system call; socket() kills the process, all others pass.
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, {SOCKET_CALL}), (0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
libc = ctypes.CDLL(None, use_errno=True)
refused = libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(Program(4, ctypes.addressof(code))))
if refused:
    raise SystemExit(77)
"""
"""Python that makes the process die at its first socket, in any thread and any library."""
RENDER = """
import time
begin = time.monotonic()
from pathlib import Path
from geneface.analysis.speech import load_encoder
from geneface.avatar.avatar import Avatar
from geneface.io.audio import read_audio
from geneface.io.assets import asset_path
from geneface.types import Waveform
avatar = Avatar.load("grid-s1")
sound = read_audio(asset_path("speech", "demo.flac")).samples[: 20 * 16_000]
def frames():
    while True:
        yield from avatar.stream(Waveform(sound), size=64)
for frame in frames():
    time.sleep(0.02)
    if time.monotonic() - begin >= {seconds}:
        break
"""


def quiet_environment(home: Path | None) -> dict[str, str]:
    """This one without what would hush onnxruntime anyway: it says nothing where it is being tested."""
    hushed = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "JENKINS_URL", "XDG_CACHE_HOME", "HOME")
    kept = {name: value for name, value in os.environ.items() if name not in hushed and not name.startswith("ORT_")}
    return kept if home is None else {**kept, "HOME": str(home)}


def run(program: str, home: Path | None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=quiet_environment(home))


@pytest.fixture
def guard() -> str:
    if sys.platform != "linux" or SOCKET_CALL is None:
        pytest.skip("the guard is written for Linux on x86-64 and arm64")
    if run(GUARD, None).returncode == 77:
        pytest.skip("this machine allows no seccomp filter")
    return GUARD


def test_the_guard_sees_a_socket(guard: str) -> None:
    assert run(guard + "import socket\nsocket.socket()", None).returncode < 0


@pytest.mark.slow
def test_twenty_seconds_of_rendering_make_no_socket_and_no_file(guard: str, tmp_path: Path) -> None:
    done = run(guard + RENDER.format(seconds=20), tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("home", [Path("/proc"), Path("/dev/null/home"), None], ids=str)
def test_a_home_that_cannot_be_written_is_no_matter(home: Path | None) -> None:
    done = run(RENDER.format(seconds=0.1), home)
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.slow
def test_processes_that_a_user_starts_are_quiet_too(tmp_path: Path) -> None:
    program = """
    import subprocess, sys
    import geneface
    subprocess.run([sys.executable, "-c", "import onnxruntime"], check=True)
    """
    assert run(program, tmp_path).returncode == 0
    assert list(tmp_path.rglob("*")) == []


def test_a_graph_comes_from_a_file_or_from_bytes() -> None:
    path = asset_path("motion", "motion.onnx")
    names = [node.name for node in open_session(path).get_inputs()]
    assert names == [node.name for node in open_session(path.read_bytes(), threads=0).get_inputs()]


def test_what_is_no_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.onnx is missing"):
        open_session(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes(b"not a graph")
    with pytest.raises(InputError, match=r"b\.onnx is not a readable ONNX graph: download it again"):
        open_session(tmp_path / "b.onnx", remedy="download it again")
    with pytest.raises(InputError, match="the graph is not a readable"):
        open_session(b"")
