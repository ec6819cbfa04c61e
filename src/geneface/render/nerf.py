"""The `nerf` renderer: GeneFace's own kind, a radiance field of the head and a head-aware one of the torso.

    HeadField   samples of a ray are carried to the canonical head by a warp that follows the landmarks, looked up in a
                hash grid, and shaded by a small network that also knows the expression, the head's turn and an
                appearance code; not the direction of view: a talking head is seen from the front
    TorsoField  a field on the plane of the picture, moved by the head pose, that sees the head's colour and opacity at
                the pixel; deterministic: equal poses give equal torsos
    warp        displacement on a grid over the face, linear in the expression (and the pose, for hair and ears, whose
                place a pose fitted to the face gets wrong)

Everything the condition adds is folded into the first layer's bias once a frame, so that it costs nothing a sample.
Symbols: C condition values, A values of the appearance code, G x J nodes of the warp. Kernels: `geneface.ops.nerf`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from geneface import ops
from geneface.errors import InputError
from geneface.geometry.rotation import rotation_matrix
from geneface.ops.field import Field
from geneface.ops.nerf import FieldFrame, FieldScene, unpack_cells
from geneface.render.composite import resize
from geneface.render.condition import (
    POSE_LIMIT,
    AffineCondition,
    condition_tensors,
    landmark_inputs,
    pose_inputs,
    read_conditions,
)
from geneface.render.quantise import from_int8, to_int8
from geneface.render.renderer import RenderedFrame, per_camera
from geneface.types import Camera, FloatArray

FORMAT = 1
_FIELD_ARRAYS = tuple(entry.name for entry in fields(Field))


@dataclass(frozen=True)
class ConditionedField:
    """A field and the linear map from condition to the first layer's bias."""

    field: Field
    condition_weights: FloatArray
    """[W, C]."""
    bias: FloatArray
    """[W]."""

    def fold(self, condition: FloatArray) -> FloatArray:
        """[..., C] -> bias of the first layer [..., W]."""
        # Not "@": for one frame, BLAS would wake its threads and cost more than the product.
        return (np.einsum("...c,wc->...w", condition, self.condition_weights) + self.bias).astype(
            np.float32, copy=False
        )


@dataclass(frozen=True)
class NerfConditions:
    """What drives one frame, or several (leading axes)."""

    expression: FloatArray
    """[..., E] principal components and eyes."""
    pose: FloatArray
    """[..., 6] limited to what training has seen often."""
    unlimited_pose: FloatArray
    """[..., 6]."""


@dataclass(frozen=True)
class NerfModel:
    """Everything that is learnt about one head and torso."""

    head: ConditionedField
    """Condition: expression, turn (the first `turn_width` pose values), appearance."""
    torso: ConditionedField
    """Condition: pose, appearance."""
    warp_basis: FloatArray
    """[E + 6, G, J, 4] displacement to the canonical head for a unit of expression or pose; the fourth is not used."""
    torso_map: FloatArray
    """[6, 6] torso motion for one unit of each pose value."""
    appearance: FloatArray
    """[A] the code that rendering uses: the median of the training frames'."""
    occupancy: np.ndarray
    """[128, 128, 4] uint32, the maximum over expressions; see `ops.FieldScene`."""
    torso_occupancy: np.ndarray
    """[64, 64] uint8."""
    landmark_condition: AffineCondition
    pose_condition: AffineCondition
    camera: Camera
    """The camera it was trained with: another must have its focal length."""
    warp_box: tuple[float, float, float, float]
    step: float
    turn_width: int

    def scene(self) -> FieldScene:
        """What the kernels need beside the frame. Fields are shared, not copied."""
        coarse = ops.coarse_occupancy(self.occupancy)
        return FieldScene(
            self.head.field, self.torso.field, self.occupancy, coarse, self.torso_occupancy, self.warp_box, self.step
        )

    def conditions(self, landmarks: FloatArray, rotation: FloatArray, translation: FloatArray) -> NerfConditions:
        """Landmarks [..., K, 3], rotation vectors [..., 3], translations [..., 3]."""
        return self.conditions_from(self.landmark_condition(landmark_inputs(landmarks)), rotation, translation)

    def conditions_from(self, expression: FloatArray, rotation: FloatArray, translation: FloatArray) -> NerfConditions:
        """Same, from the landmarks' condition (training keeps it: it does not change with the pose)."""
        unlimited = self.pose_condition(pose_inputs(rotation, translation))
        return NerfConditions(expression, np.clip(unlimited, -POSE_LIMIT, POSE_LIMIT), unlimited)

    def head_condition(self, given: NerfConditions, appearance: FloatArray) -> FloatArray:
        """[..., C] of the head's field; appearance [..., A]."""
        return np.concatenate([given.expression, given.pose[..., : self.turn_width], appearance], -1)

    def torso_condition(self, given: NerfConditions, appearance: FloatArray) -> FloatArray:
        """[..., C] of the torso's field."""
        return np.concatenate([given.pose, appearance], -1)

    def warp_condition(self, given: NerfConditions) -> FloatArray:
        """[..., E + 6] of the warp."""
        return np.concatenate([given.expression, given.pose], -1)

    def warp(self, given: NerfConditions) -> FloatArray:
        """Nodes [G, J, 4] of one frame's warp."""
        basis = self.warp_basis.reshape(len(self.warp_basis), -1)
        nodes = np.einsum("c,cn->n", self.warp_condition(given), basis)
        return nodes.reshape(self.warp_basis.shape[1:]).astype(np.float32, copy=False)

    def warps(self, given: NerfConditions) -> FloatArray:
        """Nodes [C, G, J, 4] of the warps of C frames."""
        basis = self.warp_basis.reshape(len(self.warp_basis), -1)
        # Not "@": BLAS's threads would spin for as long as the kernels then need their processors.
        nodes = np.einsum("ck,kn->cn", self.warp_condition(given).astype(np.float32), basis)
        return nodes.reshape(-1, *self.warp_basis.shape[1:])

    def frame(self, landmarks: FloatArray, rotation: FloatArray, translation: FloatArray) -> FieldFrame:
        """All that the kernels need of one frame: landmarks [K, 3], rotation vector [3], translation [3]."""
        given = self.conditions(landmarks, rotation, translation)
        return FieldFrame(
            rotation_matrix(rotation).astype(np.float32),
            np.asarray(translation, np.float32),
            self.head.fold(self.head_condition(given, self.appearance)),
            self.torso.fold(self.torso_condition(given, self.appearance)),
            self.warp(given),
            np.einsum("mp,p->m", self.torso_map, given.unlimited_pose).astype(np.float32),
        )

    def config(self) -> dict[str, Any]:
        """What `tensors` cannot hold, as JSON."""
        camera = {"focal": self.camera.focal, "width": self.camera.width, "height": self.camera.height}
        return {
            "format": FORMAT,
            "camera": camera,
            "warp_box": list(self.warp_box),
            "step": self.step,
            "turn_width": self.turn_width,
        }

    def facts(self) -> dict[str, int]:
        """See `RendererModel`."""
        head = self.head.field
        return {"table_rows": head.table.shape[1], "hidden_width": head.width, "occupied_cells": self.occupied_cells}

    @property
    def occupied_cells(self) -> int:
        """Cells of the head's cube that are not skipped."""
        return int(unpack_cells(self.occupancy).sum())

    def tensors(self) -> dict[str, np.ndarray]:
        """The learnt values; tables as the bfloat16 bits that the kernels use, the warp in bytes."""
        codes, steps = to_int8(self.warp_basis.reshape(len(self.warp_basis), -1), percentile=100)
        result: dict[str, np.ndarray] = {
            "warp_basis": codes.reshape(self.warp_basis.shape),
            "warp_steps": steps,
            "torso_map": self.torso_map,
            "appearance": self.appearance,
            "occupancy": self.occupancy,
            "torso_occupancy": self.torso_occupancy,
        }
        for name, part in (("head", self.head), ("torso", self.torso)):
            result |= {f"{name}.{array}": getattr(part.field, array) for array in _FIELD_ARRAYS}
            result |= {f"{name}.condition_weights": part.condition_weights, f"{name}.bias": part.bias}
        result |= condition_tensors(self.landmark_condition, self.pose_condition)
        return result

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> NerfModel:
        """Invert `tensors` and `config`.

        Raises:
            InputError: a newer format, or a tensor that is missing.
        """
        if config.get("format") != FORMAT:
            raise InputError(
                f"this renderer reads radiance fields of format {FORMAT}, not {config.get('format')!r}",
                "train the avatar again, or update geneface",
            )
        try:
            codes = tensors["warp_basis"]
            warp = from_int8(codes.reshape(len(codes), -1), tensors["warp_steps"]).reshape(codes.shape)
            landmark, pose = read_conditions(tensors)
            return cls(
                _read_field(tensors, "head"),
                _read_field(tensors, "torso"),
                np.ascontiguousarray(warp),
                tensors["torso_map"],
                tensors["appearance"],
                tensors["occupancy"],
                tensors["torso_occupancy"],
                landmark,
                pose,
                Camera(**config["camera"]),
                tuple(config["warp_box"]),
                float(config["step"]),
                int(config["turn_width"]),
            )
        except KeyError as missing:
            raise InputError(f"the radiance field lacks {missing}", "train the avatar again or copy it anew") from None


def _read_field(tensors: Mapping[str, Any], name: str) -> ConditionedField:
    field = Field(*(tensors[f"{name}.{array}"] for array in _FIELD_ARRAYS))
    return ConditionedField(field, tensors[f"{name}.condition_weights"], tensors[f"{name}.bias"])


class NerfRenderer:
    """Draws a `NerfModel` over a plate; implements `Renderer`."""

    def __init__(self, model: NerfModel, plate: FloatArray) -> None:
        """plate: [H, W, 3] float32 in [0, 1] of any size; it is resampled to the camera's."""
        self.model = model
        self._scene = model.scene()
        self._plate_for = per_camera(lambda camera: resize(plate, camera.height, camera.width), model.camera.focal)
        self.samples = 0
        """Samples of a frame that was drawn last, for measurements."""

    def render(
        self, landmarks: FloatArray, rotation: FloatArray, translation: FloatArray, camera: Camera
    ) -> RenderedFrame:
        """Draw one frame; see `Renderer.render`."""
        plate = self._plate_for(camera)
        frame = self.model.frame(landmarks, rotation, translation)
        image, opacity, self.samples = ops.render_field(self._scene, frame, camera.focal * camera.width, plate)
        return RenderedFrame(image, opacity, plate)
