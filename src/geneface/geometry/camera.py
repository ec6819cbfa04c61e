"""The pinhole camera: head frame -> camera frame -> pixels, and back.

Axes: x right, y up, z towards the camera, which looks along -z. Pixels: u right, v down, the first pixel's
centre is at (0.5, 0.5). Symbols: F frames, N points, f focal length in image widths, W and H image size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geneface.geometry.rotation import rotation_matrix
from geneface.types import Camera

Array = NDArray[np.float64]


def to_camera(points: ArrayLike, rotation: ArrayLike, translation: ArrayLike) -> Array:
    """X_camera = R X_head + t. points [..., N, 3], rotation [..., 3] vectors, translation [..., 3]."""
    matrix = rotation_matrix(rotation)
    return (
        np.asarray(points, np.float64) @ np.swapaxes(matrix, -1, -2) + np.asarray(translation, np.float64)[..., None, :]
    )


def to_head(points: ArrayLike, rotation: ArrayLike, translation: ArrayLike) -> Array:
    """Inverse of `to_camera`."""
    offset = np.asarray(points, np.float64) - np.asarray(translation, np.float64)[..., None, :]
    return offset @ rotation_matrix(rotation)


def camera_to_pixels(points: ArrayLike, camera: Camera) -> Array:
    """[..., 3] in the camera frame, z < 0 -> pixels [..., 2]."""
    points = np.asarray(points, np.float64)
    scale = camera.focal * camera.width / -points[..., 2]
    return np.stack(
        [camera.width / 2 + scale * points[..., 0], camera.height / 2 - scale * points[..., 1]],
        axis=-1,
    )


def pixels_to_camera(pixels: ArrayLike, depth: ArrayLike, camera: Camera) -> Array:
    """Points [..., 3] of the camera frame seen at `pixels` [..., 2], `depth` [...] in front of it (positive)."""
    pixels, depth = np.asarray(pixels, np.float64), np.asarray(depth, np.float64)
    scale = depth / (camera.focal * camera.width)
    return np.stack(
        [(pixels[..., 0] - camera.width / 2) * scale, (camera.height / 2 - pixels[..., 1]) * scale, -depth], axis=-1
    )


def project(points: ArrayLike, rotation: ArrayLike, translation: ArrayLike, camera: Camera) -> Array:
    """Pixels [..., N, 2] of head-frame points [..., N, 3] under poses [..., 3], [..., 3]."""
    return camera_to_pixels(to_camera(points, rotation, translation), camera)
