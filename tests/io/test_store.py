"""Atomic files, JSON, tensors: whole or absent; readable by the reference implementation."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from geneface.errors import InputError
from geneface.io import store


def test_atomic_path_replaces_only_at_the_end(tmp_path) -> None:
    final = tmp_path / "new" / "a.txt"
    with store.atomic_path(final) as temporary:
        temporary.write_text("hello")
        assert temporary.parent == final.parent and temporary.suffix == ".txt" and not final.exists()
    assert final.read_text() == "hello" and list(final.parent.iterdir()) == [final]


def test_atomic_path_keeps_the_old_file_on_error(tmp_path) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")
    with pytest.raises(KeyError), store.atomic_path(final) as temporary:
        temporary.write_text("half")
        raise KeyError("x")
    assert final.read_text() == "old" and list(tmp_path.iterdir()) == [final]


def test_folders_made_for_nothing_go_again(tmp_path) -> None:
    with pytest.raises(KeyError), store.atomic_path(tmp_path / "new" / "er" / "a.txt"):
        raise KeyError("x")
    with pytest.raises(KeyError), store.atomic_folder(tmp_path / "new" / "er" / "folder"):
        raise KeyError("x")
    assert list(tmp_path.iterdir()) == []


def test_json_of_endless_depth(tmp_path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"deep\.json"):
        store.read_json(tmp_path / "deep.json")


def test_atomic_path_makes_files_that_others_may_read(tmp_path) -> None:
    (tmp_path / "plain").touch()
    with store.atomic_path(tmp_path / "ours"):
        pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_atomic_folder(tmp_path) -> None:
    final = tmp_path / "out"
    with pytest.raises(KeyError), store.atomic_folder(final) as temporary:
        (temporary / "a").write_text("x")
        raise KeyError("x")
    assert list(tmp_path.iterdir()) == []
    with store.atomic_folder(final) as temporary:
        (temporary / "a").write_text("x")
    assert (final / "a").read_text() == "x" and list(tmp_path.iterdir()) == [final]
    with pytest.raises(InputError, match="not empty"), store.atomic_folder(final):
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
    with pytest.raises(InputError, match=words) as caught, store.atomic_path(tmp_path / "a"):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path / "a") in str(caught.value) and list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are(tmp_path) -> None:
    with pytest.raises(FileNotFoundError), store.atomic_path(tmp_path / "a"):
        raise FileNotFoundError(errno.ENOENT, "another file")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(tmp_path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="may not be written to"), store.atomic_path(tmp_path / "a"):
        pass
    tmp_path.chmod(0o700)


def test_killed_writer_leaves_the_old_file(tmp_path) -> None:
    final = tmp_path / "a.json"
    store.write_json(final, {"version": 1})
    code = f"""
import os
from geneface.io import store
with store.atomic_path({str(final)!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert store.read_json(final) == {"version": 1}


def test_json_round_trip_and_errors(tmp_path) -> None:
    path = tmp_path / "a.json"
    store.write_json(path, {"name": "Zoë", "values": [1, 2.5, None]})
    assert store.read_json(path) == {"name": "Zoë", "values": [1, 2.5, None]}
    with pytest.raises(ValueError):
        store.write_json(path, {"bad": float("nan")})
    path.write_text('{"a": 1,\n"b": }')
    with pytest.raises(InputError, match="at line 2"):
        store.read_json(path)
    with pytest.raises(InputError, match=r"none\.json is missing"):
        store.read_json(tmp_path / "none.json")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError):
        store.read_json(path)


def some_tensors() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "frames": generator.integers(0, 255, (7, 5, 3), dtype=np.uint8),
        "half": generator.normal(size=(4, 3)).astype(np.float16),
        "double": generator.normal(size=3),
        "flags": np.array([True, False, True]),
        "scalar": np.array(3, np.int32),
        "none": np.zeros((0, 4), np.float32),
        "turned": np.arange(12, dtype=np.int64).reshape(3, 4).T,
    }


def test_tensors_are_read_by_the_reference_implementation(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = some_tensors()
    store.save_tensors(path, tensors, {"kind": "test"})
    theirs, ours = load_file(path), store.load_tensors(path)
    assert set(theirs) == set(ours) == set(tensors)
    for name, array in tensors.items():
        for read in (theirs[name], ours[name]):
            assert read.dtype == array.dtype and read.shape == array.shape and np.array_equal(read, array)
    assert store.TensorFile(path).metadata == {"kind": "test"}


def test_the_reference_implementation_is_read(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": np.arange(6.0).reshape(3, 2)}, path)
    assert np.array_equal(store.TensorFile(path).rows("x", 1, 3), [[2, 3], [4, 5]])
    assert store.TensorFile(path).get("x").shape == (3, 2) and store.TensorFile(path).metadata == {}


def test_same_tensors_give_the_same_bytes(tmp_path) -> None:
    tensors = some_tensors()
    store.save_tensors(tmp_path / "a", tensors)
    store.save_tensors(tmp_path / "b", dict(reversed(tensors.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_types_without_a_name_are_refused(tmp_path) -> None:
    for array in (np.array(["text"]), np.array([1j]), np.array([object()])):
        with pytest.raises(TypeError):
            store.save_tensors(tmp_path / "a", {"x": array})
    assert list(tmp_path.iterdir()) == []


def test_growing_tensors(tmp_path) -> None:
    path = tmp_path / "grown.safetensors"
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 255, (20, 8, 8, 3), dtype=np.uint8)
    values = generator.normal(size=(20, 3)).astype(np.float32)
    with store.TensorWriter(path, {"a": "1"}) as writer:
        for start in range(0, 20, 6):
            writer.append("frames", frames[start : start + 6])
            writer.append("values", values[start : start + 6])
        assert not path.exists()
    read = load_file(path)
    assert np.array_equal(read["frames"], frames) and np.array_equal(read["values"], values)
    assert store.TensorFile(path).metadata == {"a": "1"}
    assert list(tmp_path.iterdir()) == [path]


def test_growing_tensors_leave_nothing_on_error(tmp_path) -> None:
    with pytest.raises(ValueError, match="rows of x"), store.TensorWriter(tmp_path / "a") as writer:
        writer.append("x", np.zeros((2, 3), np.float32))
        writer.append("x", np.zeros((2, 4), np.float32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_mapped_pages_are_given_back_and_read_again(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 1 << 20), np.uint8)
    store.save_tensors(tmp_path / "a", {"pixels": pixels, "none": np.zeros((0, 3), np.float32)})

    def resident_mb() -> float:  # of files that are mapped
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssFile")) / 1024

    file = store.TensorFile(tmp_path / "a")
    mapped, before = file.mapped("pixels"), resident_mb()
    assert int(mapped.sum()) == int(pixels.sum()) and resident_mb() > before + 50
    file.release()
    assert resident_mb() < before + 10
    assert np.array_equal(mapped, pixels) and not mapped.flags.writeable
    assert file.mapped("none").shape == (0, 3)


def test_damaged_or_missing_tensors(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    store.save_tensors(path, some_tensors())
    with pytest.raises(InputError, match="no tensor named nothing"):
        store.TensorFile(path).get("nothing")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        store.load_tensors(path)
    with pytest.raises(InputError, match="is missing"):
        store.load_tensors(tmp_path / "none")


def test_missing_asset_is_named() -> None:
    with pytest.raises(InputError, match=r"speech/nothing\.onnx"):
        store.asset_path("speech", "nothing.onnx")


def test_sha256(tmp_path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert store.sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(InputError, match="is missing"):
        store.sha256(tmp_path / "none")
