"""First guess of a `GaussianModel` from a portrait: where Gaussians lie, how large they are, which colour they have.

Symbols: N Gaussians of a layer, P pixels or points, S x S the portrait's image. Head units and the head frame:
docs/conventions.md. Everything is a function of the portrait, the configuration and a seeded generator.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.camera import pixels_to_camera, project
from geneface.geometry.landmarks import MESH_LIPS_OUTER
from geneface.ops.types import COLOR, LOG_SCALE, MEAN, OPACITY_LOGIT, QUATERNION
from geneface.portrait.portrait import Portrait
from geneface.render.gaussian import GaussianLayer, Input
from geneface.training.renderer.statistics import PortraitStatistics
from geneface.training.renderer.surface import Cloud, SurfaceSamples, border, neck_filled, ramp
from geneface.types import FloatArray

Array = NDArray[np.floating]

OVERLAP = 0.55
"""Standard deviation of a Gaussian over the distance to its neighbour: neighbours blend without holes or blur."""
LIPS_ACROSS, LIPS_UPRIGHT = 1.3, 1.0
"""Half of the size of the lips' layer, in half widths of the mouth."""
TORSO_DEPTH = 0.3
"""How far behind the head's origin the torso lies: behind every part of the head."""


def upper_and_lower(samples: SurfaceSamples, neutral: Array) -> tuple[SurfaceSamples, SurfaceSamples]:
    """Divide samples of the face's surface at the border between what the lids move and what the mouth moves."""
    above = samples.cloud.points[:, 1] > border(neutral)[0]
    return without(samples, ~above), without(samples, above)


def near_lips(neutral: Array, triangles: np.ndarray) -> NDArray[np.bool_]:
    """Which triangles [N, 3] of a mesh [V, 3] make up the lips and the skin around them, a layer of their own."""
    lips = neutral[list(MESH_LIPS_OUTER), :2]
    middle = lips.mean(0)
    half_width = float(np.abs(lips[:, 0] - middle[0]).max())
    centres = neutral[triangles].mean(1)[:, :2]
    inside = np.abs(centres - middle) < half_width * np.array([LIPS_ACROSS, LIPS_UPRIGHT])
    return inside.all(1) & (centres[:, 1] < border(neutral)[0])


def without(samples: SurfaceSamples, left_out: NDArray[np.bool_]) -> SurfaceSamples:
    """The samples that are not left out [N]."""
    kept = ~left_out
    cloud = Cloud(samples.cloud.points[kept], samples.cloud.spacing[kept])
    return SurfaceSamples(cloud, samples.vertices[kept], samples.weights[kept])


def part_share(samples: SurfaceSamples, neutral: Array) -> FloatArray:
    """How much of its part's motion each sample makes: none at the border, so that the face does not tear. -> [N]."""
    height, width = border(neutral)
    return ramp(np.abs(samples.cloud.points[:, 1] - height) / width).astype(np.float32)


def _torso_colours(statistics: PortraitStatistics) -> Array:
    """Mean colour [S, S, 3] where torso is seen; where it never is, the colour of the nearest pixel below."""
    weight = statistics.torso.astype(np.float32) / 255
    total = weight.sum(0)
    mean = (
        np.einsum("pyxc,pyx->yxc", statistics.images.astype(np.float32) / 255, weight)
        / np.maximum(total, 1e-6)[..., None]
    )
    seen = total > 0.05 * len(weight)
    for row in range(len(mean) - 2, -1, -1):
        mean[row] = np.where(seen[row][:, None], mean[row], mean[row + 1])
    return mean


def torso_origin(portrait: Portrait, statistics: PortraitStatistics, head_z: float) -> FloatArray:
    """Middle of the torso mask [3] in the camera frame, behind a head at depth `head_z` (negative)."""
    share = statistics.torso.mean(0) + 1e-6
    rows, columns = np.indices(share.shape) + 0.5
    middle = np.array([(columns * share).sum(), (rows * share).sum()]) / share.sum()
    return pixels_to_camera(middle, np.array(TORSO_DEPTH - head_z), portrait.camera).astype(np.float32)


def sample_torso(
    portrait: Portrait, statistics: PortraitStatistics, origin: Array, count: int, rng: np.random.Generator
) -> tuple[Cloud, Array]:
    """Points in the torso frame, and their colours [N, 3]."""
    head_share, torso_share = ((mask > 127).mean(0) for mask in (statistics.head, statistics.torso))
    rows, columns = np.nonzero(neck_filled(torso_share, head_share))
    if len(rows) == 0:
        return Cloud(np.zeros((0, 3)), np.zeros(0)), np.zeros((0, 3))
    chosen = rng.integers(0, len(rows), count)
    pixels = np.stack([columns[chosen], rows[chosen]], 1) + rng.random((count, 2))
    depth = -origin[2] + rng.uniform(-0.01, 0.01, count)
    points = pixels_to_camera(pixels, depth, portrait.camera) - origin
    pixel_size = -origin[2] / (portrait.camera.focal * portrait.camera.width)
    spacing = np.full(count, pixel_size * np.sqrt(len(rows) / count))
    return Cloud(points, spacing), _torso_colours(statistics)[rows[chosen], columns[chosen]]


def torso_layer(
    points: Array, base: FloatArray, origin: Array, portrait: Portrait, widths: Mapping[Input, int], moves: Array | None
) -> GaussianLayer:
    """The torso: still, or carried by its lattice as `moves` [6 + C, G, 2] of `fit_torso` say."""
    lattice = portrait.torso_points
    if moves is None or lattice is None:
        return GaussianLayer("torso", "torso", "pose", base, np.zeros((widths["pose"], 7, len(points)), np.float32))
    places = project(points, np.zeros(3), np.asarray(origin, np.float64), portrait.camera) / portrait.camera.width
    basis = np.zeros((widths["torso"], 7, len(points)), np.float32)
    by_place = np.einsum("ng,cgd->cdn", lattice_weights(places, lattice), moves)
    # From image widths to head units at the depth of the torso, where y is up.
    scale = -float(origin[2]) / portrait.camera.focal
    basis[:, 0], basis[:, 1] = scale * by_place[:, 0], -scale * by_place[:, 1]
    return GaussianLayer("torso", "torso", "torso", base, basis)


def lattice_weights(places: Array, lattice: Array) -> Array:
    """How much each lattice point [G, 2] carries each place [N, 2]; rows add up to 1. -> [N, G]."""
    squares = np.square(places[:, None] - lattice[None]).sum(-1)
    # As wide as the lattice's own spacing, so that what lies between its points moves with all of them.
    apart = np.square(lattice[:, None] - lattice[None]).sum(-1)
    np.fill_diagonal(apart, np.inf)
    width = 0.5 * float(np.median(apart.min(1)))
    weights = np.exp(-(squares - squares.min(1, keepdims=True)) / (2 * width))
    return weights / weights.sum(1, keepdims=True)


def head_colours(points: Array, portrait: Portrait, statistics: PortraitStatistics) -> Array:
    """Median colour [N, 3] seen at head-frame points [N, 3]."""
    seen = []
    for row, frame in enumerate(statistics.frames):
        pose = portrait.pose.rotation[frame], portrait.pose.translation[frame]
        pixels = np.clip(np.floor(project(points, *pose, portrait.camera)).astype(int), 0, portrait.size - 1)
        seen.append(statistics.images[row, pixels[:, 1], pixels[:, 0]])
    return np.median(np.stack(seen), axis=0) / 255


def layer_base(cloud: Cloud, colours: Array, opacity_logit: float = 1.0) -> FloatArray:
    """Round Gaussians [14, N] of a cloud."""
    base = np.zeros((14, len(cloud.points)), np.float32)
    base[MEAN] = cloud.points.T
    base[LOG_SCALE] = np.log(np.maximum(cloud.spacing * OVERLAP, 1e-5))
    base[QUATERNION.start] = 1
    base[OPACITY_LOGIT] = opacity_logit
    base[COLOR] = colours.T
    return base


def mesh_basis(mesh: Array, conditions: Array) -> FloatArray:
    """How the mesh follows the condition: ridge regression. [F, V, 3], [F, C] -> [C, V, 3]."""
    centred = conditions - conditions.mean(0)
    normal = centred.T @ centred + 1e-3 * len(centred) * np.eye(centred.shape[1])
    offsets = (mesh - mesh.mean(0)).reshape(len(mesh), -1)
    return np.linalg.solve(normal, centred.T @ offsets).reshape(-1, *mesh.shape[1:]).astype(np.float32)


def bound_basis(samples: SurfaceSamples, vertex_basis: Array) -> FloatArray:
    """Basis [C, 7, N] that moves surface samples with their triangle, colour and opacity untouched."""
    basis = np.zeros((len(vertex_basis), 7, len(samples.weights)), np.float32)
    basis[:, :3] = np.einsum("nk,cnkd->cdn", samples.weights, vertex_basis[:, samples.vertices])
    return basis
