"""All that a step of the radiance field's training changes, and its checkpoint.

Symbols: F frames of the portrait, A values of the appearance code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from geneface import ops
from geneface.ops.field import FieldGradients, to_bfloat16
from geneface.render.nerf import ConditionedField, NerfModel
from geneface.training.renderer.checkpoint import Checkpointed
from geneface.training.renderer.frame_values import FrameValues
from geneface.types import FloatArray

NETWORK = ("w0", "w1", "b1", "w2", "b2")


@dataclass
class Parameter:
    """An array that Adam changes in place, with its moments."""

    values: FloatArray
    first: FloatArray
    second: FloatArray

    @classmethod
    def of(cls, values: FloatArray) -> Parameter:
        """An array before the first step."""
        return cls(values, np.zeros_like(values), np.zeros_like(values))

    def update(self, grad: FloatArray, step: int, rate: float) -> None:
        """One step, number `step` (from 1)."""
        flat = (
            array.reshape(1, -1)
            for array in (self.values, np.ascontiguousarray(grad, np.float32), self.first, self.second)
        )
        ops.adam(*flat, step=step, lr=rate)

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Every array by name, for a checkpoint."""
        return {name: self.values, f"{name}.first": self.first, f"{name}.second": self.second}


@dataclass
class FieldState:
    """One field: its table in float32, everything else it is made of, and gradients to be filled."""

    table: Parameter
    half: np.ndarray
    """The table as the kernels read it, bfloat16 bits: part of the model."""
    parts: dict[str, Parameter]
    """Network, condition_weights and bias."""
    grad: FieldGradients

    @classmethod
    def of(cls, field: ConditionedField, table: FloatArray, slots: int) -> FieldState:
        """A field before the first step; `table`: its table in float32, `slots` of the gradients."""
        parts = {name: Parameter.of(getattr(field.field, name)) for name in NETWORK}
        parts["condition_weights"] = Parameter.of(field.condition_weights)
        parts["bias"] = Parameter.of(field.bias)
        return cls(Parameter.of(table), field.field.table, parts, FieldGradients.zeros(field.field, slots))

    def update(
        self, grad_bias: FloatArray, conditions: FloatArray, step: int, table_rate: float, network_rate: float
    ) -> FloatArray:
        """One step, from `grad` and the gradient [C, W] of the biases of C frames with conditions [C, K].

        Returns:
            The gradient of the conditions, [C, K].
        """
        weights = self.parts["condition_weights"]
        by_condition = grad_bias @ weights.values
        ops.adam_table(
            self.table.values, self.grad.table, self.table.first, self.table.second, self.half, step=step, lr=table_rate
        )
        for name in NETWORK:
            # Slots are added in their order: the sum does not depend on which thread was first.
            self.parts[name].update(getattr(self.grad, name).sum(0), step, network_rate)
        weights.update(grad_bias.T @ conditions, step, network_rate)
        self.parts["bias"].update(grad_bias.sum(0), step, network_rate)
        self.grad.clear_network()
        return by_condition

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Every array by name, for a checkpoint."""
        result = self.table.arrays(f"{name}.table") | {f"{name}.half": self.half}
        for part, parameter in self.parts.items():
            result |= parameter.arrays(f"{name}.{part}")
        return result


@dataclass
class RunningMean:
    """Means of arrays over some moments."""

    means: dict[str, FloatArray]
    count: np.ndarray
    """[1] moments so far."""

    @classmethod
    def of(cls, arrays: Mapping[str, FloatArray]) -> RunningMean:
        """Of arrays like these, before the first moment."""
        return cls({name: np.zeros_like(array) for name, array in arrays.items()}, np.zeros(1, np.int64))

    def add(self, arrays: Mapping[str, FloatArray]) -> None:
        """One moment more."""
        self.count += 1
        share = np.float32(1 / int(self.count[0]))
        for name, mean in self.means.items():
            mean += share * (arrays[name] - mean)

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by name, for a checkpoint."""
        return {f"mean.{name}": mean for name, mean in self.means.items()} | {"mean.count": self.count}


@dataclass
class NerfState(Checkpointed):
    """Model (its arrays change in place), optimiser and the number of steps done."""

    model: NerfModel
    total_steps: int
    step: int
    head: FieldState
    torso: FieldState
    upper_weights: Parameter
    lower_weights: Parameter
    warp: Parameter
    torso_map: Parameter
    poses: FrameValues
    appearance: FrameValues
    occupancy_density: FloatArray
    """[128, 128, 128] largest density seen recently, -1 where nothing can be."""
    late: RunningMean = field(init=False)
    """Of `learnt` over the last steps."""

    def __post_init__(self) -> None:
        self.late = RunningMean.of(self.learnt())

    @classmethod
    def fresh(
        cls,
        model: NerfModel,
        tables: tuple[FloatArray, FloatArray],
        frames: int,
        slots: int,
        prior: np.ndarray,
        density: float,
        steps: int,
    ) -> NerfState:
        """prior: [128, 128, 128] bool, where density may be; `density` is assumed there before anything was seen."""
        densities = np.where(prior, np.float32(density), np.float32(-1))
        return cls(
            model,
            steps,
            0,
            FieldState.of(model.head, tables[0], slots),
            FieldState.of(model.torso, tables[1], slots),
            Parameter.of(model.upper_weights),
            Parameter.of(model.lower_weights),
            Parameter.of(model.warp_basis),
            Parameter.of(model.torso_map),
            FrameValues.zeros(frames),
            FrameValues.zeros(frames, len(model.appearance)),
            densities,
        )

    @property
    def _single(self) -> dict[str, Parameter]:
        """What is not part of a field."""
        names = "upper_weights", "lower_weights", "warp", "torso_map"
        return {name: getattr(self, name) for name in names}

    def learnt(self) -> dict[str, FloatArray]:
        """What all frames share and gradients move, by name; writing into it changes the state."""
        result = {name: parameter.values for name, parameter in self._single.items()}
        for name, state in (("head", self.head), ("torso", self.torso)):
            result[f"{name}.table"] = state.table.values
            result |= {f"{name}.{part}": parameter.values for part, parameter in state.parts.items()}
        return result

    def settle(self) -> None:
        """Replace what was learnt by its mean over the last steps."""
        for name, array in self.learnt().items():
            np.copyto(array, self.late.means[name])
        for state in (self.head, self.torso):
            np.copyto(state.half, to_bfloat16(state.table.values))

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by name; writing into them changes the state."""
        result = self.head.arrays("head") | self.torso.arrays("torso")
        for name, parameter in self._single.items():
            result |= parameter.arrays(name)
        result |= {
            "mesh_warp": self.model.mesh_warp,
            "gates": self.model.gates,
            "occupancy": self.model.occupancy,
            "torso_occupancy": self.model.torso_occupancy,
            "occupancy_density": self.occupancy_density,
            "appearance": self.model.appearance,
        }
        for name, frames in (("poses", self.poses), ("codes", self.appearance)):
            result |= frames.arrays(name)
        return result | self.late.arrays() | self.model.conditions.tensors()
