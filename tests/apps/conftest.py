from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import geneface
from geneface.apps.cli import app

from ..avatar.avatar_fixtures import make_avatar, speech

Run = Callable[..., "Outcome"]


class Outcome:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def succeeded(self) -> None:
        assert self.code == 0, (self.code, self.out, self.err)

    def refused(self, *words: str) -> None:
        """Exit 2, one sentence on standard error that holds the words, no traceback."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert "Traceback" not in self.err + self.out
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert len(lines) == 1 and lines[0].startswith("geneface: "), self.err
        for word in words:
            assert word in lines[0], (word, lines[0])


@pytest.fixture
def run() -> Run:
    """Run a command in this process."""

    return run_here


def run_here(*args: object) -> Outcome:
    """A command in this process."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    return Outcome(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def run_process() -> Run:
    """Run a command in a process of its own."""

    def call(*args: object, timeout: float = 120) -> Outcome:
        done = subprocess.run(command(*args), capture_output=True, text=True, timeout=timeout, env=environment())
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "geneface", *(str(arg) for arg in args)]


def environment() -> dict[str, str]:
    source = str(Path(geneface.__file__).resolve().parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="session")
def avatar_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny avatar: read only."""
    return make_avatar(tmp_path_factory.mktemp("avatars") / "tiny", tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of something like speech."""
    path = tmp_path_factory.mktemp("sound") / "speech.wav"
    soundfile.write(path, speech(2.0), 16_000, subtype="FLOAT")
    return path


@pytest.fixture(scope="session")
def long_sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of it."""
    path = tmp_path_factory.mktemp("sound") / "long.wav"
    soundfile.write(path, np.tile(speech(6.0), 10), 16_000, subtype="FLOAT")
    return path
