"""First guess of a `NerfModel` from a portrait: where density can be, how the warp follows the landmarks, weights.

Symbols: F frames, V vertices of the tracked mesh, E values of the expression, G x J nodes of the warp, S x S the
portrait's image. Head units and the head frame: docs/conventions.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import MESH_INNER_MIDDLE, MESH_OVAL
from geneface.ops.field import ENCODED, OUTPUTS, TORSO_INPUTS, Field, to_bfloat16
from geneface.ops.nerf import CELLS, TORSO_CELLS, TORSO_SCALE, shifted
from geneface.portrait.portrait import Portrait
from geneface.render.nerf import ConditionedField
from geneface.signal.spans import spread_indices
from geneface.training.renderer.statistics import PortraitStatistics
from geneface.training.renderer.surface import (
    border,
    face_triangles,
    neck_filled,
    ramp,
    sample_mouth,
    sample_shell,
    sample_surface,
)
from geneface.types import FloatArray

Array = NDArray[np.floating]

WARP_FRAMES = 300
"""Frames from which the warp's dependence on the expression is fitted."""
WARP_SIGMA = 0.012
"""Head units: reach of a vertex, about the distance to its neighbours."""
WARP_STILL = 0.02
"""Weight of "nothing moves" against the vertices': the warp fades away outside of the face."""
WARP_MARGIN = 0.05
GATE_BORDER = 0.02
"""Head units on both sides of the outline of the face, between which the face's parts fade away."""
SURFACE_POINTS = 40_000
SURFACE_FRAMES = 40
SURFACE_BEYOND = 0.25
"""How far the mouths that are open most and least go on beyond that."""
FRONT, BACK, MOUTH_BACK, SHELL = 0.012, 0.02, 0.05, 0.02
"""Depth that may be filled: before and behind the face, behind the lips, on both sides of hair and ears."""
CONDITION_WEIGHT = 0.3
"""Largest weight of a condition before the first step."""
INITIAL_DENSITY = 120.0
"""Per head unit: a step through it covers six tenths."""


def warp_box(mesh: Array) -> tuple[float, float, float, float]:
    """Box in x and y around the face in all frames. mesh: [F, V, 3]."""
    low, high = mesh[..., :2].min((0, 1)) - WARP_MARGIN, mesh[..., :2].max((0, 1)) + WARP_MARGIN
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def inverse_warp(mesh: Array, still: Array, box: tuple[float, float, float, float], rows: int, columns: int) -> Array:
    """Displacement [rows, columns, 3] from one frame's head to the canonical one, at the nodes of a grid in x and y.

    Nadaraya-Watson with a Gaussian kernel around the frame's own vertices, so that it inverts their motion.

    Args:
        mesh: [V, 3] the frame's vertices.
        still: [V, 3] the same in the canonical head.
    """
    x, y = np.linspace(box[0], box[2], columns), np.linspace(box[1], box[3], rows)
    # The kernel of a distance in the plane is a product of two one-dimensional ones.
    across = np.exp(-0.5 * ((x[:, None] - mesh[:, 0]) / WARP_SIGMA) ** 2)
    down = np.exp(-0.5 * ((y[:, None] - mesh[:, 1]) / WARP_SIGMA) ** 2)
    values = np.concatenate([still - mesh, np.ones((len(mesh), 1))], 1)
    summed = np.stack([(down * value) @ across.T for value in values.T], -1)
    return summed[..., :3] / (summed[..., 3:] + WARP_STILL)


def fit_warp(mesh: Array, parts: Sequence[tuple[Array, Array]], box: tuple[float, float, float, float]) -> FloatArray:
    """How the warp follows each part of the expression, where it may: ridge regression.

    Args:
        mesh: [F, V, 3].
        parts: values [F, P] of a part of the expression, and how much they may move each node [G, J].

    Returns:
        [E, G, J, 4], the parts one after the other.
    """
    chosen = spread_indices(len(mesh), WARP_FRAMES)
    still, shape = mesh.mean(0), parts[0][1].shape
    warps = np.stack([inverse_warp(mesh[i], still, box, *shape) for i in chosen]).reshape(len(chosen), -1)
    result = []
    for values, share in parts:
        conditions = values[chosen].astype(np.float64)
        normal = conditions.T @ conditions + 1e-3 * len(chosen) * np.eye(conditions.shape[1])
        basis = np.linalg.solve(normal, conditions.T @ warps).reshape(-1, *shape, 3)
        result.append(basis * share[..., None])
    return np.pad(np.concatenate(result), [(0, 0)] * 3 + [(0, 1)]).astype(np.float32)


def face_gates(mesh: Array, box: tuple[float, float, float, float], shape: tuple[int, int]) -> FloatArray:
    """`NerfModel.gates` from the mesh [F, V, 3]: inside of the outline of the face, wherever it was in a frame.

    Nothing is lost at a border: all ramps are smooth, and both parts are 0 where they meet, under the eyes.
    """
    height, width = border(mesh.mean(0))
    oval = mesh[:, list(MESH_OVAL), :2]
    middle = oval.mean((0, 1))
    steps = oval - middle
    outermost = np.take_along_axis(steps, np.linalg.norm(steps, axis=-1).argmax(0)[None, :, None], 0)[0]
    x, y = np.meshgrid(np.linspace(box[0], box[2], shape[1]), np.linspace(box[1], box[3], shape[0]))

    def polar(points: Array) -> tuple[Array, Array]:
        return np.arctan2(points[..., 1], points[..., 0]), np.linalg.norm(points, axis=-1)

    angle, distance = polar(np.stack([x, y], -1) - middle)
    outline = polar(outermost)
    order = np.argsort(outline[0])
    # The face is star-shaped around its middle: how far it reaches in a direction says what is inside.
    reach = np.interp(angle, outline[0][order], outline[1][order], period=2 * np.pi)
    inside = ramp((reach - distance) / (2 * GATE_BORDER) + 0.5)
    gates = np.sign(y - height) * ramp(np.abs(y - height) / width) * inside
    # Outside of the grid its border counts.
    gates[[0, -1]], gates[:, [0, -1]] = 0, 0
    return gates.astype(np.float32)


def _cells(points: Array) -> NDArray[np.bool_]:
    """The cells [128, 128, 128] (z, y, x) that points [N, 3] lie in."""
    cells = np.zeros((CELLS, CELLS, CELLS), bool)
    index = np.floor((points + 0.5) * CELLS).astype(int)
    x, y, z = index[((index >= 0) & (index < CELLS)).all(1)].T
    cells[z, y, x] = True
    return cells


def _band(surface: NDArray[np.bool_], front: float, back: float) -> NDArray[np.bool_]:
    """Surface cells, those from `back` behind to `front` before them, and the neighbours in x and y."""
    wide = surface.copy()
    for axis in (1, 2):
        wide |= shifted(wide, axis, 1) | shifted(wide, axis, -1)
    band = wide.copy()
    for steps in range(-round(back * CELLS), round(front * CELLS) + 1):
        band |= shifted(wide, 0, steps)
    return band


def occupancy_prior(
    portrait: Portrait, frames: np.ndarray, statistics: PortraitStatistics, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Cells [128, 128, 128] (z, y, x) in which a head may be: a band around the surface, the union over expressions."""
    mesh = portrait.mesh[frames]
    samples = sample_surface(mesh.mean(0), face_triangles(), SURFACE_POINTS, rng)
    opening = mesh[:, MESH_INNER_MIDDLE[0], 1] - mesh[:, MESH_INNER_MIDDLE[1], 1]
    spread = np.argsort(opening)[spread_indices(len(mesh), SURFACE_FRAMES)]
    shapes = mesh[spread]
    # What is driven beyond what was seen must have room, too.
    ends = shapes[[0, -1]]
    shapes = np.concatenate([shapes, ends + SURFACE_BEYOND * (ends - mesh.mean(0))])
    surface = np.zeros((CELLS, CELLS, CELLS), bool)
    for shape in shapes:
        surface |= _cells(np.einsum("nk,nkd->nd", samples.weights, shape[samples.vertices]))
    mouth = sample_mouth(mesh.mean(0), SURFACE_POINTS // 10, rng)
    shell = sample_shell(portrait, statistics, SURFACE_POINTS, rng)
    face, hair = _band(surface, FRONT, BACK), _band(_cells(shell.points), SHELL, SHELL)
    return face | hair | _band(_cells(mouth.points), FRONT, MOUTH_BACK)


def torso_prior(torso_share: Array, head_share: Array) -> NDArray[np.uint8]:
    """Where on its plane a torso may be, [64, 64], from the mean masks [S, S]: as seen, and on under the jaw."""
    size = len(torso_share)
    rows, columns = np.nonzero((torso_share > 0.02) | neck_filled(torso_share, head_share))
    cells = np.zeros((TORSO_CELLS, TORSO_CELLS), np.uint8)
    place = (((np.stack([rows, columns]) + 0.5) / size - 0.5) * TORSO_SCALE + 0.5) * TORSO_CELLS
    row, column = place.astype(int)
    # Two cells more on each side (and what lies below the picture), because the torso moves.
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            cells[np.clip(row + dy, 0, TORSO_CELLS - 1), np.clip(column + dx, 0, TORSO_CELLS - 1)] = 1
    if len(row):
        bottom = row.max()
        cells[bottom:] = cells[bottom]
    return cells


def uniform(rng: np.random.Generator, shape: tuple[int, ...], limit: float) -> FloatArray:
    """Random float32 values between -limit and limit."""
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def fresh_field(
    dims: int, rows_log2: int, width: int, resolution: tuple[int, ...], condition: int, rng: np.random.Generator
) -> tuple[ConditionedField, FloatArray]:
    """A field before its first step, and the float32 values of its table."""
    inputs = ENCODED if dims == 3 else TORSO_INPUTS
    table = uniform(rng, (len(resolution), 1 << rows_log2, ENCODED // len(resolution)), 1e-4)
    outputs = np.zeros(OUTPUTS, np.float32)
    outputs[0] = np.log(INITIAL_DENSITY) if dims == 3 else 2.0
    field = Field(
        to_bfloat16(table),
        np.array(resolution, np.int32),
        uniform(rng, (width, inputs), (6 / inputs) ** 0.5),
        uniform(rng, (width, width), (6 / width) ** 0.5),
        np.zeros(width, np.float32),
        uniform(rng, (OUTPUTS, width), 0.5 * (3 / width) ** 0.5),
        outputs,
    )
    weights = uniform(rng, (width, condition), CONDITION_WEIGHT)
    return ConditionedField(field, weights, uniform(rng, (width,), CONDITION_WEIGHT)), table
