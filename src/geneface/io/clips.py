"""Which files of a folder are recordings, by their names: upper or lower case, hidden ones never.

On foreign disks a Mac writes a `._me.mp4` with notes of its own next to `me.mp4`; it is no video.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from geneface.errors import InputError

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
_NAMED = 5
"""Files that are named at most."""


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


def clips_of(
    folder: Path,
    suffixes: Collection[str] = VIDEO_SUFFIXES,
    *,
    is_deep: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """The recordings in a folder.

    Args:
        tell: told in one sentence which files look like recordings and are passed over.

    Raises:
        InputError: it holds none.
    """
    clips = find_clips(folder, suffixes, is_deep=is_deep)
    if clips.passed_over:
        names = [str(path.relative_to(folder)) for path in clips.passed_over]
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        tell(f"passed over in {folder}, hidden or of another kind: {', '.join(names[:_NAMED])}{rest}")
    if not clips.taken:
        what = "videos" if suffixes == VIDEO_SUFFIXES else "recordings"
        raise InputError(f"the folder {folder} holds no {what}", f"their names end in {', '.join(sorted(suffixes))}")
    return clips.taken


def path_of(value: object, what: str, remedy: str) -> Path:
    """A path from text or from what stands for one.

    Raises:
        InputError: it is of another type; with `remedy`.
    """
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{what} is of the type {type(value).__name__}", remedy)
    return Path(value)


def existing(path: Path, what: str) -> Path:
    """The path, if there is something at it.

    Raises:
        InputError: there is not, or it can't be a path.
    """
    try:
        is_there = path.exists()
    except ValueError as error:
        raise InputError(f"{what} {str(path)!r} can't be a path", "check it") from error
    if not is_there:
        raise InputError(f"{what} {path} does not exist", "check the path")
    return path


def _is_transport_stream(path: Path) -> bool:
    """Packets begin with a fixed byte, in .MTS files of cameras behind a time of four bytes."""
    with open(path, "rb") as file:
        return _TRANSPORT_SYNC in file.read(5)[::4]
