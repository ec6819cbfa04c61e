"""Bodies of requests as they arrive: no larger than they may be, no slower than they need to be."""

from __future__ import annotations

import asyncio
import re

from starlette.types import Message, Receive

from geneface.serve.errors import ApiError
from geneface.serve.settings import ServeSettings


class BodyRefusedError(Exception):
    """The body is not read any further. `BodyMeter.refusal` says why."""


_MOST_PLAIN_BYTES = 1 << 18
"""The longest text, with each letter escaped."""
_MOST_ELEMENTS = 30_000
_LARGE_PATHS = re.compile(r"/v1/videos(/.*)?|/v1/live/[^/]+/say")
"""Of requests that may hold a sound."""


def most_bytes(method: str, path: str, content_type: str, settings: ServeSettings) -> int:
    """The largest body that a request may have.

    Largest are pieces of uploads, and forms that bring a whole video or avatar: these are written to the disk as they
    come. All other bodies are held in memory: few of them may hold a sound.
    """
    if is_file(method, path, content_type) and path.startswith(("/v1/uploads/", "/v1/avatars")):
        return settings.most_upload_bytes
    most = settings.most_body_bytes
    return most if _LARGE_PATHS.fullmatch(path) else min(most, _MOST_PLAIN_BYTES)


def is_file(method: str, path: str, content_type: str) -> bool:
    """Whether a body is a file, or a form with files: its bytes may be any."""
    is_piece = method in ("PATCH", "PUT") and path.startswith("/v1/uploads/")
    return is_piece or content_type.lower().startswith("multipart/form-data")


def too_large(most: int) -> ApiError:
    """The answer to a body of more than `most` bytes."""
    return ApiError(
        413,
        "too_large",
        f"the body of this request is larger than {most / 1024**2:.4g} MB",
        "send less, or in pieces through /v1/uploads",
    )


class BodyMeter:
    """A `receive` that refuses what is too large, too slow or, unless it `is_file`, too finely divided: a long list
    in JSON takes long to read, and many times its size in memory.

    Slow is measured by the time that is spent waiting for the client, not by how long the server takes: after
    `slow_seconds` of it, `least_bytes_a_second` must have come on the average.
    """

    def __init__(self, receive: Receive, most: int, settings: ServeSettings, *, is_file: bool = False) -> None:
        self._receive, self._most, self._is_file = receive, most, is_file
        self._grace, self._rate = settings.slow_seconds, settings.least_bytes_a_second
        self._bytes = self._elements = 0
        self._waited = 0.0
        self._is_over = False
        self.refusal: ApiError | None = None
        """Why it was refused, if it was."""

    async def __call__(self) -> Message:
        """The next piece.

        Raises:
            BodyRefusedError: it is too large, too slow or has too many elements.
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
        body = message.get("body", b"")
        self._bytes += len(body)
        if not self._is_file:
            self._elements += sum(map(body.count, (b",", b"[", b"{")))
        self._is_over = not message.get("more_body", False)
        if self._bytes > self._most:
            self.refusal = too_large(self._most)
            raise BodyRefusedError
        if self._elements > _MOST_ELEMENTS:
            told = "the body of this request has too many elements"
            self.refusal = ApiError(413, "too_large", told, "send a sound as one text in base64")
            raise BodyRefusedError
        return message
