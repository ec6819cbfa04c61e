"""How to call the radiance fields' functions of `geneface.ops`; see fuzzers.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from geneface import ops
from geneface.ops.field import ENCODED, FIELD_BLOCK, OUTPUTS, TORSO_INPUTS, to_bfloat16
from geneface.ops.nerf import CELLS, PATCH, TORSO_CELLS

from .draw import Draw
from .fuzzers import Arguments, fuzzer, is_array, nothing


def _field(draw: Draw, dims: int) -> ops.Field:
    inputs, width = (ENCODED if dims == 3 else TORSO_INPUTS), draw.choice((32, 64))
    table = to_bfloat16(draw.floats(4, 1 << draw.integer(4, 8), ENCODED // 4))
    resolution = np.array([draw.choice((1, 5, 300, 4096)) for _ in range(4)], np.int32)
    shapes = (width, inputs), (width, width), (width,), (OUTPUTS, width), (OUTPUTS,)
    return ops.Field(table, resolution, *(draw.floats(*shape, scale=0.3) for shape in shapes))


def _points(draw: Draw) -> Arguments:
    dims, count = draw.choice((2, 3)), min(draw.length(), 3000)
    field = _field(draw, dims)
    extra = draw.floats(TORSO_INPUTS - ENCODED, count) if dims == 2 else None
    bias = draw.floats(-(-count // FIELD_BLOCK), field.width)
    return {"field": field, "positions": draw.floats(dims, count), "bias": bias, "extra": extra}


@fuzzer(lambda result, given: is_array(result, (OUTPUTS, given["positions"].shape[1])))
def field_forward(draw: Draw) -> Arguments:
    given = _points(draw)
    if draw.chance(0.5):
        return given
    bias = draw.floats(len(given["bias"]), 3, given["field"].width)
    return given | {"bias": bias, "gates": draw.floats(given["positions"].shape[1])}


@fuzzer(lambda result, given: is_array(result, (OUTPUTS, given["inputs"].shape[1])))
def field_network(draw: Draw) -> Arguments:
    given = _points(draw)
    count = given["positions"].shape[1]
    return {"field": given["field"], "inputs": draw.floats(given["field"].inputs, count), "bias": given["bias"]}


@fuzzer(lambda result, given: result > given["rounds"])
def multiply_peak(draw: Draw) -> Arguments:
    return {"rounds": draw.integer(1, 1000), "halves": draw.chance(0.5)}


@fuzzer(nothing)
def adam_table(draw: Draw) -> Arguments:
    shape = draw.integer(1, 4), 2 * draw.integer(0, 40), 8
    arrays = {name: draw.floats(*shape) for name in ("param", "first", "second")}
    grad, half = draw.floats(draw.integer(1, 3), *shape), np.zeros(shape, np.uint16)
    constants = {"step": draw.integer(1, 9), "lr": 1e-2, "beta1": 0.9, "beta2": 0.99, "eps": 1e-15}
    return arrays | {"grad": grad, "half": half} | constants


def _occupancy(draw: Draw) -> np.ndarray:
    bits = draw.random.integers(0, 1 << 32, (CELLS, CELLS, CELLS // 32), np.uint32)
    return bits if draw.chance(0.5) else np.zeros_like(bits)


@fuzzer(lambda result, given: is_array(result, (32, 32), np.uint32))
def coarse_occupancy(draw: Draw) -> Arguments:
    return {"occupancy": _occupancy(draw)}


def _scene(draw: Draw) -> ops.FieldScene:
    occupancy = _occupancy(draw)
    torso = draw.random.integers(0, 2, (TORSO_CELLS, TORSO_CELLS), np.uint8)
    box = draw.choice(((-0.3, -0.3, 0.3, 0.3), (0.0, 0.0, 1e-6, 1e-6), (-1e30, -1e30, 1e30, 1e30)))
    coarse = ops.coarse_occupancy(occupancy)
    return ops.FieldScene(_field(draw, 3), _field(draw, 2), occupancy, coarse, torso, box, draw.choice((0.02, 1.0)))


def _pose(draw: Draw) -> np.ndarray:
    rotation, _ = np.linalg.qr(draw.random.normal(size=(3, 3)))
    return np.concatenate([rotation.ravel(), np.array([0, 0, -3]) + draw.random.normal(size=3)]).astype(np.float32)


def _check_render(result: Any, given: Arguments) -> None:
    size = given["plate"].shape[:2]
    is_array(result[0], (*size, 4))
    is_array(result[1], size)
    assert result[2] >= 0


@fuzzer(_check_render)
def render_field(draw: Draw) -> Arguments:
    scene, pose = _scene(draw), _pose(draw)
    frame = ops.FieldFrame(
        np.ascontiguousarray(pose[:9].reshape(3, 3)),
        pose[9:].copy(),
        draw.floats(3, scene.head.width),
        draw.floats(scene.torso.width),
        draw.floats(draw.integer(2, 9), draw.integer(2, 9), 4, scale=0.01),
        draw.floats(6, scale=0.01),
    )
    plate = draw.floats(draw.integer(1, 40), draw.integer(1, 40), 3)
    height, width = plate.shape[:2]
    left, top = draw.integer(0, 30), draw.integer(0, 30)
    corner, size = draw.choice((
        ((0, 0), None),
        ((left, top), (left + width + draw.integer(0, 9), top + height + draw.integer(0, 9))),
    ))  # fmt: skip
    focal = draw.choice((1.0, 80.0, 9e5))
    return {"scene": scene, "frame": frame, "focal_px": focal, "plate": plate, "corner": corner, "size": size}


def _check_train(result: Any, given: Arguments) -> None:
    chunks = len(given["batch"].poses)
    is_array(result.pose, (chunks, 6))
    is_array(result.warp, given["batch"].warp.shape)
    assert (result.samples >= 0).all()


@fuzzer(_check_train)
def train_field(draw: Draw) -> Arguments:
    scene, chunks, patches = _scene(draw), draw.integer(0, 3), draw.integer(0, 2)
    width, height = draw.integer(PATCH, 40), draw.integer(PATCH, 40)
    rays = chunks, patches, ops.PATCH_RAYS
    corners = draw.random.integers(0, [width - PATCH + 1, height - PATCH + 1], (chunks, patches, 2))
    batch = ops.RayBatch(
        poses=np.stack([_pose(draw) for _ in range(chunks)]) if chunks else np.zeros((0, 12), np.float32),
        head_bias=draw.floats(chunks, 3, scene.head.width),
        torso_bias=draw.floats(chunks, scene.torso.width),
        warp=draw.floats(chunks, draw.integer(2, 5), draw.integer(2, 5), 4, scale=0.01),
        torso_motion=draw.floats(chunks, 6, scale=0.01),
        corners=corners.astype(np.int32),
        jitter=draw.random.random(rays, np.float32) - np.float32(0.5),
        target=draw.random.integers(0, 256, (*rays, 3), np.uint8),
        masks=draw.random.integers(0, 256, (*rays, 2), np.uint8),
        plate=draw.random.integers(0, 256, (*rays, 3), np.uint8),
        weight=draw.floats(*rays),
        focal_px=draw.choice((1.0, 80.0)),
        width=width,
        height=height,
    )
    slots = draw.integer(1, 3)
    return {
        "scene": scene,
        "batch": batch,
        "loss": ops.FieldLoss(edge=0.5, opaque=1e-3),
        "head_grad": ops.FieldGradients.zeros(scene.head, slots),
        "torso_grad": ops.FieldGradients.zeros(scene.torso, slots),
        "move": draw.chance(0.5),
    }
