"""Files that come in pieces. Their bytes lie in uploads/<id>/data; how far one is, is the length of that file."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from geneface.serve.errors import ApiError
from geneface.serve.jobs.job import display_name
from geneface.serve.jobs.places import Home
from geneface.serve.jobs.store import JobStore

KEPT_SECONDS = 24 * 3600
_BUFFER = 1 << 20


@dataclass(frozen=True)
class Upload:
    """How far one is."""

    id: str
    name: str
    bytes: int
    offset: int
    created_at: float
    touched_at: float

    @property
    def is_complete(self) -> bool:
        """All has come."""
        return self.offset == self.bytes


class Uploads:
    """The uploads of one server. Who asks for room is the caller's business."""

    def __init__(self, store: JobStore, home: Home) -> None:
        self._store, self._home = store, home
        self._writing: set[str] = set()

    def create(self, size: int, name: str = "") -> Upload:
        """An empty one."""
        upload_id = f"up_{secrets.token_hex(12)}"
        folder = self._home.upload(upload_id)
        folder.mkdir(mode=0o700)
        (folder / "data").touch(0o600)
        self._store.add_upload(upload_id, display_name(name), size)
        return self.get(upload_id)

    def get(self, upload_id: str) -> Upload:
        """One of them.

        Raises:
            ApiError: there is none of that id.
        """
        found = self._store.get_upload(upload_id)
        path = self._home.upload(upload_id) / "data"
        if found is None or not path.is_file():
            raise ApiError(404, "not_found", "there is no such upload", "begin a new one with POST /v1/uploads")
        name, size, created_at, touched_at = found
        return Upload(upload_id, name, size, path.stat().st_size, created_at, touched_at)

    def data(self, upload: Upload) -> Path:
        """Its bytes."""
        return self._home.upload(upload.id) / "data"

    async def append(self, upload: Upload, offset: int, pieces: AsyncIterator[bytes]) -> Upload:
        """Write what comes after the first `offset` bytes; whatever has come stays, even if the connection breaks.

        Raises:
            ApiError: it is not that far, or further; somebody else is at it; more comes than was announced.
        """
        if upload.id in self._writing:
            raise ApiError(409, "upload_busy", "another request is writing to this upload", "wait for its end", 1)
        self._writing.add(upload.id)
        try:
            now = await anyio.to_thread.run_sync(self.get, upload.id)
            if offset != now.offset:
                raise OffsetError(now.offset)
            with open(self.data(now), "ab", buffering=0) as file:
                await self._write(file.fileno(), now.bytes - now.offset, pieces)
        finally:
            self._writing.discard(upload.id)
            # Also where the request was cancelled.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._store.touch_upload, upload.id)
        return await anyio.to_thread.run_sync(self.get, upload.id)

    async def _write(self, file: int, room: int, pieces: AsyncIterator[bytes]) -> None:
        buffer = bytearray()
        try:
            async for piece in pieces:
                if len(buffer) + len(piece) > room:
                    raise ApiError(413, "too_large", "more bytes came than were announced", "begin a new upload")
                buffer += piece
                if len(buffer) >= _BUFFER:
                    room -= len(buffer)
                    data, buffer = bytes(buffer), bytearray()
                    # Not in the event loop: a disk may be slow, and live sessions are served by it.
                    await anyio.to_thread.run_sync(_write_all, file, data)
        finally:
            # Short: the rest is written here, so that it also is where the request was cancelled.
            _write_all(file, bytes(buffer))

    def give(self, upload: Upload, target: Path) -> None:
        """Let a job have it as a file of its own. The upload stays.

        Raises:
            ApiError: it is not complete.
        """
        if not upload.is_complete:
            raise ApiError(
                409,
                "upload_incomplete",
                f"only {upload.offset} of {upload.bytes} bytes of this upload have come",
                "send the rest first",
            )
        try:
            os.link(self.data(upload), target)
        except OSError:
            # A disk without links.
            shutil.copyfile(self.data(upload), target)

    def delete(self, upload_id: str) -> None:
        """Gone, whether it was complete or not."""
        self._home.remove(self._home.upload(upload_id))
        self._store.delete_upload(upload_id)


class OffsetError(ApiError):
    """A piece that does not fit: `offset` is what is there."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(409, "wrong_offset", f"this upload has {offset} bytes so far", "go on from there")


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while len(view):
            view = view[os.write(file, view) :]
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ApiError(507, "storage_full", "the server's disk is full", "try again when there is room") from error
