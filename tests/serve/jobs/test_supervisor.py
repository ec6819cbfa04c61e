"""Jobs in a server: cancelled at every step, ended with it, taken up by the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from geneface.errors import InputError
from geneface.serve.jobs.job import Job, new_id
from geneface.serve.jobs.service import JobService
from geneface.serve.settings import ServeSettings

from ..jobs_server import Client, jobs_server, refused, tone


def state(client: Client, job_id: str) -> Job:
    job = client.context.jobs.store.get(job_id)
    assert job is not None
    return job


def wait(until: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.005)


def long_video(client: Client) -> str:
    """Some seconds of work."""
    fields = {"model": "grid-s1", "size": "512"}
    return client.post("/v1/videos", data=fields, files={"audio": tone(20)}).json()["id"]


def workers(home: Path) -> list[int]:
    """Processes whose temporary files lie in a home."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and f"TMPDIR={home}/".encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


MOMENTS: dict[str, Callable[[Client, str], bool]] = {
    "begun": lambda client, job: state(client, job).state == "in_progress",
    "loading": lambda client, job: bool(state(client, job).steps),
    "drawing": lambda client, job: state(client, job).progress > 5,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_cancelled_while_it_runs(tmp_path: Path, moment: str) -> None:
    with jobs_server(tmp_path) as client:
        job, after = long_video(client), client.video()["id"]
        wait(lambda: MOMENTS[moment](client, job))
        answer = client.post(f"/v1/videos/{job}/cancel")
        assert answer.json()["status"] == "cancelled"
        refused(client.get(f"/v1/videos/{job}/content"), 409, "not_ready")
        refused(client.post(f"/v1/videos/{job}/cancel"), 409, "has_ended")
        assert client.until_ended(f"/v1/videos/{after}")["status"] == "completed", "the next one has its turn"
        assert state(client, job).state == "cancelled"
        left = [path for path in client.context.jobs.home.job(job).rglob("*") if path.is_file()]
        assert [path.name for path in left if path.name != "log"] == []


def test_cancelled_and_deleted_while_it_waits(tmp_path: Path) -> None:
    with jobs_server(tmp_path) as client:
        first, second, third = long_video(client), client.video()["id"], client.video()["id"]
        wait(lambda: state(client, first).state == "in_progress")
        assert client.get(f"/v1/videos/{third}").json()["queue_position"] == 1
        client.post(f"/v1/videos/{second}/cancel")
        assert client.get(f"/v1/videos/{third}").json()["queue_position"] == 0
        for job in (first, second, third):
            assert client.delete(f"/v1/videos/{job}").status_code == 200
        assert list((tmp_path / "jobs").iterdir()) == [] and client.get("/v1/videos").json()["data"] == []
        wait(lambda: workers(tmp_path) == [], 10)


def test_the_next_server_goes_on(tmp_path: Path) -> None:
    with jobs_server(tmp_path) as client:
        ids = [client.video()["id"] for _ in range(3)]
        wait(lambda: state(client, ids[0]).state != "queued")
    assert workers(tmp_path) == []
    with jobs_server(tmp_path) as client:
        done = [client.until_ended(f"/v1/videos/{job}") for job in ids]
        assert [job["status"] for job in done] == ["completed"] * 3
        assert [state(client, job).attempts for job in ids] == [0, 0, 0], "nobody's fault"


def test_one_home_has_one_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geneface.serve.jobs.supervisor._LOCK_SECONDS", 0.2)
    with jobs_server(tmp_path), pytest.raises(InputError, match="another server"):
        JobService(ServeSettings.model_validate({"home": tmp_path})).start()


def test_what_nobody_owns_goes_when_a_server_starts(tmp_path: Path) -> None:
    with jobs_server(tmp_path) as client:
        video = client.video()["id"]
        client.until_ended(f"/v1/videos/{video}")
    for name in (
        "jobs/video_x",
        "uploads/up_x",
        "portraits/av_x",
        "trash/x",
        f"jobs/{video}/work",
        f"jobs/{video}/tmp",
    ):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "file").write_bytes(b"x")
    with jobs_server(tmp_path) as client:
        assert client.get(f"/v1/videos/{video}/content").status_code == 200
    files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if not path.startswith("jobs.sqlite3")] == [f"jobs/{video}/out/video.mp4"]


def test_videos_expire(tmp_path: Path) -> None:
    with jobs_server(tmp_path, job_days=1e-7) as client:
        video = client.video()["id"]
        client.until_ended(f"/v1/videos/{video}")
    time.sleep(0.05)
    with jobs_server(tmp_path) as client:
        refused(client.get(f"/v1/videos/{video}"), 404, "not_found")
    assert list((tmp_path / "jobs").iterdir()) == []


def test_the_home_is_for_its_owner_alone(tmp_path: Path) -> None:
    with jobs_server(tmp_path / "home") as client:
        client.until_ended(f"/v1/videos/{client.video()['id']}")
    assert (tmp_path / "home").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="priorities")
def test_workers_let_others_go_first(tmp_path: Path) -> None:
    with jobs_server(tmp_path) as client:
        job = long_video(client)
        wait(lambda: state(client, job).progress > 1)
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert all(os.getpriority(os.PRIO_PROCESS, pid) >= min(19, own + 10) for pid in workers(tmp_path))
        client.delete(f"/v1/videos/{job}")


def test_an_idle_server_does_not_look_again_and_again(tmp_path: Path) -> None:
    with jobs_server(tmp_path) as client:
        looks: list[float] = []
        supervisor = client.context.jobs._supervisor
        look = supervisor._look
        supervisor._look = lambda: (looks.append(time.monotonic()), look())[1]  # pyright: ignore[reportAttributeAccessIssue]
        time.sleep(1.5)
        assert looks == []
        video = client.video()["id"]
        client.until_ended(f"/v1/videos/{video}")
        assert looks


@pytest.mark.parametrize("kind", ["avatar", "video"])
def test_a_job_that_outgrows_the_disks_share_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("geneface.serve.jobs.supervisor._MEASURE_SECONDS", 0.0)
    # In place of the work: a process that does nothing for a while.
    script = tmp_path / "worker.py"
    script.write_text("import time; time.sleep(60)")
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, **kept: popen([sys.executable, str(script)], **kept))
    service = JobService(ServeSettings.model_validate({"home": tmp_path / "home", "most_job_bytes": 3_000_000}))
    service.start()
    try:
        portrait = service.home.portrait("av_x")
        portrait.mkdir()
        (portrait / "small").write_bytes(b"\0" * 1_000_000)
        # Of the other lane.
        other = service.submit("check" if kind == "avatar" else "report", "other", {}, lambda folder: None)
        job = service.submit(kind, "av_x", {}, lambda folder: None)
        wait(lambda: len(workers(tmp_path / "home")) == 2)
        growing = portrait if kind == "avatar" else service.home.job(job.id) / "work"
        growing.mkdir(exist_ok=True)
        (growing / "large").write_bytes(b"\0" * 2_500_000)
        wait(lambda: (service.store.get(job.id) or job).state == "failed")
        failed = service.store.get(job.id)
        assert failed is not None and failed.error is not None and failed.error.code == "storage_full"
        wait(lambda: len(workers(tmp_path / "home")) == 1 and not growing.exists())
        assert (service.store.get(other.id) or other).state == "in_progress", "it had not grown"
        assert portrait.exists() == (kind == "video"), "the portrait of an avatar is not the video's"
    finally:
        service.stop()


def test_what_a_worker_printed_stays_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    script = tmp_path / "worker.py"
    script.write_text("print('what was to be said')")
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, **kept: popen([sys.executable, str(script)], **kept))
    service = JobService(ServeSettings.model_validate({"home": tmp_path / "home"}))
    service.start()
    try:
        job = service.submit("video", "me", {}, lambda folder: None)
        wait(lambda: "has failed" in caplog.text)
        log = service.home.job(job.id) / "log"
        assert "to be said" in log.read_text() and str(log) in caplog.text and "to be said" not in caplog.text
    finally:
        service.stop()


def at_once(client: httpx2.Client) -> httpx2.Response:
    fields = {"model": "grid-s1", "size": "512"}
    return client.post("/v1/videos/sync", data=fields, files={"audio": tone(20)})


def test_a_video_at_once_does_not_wait_long_for_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geneface.serve.routes.videos._PATIENCE_SECONDS", 0.3)
    with jobs_server(tmp_path) as client:
        first = long_video(client)
        answer = at_once(client)
        refused(answer, 503, "busy")
        assert int(answer.headers["Retry-After"]) >= 1
        assert [job.id for job in client.context.jobs.store.list()] == [first]


def test_a_video_at_once_ends_with_its_server(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        with jobs_server(tmp_path) as client:
            # That of the server is closed before the server ends.
            asked = pool.submit(at_once, httpx2.Client(base_url=client.base_url, timeout=60))
            wait(lambda: client.context.jobs.store.count("in_progress"))
        refused(asked.result(), 503, "ending")


def test_a_video_at_once_whose_server_died_is_not_made(tmp_path: Path) -> None:
    with jobs_server(tmp_path) as client:
        jobs = client.context.jobs
    job = jobs.store.add(new_id("video"), "video", "grid-s1", {"is_sync": True})
    (jobs.home.job(job.id) / "in").mkdir(parents=True)
    with jobs_server(tmp_path) as client:
        assert client.context.jobs.store.list() == []
    assert list((tmp_path / "jobs").iterdir()) == []
