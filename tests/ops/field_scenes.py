"""Small radiance fields, pictures and batches, random but always the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geneface.ops.field import ENCODED, TORSO_INPUTS, Field, from_bfloat16, to_bfloat16
from geneface.ops.nerf import (
    CELLS,
    PATCH,
    PATCH_RAYS,
    TORSO_CELLS,
    FieldFrame,
    FieldScene,
    RayBatch,
    coarse_occupancy,
)

ROWS = 1 << 10
FOCAL = 2.5
"""Image widths."""


def make_field(width: int, dims: int = 3, rows: int = ROWS, seed: int = 0, density: float = 2.0) -> Field:
    """The first two levels are dense, the others hashed; values are large enough that every unit matters."""
    random = np.random.default_rng(seed)
    inputs = ENCODED if dims == 3 else TORSO_INPUTS
    resolution = (3, 8, 13, 29) if dims == 3 else (5, 20, 41, 77)

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (random.normal(size=shape) * scale).astype(np.float32)

    return Field(
        table=to_bfloat16(normal(4, rows, 8)),
        resolution=np.array(resolution, np.int32),
        w0=normal(width, inputs, scale=(2 / inputs) ** 0.5),
        w1=normal(width, width, scale=(2 / width) ** 0.5),
        b1=normal(width, scale=0.2),
        w2=normal(4, width, scale=(1 / width) ** 0.5),
        b2=np.array([density, 0.3, -0.2, 0.1], np.float32),
    )


def constant_field(like: Field, raw: tuple[float, float, float, float]) -> Field:
    """A field of zero table and weights: its raw outputs are `raw` everywhere."""
    zeros = {name: np.zeros_like(getattr(like, name)) for name in ("table", "w0", "w1", "b1", "w2")}
    return replace(like, **zeros, b2=np.array(raw, np.float32))


def ball_occupancy(radius: float = 0.4) -> np.ndarray:
    """Bits of the cells around the head's origin, in blocks of four: rounding rarely decides what is inside."""
    middle = (np.arange(CELLS) // 4 * 4 + 2) / CELLS - 0.5
    z, y, x = np.meshgrid(middle, middle, middle, indexing="ij")
    return np.packbits(x * x + y * y + z * z < radius * radius, axis=-1, bitorder="little").view(np.uint32)


def full_occupancy() -> np.ndarray:
    return np.full((CELLS, CELLS, CELLS // 32), 0xFFFFFFFF, np.uint32)


def make_scene(
    width: int = 32, torso_width: int = 32, occupancy: np.ndarray | None = None, step: float = 1 / 32, seed: int = 0
) -> FieldScene:
    """A ball-like head over a torso that fills the lower part of the picture."""
    occupancy = ball_occupancy() if occupancy is None else occupancy
    torso = np.zeros((TORSO_CELLS, TORSO_CELLS), np.uint8)
    torso[24:, 8:60] = 1
    return FieldScene(
        head=make_field(width, 3, seed=seed),
        torso=make_field(torso_width, 2, seed=seed + 1, density=0.5),
        occupancy=occupancy,
        coarse=coarse_occupancy(occupancy),
        torso_occupancy=torso,
        warp_box=(-0.4, -0.35, 0.4, 0.3),
        step=step,
    )


def rotation(random: np.random.Generator, angle: float = 0.3) -> np.ndarray:
    """A matrix near the identity."""
    skew = np.cross(np.eye(3), random.normal(size=3) * angle)
    q, r = np.linalg.qr(np.eye(3) + skew)
    return (q * np.sign(np.diag(r))).astype(np.float32)


def make_frame(scene: FieldScene, seed: int = 0, warp: float = 0.02) -> FieldFrame:
    random, others = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
    turn, width = rotation(random), scene.head.width
    bias = np.stack([random.normal(size=width), *others.normal(size=(2, width))])
    torso_bias = random.normal(size=scene.torso.width)
    nodes = random.normal(size=(5, 7, 4)) * warp
    # A third of the gates is 0, a third of either sign.
    nodes[..., 3] = (others.permutation(35) % 3 - 1).reshape(5, 7) * others.uniform(0.2, 1, (5, 7))
    return FieldFrame(
        rotation=turn,
        translation=np.array([0.03, -0.02, -3.1], np.float32),
        head_bias=bias.astype(np.float32) * 0.3,
        torso_bias=torso_bias.astype(np.float32) * 0.3,
        warp=nodes.astype(np.float32),
        torso_motion=(random.normal(size=6) * 0.03).astype(np.float32),
    )


def make_batch(
    scene: FieldScene, chunks: int = 3, patches: int = 2, size: int = 48, jitter: float = 0.5, seed: int = 0
) -> RayBatch:
    """Patches anywhere in the picture, each chunk a frame of its own."""
    random = np.random.default_rng(seed)
    frames = [make_frame(scene, seed + 10 + chunk) for chunk in range(chunks)]
    rays = (chunks, patches, PATCH_RAYS)
    masks = random.integers(0, 256, (*rays, 2)).astype(np.uint8)
    masks[..., 1] = np.minimum(masks[..., 1], 255 - masks[..., 0])
    return RayBatch(
        poses=np.stack([np.append(frame.rotation, frame.translation) for frame in frames]),
        head_bias=np.stack([frame.head_bias for frame in frames]),
        torso_bias=np.stack([frame.torso_bias for frame in frames]),
        warp=np.stack([frame.warp for frame in frames]),
        torso_motion=np.stack([frame.torso_motion for frame in frames]),
        corners=random.integers(0, size - PATCH + 1, (chunks, patches, 2)).astype(np.int32),
        jitter=random.uniform(-jitter, jitter, rays).astype(np.float32),
        target=random.integers(0, 256, (*rays, 3)).astype(np.uint8),
        masks=masks,
        plate=random.integers(0, 256, (*rays, 3)).astype(np.uint8),
        weight=random.uniform(0, 2, rays).astype(np.float32),
        focal_px=FOCAL * size,
        width=size,
        height=size,
    )


def exact_table(field: Field) -> np.ndarray:
    """[L, T, 8] float64."""
    return from_bfloat16(field.table).astype(np.float64)
