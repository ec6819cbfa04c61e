"""Names of face landmarks. Mesh indices are MediaPipe FaceMesh's (0-467 the surface, 468-477 the irises).

The tracker measures the whole mesh [F, 478, 3]. What stages exchange is the smaller *named set* of K
landmarks, `KEYPOINTS`; the groups below (`LIPS`, `BROWS`, ...) are positions inside that set, so that
`points[:, LIPS]` reads as it should. "Left" is the left of the image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MESH_SIZE = 478
MESH_SURFACE_SIZE = 468

MESH_LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
MESH_LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
MESH_LEFT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
MESH_RIGHT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
MESH_LEFT_BROW = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107)
MESH_RIGHT_BROW = (276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
MESH_IRISES = (468, 469, 470, 471, 472, 473, 474, 475, 476, 477)
MESH_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""Outline of the face, clockwise from the middle of the forehead."""
MESH_JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
MESH_NOSE = (168, 6, 197, 195, 5, 4, 1, 2, 97, 326, 98, 327, 75, 305)
MESH_CHEEKS = (
    50, 280, 205, 425, 187, 411, 36, 266, 101, 330, 118, 347, 207, 427, 216, 436, 214, 434, 192, 416,
    202, 422, 204, 424, 32, 262, 199, 200, 18, 164, 206, 426, 92, 322, 43, 273,
)  # fmt: skip

MESH_HAIRLINE, MESH_CHIN = 10, 152
"""Ends of the face's height, in the middle."""
MESH_FACE_SIDES = (234, 454)
"""Ends of the face's width, left and right, before the ears."""
MESH_NOSE_BRIDGE, MESH_NOSE_BASE = 168, 2
"""Between the eyes; where the nose meets the upper lip."""
MESH_MOUTH_CORNERS = (61, 291)
MESH_LIPS_MIDDLE = (0, 17)
"""Outer edges of the upper and the lower lip, in the middle."""
MESH_UPPER_INNER, MESH_LOWER_INNER = (82, 13, 312), (87, 14, 317)
"""Three pairs of the lips' inner edges that face each other, left to right: their distance is the lip opening."""
MESH_INNER_MIDDLE = (MESH_UPPER_INNER[1], MESH_LOWER_INNER[1])
MESH_IRIS_CENTRES = (468, 473)
MESH_EYE_CORNERS = ((33, 133), (362, 263))
"""Of the left eye and of the right one, each left to right."""
MESH_MIRRORED = ((33, 263), (133, 362), (234, 454), (127, 356), (54, 284), (67, 297), (61, 291), (58, 288))
"""Pairs of points that mirror each other: eye corners, sides, temples, forehead, mouth corners, jaw."""

CLASSIC_68_MESH = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""The classic 68 landmarks (iBUG 300-W order) as mesh indices."""

STABLE_MESH = (
    6, 168, 197, 195, 5, 4, 8, 9, 151, 10, 108, 337, 67, 297, 109, 338, 103, 332, 54, 284, 21, 251, 162, 389,
    127, 356, 33, 263, 130, 359, 143, 372, 35, 265, 193, 417, 122, 351, 196, 419, 245, 465, 188, 412,
)  # fmt: skip
"""Points that speech does not move: bridge of the nose, forehead, temples, eye corners. Head pose is fitted to them."""

KEYPOINTS: tuple[int, ...] = tuple(
    sorted(
        set(CLASSIC_68_MESH)
        | set(MESH_LIPS_OUTER + MESH_LIPS_INNER + MESH_LEFT_EYE + MESH_RIGHT_EYE + MESH_LEFT_BROW + MESH_RIGHT_BROW)
        | set(MESH_IRISES + MESH_OVAL + MESH_NOSE + MESH_CHEEKS)
    )
)
"""Mesh indices of the named set, ascending: the K of every `MotionTrack`."""

KEYPOINT_COUNT = len(KEYPOINTS)
_POSITION = {mesh_index: position for position, mesh_index in enumerate(KEYPOINTS)}


KEYPOINT_NAMES = ",".join(map(str, KEYPOINTS))
"""The named set as one word, which files of landmarks carry."""


def are_keypoints(stated: str | None) -> bool:
    """Whether what a file states as its landmarks is the named set; files of before state nothing."""
    return stated is None or stated == KEYPOINT_NAMES


def positions(mesh_indices: tuple[int, ...]) -> NDArray[np.intp]:
    """Positions of mesh indices inside the named set.

    Raises:
        KeyError: one of them is not in the named set.
    """
    return np.array([_POSITION[index] for index in mesh_indices], dtype=np.intp)


LIPS_OUTER = positions(MESH_LIPS_OUTER)
LIPS_INNER = positions(MESH_LIPS_INNER)
LIPS = np.concatenate([LIPS_OUTER, LIPS_INNER])
LEFT_EYE = positions(MESH_LEFT_EYE)
RIGHT_EYE = positions(MESH_RIGHT_EYE)
IRISES = positions(MESH_IRISES)
EYES = np.concatenate([LEFT_EYE, RIGHT_EYE, IRISES])
BROWS = positions(MESH_LEFT_BROW + MESH_RIGHT_BROW)
JAW = positions(MESH_JAW)
OVAL = positions(MESH_OVAL)
CHEEKS = positions(MESH_CHEEKS)
LOWER_FACE: NDArray[np.intp] = np.unique(np.concatenate([LIPS, JAW, CHEEKS]))
"""What speech moves: lips, jaw line and cheeks."""
MOUTH_REGION = np.unique(np.concatenate([LOWER_FACE, positions(MESH_NOSE)]))
"""What speech moves, and what moves with it; nothing of the eyes."""
GAZE = positions(MESH_IRIS_CENTRES), positions((33, 133, 263, 362))
"""Centres of the irises, and the corners of the eyes."""

UPPER_INNER, LOWER_INNER = positions(MESH_UPPER_INNER), positions(MESH_LOWER_INNER)
MOUTH_CORNERS = positions(MESH_MOUTH_CORNERS)
FACE_SIDES = positions(MESH_FACE_SIDES)
_LIPS_MIDDLE = positions((0, 13, 14, 17))
_EYE_LIDS = (
    (positions((160, 159, 158)), positions((144, 145, 153)), positions(MESH_EYE_CORNERS[0])),
    (positions((385, 386, 387)), positions((380, 374, 373)), positions(MESH_EYE_CORNERS[1])),
)


def lip_opening(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Distance between the inner lips, mean of three pairs. points: [..., K, D] -> [...], same unit."""
    return np.linalg.norm(points[..., UPPER_INNER, :] - points[..., LOWER_INNER, :], axis=-1).mean(-1)


def lip_width(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Distance between the corners of the mouth. points: [..., K, D] -> [...], same unit."""
    return np.linalg.norm(points[..., MOUTH_CORNERS[0], :] - points[..., MOUTH_CORNERS[1], :], axis=-1)


def lip_protrusion(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """How far the middle of the lips is before the corners, along z. points: [..., K, 3] -> [...], same unit."""
    return points[..., _LIPS_MIDDLE, 2].mean(-1) - points[..., MOUTH_CORNERS, 2].mean(-1)


def eye_openness(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Lid distance over eye width (eye aspect ratio, Soukupova and Cech 2016). [..., K, D] -> [..., 2] left, right."""
    ratios = []
    for upper, lower, corners in _EYE_LIDS:
        lids = np.linalg.norm(points[..., upper, :] - points[..., lower, :], axis=-1).mean(-1)
        ratios.append(lids / np.linalg.norm(points[..., corners[0], :] - points[..., corners[1], :], axis=-1))
    return np.stack(ratios, axis=-1)


def lids_have_closed(points: NDArray[np.floating]) -> bool:
    """Whether both eyes are seen to close: in three frames less than half as open as usual. points: [F, K, D]."""
    openness = eye_openness(points).max(-1)
    return len(openness) > 2 and bool(np.sort(openness)[2] < 0.5 * np.median(openness))
