"""Named arrays in safetensors files, never pickle: written whole or not at all, or row by row; read lazily."""

from __future__ import annotations

import json
import math
import mmap
import shutil
import struct
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from geneface.errors import InputError
from geneface.io.atomic import atomic_path

_CHUNK_BYTES = 1 << 20
_DTYPE_NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
"""The names that the safetensors format gives to numpy's types."""
_DTYPES = {name: np.dtype(dtype) for dtype, name in _DTYPE_NAMES.items()}


def save_tensors(
    path: Path | str, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays atomically as one safetensors file, in an order that does not depend on the mapping's."""
    with atomic_path(path) as unfinished, open(unfinished, "wb") as file:
        arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        specs = {name: (array.dtype, tuple(tensors[name].shape)) for name, array in arrays.items()}
        for name in _write_header(file, specs, metadata):
            file.write(arrays[name].reshape(-1).view(np.uint8).data)


def _write_header(
    file: IO[bytes], specs: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]], metadata: Mapping[str, str] | None
) -> list[str]:
    """Write the safetensors header; return the names in the order in which their bytes must follow.

    The widest types come first, as in the reference implementation, so that every tensor is aligned in a mapped file.
    """
    order = sorted(specs, key=lambda name: (-specs[name][0].itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name in order:
        dtype, shape = specs[name]
        if dtype.name not in _DTYPE_NAMES or dtype.byteorder == ">":
            raise TypeError(f"tensor {name} has type {dtype}, which safetensors can't hold")
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        header[name] = {
            "dtype": _DTYPE_NAMES[dtype.name],
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    return order


class TensorWriter:
    """A safetensors file whose tensors grow row by row, in flat memory: for frames and masks of a whole video.

    Use as a context manager; the file appears, atomically, when the block ends well.
    """

    def __init__(self, path: Path | str, metadata: Mapping[str, str] | None = None) -> None:
        self._path = Path(path)
        self._metadata = dict(metadata or {})
        self._spools: dict[str, IO[bytes]] = {}
        self._specs: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> TensorWriter:
        with ExitStack() as stack:
            self._temporary = stack.enter_context(atomic_path(self._path))
            self._stack = stack.pop_all()
        return self

    def append(self, name: str, rows: NDArray[Any]) -> None:
        """Add rows [n, ...] to tensor `name`; all of them must agree in type and in the shape of a row."""
        dtype, shape = self._specs.get(name, (rows.dtype, (0, *rows.shape[1:])))
        if rows.dtype != dtype or rows.shape[1:] != shape[1:]:
            raise ValueError(f"rows of {name} are {rows.dtype} {rows.shape[1:]}, before they were {dtype} {shape[1:]}")
        if name not in self._spools:
            # Each tensor must be contiguous in the file, so each grows in a nameless file of its own until the end.
            spool = tempfile.TemporaryFile(dir=self._temporary.parent)  # noqa: SIM115 - closed by the stack
            self._spools[name] = self._stack.enter_context(spool)
        self._spools[name].write(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)
        self._specs[name] = (dtype, (shape[0] + len(rows), *shape[1:]))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        with self._stack:
            # The stack's exits see the exception of this block too, and remove the temporary file.
            self._stack.push(lambda *_: False)
            if error is not None:
                return self._stack.pop_all().__exit__(kind, error, trace)
            with open(self._temporary, "wb") as file:
                for name in _write_header(file, self._specs, self._metadata):
                    self._spools[name].seek(0)
                    shutil.copyfileobj(self._spools[name], file, _CHUNK_BYTES)
        return None


class TensorFile:
    """A safetensors file read lazily through a memory map: only the rows that are asked for are touched."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"the file {self.path} is missing", "check the path, or make the file again")
        try:
            self._file = safe_open(str(self.path), framework="numpy")
        except (SafetensorError, OSError) as error:
            raise InputError(f"{self.path} is not a whole safetensors file", "make the file again") from error
        self._mapped: dict[str, NDArray[Any]] = {}
        self._map: mmap.mmap | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says of itself."""
        return dict(self._file.metadata() or {})

    @property
    def names(self) -> list[str]:
        """Names of its tensors, sorted."""
        return sorted(self._file.keys())

    def keys(self) -> list[str]:
        """Names of the tensors."""
        return self.names

    def get(self, name: str) -> NDArray[Any]:
        """One whole tensor, as a copy."""
        self._slice(name)
        return self._file.get_tensor(name)

    def rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Rows [start, stop) of one tensor, as a copy."""
        return self.mapped(name)[start:stop].copy()

    def mapped(self, name: str) -> NDArray[Any]:
        """One whole tensor as a read-only map of the file: nothing is read before it is looked at.

        (A slice of the safetensors package reads the whole tensor first.)
        """
        if name not in self._mapped:
            self._slice(name)  # a name that is not there; the rest of the file was checked when it was opened
            with open(self.path, "rb") as file:
                header_bytes = int.from_bytes(file.read(8), "little")
                entry = json.loads(file.read(header_bytes))[name]
            start = 8 + header_bytes + entry["data_offsets"][0]
            shape, dtype = tuple(entry["shape"]), _DTYPES[entry["dtype"]]
            if self._map is None:
                with open(self.path, "rb") as file:
                    self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            count = math.prod(shape)
            array = np.frombuffer(self._map, dtype, count, start) if count else np.zeros(0, dtype)
            self._mapped[name] = array.reshape(shape)
        return self._mapped[name]

    def release(self) -> None:
        """Give mapped pages that have been read back to the system; they are read again when they are looked at."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def _slice(self, name: str) -> Any:
        try:
            return self._file.get_slice(name)
        except SafetensorError as error:
            raise InputError(f"{self.path} has no tensor named {name}", "make the file again") from error


def load_tensors(path: Path | str) -> dict[str, NDArray[Any]]:
    """Read all tensors of a safetensors file."""
    file = TensorFile(path)
    return {name: file.get(name) for name in file.names}
