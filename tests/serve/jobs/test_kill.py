"""kill -9 at random moments: nothing is lost, and no file is half there."""

from __future__ import annotations

import io
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from geneface.avatar.avatar import Avatar
from geneface.io.video import write_video
from geneface.types import Waveform

from ...apps.talking_face import opening_curve, talking_frames, talking_sound
from ..jobs_server import OPEN, tone
from .real_server import RealServer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="needs /proc and signals")]
KILLS = 20 if "GENEFACE_LONG" in os.environ else 5
"""20 take two minutes and more."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealServer]:
    server = RealServer(tmp_path / "home")
    yield server
    server.kill()


def begin_video(server: RealServer) -> str:
    fields = {"model": "grid-s1", "size": "64"}
    answer = server.http.post("/v1/videos", data=fields, files={"audio": tone(0.5)})
    assert answer.status_code == 200, answer.text
    return f"/v1/videos/{answer.json()['id']}"


def begin_import(server: RealServer) -> str:
    exported = server.http.get("/v1/avatars/grid-s1/export").content
    answer = server.http.post("/v1/avatars/import", files={"avatar": exported})
    assert answer.status_code == 200, answer.text
    return f"/v1/avatars/{answer.json()['id']}"


def begin_avatar(server: RealServer, folder: Path) -> str:
    opening = opening_curve(100)
    write_video(folder / "talk.mp4", iter(talking_frames(opening)), Waveform(talking_sound(opening)))
    fields = {"consent": "NASA", "preset": "tiny", "size": "64", "body_seconds": "1"}
    answer = server.http.post("/v1/avatars", data=fields, files={"video": (folder / "talk.mp4").read_bytes()})
    assert answer.status_code == 200, answer.text
    return f"/v1/avatars/{answer.json()['id']}"


def check_result(server: RealServer, path: str, job: dict[str, Any]) -> None:
    """What is said to be done is whole."""
    if job["status"] != "completed":
        assert job["status"] == "failed" and job["error"]["code"] in ("worker_died", "server_died"), job
        assert job["error"]["message"] and job["error"]["remedy"]
    elif job["object"] == "video":
        data = server.http.get(f"{path}/content").content
        assert len(data) == job["bytes"]
        with av.open(io.BytesIO(data)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 13
    else:
        Avatar.load(server.home / "avatars" / job["id"])


def check_disk(server: RealServer) -> None:
    """Nothing lies about: no unfinished thing, nothing without an owner."""
    with sqlite3.connect(server.home / "jobs.sqlite3") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        jobs = dict(db.execute("SELECT id, state FROM jobs"))
    assert {path.name for path in (server.home / "jobs").iterdir()} <= set(jobs)
    for job, state in jobs.items():
        if state == "completed":
            left = {path.name for path in (server.home / "jobs" / job).iterdir()}
            assert left <= {"out"}, (job, left)
    assert list((server.home / "trash").iterdir()) == []
    for avatar in (server.home / "avatars").iterdir():
        Avatar.load(avatar)
    for portrait in (server.home / "portraits").iterdir():
        assert (server.home / "avatars" / portrait.name).is_dir() or "failed" in jobs.values()


def test_nothing_is_lost(server: RealServer, tmp_path: Path) -> None:
    chance = random.Random(17)
    paths = [begin_video(server), begin_avatar(server, tmp_path), begin_import(server)]
    paths += [begin_video(server), begin_video(server)]
    progress = dict.fromkeys(paths, 0)
    kills = 0
    while kills < KILLS:
        time.sleep(chance.uniform(0.05, 4))
        if chance.random() < 0.6:
            server.kill()
            time.sleep(chance.choice([0, 0, 0.3]))
            server.start()
            kills += 1
        else:
            kills += server.kill_worker()
        for path in paths:
            # Also while they are at it, jobs are all there, and what is done stays done.
            job = server.get(path)
            assert job["progress"] >= progress[path]
            progress[path] = job["progress"]
            if job["status"] not in OPEN:
                check_result(server, path, job)
        if all(server.get(path)["status"] not in OPEN for path in paths):
            paths.append(begin_video(server))
            progress[paths[-1]] = 0
    end = time.monotonic() + 400
    while any(server.get(path)["status"] in OPEN for path in paths):
        assert time.monotonic() < end
        time.sleep(1)
    done = [server.get(path) for path in paths]
    for path, job in zip(paths, done, strict=True):
        check_result(server, path, job)
    assert sum(job["status"] == "completed" for job in done) >= len(done) - 2
    time.sleep(1)
    server.kill()
    server.start()
    assert [server.get(path)["status"] for path in paths] == [job["status"] for job in done]
    check_disk(server)


def test_workers_end_with_their_server(server: RealServer, tmp_path: Path) -> None:
    path = begin_avatar(server, tmp_path)
    end = time.monotonic() + 120
    while not any(step["progress"] > 0.1 for step in server.get(path)["steps"]):
        assert time.monotonic() < end
    assert server.processes()
    server.kill()
    end = time.monotonic() + 5
    while server.processes():
        assert time.monotonic() < end, "they live on"
        time.sleep(0.05)
    server.start()
    job = server.get(path)
    assert job["status"] in OPEN


def test_a_job_that_always_dies_fails_with_the_reason_and_others_go_on(server: RealServer, tmp_path: Path) -> None:
    doomed = begin_avatar(server, tmp_path)
    end = time.monotonic() + 120
    while server.get(doomed)["status"] in OPEN:
        assert time.monotonic() < end
        server.kill_worker()
    failed = server.get(doomed)
    assert failed["status"] == "failed" and failed["error"]["code"] == "worker_died"
    assert "SIGKILL" in failed["error"]["message"]
    # Not before: a video has a lane of its own, and would have been killed, too.
    after = begin_video(server)
    while (job := server.get(after))["status"] in OPEN:
        assert time.monotonic() < end
    check_result(server, after, job)
    # What had been done of it is kept: it can be gone on with.
    assert server.http.post(f"{doomed}/retry").json()["status"] in OPEN


def test_a_server_that_is_told_to_end_ends_soon_and_keeps_its_jobs(server: RealServer, tmp_path: Path) -> None:
    path = begin_avatar(server, tmp_path)
    end = time.monotonic() + 60
    while server.get(path)["status"] != "in_progress":
        assert time.monotonic() < end
    assert server.stop() < 10 and server.processes() == []
    server.start()
    job = server.get(path)
    assert job["status"] in OPEN and job["error"] is None


def test_an_avatar_goes_on_where_it_was(server: RealServer, tmp_path: Path) -> None:
    path = begin_avatar(server, tmp_path)
    end = time.monotonic() + 500
    for number, name in enumerate(("check", "prepare", "train")):

        def is_there(number: int = number) -> bool:
            steps = server.get(path)["steps"]
            return bool(steps) and steps[number]["status"] == "in_progress" and steps[number]["progress"] > 0.1

        while not is_there():
            assert time.monotonic() < end
            assert server.get(path)["status"] in OPEN, (name, server.get(path)["error"])
        (server.kill if number % 2 else server.kill_worker)()
        if number % 2:
            server.start()
    while (job := server.get(path))["status"] in OPEN:
        assert time.monotonic() < end
    assert job["status"] == "completed", job["error"]
    check_result(server, path, job)
    assert job["steps"][0]["seconds"] < 2, "what was done was not done again"
    assert server.http.get(job["poster"]).status_code == 200
