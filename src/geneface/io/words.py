"""Word times of clips: JSON {clip: [[start, end, word], ...]}, in seconds from the first sample of the clip's sound.

"sil" and "sp" mean silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geneface.errors import InputError
from geneface.io.records import read_json

Words = Sequence[tuple[float, float, str]]
"""(start, end, word) of each, in seconds."""
_LONGEST = 1e7
"""Seconds; no recording is longer."""
_SHAPE = "each clip needs a list of [start, end, word], in seconds"


def read_words(path: Path) -> dict[str, Words]:
    """Words of every clip in the file, by the clip's stem.

    Raises:
        InputError: it is missing or damaged; names the file and the entry.
    """
    values = read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no word times: it is not an object with one entry a clip", _SHAPE)
    return {stem: _clip_words(path, stem, entries) for stem, entries in values.items()}


def _clip_words(path: Path, stem: str, entries: Any) -> Words:
    if not isinstance(entries, list):
        raise InputError(f"the words of {stem!r} in {path} are not a list", _SHAPE)
    return tuple(_entry(path, stem, number, entry) for number, entry in enumerate(entries))


def _entry(path: Path, stem: str, number: int, entry: Any) -> tuple[float, float, str]:
    where = f"at entry {number} of {stem!r}"
    try:
        start, end, word = entry
    except (TypeError, ValueError):
        raise InputError(f"{path} is damaged, {entry!r} is not a word with its times", _SHAPE, where) from None
    if not (_is_time(start) and _is_time(end) and isinstance(word, str)):
        raise InputError(f"{path} is damaged, {entry!r} is not a word with its times", _SHAPE, where)
    if end < start:
        raise InputError(f"{path} is damaged, the word {word!r} ends before it starts", _SHAPE, where)
    return float(start), float(end), word


def _is_time(value: Any) -> bool:
    # Integers may be too large for a float; comparing them is safe.
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LONGEST <= value <= _LONGEST
