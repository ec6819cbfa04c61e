"""Files and folders: whole or absent, whatever happens."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from geneface.errors import InputError
from geneface.io.assets import asset_path
from geneface.io.atomic import atomic_folder, atomic_path, sha256
from geneface.io.records import read_json, write_json


def test_atomic_path_replaces_only_at_the_end(tmp_path) -> None:
    final = tmp_path / "new" / "a.txt"
    with atomic_path(final) as temporary:
        temporary.write_text("hello")
        assert temporary.parent == final.parent and temporary.suffix == ".txt" and not final.exists()
    assert final.read_text() == "hello" and list(final.parent.iterdir()) == [final]


def test_atomic_path_keeps_the_old_file_on_error(tmp_path) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")
    with pytest.raises(KeyError), atomic_path(final) as temporary:
        temporary.write_text("half")
        raise KeyError("x")
    assert final.read_text() == "old" and list(tmp_path.iterdir()) == [final]


def test_folders_made_for_nothing_go_again(tmp_path) -> None:
    with pytest.raises(KeyError), atomic_path(tmp_path / "new" / "er" / "a.txt"):
        raise KeyError("x")
    with pytest.raises(KeyError), atomic_folder(tmp_path / "new" / "er" / "folder"):
        raise KeyError("x")
    assert list(tmp_path.iterdir()) == []


def test_atomic_path_makes_files_that_others_may_read(tmp_path) -> None:
    (tmp_path / "plain").touch()
    with atomic_path(tmp_path / "ours"):
        pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_atomic_folder(tmp_path) -> None:
    final = tmp_path / "out"
    with pytest.raises(KeyError), atomic_folder(final) as temporary:
        (temporary / "a").write_text("x")
        raise KeyError("x")
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(final) as temporary:
        (temporary / "a").write_text("x")
    assert (final / "a").read_text() == "x" and list(tmp_path.iterdir()) == [final]
    with pytest.raises(InputError, match="not empty"), atomic_folder(final):
        pass


@pytest.mark.parametrize(
    "number,words",
    [
        (errno.ENOSPC, "the disk is full: free some space"),
        (errno.EACCES, "may not be written to"),
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "quota"),
    ],
)
def test_what_the_disk_refuses_becomes_an_input_error(tmp_path, number, words) -> None:
    with pytest.raises(InputError, match=words) as caught, atomic_path(tmp_path / "a"):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path / "a") in str(caught.value) and list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are(tmp_path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a"):
        raise FileNotFoundError(errno.ENOENT, "another file")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(tmp_path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="may not be written to"), atomic_path(tmp_path / "a"):
        pass
    tmp_path.chmod(0o700)


def test_killed_writer_leaves_the_old_file(tmp_path) -> None:
    final = tmp_path / "a.json"
    write_json(final, {"version": 1})
    code = f"""
import os
from geneface.io.atomic import atomic_path
with atomic_path({str(final)!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert read_json(final) == {"version": 1}


def test_missing_asset_is_named() -> None:
    with pytest.raises(InputError, match=r"speech/nothing\.onnx"):
        asset_path("speech", "nothing.onnx")


def test_sha256(tmp_path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(InputError, match="is missing"):
        sha256(tmp_path / "none")
