"""A thread of the server that gives each lane's next job a process, and watches over it.

It sleeps until somebody wakes it: a job came or was cancelled, a process ended; while jobs run it also looks once a
second. One server at a time uses a home: the others are refused.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geneface.errors import InputError
from geneface.io.place import lock_folder
from geneface.serve.jobs.job import LANES, Job, JobError
from geneface.serve.jobs.places import Home, folder_bytes
from geneface.serve.jobs.store import JobStore
from geneface.serve.sandbox import child_environment, end_group
from geneface.voice.openai_speech import KEY_VARIABLE as VOICE_KEY

_LOG = logging.getLogger("geneface.jobs")
_LOOK_SECONDS = 1.0
_IDLE_SECONDS = 300.0
_TROUBLE_SECONDS = 10.0
_UPLOAD_SECONDS = 24 * 3600.0
_MEASURE_SECONDS = 20.0
"""How often it is looked how much of the disk a long job has taken."""
_SECRETS = {"video": (VOICE_KEY,)}
"""Kind of job -> what its process has to know of the server's environment."""
_STOP_SECONDS = 0.5
"""So long the end of the server waits for what it has killed: on a busy machine that may take long."""
_LOCK_SECONDS = 3.0
"""For a server that was told to end and is ending: it has two."""


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    ended: threading.Event


class Supervisor:
    """Starts, watches and ends the processes of jobs."""

    def __init__(self, store: JobStore, home: Home, limits: dict[str, Any]) -> None:
        self._store, self._home, self._limits = store, home, limits
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._running: dict[str, _Running] = {}
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None
        self._lock: int | None = None
        self._cleaned = 0.0
        self._measured = 0.0

    # ---- called by the server

    def claim(self) -> None:
        """Keep the home, which is there, to this server until `stop`.

        Raises:
            InputError: another server is at work in this home.
        """
        if self._lock is None:
            self._lock = self._locked()

    def start(self) -> None:
        """Take up the queue of a home that was claimed where the last server left it."""
        # Their clients are gone; what is left of them on the disk goes with `_sweep`.
        self._store.delete(*(job.id for job in self._store.list(["video"]) if job.params.get("is_sync")))
        for job in self._store.recover(self._limits["keep_seconds"]):
            _LOG.error("job %s has failed: the server died too often while it was at work on it", job.id)
        self._sweep()
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End all processes now; their jobs wait for the next server."""
        self._stopping.set()
        self._wake.set()
        self._end_all()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
            self._thread = None
        # One may have been about to begin.
        self._end_all()
        self._running.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _end_all(self) -> None:
        """All at the same time; released before, so that nobody takes it for a death of theirs."""
        running = self._all()
        for one in running:
            self._store.release(one.job)
            if not one.ended.is_set():
                end_group(one.process.pid)
        end = time.monotonic() + _STOP_SECONDS
        for one in running:
            one.ended.wait(max(0.0, end - time.monotonic()))

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def end(self, job_id: str) -> None:
        """End the process of a job that is no longer wanted, and wait until it has."""
        with self._turn:
            running = self._running.get(job_id)
        if running is not None:
            self._end(running)
        self._wake.set()

    # ---- the thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            pause = _IDLE_SECONDS
            try:
                self._look()
                if time.monotonic() - self._cleaned > _IDLE_SECONDS:
                    self._expire()
                    self._cleaned = time.monotonic()
            except Exception:
                # A full disk, say: the next look may find it better.
                _LOG.exception("the queue of jobs can't be served at the moment")
                pause = _TROUBLE_SECONDS
            self._wake.wait(_LOOK_SECONDS if self._running else pause)

    def _look(self) -> None:
        self._refuse_growth()
        for running in self._all():
            if running.ended.is_set():
                self._settle(running)
            else:
                now = self._store.get(running.job.id)
                # One that has just said that it is done ends by itself.
                if now is None or now.state in ("cancelled", "failed"):
                    self._end(running)
        busy = {LANES[running.job.kind] for running in self._all()}
        for lane in sorted(set(LANES.values()) - busy):
            if self._stopping.is_set():
                return
            job = self._store.claim(lane)
            if job is not None:
                try:
                    self._begin(job)
                except BaseException:
                    self._store.release(job)
                    raise

    def _refuse_growth(self) -> None:
        """Where files grow beyond what all may take together, the largest job fails, and its unfinished things go."""
        running = [one for one in self._all() if not one.ended.is_set()]
        if not running or time.monotonic() - self._measured < _MEASURE_SECONDS:
            return
        self._measured = time.monotonic()
        most = self._limits["most_bytes"]
        if self._home.used_bytes() <= most:
            return
        largest = max(running, key=lambda one: sum(map(folder_bytes, self._growing(one.job))))
        message = f"avatars, videos and uploads may take {most / 1e9:.1f} GB; this one would have taken more"
        remedy = "give a shorter one or a smaller size, or delete what is no longer needed"
        error = JobError("storage_full", message, remedy)
        if self._store.fail(largest.job, error, self._limits["keep_seconds"]):
            self._end(largest)
            self._home.remove(*self._growing(largest.job))

    def _growing(self, job: Job) -> list[Path]:
        """Where a job puts what is not finished."""
        folder = self._home.job(job.id)
        own = [self._home.portrait(job.subject)] if job.kind == "avatar" else [folder / "out"]
        return [*own, folder / "work", folder / "tmp"]

    def _begin(self, job: Job) -> None:
        folder = self._home.job(job.id)
        if not folder.is_dir():
            # Deleted while it was claimed.
            self._store.cancel(job.id)
            return
        (folder / "tmp").mkdir(exist_ok=True)
        with open(folder / "log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "geneface.serve.jobs.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._home.root,
                start_new_session=True,
                env=child_environment(keeps=_SECRETS.get(job.kind, ()), TMPDIR=str(folder / "tmp")),
            )
        running = _Running(job, process, threading.Event())
        with self._turn:
            self._running[job.id] = running
        threading.Thread(target=self._wait, args=(running,), daemon=True).start()
        orders = {"home": str(self._home.root), "job": job.id, "worker": job.worker, "limits": self._limits}
        assert process.stdin is not None
        # It may be dead already. The pipe stays open: its other end notices when this process ends.
        with suppress(OSError):
            process.stdin.write(json.dumps(orders).encode() + b"\n")
            process.stdin.flush()

    def _wait(self, running: _Running) -> None:
        """In a thread for each process: sleeps until it ends."""
        pid = running.process.pid
        with suppress(ChildProcessError, AttributeError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            # Its helpers, before its number may be given to another.
            end_group(pid)
        running.process.wait()
        if running.process.stdin is not None:
            with suppress(OSError):
                running.process.stdin.close()
        running.ended.set()
        self._wake.set()

    def _end(self, running: _Running) -> None:
        if not running.ended.is_set():
            end_group(running.process.pid)
            running.ended.wait(5)

    def _settle(self, running: _Running) -> None:
        job = running.job
        if self._store.died(job, _cause(running.process.returncode), self._limits["keep_seconds"]):
            _LOG.warning("the process of job %s has ended (%s)", job.id, _cause(running.process.returncode))
        with self._turn:
            self._running.pop(job.id, None)
        now = self._store.get(job.id)
        if now is not None and now.state == "failed" and now.error is not None:
            # Neither its words nor what it printed: they may hold what is to be said.
            log = self._home.job(job.id) / "log"
            _LOG.warning("a job (%s) has failed (%s); what it printed is in %s", job.kind, now.error.code, log)
        if now is not None and now.has_ended:
            self.tidy(now)

    def _all(self) -> list[_Running]:
        with self._turn:
            return list(self._running.values())

    # ---- order on the disk

    def _locked(self) -> int | None:
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                return lock_folder(self._home.root / "jobs")
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise InputError(
                        f"another server keeps its data in {self._home.root}",
                        "end that one, or give --home another folder",
                    ) from error
                time.sleep(0.1)

    def tidy(self, job: Job) -> None:
        """Remove what an ended job needs no more. An avatar that failed can be gone on with."""
        folder = self._home.job(job.id)
        gone = [folder / "tmp"]
        if job.state == "completed":
            gone += [folder / "in", folder / "work", folder / "log"]
        elif job.kind != "avatar":
            gone += [folder / "in", folder / "work", folder / "out"]
        self._home.remove(*gone)

    def _sweep(self) -> None:
        """What processes that were killed have left: nothing that belongs to nothing stays."""
        self._home.empty_trash()
        jobs = {job.id: job for job in self._store.list()}
        for folder in (self._home.root / "jobs").iterdir():
            if folder.name not in jobs:
                self._home.remove(folder)
            elif jobs[folder.name].has_ended:
                self.tidy(jobs[folder.name])
        uploads = {upload for upload, _ in self._store.uploads()}
        self._home.remove(*(path for path in (self._home.root / "uploads").iterdir() if path.name not in uploads))
        making = {job.subject for job in jobs.values() if job.kind == "avatar" and job.state != "completed"}
        for folder in (self._home.root / "portraits").iterdir():
            if folder.name not in making and not self._home.avatar(folder.name).is_dir():
                self._home.remove(folder)
        self._expire()

    def _expire(self) -> None:
        """Remove what nobody came for."""
        for job in self._store.expired():
            self._home.remove(self._home.job(job.id))
            if job.kind == "avatar" and job.state != "completed":
                self._home.remove(self._home.portrait(job.subject))
            self._store.delete(job.id)
        for upload, _ in self._store.uploads(touched_before=time.time() - _UPLOAD_SECONDS):
            self._home.remove(self._home.upload(upload))
            self._store.delete_upload(upload)


def _cause(status: int | None) -> str:
    if status is not None and status < 0:
        with suppress(ValueError):
            return f"by {signal.Signals(-status).name}"
    return f"with the status {status}"
