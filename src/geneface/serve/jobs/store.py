"""The queue on the disk: SQLite in WAL mode, safe for any number of threads and processes.

A row changes by single statements that name the state they expect, so that of two who want to change it one loses and
is told. A worker writes only while its secret stands in the row: what was cancelled, or given to another, stays so.
"""

from __future__ import annotations

import json
import queue
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geneface.serve.jobs.job import LANES, Job, JobError

MOST_ATTEMPTS = 3
MOST_RESTARTS = 10
_WAIT_SECONDS = 30.0
"""For the lock of another process, which holds it for milliseconds."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, lane TEXT NOT NULL,
    state TEXT NOT NULL, subject TEXT NOT NULL, params TEXT NOT NULL, steps TEXT NOT NULL DEFAULT '[]',
    progress REAL NOT NULL DEFAULT 0, eta_seconds REAL, created_at REAL NOT NULL, started_at REAL, completed_at REAL,
    expires_at REAL, error TEXT, result TEXT NOT NULL DEFAULT '{}', attempts INTEGER NOT NULL DEFAULT 0,
    restarts INTEGER NOT NULL DEFAULT 0, worker TEXT
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, lane, seq);
CREATE INDEX IF NOT EXISTS jobs_by_subject ON jobs (subject);
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, bytes INTEGER NOT NULL, created_at REAL NOT NULL, touched_at REAL NOT NULL
);
"""


class JobStore:
    """Jobs and uploads of one server. The file is made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()

    def close(self) -> None:
        """Close what no thread uses at the moment."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    # ---- jobs

    def add(self, job_id: str, kind: str, subject: str, params: dict[str, Any]) -> Job:
        """A new job at the end of its lane."""
        with self._open() as db:
            db.execute(
                "INSERT INTO jobs (id, kind, lane, state, subject, params, created_at) VALUES (?,?,?,'queued',?,?,?)",
                (job_id, kind, LANES[kind], subject, json.dumps(params), time.time()),
            )
        found = self.get(job_id)
        assert found is not None
        return found

    def get(self, job_id: str) -> Job | None:
        """One of them."""
        found = self._select("WHERE id = ?", (job_id,))
        return found[0] if found else None

    def list(
        self,
        kinds: Sequence[str] | None = None,
        *,
        subject: str | None = None,
        states: Sequence[str] | None = None,
        after: str | None = None,
        limit: int = -1,
        newest_first: bool = False,
    ) -> list[Job]:
        """Jobs in the order in which they came.

        Args:
            after: id of a job: those that follow it in the list.
            limit: at most so many; all, if it is negative.
        """
        wanted, values = ["1"], []
        for column, allowed in (("kind", kinds), ("state", states)):
            if allowed is not None:
                wanted.append(f"{column} IN ({','.join('?' * len(allowed))})")
                values += allowed
        if subject is not None:
            wanted.append("subject = ?")
            values.append(subject)
        if after is not None:
            wanted.append(f"seq {'<' if newest_first else '>'} (SELECT seq FROM jobs WHERE id = ?)")
            values.append(after)
        order = "DESC" if newest_first else "ASC"
        return self._select(f"WHERE {' AND '.join(wanted)} ORDER BY seq {order} LIMIT ?", (*values, limit))

    def count(self, state: str) -> int:
        """How many jobs are in a state."""
        with self._open() as db:
            return db.execute("SELECT count(*) FROM jobs WHERE state = ?", (state,)).fetchone()[0]

    def position(self, job_id: str) -> int | None:
        """How many jobs that wait in its lane come before a queued one; 0: it is next."""
        with self._open() as db:
            row = db.execute(
                "SELECT (SELECT count(*) FROM jobs o WHERE o.lane = j.lane AND o.seq < j.seq"
                " AND o.state = 'queued') FROM jobs j WHERE j.id = ? AND j.state = 'queued'",
                (job_id,),
            ).fetchone()
        return None if row is None else row[0]

    def claim(self, lane: str) -> Job | None:
        """Take the job that has waited longest in a lane; its `worker` is new."""
        secret = secrets.token_hex(8)
        with self._open() as db:
            done = db.execute(
                "UPDATE jobs SET state = 'in_progress', worker = ?, started_at = coalesce(started_at, ?)"
                " WHERE state = 'queued' AND seq = (SELECT min(seq) FROM jobs WHERE state = 'queued' AND lane = ?)",
                (secret, time.time(), lane),
            )
            if done.rowcount != 1:
                return None
        return next(iter(self._select("WHERE worker = ?", (secret,))), None)

    def report(self, job: Job, progress: float, eta_seconds: float | None, steps: Sequence[dict[str, Any]]) -> bool:
        """How far it is; False if the job is no longer this worker's."""
        values = (progress, eta_seconds, json.dumps(list(steps)))
        return self._own(job, "progress = max(progress, ?), eta_seconds = ?, steps = ?", values)

    def note(self, job: Job, result: dict[str, Any]) -> bool:
        """What is known of the result before its end."""
        return self._own(job, "result = ?", (json.dumps(result),))

    def finish(self, job: Job, result: dict[str, Any], keep_seconds: float) -> bool:
        """It is done; False if the job is no longer this worker's."""
        now = time.time()
        change = "state = 'completed', progress = 100, eta_seconds = NULL, worker = NULL, error = NULL, result = ?,"
        return self._own(
            job, f"{change} completed_at = ?, expires_at = ?", (json.dumps(result), now, now + keep_seconds)
        )

    def fail(self, job: Job, error: JobError, keep_seconds: float) -> bool:
        """It can't be done; False if the job is no longer this worker's."""
        now = time.time()
        change = "state = 'failed', eta_seconds = NULL, worker = NULL, error = ?, completed_at = ?, expires_at = ?"
        return self._own(job, change, (json.dumps(error.__dict__), now, now + keep_seconds))

    def died(self, job: Job, reason: str, keep_seconds: float) -> bool:
        """Its worker ended without a word: it waits again, or has failed if that happened too often."""
        if job.attempts + 1 < MOST_ATTEMPTS:
            return self._own(job, "state = 'queued', worker = NULL, attempts = attempts + 1", ())
        self._own(job, "attempts = attempts + 1", ())
        cause = f"its process ended {job.attempts + 1} times without a result, the last time {reason}"
        remedy = "most likely memory ran out: end other programs, or choose a smaller size, and try again"
        return self.fail(job, JobError("worker_died", cause, remedy), keep_seconds)

    def release(self, job: Job) -> bool:
        """The server ends: the job waits for the next one."""
        return self._own(job, "state = 'queued', worker = NULL", ())

    def recover(self, keep_seconds: float) -> list[Job]:
        """Jobs that were at work when a server died wait again. Returns those that failed by that."""
        with self._open() as db:
            # An older server may have put them into others.
            for kind, lane in LANES.items():
                db.execute("UPDATE jobs SET lane = ? WHERE kind = ? AND lane != ?", (lane, kind, lane))
        failed = []
        for job in self.list(states=["in_progress"]):
            self._own(job, "restarts = restarts + 1", ())
            if job.restarts + 1 < MOST_RESTARTS:
                self.release(job)
            else:
                cause = f"the server died {job.restarts + 1} times while it was at work on this"
                self.fail(job, JobError("server_died", cause, "see the server's log, and start it again"), keep_seconds)
                failed.append(job)
        return failed

    def cancel(self, job_id: str, keep_seconds: float = 0.0) -> bool:
        """Nobody wants it any more; False if it had ended."""
        with self._open() as db:
            done = db.execute(
                "UPDATE jobs SET state = 'cancelled', worker = NULL, eta_seconds = NULL, completed_at = ?,"
                " expires_at = ? WHERE id = ? AND state IN ('queued', 'in_progress')",
                (time.time(), time.time() + keep_seconds, job_id),
            )
            return done.rowcount == 1

    def retry(self, job_id: str) -> bool:
        """A job that failed or was cancelled waits again, at the end; False if it is in another state."""
        with self._open() as db:
            done = db.execute(
                "UPDATE jobs SET state = 'queued', attempts = 0, restarts = 0, error = NULL, completed_at = NULL,"
                " expires_at = NULL, progress = 0, seq = (SELECT max(seq) + 1 FROM jobs)"
                " WHERE id = ? AND state IN ('failed', 'cancelled')",
                (job_id,),
            )
            return done.rowcount == 1

    def delete(self, *job_ids: str) -> None:
        """Forget them: what was asked for can't be read from the file either."""
        with self._open() as db:
            for job_id in job_ids:
                db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            _forget_earlier_pages(db)

    def expired(self) -> list[Job]:
        """Those whose time is over."""
        return self._select("WHERE expires_at < ? AND state IN ('completed', 'failed', 'cancelled')", (time.time(),))

    # ---- uploads

    def add_upload(self, upload_id: str, name: str, size: int) -> None:
        """An upload of so many bytes begins."""
        with self._open() as db:
            now = time.time()
            db.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?)", (upload_id, name, size, now, now))

    def get_upload(self, upload_id: str) -> tuple[str, int, float, float] | None:
        """Its name, bytes in all, and when it was made and touched."""
        with self._open() as db:
            return db.execute(
                "SELECT name, bytes, created_at, touched_at FROM uploads WHERE id = ?", (upload_id,)
            ).fetchone()

    def touch_upload(self, upload_id: str) -> None:
        """Somebody is at it."""
        with self._open() as db:
            db.execute("UPDATE uploads SET touched_at = ? WHERE id = ?", (time.time(), upload_id))

    def uploads(self, touched_before: float | None = None) -> list[tuple[str, int]]:
        """Ids and bytes in all of those that nobody touched since, or of all."""
        with self._open() as db:
            before = time.time() + 1e9 if touched_before is None else touched_before
            return db.execute("SELECT id, bytes FROM uploads WHERE touched_at < ?", (before,)).fetchall()

    def delete_upload(self, upload_id: str) -> None:
        """Forget it."""
        with self._open() as db:
            db.execute("DELETE FROM uploads WHERE id = ?", (upload_id,))
            _forget_earlier_pages(db)

    # ---- inside

    def _own(self, job: Job, change: str, values: Sequence[Any]) -> bool:
        with self._open() as db:
            done = db.execute(
                f"UPDATE jobs SET {change} WHERE id = ? AND worker = ? AND state = 'in_progress'",
                (*values, job.id, job.worker),
            )
            return done.rowcount == 1

    def _select(self, rest: str, values: Sequence[Any]) -> list[Job]:
        with self._open() as db:
            return [_job(row) for row in db.execute(f"SELECT {_COLUMNS} FROM jobs {rest}", values)]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection of this thread's own for the block; each statement is a transaction."""
        try:
            db = self._idle.get_nowait()
        except queue.Empty:
            db = sqlite3.connect(self._path, _WAIT_SECONDS, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            # What is deleted is overwritten; most builds of SQLite would leave it in the file.
            db.execute("PRAGMA secure_delete = ON")
            db.executescript(_SCHEMA)
        try:
            yield db
        except BaseException:
            db.close()
            raise
        self._idle.put(db)


def _forget_earlier_pages(db: sqlite3.Connection) -> None:
    """Empty the log of changes, which still holds pages as they were. Where somebody reads, the next deletion does."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


_COLUMNS = (
    "id, kind, state, subject, params, steps, progress, eta_seconds, created_at, started_at, completed_at,"
    " expires_at, error, result, attempts, restarts, worker"
)


def _job(row: Sequence[Any]) -> Job:
    values = dict(zip((name.strip() for name in _COLUMNS.split(",")), row, strict=True))
    for name in ("params", "steps", "result"):
        values[name] = json.loads(values[name])
    error = values["error"]
    values["error"] = None if error is None else JobError(**json.loads(error))
    return Job(**values)
