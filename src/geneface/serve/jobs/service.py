"""Jobs and uploads as the routes use them: bounded by queue length, disk and age. Any thread may call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from geneface.io.place import writing
from geneface.serve.errors import ApiError
from geneface.serve.jobs.job import STATES, Job, new_id
from geneface.serve.jobs.places import Home
from geneface.serve.jobs.store import JobStore
from geneface.serve.jobs.supervisor import Supervisor
from geneface.serve.jobs.uploads import Upload, Uploads
from geneface.serve.settings import ServeSettings

_LEFT_BYTES = 256 << 20
"""Of the disk, for everything else."""
_MOST_FILE_BYTES = 16 << 30
_COUNTED_SECONDS = 5.0
_AT_ONCE = 4
_MOST_UPLOADS = 100
Result = TypeVar("Result")


class JobService:
    """The long work of one server."""

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.home = Home(settings.home)
        self.store = JobStore(self.home.database)
        self.uploads = Uploads(self.store, self.home)
        self.keep_seconds = settings.job_days * 24 * 3600
        limits = {
            "keep_seconds": self.keep_seconds,
            "most_bytes": settings.most_job_bytes,
            "file_bytes": min(settings.most_job_bytes, _MOST_FILE_BYTES),
            "most_speech_seconds": settings.most_speech_seconds,
        }
        self._supervisor = Supervisor(self.store, self.home, limits)
        self.is_started = False
        self._limiter: CapacityLimiter | None = None
        self._turn = threading.Lock()
        self._counted: tuple[float, int] = (-1e9, 0)

    def claim(self) -> None:
        """Keep the home to this server until `stop`. Waits a little for one that is ending.

        Raises:
            InputError: another server is at work in this home; it can't be made or written to.
        """
        with writing(self.home.root, is_creation=True):
            self.home.make()
            # One that was there may be read-only.
            with TemporaryFile(dir=self.home.root):
                pass
        self._supervisor.claim()

    def start(self) -> None:
        """Take up the queue.

        Raises:
            InputError: see `claim`.
        """
        self.claim()
        self._limiter = CapacityLimiter(_AT_ONCE)
        self._supervisor.start()
        self.is_started = True

    def stop(self) -> None:
        """End all processes within a moment; their jobs wait for the next start."""
        self.is_started = False
        self._supervisor.stop()
        self.store.close()

    async def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Run in a thread what may wait for a child that looks at media: a few at a time, so that others are served."""
        return await run_sync(function, *args, limiter=self._limiter)

    def submit(self, kind: str, subject: str, params: dict[str, Any], fill: Callable[[Path], None]) -> Job:
        """A new job.

        Args:
            subject: the avatar that it uses or makes.
            fill: puts what the client gave into the folder that it is called with.

        Raises:
            ApiError: the queue or the disk is full; what `fill` raises.
        """
        self.refuse_full(0)
        job_id = new_id(kind)
        folder = self.home.job(job_id)
        (folder / "in").mkdir(mode=0o700, parents=True)
        try:
            fill(folder / "in")
            with self._turn:
                self.refuse_long_queue()
                # From here on the job exists; a folder without its row is removed when the server starts.
                job = self.store.add(job_id, kind, subject, params)
        except BaseException:
            self.home.remove(folder)
            raise
        self._supervisor.wake()
        return job

    def begin_upload(self, size: int, name: str = "") -> Upload:
        """An upload of so many bytes, for which there is room.

        Raises:
            ApiError: there are too many, or the disk is full.
        """
        # Together, so that what is announced at the same time counts.
        with self._turn:
            if len(self.store.uploads()) >= _MOST_UPLOADS:
                told = f"there are {_MOST_UPLOADS} uploads already"
                raise ApiError(429, "too_many_uploads", told, "delete those that are not needed", retry_after=60)
            self.refuse_full(size)
            return self.uploads.create(size, name)

    def refuse_long_queue(self) -> None:
        """Before work is done for a request that would have to be refused.

        Raises:
            ApiError: as many jobs wait as may.
        """
        if self.store.count("queued") >= self.settings.most_queued_jobs:
            message = f"{self.settings.most_queued_jobs} jobs are waiting already"
            raise ApiError(429, "queue_full", message, "try again later, or cancel some", retry_after=30)

    def refuse_full(self, more_bytes: int) -> None:
        """Room for so many bytes, besides those that are announced, must be there.

        Raises:
            ApiError: there is not.
        """
        expected = self.used_bytes() + sum(self._announced()) + more_bytes
        most = self.settings.most_job_bytes
        remedy = "delete videos, avatars and uploads that are no longer needed"
        if expected > most:
            message = f"avatars, videos and uploads may take {most / 1e9:.1f} GB, and this would be more"
            raise ApiError(507, "storage_full", message, remedy)
        if self.home.free_bytes() < more_bytes + _LEFT_BYTES:
            raise ApiError(507, "storage_full", "the server's disk is full", remedy)

    def used_bytes(self) -> int:
        """Of all that is kept; counted anew every few seconds."""
        when, count = self._counted
        if time.monotonic() - when > _COUNTED_SECONDS:
            count = self.home.used_bytes()
            self._counted = (time.monotonic(), count)
        return count

    def _announced(self) -> list[int]:
        """Bytes of uploads that have not come yet."""
        rest = []
        for upload_id, size in self.store.uploads():
            path = self.home.upload(upload_id) / "data"
            rest.append(max(0, size - (path.stat().st_size if path.exists() else size)))
        return rest

    def cancel(self, job: Job) -> bool:
        """Nobody wants it any more: its process ends now. False if it had ended."""
        was_open = self.store.cancel(job.id, self.keep_seconds)
        self._supervisor.end(job.id)
        if was_open:
            self._supervisor.tidy(self.store.get(job.id) or job)
        return was_open

    def retry(self, job: Job) -> bool:
        """Go on with a job that failed; False if it did not.

        Raises:
            ApiError: the queue is full.
        """
        self.refuse_long_queue()
        done = self.store.retry(job.id)
        self._supervisor.wake()
        return done

    def delete(self, *jobs: Job) -> None:
        """Jobs with all their files, whatever state they are in."""
        for job in jobs:
            self.cancel(job)
            self.home.remove(self.home.job(job.id))
        self.store.delete(*(job.id for job in jobs))
        self._counted = (-1e9, 0)

    def counts(self) -> dict[str, float]:
        """Jobs by state, for the server's numbers."""
        return {state: float(self.store.count(state)) for state in STATES} if self.is_started else {}
