from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geneface.errors import InputError
from geneface.io.words import read_words


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_words_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "words.json", {"one": [[0, 0.5, "sil"], [0.5, 0.75, "bin"]], "two": []})
    assert read_words(path) == {"one": ((0.0, 0.5, "sil"), (0.5, 0.75, "bin")), "two": ()}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[1, 2]", "one entry a clip"),
        ('{"one": {"a": 1}}', "the words of 'one'"),
        ('{"one": [[0, 1, "a"], [1, 2]]}', "at entry 1 of 'one'"),
        ('{"one": [[0, 1, "a", "b"]]}', "at entry 0 of 'one'"),
        ('{"one": [3]}', "at entry 0 of 'one'"),
        ('{"one": [["0", 1, "a"]]}', "at entry 0 of 'one'"),
        ('{"one": [[0, 1, 2]]}', "at entry 0 of 'one'"),
        ('{"one": [[0, true, "a"]]}', "at entry 0 of 'one'"),
        ('{"one": [[NaN, 1, "a"]]}', "at entry 0 of 'one'"),
        ('{"one": [[0, Infinity, "a"]]}', "at entry 0 of 'one'"),
        ('{"one": [[0, 1' + "0" * 400 + ', "a"]]}', "at entry 0 of 'one'"),
        ('{"one": [[0, 1, "a"], [2, 1.5, "b"]]}', "at entry 1 of 'one'"),
    ],
)
def test_damaged_words_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "words.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_words(path)
    assert words in str(caught.value) and str(path) in str(caught.value)
