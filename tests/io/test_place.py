"""Outputs are refused before the work where they can't be had, and nothing of killed processes stays."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from geneface.errors import InputError
from geneface.io import place
from geneface.io.atomic import atomic_folder, atomic_path
from geneface.io.records import read_json, write_json
from geneface.io.work import exclusive_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and locks of POSIX systems")

_FILL = """
import sys, time
from geneface.io import atomic
with getattr(atomic, sys.argv[1])(sys.argv[2]) as unfinished:
    print(unfinished, flush=True)
    time.sleep(60)
"""


def _refused(maker: Callable[..., AbstractContextManager[Path]], target: Path | str, words: str) -> None:
    """Before the block is entered."""
    with pytest.raises(InputError, match=words), maker(target):
        pytest.fail("the work was begun")


def _filling(maker: str, target: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", _FILL, maker, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().rstrip("\n"))


@pytest.mark.slow
@pytest.mark.parametrize("maker", ["atomic_path", "atomic_folder"])
def test_what_a_killed_process_left_goes_with_the_next_and_what_a_live_one_fills_stays(
    maker: str, tmp_path: Path
) -> None:
    dead, left = _filling(maker, tmp_path / "a.mp4")
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    alive, kept = _filling(maker, tmp_path / "b.mp4")
    try:
        assert not left.exists() and kept.exists()
        foreign = tmp_path / ".mine-abcdefgh.tmp.mp4"
        foreign.touch()
        place.remove_leftovers(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([kept, foreign])
    finally:
        alive.kill()
        alive.wait()


def test_a_link_is_written_through(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "here" / "a.txt").symlink_to(tmp_path / "there" / "real.txt")
    for text in ("new", "newer"):
        with atomic_path(tmp_path / "here" / "a.txt") as unfinished:
            assert unfinished.parent == tmp_path / "there"
            unfinished.write_text(text)
        assert (tmp_path / "there" / "real.txt").read_text() == text
    assert (tmp_path / "here" / "a.txt").is_symlink()
    (tmp_path / "linked").symlink_to("target")
    (tmp_path / "target").mkdir()
    with atomic_folder(tmp_path / "linked") as unfinished:
        (unfinished / "a").touch()
    assert (tmp_path / "linked").is_symlink() and (tmp_path / "target" / "a").exists()


def test_no_file_can_be_written_there(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("pool")
    (tmp_path / "pool").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
    before = sorted(tmp_path.iterdir())
    for maker in (atomic_path, atomic_folder):
        _refused(maker, tmp_path / "pipe", "named pipe")
        _refused(maker, tmp_path / "socket", "socket")
        _refused(maker, "/dev/null", "device")
        _refused(maker, tmp_path / "loop", "leads back to itself")
        _refused(maker, tmp_path / "loop" / "a", "leads back|part of the path|can't be made")
        _refused(maker, tmp_path / ("n" * 300), "name is too long")
        _refused(maker, tmp_path / "a\0b", "no UTF-8 text")
        _refused(maker, tmp_path / os.fsdecode(b"caf\xe9"), r"caf\\udce9")
        _refused(maker, tmp_path / "file" / "a", "is a file, not a folder")
    _refused(atomic_path, tmp_path / "folder", "folder of this name")
    _refused(atomic_folder, tmp_path / "file", "is a file")
    assert sorted(tmp_path.iterdir()) == before
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_names_as_long_as_they_may_be(tmp_path: Path) -> None:
    for name in ("n" * 255, "é" * 125 + ".mp4", "a." + "b" * 253):
        with atomic_path(tmp_path / name):
            pass
        (tmp_path / name).unlink()
        with atomic_folder(tmp_path / name):
            pass
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).rmdir()


def test_the_working_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (".", tmp_path):
        _refused(atomic_folder, name, "folder that you are in")
    with exclusive_folder("."):
        pass
    assert tmp_path.is_dir()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a small file system, where one can be mounted."""
    folders = []

    def mount(*options: str) -> Path:
        folder = tmp_path / f"disk{len(folders)}"
        folder.mkdir()
        made = subprocess.run(["mount", *options, folder], capture_output=True, check=False)
        if made.returncode:
            pytest.skip("nothing can be mounted here")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", folder], check=True)


def test_a_mount_point_is_refused_at_once(mounted: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for options in (("-t", "tmpfs", "none"), ("--bind", str(tmp_path / "other"))):
        disk = mounted(*options)
        _refused(atomic_folder, disk, "mount point.*a new folder inside it")
        with atomic_folder(disk / "inside"):
            pass
        with exclusive_folder(disk):
            pass


def test_a_read_only_disk_is_refused_at_once(mounted: Callable[..., Path]) -> None:
    disk = mounted("-t", "tmpfs", "-o", "ro", "none")
    for maker in (atomic_folder, atomic_path):
        _refused(maker, disk / "a", "read-only")
    with pytest.raises(InputError, match="read-only"), exclusive_folder(disk):
        pytest.fail("the work was begun")


def test_a_folder_is_rehearsed_without_a_trace(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o750)
    before = mine.stat()
    place.rehearse_folder(mine)
    place.rehearse_folder(tmp_path / "new" / "er" / "avatar")
    after = mine.stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert list(tmp_path.iterdir()) == [mine]


def test_another_writer_came_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="in the meantime"), atomic_folder(out):
        out.mkdir()
        (out / "theirs").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


def test_somebody_elses_file_in_a_shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").touch()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert place.file_target(tmp_path / "a") == tmp_path / "a"
    tmp_path.chmod(0o1777)
    _refused(atomic_path, tmp_path / "a", "may not be written to")


def test_file_names_without_encoding_are_kept_in_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    write_json(tmp_path / "a.json", {"video": name, "as": "é"})
    assert read_json(tmp_path / "a.json") == {"video": name, "as": "é"}
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")
