"""A short run of the fuzzers without sanitizers, and that none is missing."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from geneface import ops

from .draw import Draw
from .fuzzers import DATA, FUZZERS


def test_every_public_name_has_a_fuzzer():
    assert set(ops.__all__) - DATA == set(FUZZERS)
    assert not any(inspect.isroutine(getattr(ops, name)) for name in DATA)


@pytest.mark.parametrize("name", FUZZERS)
def test_a_fuzzer_gives_every_argument(name):
    given = FUZZERS[name].arguments(Draw(np.random.default_rng(0)))
    assert set(given) == set(inspect.signature(getattr(ops, name)).parameters)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the fuzzing process needs fork and limits")
def test_random_calls_return_or_are_refused():
    run = subprocess.run(
        [sys.executable, "-m", "fuzz", "--cases", "300", "--seed", "0"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the fuzzing process needs fork and limits")
def test_spoilt_files_are_read_or_refused():
    run = subprocess.run(
        [sys.executable, "-m", "fuzz.media", "--files", "60", "--seed", "0"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the fuzzing process needs fork and limits")
@pytest.mark.parametrize(
    "fault, words",
    [
        ("raise KeyError('strange')", "KeyError: 'strange'"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal 11"),
        ("bytearray(10**11)", "MemoryError"),
        ("signal.setitimer(signal.ITIMER_REAL, 0.05); signal.pause()", "waits for ever"),
        ("raise InputError('a', 'b') from MemoryError()", "InputError: a: b"),
    ],
)
def test_the_media_fuzzer_sees_a_planted_fault(fault: str, words: str):
    program = f"""
import os, signal, sys
from fuzz import media
from geneface.errors import InputError
def read_rows(path):
    {fault}
media.read_rows = read_rows
sys.argv = ["fuzz.media", "--files", "1", "--only", ".csv"]
sys.exit(media.main())
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert run.returncode == 1 and words in run.stdout and "1 unclean [0]" in run.stdout, run.stdout + run.stderr
