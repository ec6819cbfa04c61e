"""What a job is: one piece of long work, as the store keeps it and the API shows it."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any, Literal, get_args

State = Literal["queued", "in_progress", "completed", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
Kind = Literal["video", "avatar", "import", "report", "check"]
LANES: dict[str, str] = {"avatar": "long", "report": "long", "video": "short", "import": "short", "check": "short"}
"""Kind -> lane. One job of each lane runs at a time: what somebody waits for does not stand behind a training."""
_PREFIXES = {"video": "video", "check": "check"}
ENDED = ("completed", "failed", "cancelled")


def new_id(kind: str) -> str:
    """A random id, which nobody guesses and which is a safe name of a folder."""
    return f"{_PREFIXES.get(kind, 'job')}_{secrets.token_hex(12)}"


def new_avatar_id() -> str:
    """The same for an avatar; `AvatarStore` knows its own by this form."""
    return f"av_{secrets.token_hex(12)}"


@dataclass(frozen=True)
class JobError:
    """Why a job failed."""

    code: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Job:
    """One row of the store."""

    id: str
    kind: str
    state: State
    subject: str
    """Id of the avatar that it uses or makes; of a check the upload."""
    params: dict[str, Any]
    steps: list[dict[str, Any]]
    """`progress.Reporter` writes them: name, status, progress 0 to 1, stage, seconds, eta_seconds."""
    progress: float
    """0 to 100."""
    eta_seconds: float | None
    created_at: float
    started_at: float | None
    completed_at: float | None
    expires_at: float | None
    error: JobError | None
    result: dict[str, Any]
    attempts: int
    """How many of its workers died."""
    restarts: int
    """How many times the server ended while a worker was at it."""
    worker: str | None
    """Secret of the run that may write to this row; another one has lost it."""

    @property
    def has_ended(self) -> bool:
        """Nothing more will come."""
        return self.state in ENDED


def display_name(name: object, most: int = 100) -> str:
    """A client's name for something, fit to be shown and for nothing else: one line, no path, no control characters."""
    text = re.split(r"[\\/]", str(name or ""))[-1]
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(text.split())[:most]
