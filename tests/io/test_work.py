"""A folder belongs to one process at a time, and to nobody once that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from geneface.errors import InputError
from geneface.io.place import remove_leftovers
from geneface.io.work import claim_folder, clear_folder, exclusive_folder

_HOLD = """
import sys, time
from geneface.io.work import exclusive_folder
with exclusive_folder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "portrait"
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            with pytest.raises(InputError, match="another run"), exclusive_folder(folder):
                pass
            assert folder.is_dir()
        finally:
            holder.send_signal(signal.SIGKILL)
    with exclusive_folder(folder):
        (folder / "result").touch()
    assert list(folder.iterdir()) == [folder / "result"]


def test_an_unused_folder_is_removed_again(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive_folder(tmp_path / "a" / "b"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with exclusive_folder(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").is_dir()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    for path in (tmp_path / "a", tmp_path / "a" / "b", Path("/proc/none")):
        with pytest.raises(InputError, match="cannot write"), exclusive_folder(path):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX systems")
def test_what_stands_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("loop", "leads back to itself"), ("pipe", "is a named pipe")):
        with pytest.raises(InputError, match=words), exclusive_folder(tmp_path / name):
            pass


def test_leftovers_of_a_killed_process(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for name in (".clip-ab_c1234.geneface.tmp.safetensors", "clip.safetensors", ".hidden", ".mine.tmp"):
        (tmp_path / "raw" / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == [".hidden", ".mine.tmp", "clip.safetensors"]


def test_a_failure_removes_what_helpers_left_in_a_new_folder_and_looks_no_further(tmp_path: Path) -> None:
    for folder, stays in ((tmp_path / "new", False), (tmp_path / "mine", True)):
        if stays:
            (folder / "deep").mkdir(parents=True)
        left = (folder / "deep" / ".clip-ab_c1234.geneface.tmp", folder / ".clip-ab_c1234.geneface.tmp")
        with pytest.raises(KeyError), exclusive_folder(folder):
            (folder / "deep").mkdir(exist_ok=True)
            for path in left:
                path.touch()
            raise KeyError
        assert [path.exists() for path in left] == [stays, False]


def test_work_is_begun_once_and_gone_on_with_by_the_same_settings_only(tmp_path: Path) -> None:
    begun, other = InputError("begun", "resume it"), InputError("other", "use the same")

    def claim(settings: dict[str, object], resume: bool) -> bool:
        return claim_folder(tmp_path, "work/run.json", settings, resume, begun=begun, other=other)

    assert not claim({"seed": 1}, resume=True)
    with pytest.raises(InputError, match="begun: resume it"):
        claim({"seed": 1}, resume=False)
    with pytest.raises(InputError, match="other: use the same"):
        claim({"seed": 2}, resume=True)
    assert claim({"seed": 1}, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_work_is_not_begun_among_other_files(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "thesis.txt").touch()
    error = InputError("no", "no")
    with pytest.raises(InputError, match="not empty"):
        claim_folder(tmp_path, "run.json", {}, resume, begun=error, other=error, present=tmp_path.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_clearing_follows_no_link_out_of_the_folder(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    (folder / "deep").mkdir(parents=True)
    elsewhere.mkdir()
    for file in (folder / "a", folder / "deep" / "b", elsewhere / "c"):
        file.touch()
    (folder / "link").symlink_to(elsewhere)
    clear_folder(folder)
    assert not any(folder.iterdir()) and (elsewhere / "c").is_file()
