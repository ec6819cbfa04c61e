"""The worker pool: order, errors with all their parts, death, and no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from geneface.errors import InputError
from geneface.workers import advance, run_tasks


def refuse(task: int) -> int:
    if task == 1:
        raise InputError("no face", "show one", "at 1 s")
    time.sleep(30)
    return task


def die(task: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return task


def test_results_keep_their_order():
    seen: list[int] = []
    assert run_tasks(abs, [-3, 2, -1], 2, lambda index, result: seen.append(index)) == [3, 2, 1]
    assert sorted(seen) == [0, 1, 2]
    assert run_tasks(abs, [-3, 2], 1) == [3, 2]
    assert run_tasks(abs, [], 2) == []


@pytest.mark.slow
def test_an_error_comes_whole_and_at_once():
    begin = time.monotonic()
    with pytest.raises(InputError) as caught:
        run_tasks(refuse, [0, 1], 2)
    assert (caught.value.cause, caught.value.remedy, caught.value.where) == ("no face", "show one", "at 1 s")
    # The other task sleeps for 30 s: it is not waited for.
    assert time.monotonic() - begin < 25


@pytest.mark.slow
def test_a_dead_worker_is_an_error():
    with pytest.raises(RuntimeError, match="worker process died"):
        run_tasks(die, [0, 1], 2)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_end_when_their_caller_is_killed(tmp_path: Path):
    script = tmp_path / "caller.py"
    (tmp_path / "sleeper.py").write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "def task(path):\n"
        "    Path(path).write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
    )
    script.write_text(
        "from geneface.workers import run_tasks\n"
        "from sleeper import task\n"
        f"run_tasks(task, [r'{tmp_path}/a', r'{tmp_path}/b'], 2)\n"
    )
    caller = subprocess.Popen([sys.executable, str(script)])
    files = [tmp_path / "a", tmp_path / "b"]
    deadline = time.monotonic() + 60
    while not all(file.exists() and file.read_text() for file in files) and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = [int(file.read_text()) for file in files]
    caller.kill()
    caller.wait()
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def count_up(task: int) -> int:
    for _ in range(task):
        advance(1)
    return task


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_tasks_say_how_far_they_are(workers: int):
    heard: list[int] = []
    run_tasks(count_up, [3, 4], workers, advanced=heard.append)
    assert sum(heard) == 7
    # Outside of a pool nobody listens.
    advance(5)
    assert sum(heard) == 7
