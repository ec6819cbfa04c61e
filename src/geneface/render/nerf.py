"""The `nerf` renderer: GeneFace's own kind, a radiance field of the head and a head-aware one of the torso.

    HeadField   samples of a ray are carried to the canonical head by a warp that follows the landmarks, looked up in a
                hash grid, and shaded by a small network that also knows the head's turn and an appearance code, eyes
                and brows in the upper face, the mouth in the lower; not the direction of view: a talking head is seen
                from the front
    TorsoField  a field on the plane of the picture, moved by the head pose, that sees the head's colour and opacity at
                the pixel; deterministic: equal poses give equal torsos
    warp        displacement on a grid over the face, linear in the expression (and the pose, for hair and ears, whose
                place a pose fitted to the face gets wrong); rows of the eyes and brows move nothing but the upper face,
                rows of the mouth nothing but the lower
    gates       where the upper and the lower face are, on the same grid: neither reaches into the other, and both end
                where hair, ears and neck begin, so that a blink changes no pixel of the mouth

Everything the condition adds is folded into the first layer's bias once a frame, in three parts: everywhere, in the
upper, in the lower face. Beyond what was seen (`Expression.excess`) the tracked mesh's warp moves the face on, and
nothing that was learnt does.
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
from geneface.render.condition import POSE_LIMIT, Expression, FaceConditions, pose_inputs
from geneface.render.quantise import from_int8, to_int8
from geneface.render.renderer import RenderedFrame, Window, per_camera
from geneface.types import Camera, FloatArray

FORMAT = 2
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

    expression: Expression
    """[..., E] each."""
    pose: FloatArray
    """[..., 6] within three deviations."""
    rigid: FloatArray
    """[..., 6] near what was seen, for what moves as a whole."""


@dataclass(frozen=True, kw_only=True)
class NerfModel:
    """Everything that is learnt about one head and torso."""

    head: ConditionedField
    """Condition: turn (the first `turn_width` pose values), appearance."""
    upper_weights: FloatArray
    """[W, U] what a unit of the eyes' and brows' values adds to the head's bias in the upper face."""
    lower_weights: FloatArray
    """[W, L] what a unit of the mouth's values adds in the lower face. U + L = E."""
    torso: ConditionedField
    """Condition: pose, appearance."""
    warp_basis: FloatArray
    """[E + 6, G, J, 4] displacement to the canonical head for a unit of expression or pose; the fourth is not used."""
    mesh_warp: FloatArray
    """[E, G, J, 4] the same for a unit of the expression beyond what was seen: as the tracked mesh moves."""
    gates: FloatArray
    """[G, J] in [-1, 1]: above 0 in the upper face, below in the lower; see `ops.nerf`."""
    torso_map: FloatArray
    """[6, 6] torso motion for one unit of each pose value."""
    appearance: FloatArray
    """[A] the code that rendering uses: the median of the training frames'."""
    occupancy: np.ndarray
    """[128, 128, 4] uint32, the maximum over expressions; see `ops.FieldScene`."""
    torso_occupancy: np.ndarray
    """[64, 64] uint8."""
    conditions: FaceConditions
    camera: Camera
    """The camera it was trained with: another must have its focal length."""
    warp_box: tuple[float, float, float, float]
    step: float
    turn_width: int

    def scene(self) -> FieldScene:
        """What the kernels need in addition to the frame. Fields are shared, not copied."""
        coarse = ops.coarse_occupancy(self.occupancy)
        return FieldScene(
            self.head.field, self.torso.field, self.occupancy, coarse, self.torso_occupancy, self.warp_box, self.step
        )

    def frame_conditions(self, landmarks: FloatArray, rotation: FloatArray, translation: FloatArray) -> NerfConditions:
        """Landmarks [..., K, 3], rotation vectors [..., 3], translations [..., 3]."""
        return self.conditions_from(self.conditions.expression(landmarks), rotation, translation)

    def conditions_from(self, expression: Expression, rotation: FloatArray, translation: FloatArray) -> NerfConditions:
        """Same, from the landmarks' conditions (training keeps them: they do not change with the pose)."""
        rigid = self.conditions.pose(pose_inputs(rotation, translation))
        return NerfConditions(expression, np.clip(rigid, -POSE_LIMIT, POSE_LIMIT), rigid)

    def head_condition(self, given: NerfConditions, appearance: FloatArray) -> FloatArray:
        """[..., C] of all of the head; appearance [..., A]."""
        return np.concatenate([given.pose[..., : self.turn_width], appearance], -1)

    def face_condition(self, given: NerfConditions) -> tuple[FloatArray, FloatArray]:
        """[..., U] of the upper face, [..., L] of the lower."""
        values, mouth = given.expression.values, self.conditions.parts["mouth"].start
        return values[..., :mouth], values[..., mouth:]

    def head_bias(self, given: NerfConditions, appearance: FloatArray) -> FloatArray:
        """[..., 3, W]: everywhere, added in the upper face, added in the lower face."""
        upper, lower = self.face_condition(given)
        parts = (
            self.head.fold(self.head_condition(given, appearance)),
            np.einsum("...c,wc->...w", upper, self.upper_weights),
            np.einsum("...c,wc->...w", lower, self.lower_weights),
        )
        return np.stack(parts, -2).astype(np.float32, copy=False)

    def torso_condition(self, given: NerfConditions, appearance: FloatArray) -> FloatArray:
        """[..., C] of the torso's field."""
        return np.concatenate([given.pose, appearance], -1)

    def warp_condition(self, given: NerfConditions) -> FloatArray:
        """[..., E + 6] of the learnt warp."""
        return np.concatenate([given.expression.values, given.pose], -1).astype(np.float32, copy=False)

    def warps(self, given: NerfConditions) -> FloatArray:
        """Nodes [..., G, J, 4] of the frames' warps, gates included."""
        # Not "@": BLAS's threads would spin for as long as the kernels then need their processors.
        basis = self.warp_basis.reshape(len(self.warp_basis), -1)
        nodes = np.einsum("...k,kn->...n", self.warp_condition(given), basis)
        far = given.expression.excess.any(-1)
        if far.any():
            beyond = self.mesh_warp.reshape(len(self.mesh_warp), -1)
            nodes[far] += np.einsum("...k,kn->...n", given.expression.excess[far], beyond)
        nodes = nodes.reshape(*nodes.shape[:-1], *self.warp_basis.shape[1:])
        nodes[..., 3] = self.gates
        return nodes

    def frame(self, landmarks: FloatArray, rotation: FloatArray, translation: FloatArray) -> FieldFrame:
        """All that the kernels need of one frame: landmarks [K, 3], rotation vector [3], translation [3]."""
        given = self.frame_conditions(landmarks, rotation, translation)
        return FieldFrame(
            rotation_matrix(rotation).astype(np.float32),
            np.asarray(translation, np.float32),
            self.head_bias(given, self.appearance),
            self.torso.fold(self.torso_condition(given, self.appearance)),
            self.warps(given),
            np.einsum("mp,p->m", self.torso_map, given.rigid).astype(np.float32),
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
        """The learnt values; tables as the bfloat16 bits that the kernels use, the warps in bytes."""
        result: dict[str, np.ndarray] = {
            "upper_weights": self.upper_weights,
            "lower_weights": self.lower_weights,
            "gates": self.gates,
            "torso_map": self.torso_map,
            "appearance": self.appearance,
            "occupancy": self.occupancy,
            "torso_occupancy": self.torso_occupancy,
        }
        for name, part in (("head", self.head), ("torso", self.torso)):
            result |= {f"{name}.{array}": getattr(part.field, array) for array in _FIELD_ARRAYS}
            result |= {f"{name}.condition_weights": part.condition_weights, f"{name}.bias": part.bias}
        for name in ("warp_basis", "mesh_warp"):
            warp = getattr(self, name)[..., :3]
            codes, steps = to_int8(warp.reshape(len(warp), -1), percentile=100)
            result |= {name: codes.reshape(warp.shape), f"{name}.steps": steps}
        return result | self.conditions.tensors()

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
            return cls(
                head=_read_field(tensors, "head"),
                upper_weights=tensors["upper_weights"],
                lower_weights=tensors["lower_weights"],
                torso=_read_field(tensors, "torso"),
                warp_basis=_read_warp(tensors, "warp_basis"),
                mesh_warp=_read_warp(tensors, "mesh_warp"),
                gates=tensors["gates"],
                torso_map=tensors["torso_map"],
                appearance=tensors["appearance"],
                occupancy=tensors["occupancy"],
                torso_occupancy=tensors["torso_occupancy"],
                conditions=FaceConditions.from_tensors(tensors),
                camera=Camera(**config["camera"]),
                warp_box=tuple(config["warp_box"]),
                step=float(config["step"]),
                turn_width=int(config["turn_width"]),
            )
        except KeyError as missing:
            raise InputError(f"the radiance field lacks {missing}", "train it again, or copy it again") from None


def _read_field(tensors: Mapping[str, Any], name: str) -> ConditionedField:
    field = Field(*(tensors[f"{name}.{array}"] for array in _FIELD_ARRAYS))
    return ConditionedField(field, tensors[f"{name}.condition_weights"], tensors[f"{name}.bias"])


def _read_warp(tensors: Mapping[str, Any], name: str) -> FloatArray:
    """[K, G, J, 4] of the three values that are stored."""
    codes = tensors[name]
    warp = from_int8(codes.reshape(len(codes), -1), tensors[f"{name}.steps"]).reshape(codes.shape)
    return np.pad(warp, [(0, 0)] * 3 + [(0, 1)])


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
        self,
        landmarks: FloatArray,
        rotation: FloatArray,
        translation: FloatArray,
        camera: Camera,
        window: Window | None = None,
        torso: FloatArray | None = None,
    ) -> RenderedFrame:
        """Draw one frame; see `Renderer.render`. The torso follows the head's pose alone."""
        plate = self._plate_for(camera)
        corner = (0, 0)
        if window is not None:
            plate = np.ascontiguousarray(plate[window.rows, window.columns])
            corner = (window.left, window.top)
        frame = self.model.frame(landmarks, rotation, translation)
        image, opacity, self.samples = ops.render_field(
            self._scene, frame, camera.focal * camera.width, plate, corner, (camera.width, camera.height)
        )
        return RenderedFrame(image, opacity, plate)
