"""Checkpoints of the renderers' training: named arrays, the step, and a fingerprint of what they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from geneface.config import Config
from geneface.errors import InputError
from geneface.io.store import TensorFile, load_tensors, save_tensors
from geneface.portrait.portrait import Portrait


def portrait_fingerprint(portrait: Portrait, config: Config) -> str:
    """Changes with the settings and with the frames' landmarks, poses and division; pictures are not read for it."""
    digest = hashlib.sha256(config.model_dump_json(exclude={"checkpoint_seconds"}).encode())
    for array in (portrait.landmarks, portrait.pose.rotation, portrait.pose.translation, portrait.heldout):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], step: int, total_steps: int, fingerprint: str) -> None:
    """Write a checkpoint atomically."""
    metadata = {"step": str(step), "total_steps": str(total_steps), "fingerprint": fingerprint}
    save_tensors(path, arrays, metadata)


def restore_arrays(path: Path, arrays: Mapping[str, np.ndarray], fingerprint: str) -> tuple[int, int]:
    """Copy a checkpoint into arrays; returns the step and the number of steps in all.

    Raises:
        InputError: the checkpoint belongs to another portrait or other settings.
    """
    metadata = TensorFile(path).metadata
    if metadata.get("fingerprint") != fingerprint:
        raise InputError(
            f"the checkpoint {path} was made with other settings or from another portrait",
            "repeat the command that made it, or train without --resume",
        )
    stored = load_tensors(path)
    for name, array in arrays.items():
        np.copyto(array, stored[name])
    return int(metadata["step"]), int(metadata["total_steps"])
