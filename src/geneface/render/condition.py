"""What the Gaussians are told about a frame: two short vectors, computed from landmarks and from the head pose.

Symbols: F frames, K named landmarks, C width of a condition. Landmarks [K, 3] are in the canonical head frame
(head units), so they hold expression only; the pose is X_camera = R X_head + t.

Both conditions are affine in their input, scaled so that a typical value is about .5, and clipped to a little more
than the range of the training frames: a linear model extrapolates badly, and speech can ask for mouths nobody saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from geneface.geometry.landmarks import EYES, LIPS, eye_openness
from geneface.types import FloatArray

DEPTH_WEIGHT = 0.3
"""The tracker's depth is noisier than what it measures in the image plane."""
LIPS_WEIGHT = 2.0
EYES_WEIGHT = 3.0
TYPICAL_VALUE = 0.5
"""Standard deviation of the strongest component."""
POSE_LIMIT = 1.5
"""Pose values that change colours or places of their own are held within three deviations: what only a few frames
taught would be speckle beyond. Rigid motion is not limited so."""
RANGE_MARGIN = 0.1
"""How far beyond the training range a condition may go, as a part of that range."""


@dataclass(frozen=True)
class AffineCondition:
    """condition = clip((input - mean) @ projection, lower, upper)."""

    mean: FloatArray
    """[I] mean input."""
    projection: FloatArray
    """[I, C]."""
    lower: FloatArray
    """[C]."""
    upper: FloatArray
    """[C]."""

    @property
    def width(self) -> int:
        return self.projection.shape[1]

    def __call__(self, values: FloatArray) -> FloatArray:
        """values: [..., I] -> [..., C] float32."""
        # Not "@": for one frame, BLAS would wake its threads and cost more than the product.
        product = np.einsum("...i,ic->...c", values - self.mean, self.projection)
        return np.clip(product, self.lower, self.upper).astype(np.float32, copy=False)

    def tensors(self) -> dict[str, FloatArray]:
        return {"mean": self.mean, "projection": self.projection, "lower": self.lower, "upper": self.upper}


def condition_tensors(landmark: AffineCondition, pose: AffineCondition) -> dict[str, FloatArray]:
    """Both conditions of a renderer by name, as models and checkpoints store them."""
    both = ("landmark", landmark), ("pose", pose)
    return {f"condition.{name}.{key}": value for name, one in both for key, value in one.tensors().items()}


def read_conditions(tensors: Mapping[str, Any]) -> tuple[AffineCondition, AffineCondition]:
    """Invert `condition_tensors`: landmark, pose. KeyError if one is missing."""
    landmark, pose = (
        AffineCondition(*(tensors[f"condition.{name}.{key}"] for key in ("mean", "projection", "lower", "upper")))
        for name in ("landmark", "pose")
    )
    return landmark, pose


def landmark_inputs(landmarks: FloatArray) -> FloatArray:
    """Flatten landmarks and append the openness of the eyes. [..., K, 3] -> [..., 3 K + 2]."""
    flat = landmarks.reshape(*landmarks.shape[:-2], -1)
    return np.concatenate([flat, eye_openness(landmarks)], axis=-1).astype(np.float32, copy=False)


def pose_inputs(rotation: FloatArray, translation: FloatArray) -> FloatArray:
    """Rotation vectors [..., 3] and translations [..., 3] -> [..., 6]."""
    return np.concatenate([rotation, translation], axis=-1).astype(np.float32, copy=False)


def landmark_weights(keypoint_count: int) -> FloatArray:
    """Importance [K, 3] of every landmark coordinate to the principal components."""
    weights = np.ones((keypoint_count, 3), np.float32)
    weights[:, 2] = DEPTH_WEIGHT
    weights[LIPS] *= LIPS_WEIGHT
    weights[EYES] *= EYES_WEIGHT
    return weights


def fit_landmark_condition(landmarks: FloatArray, components: int) -> AffineCondition:
    """Principal components of weighted landmarks, and two more values for the eyes.

    Args:
        landmarks: [F, K, 3] of the training frames.
        components: how many principal components to keep (fewer if the frames do not span them).

    Returns:
        A condition of width components + 2 over `landmark_inputs`.
    """
    weights = landmark_weights(landmarks.shape[1]).reshape(-1).astype(np.float64)
    inputs = landmark_inputs(landmarks).astype(np.float64)
    mean = inputs.mean(0)
    shape_width = len(weights)
    weighted = (inputs[:, :shape_width] - mean[:shape_width]) * weights
    variance, directions = np.linalg.eigh(weighted.T @ weighted / len(weighted))
    components = min(components, shape_width, max(len(landmarks) - 1, 1))
    variance, directions = variance[::-1][:components], directions[:, ::-1][:, :components]
    # An eigenvector's sign is arbitrary; fix it so that two runs agree.
    directions = directions * np.sign(directions[np.abs(directions).argmax(0), np.arange(components)])
    deviation = np.sqrt(np.maximum(variance, 1e-12))
    # Half-way to whitening: the deviation of component k is .5 (deviation_k / deviation_0)^(1/2), so that weak, noisy
    # components stay weak.
    scale = TYPICAL_VALUE / deviation * np.sqrt(deviation / deviation[0])
    projection = np.zeros((shape_width + 2, components + 2))
    projection[:shape_width, :components] = weights[:, None] * directions * scale
    eyes = inputs[:, shape_width:].std(0)
    projection[shape_width:, components:] = np.diag(TYPICAL_VALUE / np.maximum(eyes, 1e-3))
    return _with_range(mean, projection, inputs)


def fit_pose_condition(rotation: FloatArray, translation: FloatArray) -> AffineCondition:
    """Head pose relative to its mean, every coordinate scaled alike. [F, 3], [F, 3] -> a condition of width 6."""
    inputs = pose_inputs(rotation, translation).astype(np.float64)
    # A coordinate that hardly moves must not be blown up to the size of those that do.
    floor = np.repeat([0.01, 0.005], 3)
    projection = np.diag(TYPICAL_VALUE / np.maximum(inputs.std(0), floor))
    return _with_range(inputs.mean(0), projection, inputs)


def _with_range(mean: np.ndarray, projection: np.ndarray, inputs: np.ndarray) -> AffineCondition:
    values = (inputs - mean) @ projection
    lower, upper = values.min(0), values.max(0)
    margin = RANGE_MARGIN * (upper - lower)
    arrays = (mean, projection, lower - margin, upper + margin)
    return AffineCondition(*(array.astype(np.float32) for array in arrays))
