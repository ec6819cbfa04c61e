"""Where the parts of a head lie before anything is learnt: points on the face, behind the lips, on hair and ears.

Symbols: N points of a cloud, P points or pixels, V vertices of the tracked mesh, S x S the portrait's image. Head units
and the head frame: docs/conventions.md. Everything is a function of the portrait and a seeded generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.camera import project
from geneface.geometry.landmarks import (
    MESH_INNER_MIDDLE,
    MESH_IRIS_CENTRES,
    MESH_LEFT_EYE,
    MESH_MOUTH_CORNERS,
    MESH_OVAL,
    MESH_RIGHT_EYE,
)
from geneface.imaging.shapes import inside_polygon
from geneface.io.face_mesh import mesh_triangles
from geneface.portrait.portrait import Portrait
from geneface.training.renderer.statistics import PortraitStatistics

Array = NDArray[np.floating]

MOUTH_RADIUS, EYE_RADIUS = 0.075, 0.05
"""Head units within which the surface is sampled more densely."""
MOUTH_DENSITY, EYE_DENSITY = 4.0, 4.0
BORDER_BELOW_LIDS, BORDER_WIDTH = 0.22, 0.15
"""Where the upper face ends, and how wide its border is, as parts of the way from the lower lids to the lips."""
SHELL_SHARE = 0.3
"""A place belongs to the hair or the ears if the head mask covers it in this share of the frames."""
NECK_OVERLAP = 0.12
"""How far the torso goes on under the jaw, as a part of the image's height."""


@dataclass(frozen=True)
class Cloud:
    """Points with the distance to their neighbours: what a layer is made of."""

    points: Array
    """[N, 3]."""
    spacing: Array
    """[N] head units."""


@dataclass(frozen=True)
class SurfaceSamples:
    """Points on the triangulated mesh: point = sum of weights * vertices."""

    cloud: Cloud
    vertices: np.ndarray
    """[N, 3] mesh indices."""
    weights: Array
    """[N, 3] barycentric."""


def face_triangles() -> np.ndarray:
    """Triangles [T, 3] of the face's surface, eyes filled in (the mesh leaves them open), the mouth left open."""
    eyes = []
    for iris, contour in ((MESH_IRIS_CENTRES[0], MESH_LEFT_EYE), (MESH_IRIS_CENTRES[1], MESH_RIGHT_EYE)):
        eyes += [(iris, a, b) for a, b in zip(contour, contour[1:] + contour[:1], strict=True)]
    surface = mesh_triangles(fill_holes=False)
    return np.concatenate([surface, np.array(eyes, dtype=surface.dtype)])


def sample_surface(neutral: Array, triangles: np.ndarray, count: int, rng: np.random.Generator) -> SurfaceSamples:
    """Points on a mesh [V, 3], denser at the mouth and the eyes."""
    corners = neutral[triangles]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    centres = corners.mean(1)
    density = np.ones(len(triangles))
    mouth = neutral[[*MESH_MOUTH_CORNERS, *MESH_INNER_MIDDLE]].mean(0)
    for centre, radius, gain in (
        (mouth, MOUTH_RADIUS, MOUTH_DENSITY),
        (neutral[MESH_IRIS_CENTRES[0]], EYE_RADIUS, EYE_DENSITY),
        (neutral[MESH_IRIS_CENTRES[1]], EYE_RADIUS, EYE_DENSITY),
    ):
        density += gain * np.exp(-((centres - centre) ** 2).sum(1) / radius**2)
    mass = area * density
    chosen = rng.choice(len(triangles), count, p=mass / mass.sum())
    # Uniform in a triangle: fold the unit square's upper half back.
    weights = rng.random((count, 2))
    folded = weights.sum(1) > 1
    weights[folded] = 1 - weights[folded]
    barycentric = np.concatenate([1 - weights.sum(1, keepdims=True), weights], 1)
    points = np.einsum("nk,nkd->nd", barycentric, corners[chosen])
    spacing = np.sqrt(mass.sum() / count / density[chosen])
    return SurfaceSamples(Cloud(points, spacing), triangles[chosen], barycentric)


def ramp(way: Array) -> Array:
    """From 0 at 0 (and before) to 1 at 1 (and beyond), without a corner."""
    way = np.clip(way, 0, 1)
    return way * way * (3 - 2 * way)


def border(neutral: Array) -> tuple[float, float]:
    """Height of the border under the eyes, and of the strip on each side in which motion begins; head units."""
    lids = float(neutral[[*MESH_LEFT_EYE, *MESH_RIGHT_EYE], 1].min())
    lips = float(neutral[list(MESH_INNER_MIDDLE), 1].mean())
    return lids - BORDER_BELOW_LIDS * (lids - lips), BORDER_WIDTH * (lids - lips)


def sample_mouth(neutral: Array, count: int, rng: np.random.Generator) -> Cloud:
    """Points in a bowl behind the lips, bent like a row of teeth."""
    centre = neutral[[*MESH_MOUTH_CORNERS, *MESH_INNER_MIDDLE]].mean(0)
    half_width = abs(neutral[MESH_MOUTH_CORNERS[0], 0] - neutral[MESH_MOUTH_CORNERS[1], 0]) / 2
    across = rng.uniform(-0.85, 0.85, count)
    along = rng.uniform(-0.55, 0.55, count)
    depth = -0.02 - 0.03 * rng.random(count) - 0.02 * np.abs(across)
    offsets = np.stack([across * half_width, along * half_width, depth], 1)
    spacing = np.full(count, half_width * np.sqrt(1.7 * 1.1 / max(count, 1)))
    return Cloud(centre + offsets, spacing)


def shell_depth(plane: Array, oval: Array, half_width: float, top: float) -> Array:
    """Depth [P] of the hair and ears at points [P, 2] of the frontal plane: a skull, joined to the outline of the face.

    Args:
        plane: x, y in head units.
        oval: [V, 3] outline of the face.
        half_width, top: extent of the head mask to the side and upwards.
    """
    centre_y = float(oval[:, 1].mean())
    back = float(np.sort(oval[:, 2])[: len(oval) // 4].mean()) - 0.06
    radius = (half_width * 1.02, max(top - centre_y, half_width) * 1.02)
    bulge = 1 - (plane[:, 0] / radius[0]) ** 2 - ((plane[:, 1] - centre_y) / radius[1]) ** 2
    skull = back + np.sqrt(np.clip(bulge, 0, 1)) * half_width
    distance = np.linalg.norm(plane[:, None] - oval[None, :, :2], axis=2)
    near = np.exp(-((distance / 0.04) ** 2)) + 1e-9
    rim = (near * oval[:, 2]).sum(1) / near.sum(1)
    blend = np.exp(-((distance.min(1) / 0.06) ** 2))
    return blend * rim + (1 - blend) * np.minimum(skull, oval[:, 2].max())


def _mask_share(points: Array, portrait: Portrait, statistics: PortraitStatistics) -> Array:
    """Share [P] of the frames in which the head mask covers where a head-frame point [P, 3] is seen."""
    hits = np.zeros(len(points))
    size = portrait.size
    for row, frame in enumerate(statistics.frames):
        pose = portrait.pose.rotation[frame], portrait.pose.translation[frame]
        pixels = np.floor(project(points, *pose, portrait.camera)).astype(int)
        seen = ((pixels >= 0) & (pixels < size)).all(1)
        hits[seen] += statistics.head[row, pixels[seen, 1], pixels[seen, 0]] > 127
    return hits / len(statistics.frames)


def sample_shell(portrait: Portrait, statistics: PortraitStatistics, count: int, rng: np.random.Generator) -> Cloud:
    """Points on hair, ears and whatever else of the head mask lies outside of the face."""
    oval = portrait.neutral[list(MESH_OVAL)].astype(np.float64)
    step = 1 / 200
    axis = np.arange(-0.6, 0.6, step)
    plane = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    # The mask's extent is measured at the depth of the face's outline first, then the skull is made to fit.
    flat = np.concatenate([plane, np.full((len(plane), 1), np.median(oval[:, 2]))], 1)
    covered = plane[_mask_share(flat, portrait, statistics) > 0.5]
    if len(covered) == 0:
        covered = oval[:, :2]
    half_width, top = float(np.percentile(np.abs(covered[:, 0]), 99)), float(np.percentile(covered[:, 1], 99.5))
    points = np.concatenate([plane, shell_depth(plane, oval, half_width, top)[:, None]], 1)
    centre = oval[:, :2].mean(0)
    outside = ~inside_polygon(plane, centre + 0.96 * (oval[:, :2] - centre))
    selected = np.flatnonzero((_mask_share(points, portrait, statistics) > SHELL_SHARE) & outside)
    if len(selected) == 0:
        return Cloud(np.zeros((0, 3)), np.zeros(0))
    chosen = rng.choice(selected, count)
    jitter = np.concatenate([rng.uniform(-step / 2, step / 2, (count, 2)), rng.normal(0, 0.008, (count, 1))], 1)
    return Cloud(points[chosen] + jitter, np.full(count, np.sqrt(len(selected) * step**2 / count)))


def neck_filled(torso_share: Array, head_share: Array) -> np.ndarray:
    """Where torso is drawn [S, S] bool: the mask, and on upwards under the jaw so that a moving head opens no gap."""
    visible = torso_share > 0.3
    reach = max(round(NECK_OVERLAP * len(visible)), 1)
    filled = visible.copy()
    for shift in range(1, reach + 1):
        filled[:-shift] |= visible[shift:]
    return visible | (filled & (head_share + torso_share > 0.5))
