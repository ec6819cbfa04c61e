"""The linear space of facial motion that speech drives. F frames, K named landmarks, C coefficients.

Motion is the displacement [F, K, 3] of the landmarks from the person's neutral, in head units. A fixed basis of
weighted principal components turns it into C coefficients: lips count most, the depth axis less (the tracker
measures it worst), the eyes nothing at all (blinks are not in the sound; the avatar inserts them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.geometry import landmarks
from geneface.types import FloatArray

_DEPTH_WEIGHT = 0.35
_REST_WEIGHT = 0.15


def landmark_weights() -> FloatArray:
    """[K, 3] importance of each landmark's coordinates for speech; zero for the eyes."""
    weights = np.full(landmarks.KEYPOINT_COUNT, _REST_WEIGHT, dtype=np.float32)
    weights[landmarks.CHEEKS] = 0.4
    weights[landmarks.BROWS] = 0.1
    weights[landmarks.JAW] = 0.5
    weights[landmarks.LIPS_OUTER] = 1.5
    weights[landmarks.LIPS_INNER] = 2.0
    weights[landmarks.EYES] = 0.0
    return weights[:, None] * np.array([1.0, 1.0, _DEPTH_WEIGHT], dtype=np.float32)


@dataclass(frozen=True)
class MotionBasis:
    """Orthogonal components in the weighted space, so that squared error of coefficients is weighted landmark error."""

    synthesis: FloatArray
    """[C, K, 3] displacement per unit of each coefficient; zero where the weight is zero."""
    analysis: FloatArray
    """[C, K, 3] coefficient per unit of displacement."""
    mean: FloatArray
    """[K, 3] displacement at coefficients zero."""

    @property
    def width(self) -> int:
        """C."""
        return len(self.synthesis)

    def coefficients(self, displacement: NDArray[np.floating]) -> FloatArray:
        """[F, K, 3] -> [F, C]."""
        # Here and below not "@": BLAS's helper threads spin for a tenth of a second after each product, on the
        # processors that draw the pictures.
        return np.asarray(np.einsum("fkx,ckx->fc", displacement - self.mean, self.analysis), dtype=np.float32)

    def displacement(self, coefficients: NDArray[np.floating]) -> FloatArray:
        """[F, C] -> [F, K, 3]."""
        moved = np.einsum("fc,ci->fi", coefficients, self.synthesis.reshape(self.width, -1))
        return np.asarray(moved.reshape(-1, *self.mean.shape) + self.mean, dtype=np.float32)

    def tensors(self, prefix: str = "basis.") -> dict[str, FloatArray]:
        """Every array by name, for a file."""
        return {f"{prefix}{name}": getattr(self, name) for name in ("synthesis", "analysis", "mean")}

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray], prefix: str = "basis.") -> MotionBasis:
        """Invert `tensors`.

        Raises:
            KeyError, ValueError: an array is missing, has another shape, or is not finite.
        """
        arrays = [tensors[f"{prefix}{name}"].astype(np.float32) for name in ("synthesis", "analysis", "mean")]
        face = (landmarks.KEYPOINT_COUNT, 3)
        if any(array.shape != (len(arrays[0]), *face) for array in arrays[:2]) or arrays[2].shape != face:
            raise ValueError(f"the motion basis has shapes {[array.shape for array in arrays]}")
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("the motion basis is not finite")
        return cls(*arrays)


def fit_basis(displacement: NDArray[np.floating], width: int, weights: FloatArray | None = None) -> MotionBasis:
    """Weighted principal components of displacements [F, K, 3], scaled to a mean coefficient variance of one.

    Args:
        width: C; fewer components come back when F or the rank is smaller.
        weights: [K, 3], `landmark_weights()` by default.
    """
    weights = landmark_weights() if weights is None else weights
    root = np.sqrt(weights).astype(np.float64)
    mean = np.where(weights > 0, displacement.mean(axis=0), 0.0)
    scatter = ((displacement - mean) * root).reshape(len(displacement), -1)
    values, vectors = np.linalg.eigh(scatter.T @ scatter / len(scatter))
    rank = int((values > 1e-9 * values[-1]).sum())
    chosen = np.argsort(values)[::-1][: min(width, rank)]
    axes = vectors[:, chosen].T.reshape(-1, *root.shape)
    # The sign of an eigenvector is arbitrary; fix it, so that refits agree.
    largest = np.take_along_axis(axes.reshape(len(axes), -1), abs(axes).reshape(len(axes), -1).argmax(1)[:, None], 1)
    axes = axes * np.sign(largest)[..., None]
    scale = np.sqrt(values[chosen].mean())
    inverse_root = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
    # In C order, as a file gives them back: sums are taken in the order of memory.
    return MotionBasis(
        (axes * inverse_root * scale).astype(np.float32, order="C"),
        (axes * root / scale).astype(np.float32, order="C"),
        mean.astype(np.float32),
    )
