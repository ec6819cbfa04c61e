"""What drives a renderer's frame: short vectors, one for each part of the face and one for the head's pose.

    eyes    openness of both eyes, where they look
    brows   principal components of the brows' landmarks
    mouth   principal components of the landmarks that speech moves: lips, jaw line, cheeks, nose
    pose    the head's rotation and translation

Each part of the picture is drawn from its own vector, so that a blink can't move the lips (docs/architecture.md).
What is learnt is linear in these values, and a linear model extrapolates badly: a vector is held near those of the
training frames, each value to the range that was seen and all of them together to the distance that was seen, softly at
the border. What is cut off is not lost: it is the *excess*, which moves the mesh and nothing that was learnt.

Symbols: F frames, K named landmarks, I inputs, C values of a condition, E values of all parts. Landmarks [K, 3] are in
the canonical head frame (head units), so they hold expression only; the pose is X_camera = R X_head + t.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import BROWS, GAZE, LIPS, MOUTH_REGION, eye_openness
from geneface.types import FloatArray

DEPTH_WEIGHT = 0.3
"""The tracker's depth is noisier than what it measures in the image plane."""
LIPS_WEIGHT = 2.0
TYPICAL_VALUE = 0.5
"""Standard deviation of the strongest component."""
BROW_COMPONENTS = 3
FRAMES_PER_COMPONENT = 25
"""A principal component that fewer frames than this have to define is noise."""
POSE_LIMIT = 1.5
"""Pose values that change colours or places of their own are held within three deviations: what only a few frames
said would be speckle beyond them. Rigid motion is not limited so."""
SOFTNESS = 0.1
"""Width of the border, as a part of the range or distance that was seen: it is approached and never passed."""
RARE_FRAMES = 3
"""A value counts as seen if so many frames reach it: fewer may be errors of the tracker."""
COMMON_SHARE = 0.995
"""The distance that counts as seen is that of this share of the frames."""
EXCESS = 0.5
"""How far the mesh follows beyond the border, as a part of the range that was seen."""
TORSO_COMPONENTS = 6
"""In how many ways the torso moves by itself."""
PARTS = ("eyes", "brows", "mouth")


@dataclass(frozen=True)
class Condition:
    """One vector: affine in its input, held near what was seen."""

    mean: FloatArray
    """[I] mean input."""
    projection: FloatArray
    """[I, C]."""
    lower: FloatArray
    """[C] smallest values that were seen."""
    upper: FloatArray
    """[C]."""
    deviation: FloatArray
    """[C] standard deviations: what distances are measured in."""
    radius: FloatArray
    """[1] distance from the mean within which the training frames lie."""
    reach: FloatArray
    """[C] how large the excess may be."""

    @property
    def width(self) -> int:
        """Number of values."""
        return self.projection.shape[1]

    def tensors(self, prefix: str) -> dict[str, FloatArray]:
        """By name, as models and checkpoints store them."""
        return {f"{prefix}.{entry.name}": getattr(self, entry.name) for entry in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any], prefix: str) -> Condition:
        """Invert `tensors`. KeyError if one is missing."""
        return cls(*(tensors[f"{prefix}.{entry.name}"] for entry in fields(cls)))

    def raw(self, inputs: FloatArray) -> FloatArray:
        """Without any limit. [..., I] -> [..., C]."""
        # Not "@": for one frame, BLAS would wake its threads and cost more than the product.
        return np.einsum("...i,ic->...c", inputs - self.mean, self.projection)

    def held(self, values: FloatArray) -> FloatArray:
        """Bring values [..., C] near those that were seen; there, they stay as they are."""
        inside = soft_clip(values, self.lower, self.upper)
        distance = np.sqrt(np.square(inside / self.deviation).sum(-1, keepdims=True))
        border = SOFTNESS * self.radius
        beyond = np.maximum(distance - self.radius, 0)
        allowed = np.minimum(distance, self.radius) + border * np.tanh(beyond / border)
        return (inside * (allowed / np.maximum(distance, 1e-12))).astype(np.float32, copy=False)

    def __call__(self, inputs: FloatArray) -> FloatArray:
        """[..., I] -> [..., C] float32, near what was seen."""
        return self.held(self.raw(inputs))

    def split(self, inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """[..., I] -> what was seen [..., C], and the excess [..., C] over it, 0 inside."""
        raw = self.raw(inputs)
        held = self.held(raw)
        excess = self.reach * np.tanh((raw - held) / np.maximum(self.reach, 1e-12))
        return held, excess.astype(np.float32, copy=False)


def soft_clip(values: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Hold values between two bounds, softly: `SOFTNESS` of the range beyond them is approached and never reached."""
    border = np.maximum(SOFTNESS * (upper - lower), 1e-12)
    above, below = np.maximum(values - upper, 0), np.maximum(lower - values, 0)
    return np.clip(values, lower, upper) + border * (np.tanh(above / border) - np.tanh(below / border))


@dataclass(frozen=True)
class Expression:
    """What the landmarks of a frame, or of several (leading axes), tell the renderer."""

    values: FloatArray
    """[..., E] all parts, in the order of `PARTS`, near what was seen."""
    excess: FloatArray
    """[..., E] what lies beyond."""

    def __getitem__(self, rows: Any) -> Expression:
        return Expression(self.values[rows], self.excess[rows])


@dataclass(frozen=True)
class FaceConditions:
    """The conditions of all parts of the face, and that of the head's pose."""

    eyes: Condition
    brows: Condition
    mouth: Condition
    pose: Condition

    @property
    def parts(self) -> dict[str, slice]:
        """Part -> its place among the E values."""
        places, start = {}, 0
        for name in PARTS:
            width = getattr(self, name).width
            places[name] = slice(start, start + width)
            start += width
        return places

    @property
    def width(self) -> int:
        """E."""
        return sum(getattr(self, name).width for name in PARTS)

    def expression(self, landmarks: FloatArray) -> Expression:
        """Landmarks [..., K, 3]."""
        inputs = landmark_inputs(landmarks)
        split = [getattr(self, name).split(inputs) for name in PARTS]
        return Expression(*(np.concatenate(values, -1) for values in zip(*split, strict=True)))

    def tensors(self) -> dict[str, FloatArray]:
        """By name, as models and checkpoints store them."""
        result: dict[str, FloatArray] = {}
        for part in fields(self):
            result |= getattr(self, part.name).tensors(f"condition.{part.name}")
        return result

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> FaceConditions:
        """Invert `tensors`. KeyError if one is missing."""
        return cls(*(Condition.from_tensors(tensors, f"condition.{part.name}") for part in fields(cls)))


def landmark_inputs(landmarks: FloatArray) -> FloatArray:
    """Flatten landmarks and append the openness of the eyes. [..., K, 3] -> [..., 3 K + 2]."""
    flat = landmarks.reshape(*landmarks.shape[:-2], -1)
    return np.concatenate([flat, eye_openness(landmarks)], axis=-1).astype(np.float32, copy=False)


def pose_inputs(rotation: FloatArray, translation: FloatArray) -> FloatArray:
    """Rotation vectors [..., 3] and translations [..., 3] -> [..., 6]."""
    return np.concatenate([rotation, translation], axis=-1).astype(np.float32, copy=False)


def torso_inputs(rigid: FloatArray, torso: FloatArray) -> FloatArray:
    """The pose condition [..., 6] and the points of `HeadPose.torso` [..., G, 2] -> [..., 6 + 2 G]."""
    flat = torso.reshape(*torso.shape[:-2], -1)
    return np.concatenate([rigid, flat], axis=-1).astype(np.float32, copy=False)


# ---- from training frames


def fit_conditions(
    landmarks: FloatArray, rotation: FloatArray, translation: FloatArray, components: int
) -> FaceConditions:
    """Conditions of all parts from training frames.

    Args:
        landmarks: [F, K, 3].
        rotation, translation: [F, 3].
        components: how many principal components of the mouth to keep (fewer if the frames do not define them).
    """
    inputs = landmark_inputs(landmarks).astype(np.float64)
    return FaceConditions(
        fit_eyes(inputs),
        fit_components(inputs, BROWS, BROW_COMPONENTS),
        fit_components(inputs, MOUTH_REGION, components),
        fit_pose(rotation, translation),
    )


def landmark_weights(keypoint_count: int) -> FloatArray:
    """Importance [K, 3] of every landmark coordinate to the principal components."""
    weights = np.ones((keypoint_count, 3), np.float32)
    weights[:, 2] = DEPTH_WEIGHT
    weights[LIPS] *= LIPS_WEIGHT
    return weights


def fit_components(inputs: NDArray[np.floating], group: NDArray[np.intp], components: int) -> Condition:
    """Principal components of some weighted landmarks. inputs: [F, 3 K + 2] `landmark_inputs`."""
    frames, keypoints = len(inputs), (inputs.shape[1] - 2) // 3
    columns = (3 * group[:, None] + np.arange(3)).ravel()
    weights = landmark_weights(keypoints)[group].reshape(-1).astype(np.float64)
    mean = inputs.mean(0)
    weighted = (inputs[:, columns] - mean[columns]) * weights
    variance, directions = np.linalg.eigh(weighted.T @ weighted / frames)
    components = min(components, len(columns), max(frames // FRAMES_PER_COMPONENT, 1))
    variance, directions = variance[::-1][:components], directions[:, ::-1][:, :components]
    # An eigenvector's sign is arbitrary; fix it so that two runs agree.
    directions = directions * np.sign(directions[np.abs(directions).argmax(0), np.arange(components)])
    deviation = np.sqrt(np.maximum(variance, 1e-12))
    # Half-way to whitening: the deviation of component k is .5 (deviation_k / deviation_0)^(1/2), so that weak, noisy
    # components stay weak.
    scale = TYPICAL_VALUE / deviation * np.sqrt(deviation / deviation[0])
    projection = np.zeros((inputs.shape[1], components))
    projection[columns] = weights[:, None] * directions * scale
    return _with_limits(mean, projection, inputs, COMMON_SHARE)


def fit_eyes(inputs: NDArray[np.floating]) -> Condition:
    """Openness of the left and the right eye, and the irises' place in the eyes, across and up. -> width 4."""
    irises, corners = GAZE
    projection = np.zeros((inputs.shape[1], 4))
    projection[-2:, :2] = np.eye(2)
    for axis in (0, 1):
        projection[3 * irises + axis, 2 + axis] = 1 / len(irises)
        projection[3 * corners + axis, 2 + axis] = -1 / len(corners)
    mean = inputs.mean(0)
    # What hardly varies must not be blown up: noise of the tracker.
    floor = np.array([0.02, 0.02, 0.002, 0.002])
    projection *= TYPICAL_VALUE / np.maximum(((inputs - mean) @ projection).std(0), floor)
    # Blinks are rare, and they are what the border must let through: it is that of the rarest frames.
    condition = _with_limits(mean, projection, inputs, 1.0)
    # Lids close altogether, however little of that was seen.
    shut = np.float32(mean[-2:] * np.diag(projection[-2:, :2]))
    condition.reach[:2] = np.maximum(condition.reach[:2], shut + condition.lower[:2])
    return condition


def fit_pose(rotation: FloatArray, translation: FloatArray) -> Condition:
    """Head pose relative to its mean, every coordinate scaled alike. [F, 3], [F, 3] -> width 6."""
    inputs = pose_inputs(rotation, translation).astype(np.float64)
    # A coordinate that hardly moves must not be blown up to the size of those that do.
    floor = np.repeat([0.01, 0.005], 3)
    projection = np.diag(TYPICAL_VALUE / np.maximum(inputs.std(0), floor))
    return _with_limits(inputs.mean(0), projection, inputs, COMMON_SHARE)


def fit_torso(rigid: FloatArray, torso: FloatArray) -> tuple[Condition, FloatArray]:
    """What the torso does that the head's pose does not tell: principal components of the rest.

    Args:
        rigid: [F, 6] the pose condition.
        torso: [F, G, 2] see `HeadPose.torso`.

    Returns:
        the condition, of inputs `torso_inputs`; how the points move with one unit of each pose value, then of each
        component, [6 + C, G, 2] image widths.
    """
    inputs = torso_inputs(rigid, torso).astype(np.float64)
    known, frames, mean = rigid.shape[1], len(rigid), inputs.mean(0)
    pose, points = np.split(inputs - mean, [known], axis=1)
    by_pose = np.linalg.solve(pose.T @ pose + 1e-3 * frames * np.eye(known), pose.T @ points)
    rest = points - pose @ by_pose
    variance, directions = np.linalg.eigh(rest.T @ rest / frames)
    count = min(TORSO_COMPONENTS, max(frames // FRAMES_PER_COMPONENT, 1), len(variance))
    variance, directions = variance[::-1][:count], directions[:, ::-1][:, :count]
    directions = directions * np.sign(directions[np.abs(directions).argmax(0), np.arange(count)])
    deviation = np.sqrt(np.maximum(variance, 1e-10))
    scale = TYPICAL_VALUE / deviation * np.sqrt(deviation / deviation[0])
    projection = np.concatenate([-by_pose @ directions, directions]) * scale
    moves = np.concatenate([by_pose, (directions / scale).T])
    return _with_limits(mean, projection, inputs, COMMON_SHARE), moves.reshape(len(moves), -1, 2).astype(np.float32)


def _with_limits(
    mean: NDArray[np.floating], projection: NDArray[np.floating], inputs: NDArray[np.floating], share: float
) -> Condition:
    """What the training frames [F, I] reach: ranges, and the distance of a share of them."""
    values = (inputs - mean) @ projection
    order = np.sort(values, axis=0)
    rare = min(RARE_FRAMES, len(values)) - 1
    lower, upper = order[rare], order[-1 - rare]
    deviation = np.maximum(values.std(0), 1e-6)
    distance = np.sort(np.sqrt(np.square(np.clip(values, lower, upper) / deviation).sum(1)))
    radius = distance[min(int(share * len(distance)), len(distance) - 1 - rare)]
    arrays = mean, projection, lower, upper, deviation, np.array([max(radius, 1e-6)]), EXCESS * (upper - lower)
    return Condition(*(array.astype(np.float32) for array in arrays))
