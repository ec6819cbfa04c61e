"""All that a step of the renderer's training changes, and its checkpoint.

Symbols: F frames of the portrait, N Gaussians of a layer, C condition values, D dynamic ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geneface import ops
from geneface.geometry.rotation import compose
from geneface.ops.types import COLOR
from geneface.render.gaussian import GaussianModel
from geneface.training.renderer.checkpoint import Checkpointed
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


@dataclass
class LayerMoments:
    """Adam's moments of one layer."""

    base: tuple[FloatArray, FloatArray]
    basis: tuple[FloatArray, FloatArray]


@dataclass
class TrainState(Checkpointed):
    """Model (its arrays change in place), optimiser and the number of steps done."""

    model: GaussianModel
    total_steps: int
    step: int
    poses: FrameValues
    """Corrections of the head poses: turn and shift."""
    affines: FrameValues
    """Gain - 1 and bias of the three colours."""
    moments: list[LayerMoments]
    map_moments: tuple[FloatArray, FloatArray]

    @classmethod
    def fresh(cls, model: GaussianModel, frames: int, total_steps: int) -> TrainState:
        moments = [
            LayerMoments(
                (np.zeros_like(layer.base), np.zeros_like(layer.base)),
                (np.zeros_like(layer.basis), np.zeros_like(layer.basis)),
            )
            for layer in model.layers
        ]
        poses, affines = FrameValues.zeros(frames), FrameValues.zeros(frames)
        map_moments = np.zeros_like(model.torso_map), np.zeros_like(model.torso_map)
        return cls(model, total_steps, 0, poses, affines, moments, map_moments)

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by name; writing into them changes the state."""
        result: dict[str, np.ndarray] = {"torso_origin": self.model.torso_origin, "torso_map": self.model.torso_map}
        result["torso_map.first"], result["torso_map.second"] = self.map_moments
        result |= self.model.conditions.tensors()
        for layer, moments in zip(self.model.layers, self.moments, strict=True):
            for part in ("base", "basis"):
                first, second = getattr(moments, part)
                result[f"{layer.name}.{part}"] = getattr(layer, part)
                result[f"{layer.name}.{part}.first"], result[f"{layer.name}.{part}.second"] = first, second
        for name, frames in (("poses", self.poses), ("affines", self.affines)):
            result |= frames.arrays(name)
        return result


@dataclass(frozen=True)
class Rates:
    """Learning rates by row, at the first step."""

    base: FloatArray
    """[14]."""
    basis: FloatArray
    """[7]."""
    decay: FloatArray
    """[7]."""


def apply_gradients(
    state: TrainState,
    layer_number: int,
    gradients: ops.ProjectionGradients,
    condition: FloatArray,
    rates: Rates,
    fall: float,
) -> None:
    """One Adam step of one layer, rates multiplied by `fall`."""
    layer, moments = state.model.layers[layer_number], state.moments[layer_number]
    step = state.step + 1
    ops.adam(layer.base, gradients.base, *moments.base, step=step, lr=rates.base * fall)
    # Neighbours of opposite, impossible colours cancel in the frames they were fitted to and speckle in all others.
    np.clip(layer.base[COLOR], 0, 1, out=layer.base[COLOR])
    ops.adam_basis(
        layer.basis,
        np.ascontiguousarray(gradients.dynamic),
        condition,
        *moments.basis,
        step=step,
        lr=rates.basis * fall,
        decay=rates.decay,
    )
