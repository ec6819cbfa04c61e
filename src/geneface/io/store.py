"""Files that are whole or absent: atomic writes, JSON, tensors, package data.

Every writer goes to a temporary name in the folder of its target, is flushed to the disk, and takes the final
name in one rename; after an exception nothing is left. Tensors are safetensors files, never pickle.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from geneface.errors import InputError
from geneface.io.place import file_target, folder_target, new_folders, rehearse_folder, temporary, writing

_ASSETS = Path(__file__).resolve().parent.parent / "assets"
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


def _sync(path: Path) -> None:
    """Bring a file or a folder's list of names onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    # Windows can't open a folder; there the rename alone must do.
    if os.name == "posix":
        _sync(folder)


@contextmanager
def atomic_path(final: Path | str) -> Iterator[Path]:
    """Give a temporary path that becomes `final` when the block ends well, and is removed when it does not.

    The temporary file exists, is empty, lies in the folder of `final` (made if missing) and keeps its suffix. Where
    `final` is a link, what it leads to is replaced.

    Raises:
        InputError: no file can get that name, the folder can't be written to, or the disk is full: all but the last
            before the block.
    """
    final, target = Path(final), file_target(final)
    with new_folders(target.parent, final), writing(final), temporary(target) as path:
        yield path
        # Temporary files are made such that only their owner may read them; a product should have the ordinary rights.
        os.chmod(path, 0o666 & ~_umask())
        _sync(path)
        os.replace(path, target)
        _sync_folder(target.parent)


@contextmanager
def atomic_folder(final: Path | str) -> Iterator[Path]:
    """Give a temporary folder that becomes `final` when the block ends well; `final` must be absent or empty.

    Raises:
        InputError: `final` holds files already, or the place can't be written to: before the block, see
            `place.rehearse_folder`.
    """
    final, target = Path(final), folder_target(final)
    rehearse_folder(final)
    with new_folders(target.parent, final), writing(final), temporary(target, is_folder=True) as path:
        yield path
        os.chmod(path, 0o777 & ~_umask())
        for file in path.rglob("*"):
            if file.is_file():
                _sync(file)
        os.replace(path, target)
        _sync_folder(target.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` atomically; NaN and infinity are refused because other readers refuse them."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(path) as unfinished:
        # Bytes of file names that are no UTF-8 (lone surrogates) become JSON's own escapes, and are read back as such.
        unfinished.write_bytes(text.encode("utf-8", "backslashreplace"))


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        InputError: it is missing, unreadable or not JSON; names the file and the line.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"the file {path} is missing", "check the path, or make the file again") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON", "make the file again", f"at line {error.lineno}") from error
    except (UnicodeDecodeError, OSError, RecursionError) as error:
        raise InputError(f"{path} can't be read as JSON", "make the file again or check its permissions") from error


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
        return dict(self._file.metadata() or {})

    @property
    def names(self) -> list[str]:
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


def asset_path(*parts: str) -> Path:
    """Path of a file or folder that ships inside the package.

    Raises:
        InputError: the installed package lacks it.
    """
    path = _ASSETS.joinpath(*parts)
    if not path.exists():
        name = "/".join(parts)
        raise InputError(f"the bundled file {name} is missing from {_ASSETS}", "reinstall geneface")
    return path


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except FileNotFoundError as error:
        raise InputError(f"the file {path} is missing", "check the path") from error
    return digest.hexdigest()
