"""Bodies of requests as they arrive: no larger than they may be, no slower than they need to be."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive

from geneface.serve.errors import ApiError
from geneface.serve.settings import ServeSettings


class BodyRefusedError(Exception):
    """The body is not read any further. `BodyMeter.refusal` says why."""


def most_bytes(method: str, path: str, content_type: str, settings: ServeSettings) -> int:
    """The largest body that a request may have.

    Large are pieces of uploads, and forms that bring a whole video or avatar: these are written to the disk as they
    come. All other bodies are held in memory.
    """
    is_piece = method in ("PATCH", "PUT") and path.startswith("/v1/uploads/")
    is_form = path.startswith("/v1/avatars") and content_type.lower().startswith("multipart/form-data")
    return settings.most_upload_bytes if is_piece or is_form else settings.most_body_bytes


def too_large(most: int) -> ApiError:
    """The answer to a body of more than `most` bytes."""
    return ApiError(
        413,
        "too_large",
        f"the body of this request is larger than {most / 1024**2:.0f} MB",
        "send less, or in pieces through /v1/uploads",
    )


class BodyMeter:
    """A `receive` that refuses what is too large or too slow.

    Slow is measured by the time that is spent waiting for the client, not by how long the server takes: after
    `slow_seconds` of it, `least_bytes_a_second` must have come on the average.
    """

    def __init__(self, receive: Receive, most: int, settings: ServeSettings) -> None:
        self._receive, self._most = receive, most
        self._grace, self._rate = settings.slow_seconds, settings.least_bytes_a_second
        self._bytes = 0
        self._waited = 0.0
        self._is_over = False
        self.refusal: ApiError | None = None
        """Why it was refused, if it was."""

    async def __call__(self) -> Message:
        """The next piece.

        Raises:
            BodyRefusedError: it is too large or too slow.
        """
        if self.refusal is not None:
            raise BodyRefusedError
        if self._is_over:
            return await self._receive()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            message = await asyncio.wait_for(self._receive(), self._grace + self._bytes / self._rate - self._waited)
        except asyncio.TimeoutError:
            self.refusal = ApiError(408, "too_slow", "the body of this request came too slowly", "send it again")
            raise BodyRefusedError from None
        self._waited += loop.time() - began
        self._bytes += len(message.get("body", b""))
        self._is_over = not message.get("more_body", False)
        if self._bytes > self._most:
            self.refusal = too_large(self._most)
            raise BodyRefusedError
        return message
