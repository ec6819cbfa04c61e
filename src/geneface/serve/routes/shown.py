"""Jobs as clients see them."""

from __future__ import annotations

from typing import Any

from geneface.serve.jobs.job import Job, JobError
from geneface.serve.jobs.service import JobService


def shown_error(error: JobError | None) -> dict[str, str] | None:
    """Why a job failed."""
    return None if error is None else {"code": error.code, "message": error.message, "remedy": error.remedy}


def _ended(status: str, job: Job) -> str:
    """Of a step: none is at work in a job that is not."""
    return job.state if status == "in_progress" and job.state in ("failed", "cancelled") else status


def shown_state(job: Job, jobs: JobService) -> dict[str, Any]:
    """What all jobs have in common."""
    return {
        "status": job.state,
        "progress": int(job.progress),
        "created_at": int(job.created_at),
        "completed_at": None if job.completed_at is None else int(job.completed_at),
        "expires_at": None if job.expires_at is None else int(job.expires_at),
        "error": shown_error(job.error),
        "steps": [{**step, "status": _ended(step["status"], job)} for step in job.steps],
        "eta_seconds": job.eta_seconds,
        "queue_position": jobs.store.position(job.id) if job.state == "queued" else None,
    }
