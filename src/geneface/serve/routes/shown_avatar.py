"""Avatars as clients see them: ready ones from their folders, others from the jobs that make them."""

from __future__ import annotations

from typing import Any

from geneface.avatar.body import Body
from geneface.avatar.folder import CARD_FILE, CONFIG_FILE, METRICS_FILE, POSTER_FILE, AvatarConfig
from geneface.errors import InputError
from geneface.io.records import read_json
from geneface.portrait.manifest import MANIFEST_NAME
from geneface.serve.avatars import StoredAvatar
from geneface.serve.context import Context
from geneface.serve.errors import ApiError
from geneface.serve.jobs.formats import PREVIEW_FILE, REPORT_FILE
from geneface.serve.jobs.job import Job
from geneface.serve.jobs.places import folder_bytes
from geneface.serve.routes.shown import shown_state

_DONE: dict[str, Any] = {
    "status": "completed",
    "progress": 100,
    "completed_at": None,
    "expires_at": None,
    "error": None,
    "steps": [],
    "eta_seconds": None,
    "queue_position": None,
}


def stored(avatar_id: str, context: Context) -> StoredAvatar:
    """An avatar that is ready.

    Raises:
        ApiError: there is none of that id.
    """
    found = context.avatars.get(avatar_id)
    if found is None:
        raise ApiError(404, "not_found", "there is no such avatar", "see /v1/avatars for those there are")
    return found


def making(context: Context, avatar_id: str | None = None) -> list[Job]:
    """The last job that makes each avatar, finished or not, in the order in which they came."""
    jobs = context.jobs.store.list(["avatar", "import"], subject=avatar_id)
    return list({job.subject: job for job in jobs}.values())


def shown_avatar(avatar: StoredAvatar, context: Context, *, is_alone: bool = False) -> dict[str, Any]:
    """One that is ready. `is_alone`: with its card and what was measured."""
    folder, home = avatar.folder, context.jobs.home
    try:
        config = AvatarConfig.model_validate(read_json(folder / CONFIG_FILE))
    except (InputError, ValueError):
        # It can't be loaded either, and that says why.
        config = None
    has_preview = (home.portrait(avatar.id) / PREVIEW_FILE).is_file()
    shown = {
        "id": avatar.id,
        "object": "avatar",
        "name": config.name if config else avatar.id,
        **_DONE,
        "created_at": int(avatar.created_at),
        "is_own": avatar.is_own,
        "size": config.size if config else None,
        "has_body": Body.is_in(folder),
        "renderer": config.renderer if config else None,
        "licence": config.licence if config else None,
        "attribution": config.attribution if config else None,
        "consent": config.consent if config else None,
        "bytes": folder_bytes(folder),
        "poster": f"/v1/avatars/{avatar.id}/poster" if (folder / POSTER_FILE).is_file() else None,
        "preview": f"/v1/avatars/{avatar.id}/preview" if has_preview else None,
        "has_portrait": (home.portrait(avatar.id) / MANIFEST_NAME).is_file(),
        "has_report": (home.report(avatar.id) / REPORT_FILE).is_file(),
    }
    if is_alone:
        jobs = making(context, avatar.id)
        reports = context.jobs.store.list(["report"], subject=avatar.id)
        summary = jobs[0].result.get("summary") if jobs else None
        card = folder / CARD_FILE
        shown |= {
            "card": card.read_text(encoding="utf-8", errors="replace") if card.is_file() else None,
            "facts": config.training if config else None,
            "summary": summary,
            "metrics": read_json(folder / METRICS_FILE) if (folder / METRICS_FILE).is_file() else None,
            "steps": jobs[0].steps if jobs else [],
            "report_status": reports[-1].state if reports else None,
        }
    return shown


def shown_unfinished(job: Job, context: Context) -> dict[str, Any]:
    """One that is being made, or could not be."""
    params = job.params
    has_preview = (context.jobs.home.job(job.id) / "out" / PREVIEW_FILE).is_file()
    return {
        "id": job.subject,
        "object": "avatar",
        "name": params.get("name") or "avatar",
        **shown_state(job, context.jobs),
        "is_own": True,
        "size": params.get("size"),
        "has_body": None,
        "renderer": None,
        "licence": params.get("licence"),
        "attribution": params.get("attribution"),
        "consent": params.get("consent"),
        "bytes": folder_bytes(context.jobs.home.job(job.id)),
        "poster": None,
        "preview": f"/v1/avatars/{job.subject}/preview" if has_preview else None,
        "has_portrait": False,
        "has_report": False,
        "card": None,
        "facts": None,
        "summary": None,
        "metrics": None,
    }
