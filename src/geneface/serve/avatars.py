"""The avatars of a server: the bundled one, folders it was started with, and those in its home.

An id is the bundled avatar's name, the name of a folder that the operator gave, or random (`av_...`): no client chooses
what is looked for on the disk.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from geneface.avatar.avatar import Avatar
from geneface.errors import InputError
from geneface.io.assets import asset_path

BUNDLED = "grid-s1"
_RANDOM_ID = re.compile(r"av_[0-9a-f]{24}")
_LOADED = 4
"""Avatars that stay in memory."""


@dataclass(frozen=True)
class StoredAvatar:
    """An avatar that is offered."""

    id: str
    folder: Path
    is_own: bool
    """It was made here and may be deleted."""
    created_at: float
    """Seconds since 1970."""


class AvatarStore:
    """Finds and loads avatars by id. Any thread may call."""

    def __init__(self, home: Path, folders: Iterable[Path] = ()) -> None:
        """`home`: the server's; `folders`: of the operator.

        Raises:
            InputError: two folders of one name.
        """
        self._own = home / "avatars"
        self._given: dict[str, Path] = {BUNDLED: asset_path("avatars", BUNDLED)}
        for folder in folders:
            name = folder.resolve().name
            if name in self._given or _RANDOM_ID.fullmatch(name):
                raise InputError(f"there are two avatars of the name {name}", "rename one of the folders")
            self._given[name] = folder
        self._loaded: OrderedDict[str, Avatar] = OrderedDict()
        self._turn = threading.Lock()

    def list(self) -> list[StoredAvatar]:
        """All of them: the given ones first, then those made here, oldest first."""
        given = [StoredAvatar(name, folder, False, _made_at(folder) or 0.0) for name, folder in self._given.items()]
        made = [path for path in self._own.glob("av_*") if _RANDOM_ID.fullmatch(path.name)]
        # Another request may be deleting one of them.
        times = {path: _made_at(path) for path in made}
        own = [StoredAvatar(path.name, path, True, time) for path, time in times.items() if time is not None]
        return given + sorted(own, key=lambda avatar: avatar.created_at)

    def get(self, avatar_id: str) -> StoredAvatar | None:
        """One of them, or None."""
        return next((avatar for avatar in self.list() if avatar.id == avatar_id), None)

    def load(self, avatar_id: str) -> Avatar:
        """The avatar, loaded once and kept as long as few others come between.

        Raises:
            InputError: no such avatar, or a damaged one.
        """
        found = self.get(avatar_id)
        if found is None:
            raise InputError("there is no such avatar", "see /v1/models for those there are")
        with self._turn:
            if avatar_id not in self._loaded:
                self._loaded[avatar_id] = Avatar.load(found.folder)
            self._loaded.move_to_end(avatar_id)
            while len(self._loaded) > _LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[avatar_id]

    def forget(self, avatar_id: str) -> None:
        """Let go of an avatar that is about to be deleted or replaced."""
        with self._turn:
            self._loaded.pop(avatar_id, None)


def _made_at(folder: Path) -> float | None:
    """When an avatar was made, seconds since 1970; None where there is none."""
    try:
        return (folder / "config.json").stat().st_mtime
    except OSError:
        return None
