"""The `gaussian` renderer: four layers of 3D Gaussians, offsets linear in a condition, one rasterisation.

Layers, all in one depth-sorted picture over the clean plate:
    upper   eyes, brows, forehead: the mean mesh's surface, moved by lids, irises and brows and by the turn of the head
            (light changes with it)
    lower   cheeks, lips, jaw: the rest of that surface, moved by the mouth and by the turn
    lips    that surface at and around the lips, of smaller Gaussians, moved like it
    mouth   teeth, tongue and the dark behind the lips, moved like the lower face
    shell   hair and ears: expression does not move it, the head pose corrects it a little (a pose fitted to the face
            is systematically off at the skull)
    torso   neck and clothes, in a frame of their own that follows the head pose by a learnt linear map; bent by the
            pose and by what the torso does of itself, where that is known (`HeadPose.torso`): else it is at rest, and
            equal head poses give equal torsos

Symbols: N Gaussians of a layer, D <= N dynamic ones, C condition values, K landmarks. Layouts: `geneface.ops.types`.
Frames: "head" layers live in the canonical head frame, X_camera = R X + t. The torso's frame has, at the mean head
pose, the camera's axes and its origin at `torso_origin`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from geneface import ops
from geneface.errors import InputError
from geneface.geometry.rotation import rotation_matrix
from geneface.ops.types import DILATION_PX2, LOG_SCALE, Splats, U, V
from geneface.render.composite import resize
from geneface.render.condition import POSE_LIMIT, Condition, Expression, FaceConditions, pose_inputs, torso_inputs
from geneface.render.quantise import from_int8, from_uint16, to_int8, to_uint16
from geneface.render.renderer import RenderedFrame, Window, per_camera
from geneface.types import Camera, FloatArray

OLDER_FORMAT, FORMAT = 2, 3
"""The older one has no torso that moves by itself."""
TORSO_CONDITION = "condition.torso"
Frame = Literal["head", "torso"]
Input = Literal["upper", "lower", "pose", "torso"]
HEAD_LABEL, TORSO_LABEL = 1.0, 0.0


@dataclass(frozen=True)
class GaussianLayer:
    """Gaussians that share a frame and a condition."""

    name: str
    frame: Frame
    input: Input
    """What moves them: "upper" (eyes, brows, turn), "lower" (mouth, turn), "pose" or "torso" (pose, and what the
    torso does of itself)."""
    base: FloatArray
    """[14, N]."""
    basis: FloatArray
    """[C, 7, D]."""

    def __len__(self) -> int:
        return self.base.shape[1]

    @property
    def label(self) -> float:
        """Value of the label channel: 1 for the head, 0 for the torso."""
        return HEAD_LABEL if self.frame == "head" else TORSO_LABEL


@dataclass(frozen=True)
class FrameConditions:
    """All that a frame's layers need: conditions by input name, rotation matrix and translation by frame name.

    The condition "rigid" is the head pose as the torso's map sees it.
    """

    conditions: Mapping[str, FloatArray]
    rotations: Mapping[str, FloatArray]
    translations: Mapping[str, FloatArray]


@dataclass(frozen=True)
class GaussianModel:
    """Everything that is learnt about one head and torso."""

    layers: tuple[GaussianLayer, ...]
    conditions: FaceConditions
    torso_origin: FloatArray
    """[3] in the camera frame, at the mean head pose."""
    torso_map: FloatArray
    """[6, 6]: the torso's turn (rotation vector) and shift for one unit of each value of the pose condition."""
    camera: Camera
    """The camera it was trained with: another must have its focal length."""
    turn_width: int
    """How many pose values (rotation first) belong to the inputs "upper" and "lower"."""
    torso: Condition | None = None
    """What the torso does of itself, from `torso_inputs`; None: it follows the head's pose alone."""

    def __len__(self) -> int:
        return sum(len(layer) for layer in self.layers)

    @property
    def condition_widths(self) -> Mapping[Input, int]:
        """Values of each input: what was seen of the parts, the turn, and the parts' excess, which moves the mesh."""
        parts, turn = self.conditions, self.turn_width
        upper, lower = parts.eyes.width + parts.brows.width, parts.mouth.width
        pose = parts.pose.width
        widths: dict[Input, int] = {"upper": 2 * upper + turn, "lower": 2 * lower + turn, "pose": pose}
        if self.torso is not None:
            widths["torso"] = pose + self.torso.width
        return widths

    def slices(self) -> Iterator[tuple[GaussianLayer, slice]]:
        """Every layer with its columns in a common `Splats`."""
        start = 0
        for layer in self.layers:
            yield layer, slice(start, start + len(layer))
            start += len(layer)

    def frame_conditions(
        self, landmarks: FloatArray, rotation: FloatArray, translation: FloatArray, torso: FloatArray | None = None
    ) -> FrameConditions:
        """landmarks [K, 3]; rotation vector [3], translation [3] of the head; [G, 2] see `HeadPose.torso`."""
        return self.conditions_from(self.conditions.expression(landmarks), rotation, translation, torso)

    def conditions_from(
        self, expression: Expression, rotation: FloatArray, translation: FloatArray, torso: FloatArray | None = None
    ) -> FrameConditions:
        """Same, from the landmarks' conditions (training keeps them: they do not change with the pose)."""
        rigid = self.conditions.pose(pose_inputs(rotation, translation))
        carried = self.torso_map @ rigid
        pose = np.clip(rigid, -POSE_LIMIT, POSE_LIMIT)
        rotations = rotation_matrix(np.stack([rotation, carried[:3]])).astype(np.float32)
        shift = (self.torso_origin + carried[3:]).astype(np.float32)
        turn, values, excess = pose[: self.turn_width], expression.values, expression.excess
        mouth = self.conditions.parts["mouth"].start
        return FrameConditions(
            {
                "upper": np.concatenate([values[:mouth], turn, excess[:mouth]]),
                "lower": np.concatenate([values[mouth:], turn, excess[mouth:]]),
                "pose": pose,
                "torso": np.concatenate([pose, self._own_motion(rigid, torso)]),
                "rigid": rigid,
            },
            {"head": rotations[0], "torso": rotations[1]},
            {"head": np.asarray(translation, np.float32), "torso": shift},
        )

    def _own_motion(self, rigid: FloatArray, points: FloatArray | None) -> FloatArray:
        """What the torso does beyond what the pose [6] says: 0 where its points are not known, or another person's."""
        if self.torso is None:
            return np.zeros(0, np.float32)
        if points is None or rigid.size + points.size != len(self.torso.mean):
            return np.zeros(self.torso.width, np.float32)
        return self.torso(torso_inputs(rigid, points))

    def config(self) -> dict[str, Any]:
        """What `tensors` cannot hold, as JSON."""
        layers = [{"name": layer.name, "frame": layer.frame, "input": layer.input} for layer in self.layers]
        camera = {"focal": self.camera.focal, "width": self.camera.width, "height": self.camera.height}
        number = FORMAT if self.torso is not None else OLDER_FORMAT
        return {"format": number, "layers": layers, "camera": camera, "turn_width": self.turn_width}

    def facts(self) -> dict[str, int]:
        """See `RendererModel`."""
        return {"gaussians": len(self)}

    def tensors(self) -> dict[str, np.ndarray]:
        """The learnt values, quantised: a float32 model of 20 k Gaussians would be 14 MB, this is 2-3 MB."""
        result: dict[str, np.ndarray] = {"torso_origin": self.torso_origin, "torso_map": self.torso_map}
        result |= self.conditions.tensors()
        if self.torso is not None:
            result |= self.torso.tensors(TORSO_CONDITION)
        for layer in self.layers:
            prefix = f"layer.{layer.name}"
            base, ranges = to_uint16(layer.base)
            basis, steps = to_int8(layer.basis)
            result |= {f"{prefix}.base": base, f"{prefix}.base_ranges": ranges}
            result |= {f"{prefix}.basis": basis, f"{prefix}.basis_steps": steps}
        return result

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> GaussianModel:
        """Invert `tensors` and `config`.

        Raises:
            InputError: a newer format, or a tensor that is missing.
        """
        if config.get("format") not in (OLDER_FORMAT, FORMAT):
            raise InputError(
                f"this renderer reads Gaussian models of the formats {OLDER_FORMAT} and {FORMAT}, "
                f"not {config.get('format')!r}",
                "train the avatar again, or update geneface",
            )
        try:
            conditions = FaceConditions.from_tensors(tensors)
            layers = tuple(_read_layer(tensors, **entry) for entry in config["layers"])
            origin, torso_map = tensors["torso_origin"], tensors["torso_map"]
            torso = Condition.from_tensors(tensors, TORSO_CONDITION) if config["format"] == FORMAT else None
            return cls(layers, conditions, origin, torso_map, Camera(**config["camera"]), config["turn_width"], torso)
        except KeyError as missing:
            raise InputError(f"the Gaussian model lacks {missing}", "train it again, or copy it again") from None


def _read_layer(tensors: Mapping[str, Any], name: str, frame: Frame, input: Input) -> GaussianLayer:
    prefix = f"layer.{name}"
    base = from_uint16(tensors[f"{prefix}.base"], tensors[f"{prefix}.base_ranges"])
    basis = from_int8(tensors[f"{prefix}.basis"], tensors[f"{prefix}.basis_steps"])
    return GaussianLayer(name, frame, input, base, basis)


def draw(
    model: GaussianModel,
    frame: FrameConditions,
    camera: Camera,
    background: FloatArray | None,
    splats: Splats,
    window: Window | None = None,
) -> ops.RasterOutput:
    """Project every layer into its columns of `splats` and rasterise them together, or the part in the window."""
    for layer, columns in model.slices():
        ops.project(
            layer.base,
            layer.basis,
            frame.conditions[layer.input],
            frame.rotations[layer.frame],
            frame.translations[layer.frame],
            camera,
            label=layer.label,
            out=splats[columns],
        )
    if window is not None:
        _move_into(window, splats)
        return ops.rasterize(splats, window.width, window.height, background)
    return ops.rasterize(splats, camera.width, camera.height, background)


def _move_into(window: Window, splats: Splats) -> None:
    """Make the window's corner the origin of the splats' pixels, and touch no pixel outside of it."""
    for place, bounds, corner, length in (
        (U, splats.bounds[:2], window.left, window.width),
        (V, splats.bounds[2:], window.top, window.height),
    ):
        splats.values[place] -= corner
        # What lies outside has its last pixel before its first one: it is not drawn.
        np.maximum(bounds[0] - corner, 0, out=bounds[0])
        np.minimum(bounds[1] - corner, length - 1, out=bounds[1])


def scaled_to(model: GaussianModel, camera: Camera) -> GaussianModel:
    """The model for a camera with more pixels: the dilation it was trained with is made part of the Gaussians.

    Rasterising adds `DILATION_PX2` square pixels to every splat. On a finer grid that is less of the head, and the
    picture would open gaps; the difference is added to the Gaussians' own variance, isotropically, at their depth.
    """
    ratio = camera.width / model.camera.width
    if ratio <= 1:
        return model
    focal_px = model.camera.focal * model.camera.width
    depth = {"head": -float(model.conditions.pose.mean[5]), "torso": -float(model.torso_origin[2])}
    layers = []
    for layer in model.layers:
        variance = DILATION_PX2 * (1 - ratio**-2) * (depth[layer.frame] / focal_px) ** 2
        base = layer.base.copy()
        base[LOG_SCALE] = 0.5 * np.log(np.exp(2 * base[LOG_SCALE]) + variance)
        layers.append(replace(layer, base=base))
    return replace(model, layers=tuple(layers))


class GaussianRenderer:
    """Draws a `GaussianModel` over a plate; implements `Renderer`."""

    def __init__(self, model: GaussianModel, plate: FloatArray) -> None:
        """plate: [H, W, 3] float32 in [0, 1] of any size; it is resampled to the camera's."""
        self.model = model
        self._spare: list[Splats] = []
        """Buffers that no thread uses: there are as many as there have been threads at once."""
        self._prepared = per_camera(
            lambda camera: (scaled_to(model, camera), resize(plate, camera.height, camera.width)), model.camera.focal
        )

    def render(
        self,
        landmarks: FloatArray,
        rotation: FloatArray,
        translation: FloatArray,
        camera: Camera,
        window: Window | None = None,
        torso: FloatArray | None = None,
    ) -> RenderedFrame:
        """Draw one frame; see `Renderer.render`."""
        model, plate = self._prepared(camera)
        if window is not None:
            plate = np.ascontiguousarray(plate[window.rows, window.columns])
        frame = model.frame_conditions(landmarks, rotation, translation, torso)
        try:
            splats = self._spare.pop()
        except IndexError:
            splats = Splats.empty(len(model))
        output = draw(model, frame, camera, plate, splats, window)
        self._spare.append(splats)
        return RenderedFrame(output.image, np.subtract(1, output.transmittance, dtype=np.float32), plate)
