"""Which function does which kind of job. Imported in workers only: it loads the whole library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geneface.serve.jobs.import_avatar import import_avatar
from geneface.serve.jobs.look import check_upload
from geneface.serve.jobs.make_avatar import make_avatar
from geneface.serve.jobs.make_report import make_report
from geneface.serve.jobs.make_video import make_video
from geneface.serve.jobs.task import Task

KINDS: dict[str, Callable[[Task], dict[str, Any]]] = {
    "video": make_video,
    "avatar": make_avatar,
    "import": import_avatar,
    "report": make_report,
    "check": check_upload,
}
