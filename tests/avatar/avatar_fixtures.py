"""A schematic face with the named landmarks where a face has them, for tests of the avatar."""

from __future__ import annotations

import numpy as np

from geneface.geometry import landmarks as names


def _ellipse(centre: tuple[float, float], radii: tuple[float, float], turns: np.ndarray) -> np.ndarray:
    angle = 2 * np.pi * turns
    return np.stack([centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)], axis=1)


def face_points(opening: float = 0.01) -> np.ndarray:
    """[K, 3] head units, x to the image's right, y up; lips open by about `opening`."""
    points = np.zeros((names.KEYPOINT_COUNT, 3), np.float32)
    rng = np.random.default_rng(5)
    points[:, :2] = rng.uniform(-0.15, 0.15, (len(points), 2))
    points[names.OVAL, :2] = _ellipse((0, 0), (0.18, 0.25), 0.25 - np.arange(36) / 36)
    # The lips' outline starts at the left corner and runs below; the eye's starts at a corner and runs below.
    turns = 0.5 + np.arange(20) / 20
    points[names.LIPS_OUTER, :2] = _ellipse((0, -0.12), (0.07, 0.025 + opening / 2), turns)
    points[names.LIPS_INNER, :2] = _ellipse((0, -0.12), (0.055, opening / 2 + 1e-3), turns)
    points[names.LEFT_EYE, :2] = _ellipse((-0.08, 0.07), (0.035, 0.012), 0.5 + np.arange(16) / 16)
    points[names.RIGHT_EYE, :2] = _ellipse((0.08, 0.07), (0.035, 0.012), -np.arange(16) / 16)
    points[names.BROWS, 1] = 0.12
    points[:, 2] = 0.2 - points[:, 0] ** 2
    return points


def with_closed_eyes(points: np.ndarray, amount: float) -> np.ndarray:
    """Bring the lids together, by 0.9 of their distance at amount 1."""
    result = points.copy()
    for eye in (names.LEFT_EYE, names.RIGHT_EYE):
        middle = result[eye, 1].mean()
        result[eye, 1] = middle - 0.004 * amount + (1 - 0.9 * amount) * (result[eye, 1] - middle)
    return result
