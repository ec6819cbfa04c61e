"""What training learns of single frames: corrections of their poses, their colours, their codes. F frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geneface.geometry.rotation import compose
from geneface.types import FloatArray, HeadPose

FRAME_BETA1, FRAME_BETA2, FRAME_EPS = 0.8, 0.95, 1e-12
"""Adam's constants for values of a single frame, which is visited a few dozen times only."""


@dataclass
class FrameValues:
    """A few values a frame (pose, colour affine, code), each frame with its own Adam state; their mean over F is 0."""

    values: np.ndarray
    """[F, V]."""
    first: np.ndarray
    second: np.ndarray
    visits: np.ndarray
    """[F]."""

    @classmethod
    def zeros(cls, frames: int, width: int = 6) -> FrameValues:
        """Nothing learnt yet: V = `width` zeros for each of F = `frames`."""
        values, first, second = (np.zeros((frames, width)) for _ in range(3))
        return cls(values, first, second, np.zeros(frames, np.int64))

    def update(self, frames: int | np.ndarray, grad: np.ndarray, rate: float, prior: float) -> None:
        """One Adam step of some frames from gradients [..., V], then a pull by `prior` towards zero.

        A frame that is there more than once makes one step, by the sum of its gradients.
        """
        rows, place = np.unique(np.atleast_1d(frames), return_inverse=True)
        total = np.zeros((len(rows), grad.shape[-1]))
        np.add.at(total, place, np.atleast_2d(grad))
        self.visits[rows] += 1
        count = self.visits[rows, None]
        self.first[rows] += (1 - FRAME_BETA1) * (total - self.first[rows])
        self.second[rows] += (1 - FRAME_BETA2) * (total**2 - self.second[rows])
        mean = self.first[rows] / (1 - FRAME_BETA1**count)
        square = self.second[rows] / (1 - FRAME_BETA2**count)
        values = (self.values[rows] - rate * mean / (np.sqrt(square) + FRAME_EPS)) * (1 - prior)
        change = (values - self.values[rows]).sum(0)
        self.values[rows] = values
        # A drift that all frames share belongs to the model, not to the frames: unseen frames have none.
        visited = self.visits > 0
        self.values[visited] -= change / int(visited.sum())

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Every array by name, for a checkpoint."""
        return {f"{name}.{part}": getattr(self, part) for part in ("values", "first", "second", "visits")}


def refined_poses(
    tracked: HeadPose, corrections: FrameValues, frames: int | np.ndarray
) -> tuple[FloatArray, FloatArray]:
    """Tracked poses and what training has learnt about them, of one frame or several.

    Returns:
        rotation vectors [..., 3], translations [..., 3].
    """
    turn, shift = corrections.values[frames, :3], corrections.values[frames, 3:]
    rotation = compose(turn, tracked.rotation[frames]).astype(np.float32)
    return rotation, (tracked.translation[frames] + shift).astype(np.float32)
