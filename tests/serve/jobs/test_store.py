from __future__ import annotations

import multiprocessing
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from geneface.serve.jobs.job import Job, JobError, display_name, new_id
from geneface.serve.jobs.store import MOST_ATTEMPTS, MOST_RESTARTS, JobStore

KEEP = 1000.0


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "jobs.sqlite3")


def add(store: JobStore, kind: str = "avatar", subject: str = "me") -> str:
    return store.add(new_id(kind), kind, subject, {"n": 1}).id


def claimed(store: JobStore, lane: str = "long") -> Job:
    job = store.claim(lane)
    assert job is not None
    return job


def state(store: JobStore, job_id: str) -> str:
    job = store.get(job_id)
    assert job is not None
    return job.state


def test_jobs_are_served_in_their_order_and_each_lane_for_itself(store: JobStore) -> None:
    ids = [add(store, kind) for kind in ("avatar", "check", "report", "import", "video")]
    assert [store.position(job_id) for job_id in ids] == [0, 0, 1, 1, 2]
    assert [claimed(store).id, claimed(store, "short").id] == [ids[0], ids[1]]
    assert [store.position(job_id) for job_id in ids[2:]] == [0, 0, 1], "0: it is next"
    assert [claimed(store).id, *(claimed(store, "short").id for _ in range(2))] == ids[2:]
    assert store.claim("long") is None and store.claim("short") is None


def test_two_never_get_the_same_job(store: JobStore) -> None:
    ids = {add(store) for _ in range(40)}
    got: list[str] = []

    def take() -> None:
        while job := store.claim("long"):
            got.append(job.id)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(got) == Counter(ids)


def _add_many(path: Path, count: int) -> None:
    store = JobStore(path)
    for _ in range(count):
        add(store)
        job = store.claim("long")
        if job is not None:
            store.finish(job, {}, KEEP)


def test_several_processes_may_write(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_many, args=(path, 25)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    store = JobStore(path)
    assert store.count("queued") == 0 and store.count("completed") == 75


def test_only_the_worker_that_has_the_job_writes_to_it(store: JobStore) -> None:
    job_id = add(store)
    first = claimed(store)
    store.release(first)
    second = claimed(store)
    assert second.id == job_id and second.worker != first.worker
    assert not store.report(first, 50, 1.0, []) and not store.finish(first, {}, KEEP)
    assert not store.fail(first, JobError("x", "y"), KEEP) and not store.died(first, "z", KEEP)
    assert store.report(second, 20, 3.0, [{"name": "render"}]) and store.finish(second, {"file": "a"}, KEEP)
    done = store.get(job_id)
    assert done is not None and (done.state, done.progress, done.result) == ("completed", 100, {"file": "a"})
    assert done.expires_at is not None and done.completed_at is not None
    assert abs(done.expires_at - done.completed_at - KEEP) < 1


def test_progress_never_goes_back(store: JobStore) -> None:
    add(store)
    job = claimed(store)
    for percent in (10, 60, 20):
        store.report(job, percent, None, [])
    now = store.get(job.id)
    assert now is not None and now.progress == 60


def test_what_was_cancelled_stays_so(store: JobStore) -> None:
    waiting, running = add(store), add(store)
    job = claimed(store)
    assert job.id == waiting
    assert store.cancel(waiting) and store.cancel(running) and not store.cancel(waiting)
    assert not store.finish(job, {}, KEEP) and not store.report(job, 1, None, [])
    assert state(store, waiting) == state(store, running) == "cancelled"
    assert store.claim("long") is None


def test_a_job_whose_worker_dies_is_tried_three_times(store: JobStore) -> None:
    job_id = add(store)
    for _ in range(MOST_ATTEMPTS):
        assert state(store, job_id) == "queued"
        store.died(claimed(store), "by SIGKILL", KEEP)
    failed = store.get(job_id)
    assert failed is not None and failed.state == "failed" and failed.error is not None
    assert failed.error.code == "worker_died" and "SIGKILL" in failed.error.message and failed.error.remedy


def test_a_server_that_dies_does_not_use_up_the_attempts(store: JobStore) -> None:
    job_id = add(store)
    for _ in range(MOST_RESTARTS - 1):
        claimed(store)
        assert store.recover(KEEP) == []
        assert state(store, job_id) == "queued"
    claimed(store)
    assert [job.id for job in store.recover(KEEP)] == [job_id]
    failed = store.get(job_id)
    assert failed is not None and failed.error is not None and failed.error.code == "server_died"


def test_a_failed_job_is_tried_again_at_the_end_of_the_queue(store: JobStore) -> None:
    first, second = add(store, "avatar"), add(store, "avatar")
    store.fail(claimed(store), JobError("bad_input", "why"), KEEP)
    assert not store.retry(second) and store.retry(first)
    assert [claimed(store).id, claimed(store).id] == [second, first]


def test_lists_page_by_page_in_both_directions(store: JobStore) -> None:
    ids = [add(store, subject=str(number % 2)) for number in range(7)]
    add(store, "check")
    for newest_first in (False, True):
        wanted = ids[::-1] if newest_first else ids
        found: list[str] = []
        while page := store.list(["avatar"], after=found[-1] if found else None, limit=3, newest_first=newest_first):
            assert len(page) <= 3
            found += [job.id for job in page]
        assert found == wanted
    assert [job.id for job in store.list(subject="1")] == ids[1::2]


def test_old_jobs_expire_and_others_do_not(store: JobStore) -> None:
    old, new, waiting = add(store), add(store), add(store)
    store.finish(claimed(store), {}, -1)
    store.finish(claimed(store), {}, KEEP)
    assert [job.id for job in store.expired()] == [old]
    store.delete(old)
    assert store.get(old) is None and state(store, new) == "completed" and state(store, waiting) == "queued"


def test_uploads_are_remembered(store: JobStore) -> None:
    store.add_upload("up_1", "me.mp4", 12)
    assert store.uploads() == [("up_1", 12)]
    assert store.uploads(touched_before=time.time() - 60) == []
    assert store.uploads(touched_before=time.time() + 60) == [("up_1", 12)]
    store.delete_upload("up_1")
    assert store.get_upload("up_1") is None


@pytest.mark.parametrize(
    "given, shown",
    [
        ("me.mp4", "me.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\me\\video 1.mp4", "video 1.mp4"),
        ("a\nb\x00c\x1b[31m", "a b c [31m"),
        ("", ""),
        (None, ""),
        ("x" * 500, "x" * 100),
        ("\u202egnp.exe", "gnp.exe"),
    ],
)
def test_names_of_clients_become_one_harmless_line(given: object, shown: str) -> None:
    assert display_name(given) == shown


def test_what_was_cancelled_expires_too(store: JobStore) -> None:
    job_id = add(store)
    store.cancel(job_id, -1)
    assert [job.id for job in store.expired()] == [job_id]
    assert store.retry(job_id)
    assert store.expired() == [], "it is wanted again"


def test_a_list_is_whole_unless_a_number_is_given(store: JobStore) -> None:
    with store._open() as db:
        db.execute("BEGIN")
        for number in range(1005):
            db.execute(
                "INSERT INTO jobs (id, kind, lane, state, subject, params, created_at)"
                " VALUES (?, 'video', 'long', 'completed', 'me', '{}', 0)",
                (f"video_{number}",),
            )
        db.execute("COMMIT")
    assert len(store.list(subject="me")) == 1005
    assert [job.id for job in store.list(subject="me", limit=2)] == ["video_0", "video_1"]


def test_what_is_deleted_is_in_no_file(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite3")
    kept, gone = (store.add(new_id("video"), "video", "me", {"text": text * 50}).id for text in ("remain", "secret"))
    store.add_upload("up_1", "private.mp4", 1)

    def written() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert b"secret" in written() and b"private" in written()
    store.delete(gone)
    store.delete_upload("up_1")
    assert b"secret" not in written() and b"private" not in written() and b"remain" in written()
    assert [job.id for job in store.list()] == [kept]
    with store._open() as db:
        # Not by the build's own choice alone.
        assert db.execute("PRAGMA secure_delete").fetchone() == (1,)
