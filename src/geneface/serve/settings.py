"""What `geneface serve` is started with. Every limit that the server keeps stands here."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from geneface.config import Config


def default_home() -> Path:
    """Where the server keeps avatars and jobs: below XDG_DATA_HOME, or ~/.local/share."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "geneface"


class ServeSettings(Config):
    """Settings of one server."""

    home: Path = Field(default_factory=default_home)
    """Avatars, jobs, uploads. Made with mode 0700."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    token: str | None = None
    """Needed by every request where the host is another than this machine."""
    allowed_hosts: tuple[str, ...] = ()
    """Names besides localhost that a request may be addressed to: of a proxy in front, say."""
    proxy: str | None = None
    """Address of a proxy in front: it is believed for whom it asks."""
    certificate: Path | None = None
    """PEM, for TLS without a proxy; `key` is its key, where that is not in the same file."""
    key: Path | None = None
    avatars: tuple[Path, ...] = ()
    """Avatar folders that are offered besides the bundled one and those in `home`."""
    voice: str | None = None
    voice_folder: Path | None = None
    voice_url: str | None = None
    voice_model: str | None = None
    chat_url: str | None = None
    chat_model: str = "default"
    chat_prompt: str = "You are speaking with somebody face to face. Answer in one to three short sentences."
    listen_url: str | None = None
    listen_model: str = "whisper-1"

    stun: tuple[str, ...] = ()
    """`stun:host:port` that WebRTC asks for this machine's public address; none is asked by default."""

    most_upload_bytes: int = 2 * 1024**3
    most_body_bytes: int = 32 * 1024**2
    """Of a request that is not a piece of an upload."""
    most_speech_seconds: float = 600.0
    most_video_seconds: float = 1800.0
    """Of a video that an avatar is made of."""
    most_text: int = 20_000
    most_queued_jobs: int = 20
    most_job_bytes: int = 20 * 1024**3
    """Of all jobs, uploads and avatars made here together."""
    job_days: float = 30.0
    """So long a finished job is kept."""
    most_connections: int = 200
    most_requests_a_minute: int = 1200
    """Of one address."""
    most_message_bytes: int = 1024**2
    """Of a WebSocket."""
    most_messages_a_second: int = 200
    """Of a WebSocket: what comes faster waits."""
    slow_seconds: float = 10.0
    """So long a client may take for its headers, or without sending any of a body."""
    least_bytes_a_second: int = 4096
    """Of a body, on the average."""
    stalled_seconds: float = 60.0
    """A client that takes nothing of its answer for so long is let go."""
    live_idle_seconds: float = 900.0
    """A session without a listener or speech ends after that."""
    workers: int = Field(default=2, ge=1)
    """Threads that draw for live sessions."""
