"""Tensors: whole or absent; read by the reference implementation, and its own read."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from geneface.errors import InputError
from geneface.io.tensors import TensorFile, TensorWriter, load_tensors, save_tensors


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
    save_tensors(path, tensors, {"kind": "test"})
    theirs, ours = load_file(path), load_tensors(path)
    assert set(theirs) == set(ours) == set(tensors)
    for name, array in tensors.items():
        for read in (theirs[name], ours[name]):
            assert read.dtype == array.dtype and read.shape == array.shape and np.array_equal(read, array)
    assert TensorFile(path).metadata == {"kind": "test"}


def test_the_reference_implementation_is_read(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": np.arange(6.0).reshape(3, 2)}, path)
    assert np.array_equal(TensorFile(path).rows("x", 1, 3), [[2, 3], [4, 5]])
    assert TensorFile(path).get("x").shape == (3, 2) and TensorFile(path).metadata == {}


def test_same_tensors_give_the_same_bytes(tmp_path) -> None:
    tensors = some_tensors()
    save_tensors(tmp_path / "a", tensors)
    save_tensors(tmp_path / "b", dict(reversed(tensors.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_types_without_a_name_are_refused(tmp_path) -> None:
    for array in (np.array(["text"]), np.array([1j]), np.array([object()])):
        with pytest.raises(TypeError):
            save_tensors(tmp_path / "a", {"x": array})
    assert list(tmp_path.iterdir()) == []


def test_growing_tensors(tmp_path) -> None:
    path = tmp_path / "grown.safetensors"
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 255, (20, 8, 8, 3), dtype=np.uint8)
    values = generator.normal(size=(20, 3)).astype(np.float32)
    with TensorWriter(path, {"a": "1"}) as writer:
        for start in range(0, 20, 6):
            writer.append("frames", frames[start : start + 6])
            writer.append("values", values[start : start + 6])
        assert not path.exists()
    read = load_file(path)
    assert np.array_equal(read["frames"], frames) and np.array_equal(read["values"], values)
    assert TensorFile(path).metadata == {"a": "1"}
    assert list(tmp_path.iterdir()) == [path]


def test_growing_tensors_leave_nothing_on_error(tmp_path) -> None:
    with pytest.raises(ValueError, match="rows of x"), TensorWriter(tmp_path / "a") as writer:
        writer.append("x", np.zeros((2, 3), np.float32))
        writer.append("x", np.zeros((2, 4), np.float32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_mapped_pages_are_given_back_and_read_again(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 1 << 20), np.uint8)
    save_tensors(tmp_path / "a", {"pixels": pixels, "none": np.zeros((0, 3), np.float32)})

    def resident_mb() -> float:  # of files that are mapped
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssFile")) / 1024

    file = TensorFile(tmp_path / "a")
    mapped, before = file.mapped("pixels"), resident_mb()
    assert int(mapped.sum()) == int(pixels.sum()) and resident_mb() > before + 50
    file.release()
    assert resident_mb() < before + 10
    assert np.array_equal(mapped, pixels) and not mapped.flags.writeable
    assert file.mapped("none").shape == (0, 3)


def test_damaged_or_missing_tensors(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, some_tensors())
    with pytest.raises(InputError, match="no tensor named nothing"):
        TensorFile(path).get("nothing")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_tensors(path)
    with pytest.raises(InputError, match="is missing"):
        load_tensors(tmp_path / "none")
