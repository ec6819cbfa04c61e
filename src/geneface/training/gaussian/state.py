"""All that a step of the Gaussians' training changes, and its checkpoint.

Symbols: F frames of the portrait, N Gaussians of a layer, C condition values, D dynamic ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geneface import ops
from geneface.ops.types import COLOR
from geneface.render.gaussian import GaussianModel
from geneface.training.renderer.checkpoint import Checkpointed
from geneface.training.renderer.frame_values import FrameValues
from geneface.types import FloatArray


@dataclass
class LayerMoments:
    """Adam's moments of one layer."""

    base: tuple[FloatArray, FloatArray]
    basis: tuple[FloatArray, FloatArray]


@dataclass
class GaussianState(Checkpointed):
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
    def fresh(cls, model: GaussianModel, frames: int, total_steps: int) -> GaussianState:
        """Before the first step, for a portrait of so many frames."""
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
    state: GaussianState,
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
