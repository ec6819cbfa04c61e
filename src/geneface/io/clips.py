"""Which files of a folder are recordings, by their names: upper or lower case, hidden ones never.

On foreign disks a Mac writes a `._me.mp4` with notes of its own next to `me.mp4`; it is no video.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mj2", ".mkv", ".webm", ".avi", ".divx", ".mpg", ".mpeg", ".mpe",
    ".m1v", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".m2t", ".flv", ".f4v", ".wmv", ".asf", ".ogv", ".ogm",
})  # fmt: skip
"""Of videos in containers that `io.media` reads."""
SOUND_SUFFIXES = frozenset({
    ".wav", ".w64", ".flac", ".mp3", ".mp2", ".ogg", ".oga", ".opus", ".m4a", ".m4b", ".aac", ".caf", ".aif", ".aiff",
    ".au", ".amr", ".ac3", ".eac3", ".wma", ".mka",
})  # fmt: skip
_UNREAD_SUFFIXES = frozenset({
    ".mxf", ".dv", ".rm", ".rmvb", ".braw", ".r3d", ".insv", ".lrv", ".swf", ".gif", ".heic", ".ape", ".wv", ".dsf",
})  # fmt: skip
"""Of recordings that can't be read."""
_TRANSPORT_SUFFIXES = frozenset((".ts", ".mts"))
_TRANSPORT_SYNC = 0x47


@dataclass(frozen=True)
class Clips:
    """What `find_clips` found, each sorted."""

    taken: list[Path]
    passed_over: list[Path]
    """Files that look like recordings by their names and are not taken."""


def find_clips(folder: Path, suffixes: Collection[str] = VIDEO_SUFFIXES, *, is_deep: bool = False) -> Clips:
    """The recordings in a folder, or with `is_deep` also below it.

    Raises:
        OSError: the folder can't be read.
    """
    taken, passed_over = [], []
    for path in sorted(folder.rglob("*") if is_deep else folder.iterdir()):
        suffix = path.suffix.lower()
        if not path.is_file() or suffix not in VIDEO_SUFFIXES | SOUND_SUFFIXES | _UNREAD_SUFFIXES:
            continue
        if suffix in _TRANSPORT_SUFFIXES and not _is_transport_stream(path):
            # A program in TypeScript.
            continue
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        (taken if suffix in suffixes and not is_hidden else passed_over).append(path)
    return Clips(taken, passed_over)


def _is_transport_stream(path: Path) -> bool:
    """Packets begin with a fixed byte, in .MTS files of cameras behind a time of four bytes."""
    with open(path, "rb") as file:
        return _TRANSPORT_SYNC in file.read(5)[::4]
