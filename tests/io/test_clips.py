"""Which files of a folder are taken for recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from geneface.io.clips import SOUND_SUFFIXES, VIDEO_SUFFIXES, find_clips

TAKEN = [
    "me.mp4",
    "ME.MTS",
    "a.ts",
    "a.3gp",
    "b.WMV",
    "c.avi",
    "d.m2ts",
    "e.mkv",
    "f.webm",
    "g.mpg",
    "h.ogv",
    "i.MOV",
    "j.M4V",
    "k.mpeg",
    "l.flv",
]
OVER = ["._me.mp4", ".hidden.MOV", "sound.wav", "film.mxf"]
NO_MEDIA = ["notes.txt", "app.ts", "lib.mts", "me.mp4.part", ".DS_Store", "words.json"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in [*TAKEN, *OVER, *NO_MEDIA]:
        start = b"G" if name == "a.ts" else b"\0\0\0\1G" if name == "ME.MTS" else b"export {}"
        (tmp_path / name).write_bytes(start)
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    return tmp_path


def test_clips_of_any_kind_and_case_but_no_hidden_ones(folder: Path) -> None:
    clips = find_clips(folder)
    assert {path.name for path in clips.taken} == set(TAKEN)
    assert {path.name for path in clips.passed_over} == set(OVER)
    assert clips.taken == sorted(clips.taken)


def test_below_a_folder_that_is_itself_hidden(folder: Path) -> None:
    base = folder / ".clips"
    for name in ("s1/a.mp4", ".trash/b.mp4", "s2/deep/c.WAV"):
        (base / name).parent.mkdir(parents=True)
        (base / name).touch()
    found = find_clips(base, VIDEO_SUFFIXES | SOUND_SUFFIXES, is_deep=True)
    assert found.taken == [base / "s1/a.mp4", base / "s2/deep/c.WAV"] and found.passed_over == [base / ".trash/b.mp4"]
    assert find_clips(base).taken == []
