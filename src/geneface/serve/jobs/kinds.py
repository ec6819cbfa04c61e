"""Which function does which kind of job. Loaded in workers, each of which needs one of them only."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from geneface.serve.jobs.task import Task

_FUNCTIONS = {
    "video": ("make_video", "make_video"),
    "avatar": ("make_avatar", "make_avatar"),
    "import": ("import_avatar", "import_avatar"),
    "report": ("make_report", "make_report"),
    "check": ("look", "check_upload"),
}
"""Kind -> module of this package, and function."""


def function_of(kind: str) -> Callable[[Task], dict[str, Any]]:
    """What does a kind of job: it returns the result, and raises `InputError` where that can't be had."""
    module, name = _FUNCTIONS[kind]
    return getattr(import_module(f"geneface.serve.jobs.{module}"), name)
