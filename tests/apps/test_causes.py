"""What the machine lacks or refuses is told as such; only the rest is a fault of ours."""

from __future__ import annotations

import concurrent.futures
import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from geneface.apps.causes import explain
from geneface.errors import InputError, MissingExtraError
from geneface.io.session import open_session

from .conftest import environment


def _from(cause: BaseException) -> RuntimeError:
    error = RuntimeError("a worker process died")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error, words",
    [
        (MemoryError(), ["not enough memory", "close other programs"]),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), ["not enough memory"]),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), ["not enough memory"]),
        (Exception("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"), ["not enough memory"]),
        (ImportError("libavcodec.so.62: failed to map segment from shared object"), ["not enough memory"]),
        (RuntimeError("can't start new thread"), ["threads", "ulimit"]),
        (BrokenProcessPool("terminated abruptly"), ["helper processes", "memory ran out"]),
        (_from(BrokenProcessPool("terminated abruptly")), ["helper processes", "memory ran out"]),
        (
            ImportError("libgomp.so.1: cannot open shared object file: No such file or directory"),
            ["libgomp.so.1", "apt install libgomp1"],
        ),
        (OSError("cannot load library 'libsndfile.so': libsndfile.so: cannot"), ["libsndfile.so", "libsndfile1"]),
        (ImportError("libfoo-3.so.7: cannot open shared object file: no"), ["libfoo-3.so.7", "package that brings it"]),
        (OSError(errno.EMFILE, "Too many open files", "a"), ["too many files", "ulimit"]),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), ["the name xxx", "too long", "shorter"]),
        (OSError(errno.EACCES, "Permission denied", "a.wav"), ["a.wav", "permissions"]),
        (OSError(errno.ELOOP, "Too many levels", "a.wav"), ["a.wav", "leads back to itself"]),
        (OSError(errno.ENOSPC, "No space left on device"), ["the disk is full"]),
    ],
)
def test_the_machines_causes(error: Exception, words: list[str]) -> None:
    status, sentence = explain(error)
    assert (
        status == 2
        and "fault of geneface" not in sentence
        and "cannot write" not in sentence.replace("cannot write the output, the disk is full", "")
    )
    for word in words:
        assert word in sentence, sentence


@pytest.mark.parametrize(
    "error", [KeyError("x"), RuntimeError("shape mismatch"), ImportError("cannot import name 'x'"), OSError("strange")]
)
def test_faults_of_ours(error: Exception) -> None:
    status, sentence = explain(error)
    assert status == 1 and "fault of geneface's own" in sentence and "--debug" in sentence


def test_damage_that_is_a_want_of_memory() -> None:
    error = InputError("a.mp4 is damaged", "copy it again")
    assert explain(error) == (2, "a.mp4 is damaged: copy it again")
    error.__cause__ = MemoryError("Cannot allocate memory")
    assert "not enough memory" in explain(error)[1]


def test_an_extra_that_is_there_but_does_not_load() -> None:
    absent = ModuleNotFoundError("No module named 'torch'", name="torch")
    part = ModuleNotFoundError("No module named 'sympy.core'", name="sympy.core")
    broken = ImportError("DLL load failed while importing _C")
    library = ImportError("libgomp.so.1: cannot open shared object file: No such file or directory")
    for error, words in (
        (
            absent,
            "the package torch, which is not installed: install it, in the project's folder, with: pip install '.[train]'",
        ),
        (part, "the package sympy, which is not installed"),
        (broken, "the package torch can't be loaded (DLL load failed while importing _C)"),
        (library, "the system library libgomp.so.1 is missing or can't be loaded: install it (Debian, Ubuntu: apt"),
    ):
        assert words in str(MissingExtraError("torch", "train", error))


def test_a_library_that_onnxruntime_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "onnxruntime":
                raise ImportError(
                    "libstdc++.so.6: cannot open shared object file: No such file or directory", name=name
                )

    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    with pytest.raises(ImportError) as caught:
        open_session(b"")
    code, sentence = explain(caught.value)
    assert code == 2 and "libstdc++.so.6" in sentence and "apt install libstdc++6" in sentence


def _die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="kills as the system's out-of-memory killer does")
def test_a_helper_that_the_system_kills() -> None:
    pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
    with pool, pytest.raises(BrokenProcessPool) as caught:
        list(pool.map(_die, [0]))
    assert "memory ran out" in explain(caught.value)[1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux keeps semaphores in /dev/shm")
def test_no_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import _multiprocessing

    for number in (errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.ENOSYS):

        def refuse(*_: object, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(_multiprocessing, "SemLock", type("SemLock", (), {"__new__": refuse, "SEM_VALUE_MAX": 1}))
            with pytest.raises(OSError) as caught:
                multiprocessing.get_context("spawn").Lock()
        status, sentence = explain(caught.value)
        assert status == 2 and "/dev/shm" in sentence and os.strerror(number) in sentence


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
def test_too_little_memory(avatar_folder: Path, sound: Path, tmp_path: Path) -> None:
    """Half of what it needs: the cause is told, wherever the limit strikes, and nothing stays."""
    start = "import resource; from geneface.__main__ import main"
    render = ("render", str(avatar_folder), "--audio", str(sound), "-o", str(tmp_path / "a.mp4"))
    program = f"{start}; resource.setrlimit(resource.RLIMIT_AS, (200 << 20,) * 2); main()"
    done = subprocess.run([sys.executable, "-c", program, *render], capture_output=True, text=True, env=environment())
    assert done.returncode == 2 and "not enough memory" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []
