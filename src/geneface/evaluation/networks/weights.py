"""Weights of published networks: safetensors files that are checked when read, and their one-time conversion.

LPIPS, FID and LSE are defined by networks that others trained and that are not part of this package. The user gets
the files from their authors and converts them once (`convert_weights`); all else reads the converted file
(`load_weights`). A *layout* says which tensors a network has: name -> shape, with the names of the published file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geneface.errors import InputError, MissingExtraError
from geneface.io.atomic import sha256
from geneface.io.tensors import TensorFile, save_tensors

if TYPE_CHECKING:
    import torch

Layout = Mapping[str, tuple[int, ...]]

PUBLISHED_FILES: dict[str, tuple[str, ...]] = {
    "lpips": ("alexnet-owt-7be5be79.pth", "alex.pth"),
    "inception": ("pt_inception-2015-12-05-6726825d.pth",),
    "syncnet": ("syncnet_v2.model",),
}
"""Network -> the names under which its weights are published: torchvision's AlexNet with the linear layers of the
lpips package; the Inception-v3 of pytorch-fid (torch-fidelity has the same tensors); SyncNet v2 of syncnet_python."""

_OLDEST_TORCH = (2, 10)
"""Before 2.10 a crafted file could run code in spite of weights_only (CVE-2025-32434, CVE-2026-24747)."""
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")
"""torch's present format is a zip archive around a pickle; the old one begins as a pickle of protocol 2 or later."""


@dataclass(frozen=True)
class Conversion:
    """What `convert_weights` wrote."""

    sha256: str
    """Of the safetensors file, hexadecimal."""
    tensors: int


def _command(network: str) -> str:
    files = " ".join(PUBLISHED_FILES[network])
    return f"geneface convert-weights {network} {files} -o {network}.safetensors"


def weights_needed(network: str) -> str:
    """Why a figure is missing where the user gave no weights for a network of `PUBLISHED_FILES`."""
    return f"needs the published weights: give them with --{network} FILE, made by: {_command(network)}"


LPIPS_NEEDS_WEIGHTS = weights_needed("lpips")
FID_NEEDS_WEIGHTS = weights_needed("inception")
LSE_NEEDS_WEIGHTS = weights_needed("syncnet")


def load_weights(path: Path, layout: Layout, network: str) -> dict[str, torch.Tensor]:
    """Read a network's tensors from a safetensors file as float32; tensors that the layout lacks are left out.

    Args:
        path: a file of `convert_weights`, or of anyone who kept the published names; float16, float32 or float64.
        layout: the tensors that the network needs.
        network: its name in `PUBLISHED_FILES`, for the remedy.

    Raises:
        InputError: the file is missing, a pickle or no safetensors; a tensor is missing, has another shape, or holds
            numbers that are not finite.
        MissingExtraError: torch is not installed.
    """
    torch = _torch()
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
    return {name: torch.from_numpy(array) for name, array in _checked(found, layout, path, network).items()}


def convert_weights(network: str, sources: Sequence[Path], out: Path) -> Conversion:
    """Turn the published files of a network into one safetensors file, once.

    The published files are pickles, which the product never reads: unpickling runs whatever the file says. This is
    the one exception, because there is no other way to get at these weights: torch's restricted unpickler
    (weights_only) builds nothing but tensors and plain containers and calls no code that a file names. It is used
    with a version of torch in which that is known to hold, never on the way to a measurement, and its result is
    checked against the layout before anything is written.

    Args:
        network: a key of `PUBLISHED_FILES`.
        sources: its files, in any order; dictionaries of tensors, bare or under "state_dict".
        out: the safetensors file to write, atomically; its metadata hold the network and the sources' SHA-256.

    Raises:
        InputError: unknown network, a file that is missing, refused or lacks a tensor, or `out` can't be written.
        MissingExtraError: torch is not installed.
    """
    if network not in PUBLISHED_FILES:
        raise InputError(f"there is no network {network!r}", f"choose one of {', '.join(PUBLISHED_FILES)}")
    merged: dict[str, Any] = {}
    for source in sources:
        merged.update(_read_pickle(Path(source), network))
    names = ", ".join(str(source) for source in sources)
    arrays = _checked(merged, _layout(network), names, network)
    digests = " ".join(sha256(source) for source in sources)
    save_tensors(out, arrays, {"network": network, "sources_sha256": digests})
    return Conversion(sha256(out), len(arrays))


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "metrics") from error
    return torch


def _layout(network: str) -> Layout:
    if network == "lpips":
        from geneface.evaluation.metrics.lpips import LPIPS_LAYOUT as LAYOUT
    elif network == "inception":
        from geneface.evaluation.networks.inception import INCEPTION_LAYOUT as LAYOUT
    else:
        from geneface.evaluation.networks.syncnet import SYNCNET_LAYOUT as LAYOUT
    return LAYOUT


def _is_pickle(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise InputError(f"{path} can't be read", "check its permissions") from error
    # A safetensors file begins with the length of its header, which may look like anything; then comes the header.
    return start.startswith(_PICKLE_STARTS) and start[8:] != b"{"


def _checked(tensors: Mapping[str, Any], layout: Layout, where: Path | str, network: str) -> dict[str, Any]:
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


def _read_pickle(path: Path, network: str) -> dict[str, Any]:
    """Tensors of a published file, as arrays."""
    torch = _torch()
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < _OLDEST_TORCH:
        raise InputError(
            f"torch {torch.__version__} can be tricked into running code by a file of weights",
            "install torch 2.10 or newer for the conversion",
        )
    if not path.is_file():
        raise InputError(f"the file {path} is missing", f"get {' and '.join(PUBLISHED_FILES[network])} first")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes of the unpickler
        raise InputError(
            f"{path} holds more than tensors, or is damaged, and is not opened",
            f"get the published file again: {' and '.join(PUBLISHED_FILES[network])}",
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {
        str(name): value.detach().float().numpy() for name, value in content.items() if isinstance(value, torch.Tensor)
    }
