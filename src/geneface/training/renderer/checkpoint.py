"""Checkpoints of the renderers' training: named arrays, the step, and a fingerprint of what they belong to."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from geneface.config import Config
from geneface.errors import InputError
from geneface.io.tensors import TensorFile, load_tensors, save_tensors
from geneface.portrait.portrait import Portrait


def portrait_fingerprint(portrait: Portrait, config: Config) -> str:
    """Changes with the settings and with the frames' landmarks, poses and division; pictures are not read for it."""
    digest = hashlib.sha256(config.model_dump_json(exclude={"checkpoint_seconds"}).encode())
    pose = portrait.pose
    known = [] if pose.torso is None else [pose.torso]
    for array in (portrait.landmarks, pose.rotation, pose.translation, portrait.heldout, *known):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class Checkpointed:
    """A training's state: named arrays that steps change in place, and the number of steps."""

    step: int
    """Steps done."""
    total_steps: int

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by name; writing into them changes the state."""
        raise NotImplementedError

    def save(self, path: Path, fingerprint: str) -> None:
        """Write everything atomically."""
        metadata = {"step": str(self.step), "total_steps": str(self.total_steps), "fingerprint": fingerprint}
        save_tensors(path, self.arrays(), metadata)

    def restore(self, path: Path, fingerprint: str) -> None:
        """Go on from a checkpoint of the same portrait and settings.

        Raises:
            InputError: the checkpoint belongs to something else.
        """
        metadata = TensorFile(path).metadata
        if metadata.get("fingerprint") != fingerprint:
            raise InputError(
                f"the checkpoint {path} was made with other settings or from another portrait",
                "repeat the command that made it, or train without --resume",
            )
        stored = load_tensors(path)
        for name, array in self.arrays().items():
            np.copyto(array, stored[name])
        self.step, self.total_steps = int(metadata["step"]), int(metadata["total_steps"])
