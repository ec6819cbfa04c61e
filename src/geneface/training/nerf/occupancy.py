"""Which cells of the head's cube hold density: the largest seen recently, over expressions and poses.

A cell whose last visitor was a closed mouth may be the chin of an open one: a maximum that fades slowly, over random
frames, keeps it. Some of the frames are taken beyond what was seen, because a wider mouth has a lower chin. Nothing is
ever marked outside of the prior's band.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface import ops
from geneface.ops.field import FIELD_BLOCK
from geneface.ops.nerf import CELLS, FieldScene, pack_cells, shifted
from geneface.render.condition import Expression
from geneface.training.nerf.config import NerfTrainConfig
from geneface.training.nerf.state import NerfState
from geneface.types import FloatArray, HeadPose

BEYOND, BEYOND_EVERY = 0.3, 4
"""How far beyond itself, at most, the expression of every so many a frame is taken."""


def warp_at(points: FloatArray, warps: FloatArray, box: tuple[float, float, float, float]) -> FloatArray:
    """The warps [B, G, J, 4] of some frames at points [B, N, 3] of their heads -> [B, N, 4], the last the gate."""
    rows, columns = warps.shape[1:3]
    x = np.clip((points[..., 0] - box[0]) * ((columns - 1) / (box[2] - box[0])), 0, columns - 1)
    y = np.clip((points[..., 1] - box[1]) * ((rows - 1) / (box[3] - box[1])), 0, rows - 1)
    column, row = np.minimum(x.astype(int), columns - 2), np.minimum(y.astype(int), rows - 2)
    fx, fy = (x - column)[..., None], (y - row)[..., None]
    block = np.arange(len(points))[:, None]
    upper = warps[block, row, column] * (1 - fx) + warps[block, row, column + 1] * fx
    lower = warps[block, row + 1, column] * (1 - fx) + warps[block, row + 1, column + 1] * fx
    return upper * (1 - fy) + lower * fy


def look_at_cells(
    state: NerfState, expressions: Expression, poses: HeadPose, frames: NDArray[np.int64], config: NerfTrainConfig
) -> None:
    """Evaluate the density at random points of random cells, each block of them in a random frame."""
    model = state.model
    rng = np.random.default_rng([config.seed, 1, state.step])
    blocks = config.occupancy_cells // FIELD_BLOCK
    candidates = np.flatnonzero(state.occupancy_density >= 0)
    if len(candidates) == 0:
        return
    chosen = rng.choice(candidates, (blocks, FIELD_BLOCK))
    seen = rng.choice(frames, blocks)
    z, y, x = np.unravel_index(chosen, state.occupancy_density.shape)
    points = (np.stack([x, y, z], -1) + rng.random((blocks, FIELD_BLOCK, 3), np.float32)) / np.float32(
        CELLS
    ) - np.float32(0.5)
    values = expressions.values[seen]
    excess = np.zeros_like(values)
    excess[::BEYOND_EVERY] = rng.uniform(0, BEYOND, (len(values[::BEYOND_EVERY]), 1)) * values[::BEYOND_EVERY]
    given = model.conditions_from(Expression(values, excess), poses.rotation[seen], poses.translation[seen])
    codes = np.broadcast_to(model.appearance, (blocks, len(model.appearance)))
    warp = warp_at(points, model.warps(given), model.warp_box).astype(np.float32, copy=False)
    canonical = np.ascontiguousarray(np.clip(points + warp[..., :3] + 0.5, 0, 1).reshape(-1, 3).T, np.float32)
    gates = np.ascontiguousarray(warp[..., 3].ravel())
    raw = ops.field_forward(model.head.field, canonical, model.head_bias(given, codes), gates=gates)
    density = np.exp(np.minimum(raw[0], ops.MAX_LOG_DENSITY))
    flat, cells = state.occupancy_density.reshape(-1), chosen.ravel()
    flat[np.unique(cells)] *= np.float32(config.occupancy_decay)
    np.maximum.at(flat, cells, density)


def mark_occupied(state: NerfState, scene: FieldScene, config: NerfTrainConfig) -> None:
    """Renew the bits of the occupancy grid, in place: full cells and their neighbours, inside of the prior's band."""
    full = state.occupancy_density > config.least_density
    grown = full.copy()
    for axis in range(3):
        grown |= shifted(full, axis, 1) | shifted(full, axis, -1)
    grown &= state.occupancy_density >= 0
    np.copyto(state.model.occupancy, pack_cells(grown))
    np.copyto(scene.coarse, ops.coarse_occupancy(state.model.occupancy))
