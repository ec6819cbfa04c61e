"""Who is where in a picture: person against background, head against torso.

Mattes are float32 in [0, 1], [H, W]. Symbols: S image size. The head is face, hair and ears; neck and clothes are
torso: the line between them is the jaw, continued level with it to both sides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.background import Plate, fill_smoothly
from geneface.geometry.landmarks import MESH_JAW, MESH_OVAL
from geneface.geometry.rotation import umeyama
from geneface.imaging.filters import dilate, disc, erode, square
from geneface.imaging.resize import resize_area, resize_linear
from geneface.imaging.shapes import connected_parts, polygon_coverage
from geneface.imaging.warp import warp_affine
from geneface.types import ByteArray, FloatArray

_SMOOTH_PX = 256
"""Size at which smooth fields are computed: nothing finer is in them."""
_PART, _PART_EDGE_PX = 0.3, 2
"""What is more opaque hangs together; so far around it lies its soft edge."""
_CONFIDENT_LEVELS = (30.0, 70.0)
"""Difference of person and plate at which the plate's matte begins to count, and counts alone."""


def refine_matte(image: ByteArray, matte: FloatArray, plate: Plate) -> FloatArray:
    """Sharpen a person matte with the clean plate, where person and plate differ clearly.

    In a band around the edge the picture is a mix I = a F + (1 - a) B; F is the person's colour continued from
    inside, B the plate, so a = (I - B).(F - B) / |F - B|^2.
    """
    picture = image.astype(np.float32)
    inside, outside, person, drift = _surroundings(picture, matte, plate)
    # The plate follows slow changes of light: shift it by the local difference seen outside the person.
    back = plate.image + drift
    direction = person - back
    contrast = np.sqrt(np.einsum("hwc,hwc->hw", direction, direction))
    alpha = np.einsum("hwc,hwc->hw", picture - back, direction) / np.maximum(contrast**2, 1)
    # Noise of the plate must neither show as haze outside nor as holes inside.
    slack = np.clip(2.5 * plate.noise / np.maximum(contrast, 1), 0.03, 0.3)
    alpha = np.clip((alpha - slack) / (1 - 2 * slack), 0, 1)
    low, high = _CONFIDENT_LEVELS
    trust = np.clip((contrast - low - 4 * plate.noise) / (high - low), 0, 1) * plate.trust
    refined = trust * alpha + (1 - trust) * matte
    return np.where(inside > 0.5, 1, np.where(outside > 0.5, 0, refined)).astype(np.float32)


def _surroundings(picture: FloatArray, matte: FloatArray, plate: Plate) -> tuple[FloatArray, ...]:
    """What surely is person and background, [S, S]; the person's colours continued from inside and the plate's
    difference to the picture continued from outside, [S, S, 3]. All smooth, so computed at `_SMOOTH_PX` at most.
    """
    size = len(matte)
    small = min(size, _SMOOTH_PX)

    def shrink(values: FloatArray) -> FloatArray:
        return values if small == size else resize_area(values, small, small)

    def grow(values: FloatArray) -> FloatArray:
        return values if small == size else resize_linear(values, size, size)

    reach = max(3, round(0.025 * small))
    around = disc(reach)
    rough, view = shrink(matte), shrink(picture)
    inside = (erode(rough, around) > 0.95).astype(np.float32)
    outside = (dilate(rough, around) < 0.05).astype(np.float32)
    known = (shrink(plate.known) > 0.99).astype(np.float32)
    person = fill_smoothly(view, inside)
    drift = fill_smoothly(view - shrink(plate.image), outside * known)
    return grow(inside), grow(outside), grow(person), grow(drift)


def split_head(person: FloatArray, mesh_px: NDArray[np.floating]) -> tuple[FloatArray, FloatArray]:
    """Share the person matte [S, S] between head and torso along the jaw of the mesh [478, 2 or 3] (pixels).

    Returns:
        head [S, S], torso [S, S]; their sum is the person, in which the face is always whole.
    """
    points = np.asarray(mesh_px, np.float64)[:, :2]
    size = person.shape[0]
    above = polygon_coverage(_above_jaw(points, size), size, size)
    face = polygon_coverage(points[list(MESH_OVAL)], size, size)
    person = np.maximum(person, face * above)
    head = _connected(person * above, points)
    # What is left above the jaw's level are ear lobes cut off by the line, or a raised hand: the former are dropped
    # with their matte of a few pixels, the latter stay with the torso if they hang together with it.
    torso = _largest(np.clip(person - head, 0, 1))
    return head, torso


def _above_jaw(points: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Outline of all that is above the jaw: the jaw line, continued level to both sides from its corners."""
    jaw = points[list(MESH_JAW)]
    left, right = 0.5 * (jaw[1] + jaw[2]), 0.5 * (jaw[-2] + jaw[-3])
    along = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
    up = np.array([along[1], -along[0]])
    far = 4.0 * size
    return np.concatenate(
        [
            [left - far * along + far * up, left - far * along, left],
            jaw[3:-3],
            [right, right + far * along, right + far * along + far * up],
        ]
    )


def _connected(head: FloatArray, points: NDArray[np.float64]) -> FloatArray:
    """Drop islands that do not hang together with the face (raised hands, shoulders above the jaw's level)."""
    labels, areas = connected_parts(head > _PART)
    if len(areas) <= 2:
        return head
    center = np.clip(points[list(MESH_OVAL)].mean(0), 0, head.shape[0] - 1).astype(int)
    label = labels[center[1], center[0]] or 1 + int(np.argmax(areas[1:]))
    return head * dilate(labels == label, square(_PART_EDGE_PX))


def _largest(torso: FloatArray) -> FloatArray:
    """The largest connected part of a matte, with its soft edge."""
    labels, areas = connected_parts(torso > _PART)
    if len(areas) <= 2:
        return torso
    return torso * dilate(labels == 1 + int(np.argmax(areas[1:])), square(_PART_EDGE_PX))


def steady_mattes(mattes: list[FloatArray], meshes_px: NDArray[np.floating]) -> FloatArray:
    """Average the middle one of three mattes with its neighbours, each moved along with the head.

    Args:
        mattes: three mattes [S, S] of consecutive frames.
        meshes_px: [3, 478, 2 or 3] their meshes.
    """
    size = mattes[1].shape[0]
    oval = np.asarray(meshes_px, np.float32)[:, list(MESH_OVAL), :2]
    total = 2 * mattes[1]
    for neighbour in (0, 2):
        scale, turn, shift = umeyama(oval[neighbour], oval[1])
        move = np.concatenate([scale * turn, shift[:, None]], axis=1)
        total = total + warp_affine(mattes[neighbour], move, size, size)
    return total / 4
