"""The radiance-field renderer of `ops.nerf` once more, in plain PyTorch: to read, to test against, to run elsewhere.

Same algorithm, same constants, same arrays; gradients by autograd instead of by hand. It takes any device and dtype:
float64 is what tests hold the kernels to, float32 is for speed. It was written to run on CUDA, too (nothing but tensor
operations that exist there), but it has NOT been measured, or even tried, on a GPU.

Symbols: N points or samples, R rays, C frames, W width of a hidden layer, I inputs of a network, the others
as in `ops.field` and `ops.nerf`. Read in this order: `encode` and `network` are a field; `march` finds samples on rays,
`blend` makes a head of them, `torso` stands behind it; `render` puts them together. Losses are in `torch_field_train`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from geneface.ops.field import FEATURES, Field, FieldGradients, from_bfloat16
from geneface.ops.nerf import (
    CELLS,
    MAX_LOG_DENSITY,
    MAX_RAY_SAMPLES,
    MIN_RAY_TRANSMITTANCE,
    TORSO_CELLS,
    TORSO_SCALE,
    FieldFrame,
    FieldScene,
    RayBatch,
    unpack_cells,
)
from geneface.ops.types import Array

HASH_PRIMES = (1, 2654435761, 805459861)
CUBE_RADIUS = 0.867
"""Half the diagonal of the unit cube, a little more."""
RAYS_AT_ONCE = 2048
"""Pictures and batches are computed in parts of so many rays, which keeps their memory below some hundred MB."""


@dataclass(frozen=True)
class TorchField:
    """Parameters of one field, float leaves of the graph. Layouts: `ops.field.Field`."""

    table: Tensor
    w0: Tensor
    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor
    resolution: tuple[int, ...]
    dims: int

    @classmethod
    def of(cls, field: Field, device: torch.device | str, dtype: torch.dtype) -> TorchField:
        """The same values; bfloat16 is exact in float32."""
        arrays = (from_bfloat16(field.table), field.w0, field.w1, field.b1, field.w2, field.b2)
        return cls(
            *(_leaf(array, device, dtype) for array in arrays),
            resolution=tuple(field.resolution.tolist()),
            dims=field.dims,
        )

    @property
    def parameters(self) -> dict[str, Tensor]:
        """What autograd differentiates, by the names of `ops.Field`."""
        return {entry.name: getattr(self, entry.name) for entry in fields(FieldGradients)}


@dataclass(frozen=True)
class TorchScene:
    """What all frames share. Layouts: `ops.nerf.FieldScene`."""

    head: TorchField
    torso: TorchField
    occupancy: Tensor
    """[128, 128, 128] bool, z, y, x."""
    torso_occupancy: Tensor
    """[64, 64] bool."""
    warp_box: tuple[float, float, float, float]
    step: float

    @classmethod
    def of(
        cls, scene: FieldScene, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> TorchScene:
        """The scene on a device, its fields' parameters leaves that require gradients."""
        return cls(
            TorchField.of(scene.head, device, dtype),
            TorchField.of(scene.torso, device, dtype),
            torch.from_numpy(unpack_cells(scene.occupancy)).to(device),
            torch.from_numpy(scene.torso_occupancy.astype(bool)).to(device),
            scene.warp_box,
            scene.step,
        )


@dataclass(frozen=True)
class TorchFrames:
    """What changes from frame to frame, for C frames of one size; every tensor is a leaf."""

    poses: Tensor
    """[C, 12] rotation matrix and translation."""
    turn_shift: Tensor
    """[C, 6], zero: w and s of X_camera = exp(w) R X_head + t + s, there to get a gradient."""
    head_bias: Tensor
    """[C, 3, W]."""
    torso_bias: Tensor
    warp: Tensor
    """[C, G, J, 4]."""
    torso_motion: Tensor
    focal_px: float
    width: int
    height: int

    @classmethod
    def of_batch(cls, batch: RayBatch, device: torch.device | str, dtype: torch.dtype) -> TorchFrames:
        """The frames of a batch of patches."""
        still = np.zeros((len(batch.poses), 6), np.float32)
        arrays = (batch.poses, still, batch.head_bias, batch.torso_bias, batch.warp, batch.torso_motion)
        return cls(
            *(_leaf(array, device, dtype) for array in arrays),
            focal_px=batch.focal_px,
            width=batch.width,
            height=batch.height,
        )

    @classmethod
    def of_frame(
        cls, frame: FieldFrame, focal_px: float, width: int, height: int, device: torch.device | str, dtype: torch.dtype
    ) -> TorchFrames:
        """One frame."""
        pose = np.concatenate([frame.rotation.ravel(), frame.translation])
        arrays = (pose, np.zeros(6), frame.head_bias, frame.torso_bias, frame.warp, frame.torso_motion)
        return cls(
            *(_leaf(array[None], device, dtype) for array in arrays), focal_px=focal_px, width=width, height=height
        )


@dataclass(frozen=True)
class Rays:
    """Pixels of frames."""

    frame: Tensor
    """[R] number of the frame."""
    pixel: Tensor
    """[R, 2] x and y of the pixel's centre."""
    jitter: Tensor
    """[R] in steps."""


@dataclass(frozen=True)
class Samples:
    """Samples of all rays in one list: most of the lattice is empty, and is not computed."""

    ray: Tensor
    """[N]."""
    slot: Tensor
    """[N] 0 for a ray's first sample, at most MAX_RAY_SAMPLES - 1."""
    position: Tensor
    """[N, 3] in the canonical head, [0, 1]."""
    gate: Tensor
    """[N] of the bias."""


@dataclass(frozen=True)
class Picture:
    """R pixels without the plate behind them."""

    color: Tensor
    """[R, 3] of the head, times its opacity."""
    transmittance: Tensor
    """[R] of the head."""
    light: Tensor
    """[R] transmittance behind each sample of the head, summed up."""
    torso_color: Tensor
    """[R, 3]."""
    torso_opacity: Tensor
    """[R]."""
    samples: Samples

    def over(self, plate: Tensor) -> Tensor:
        """[R, 3]: head over torso over plate."""
        solid = self.torso_opacity[:, None]
        return self.color + self.transmittance[:, None] * (solid * self.torso_color + (1 - solid) * plate)

    @property
    def opacity(self) -> Tensor:
        """[R] of head and torso."""
        return 1 - self.transmittance * (1 - self.torso_opacity)


def _leaf(array: Array, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype, copy=True).requires_grad_()


# ---- a field


def weighted_rows(table: Tensor, numbers: Tensor, weights: Tensor) -> Tensor:
    """[N, F] sums of rows of `table` [rows, F], K of them each, by numbers [N, K] and weights [N, K]."""
    if not torch.is_grad_enabled():
        return functional.embedding_bag(numbers, table, per_sample_weights=weights, mode="sum")
    # The forward pass takes four times as long as embedding_bag, the backward pass half as long.
    rows = table.index_select(0, numbers.view(-1)).view(*numbers.shape, table.shape[1])
    return torch.bmm(weights[:, None, :], rows)[:, 0]


def encode(field: TorchField, positions: Tensor) -> Tensor:
    """Features [N, 32] of positions [N, D] in [0, 1]: rows of every level's grid, linearly interpolated."""
    rows = field.table.shape[1]
    numbers, weights = [], []
    for level, resolution in enumerate(field.resolution):
        scaled = positions * resolution
        cell = scaled.detach().long().clamp(0, resolution - 1)
        share = scaled - cell
        dense = (resolution + 1) ** field.dims <= rows
        number, weight = None, torch.ones_like(share[:, :1])
        for axis in range(field.dims):
            # A column for either end of the cell along this axis.
            node = cell[:, axis, None] + torch.arange(2, device=cell.device)
            # In 64 bits nothing wraps around; the lowest bits are those that 32-bit arithmetic leaves.
            term = node * ((resolution + 1) ** axis if dense else HASH_PRIMES[axis])
            if number is None:
                number = term
            else:
                pair = number[:, None, :], term[:, :, None]
                number = (pair[0] + pair[1] if dense else pair[0] ^ pair[1]).flatten(1)
            ends = torch.stack([1 - share[:, axis], share[:, axis]], 1)
            weight = (weight[:, None, :] * ends[:, :, None]).flatten(1)
        assert number is not None
        numbers.append((number & (rows - 1)) + level * rows)
        weights.append(weight)
    number, weight = (torch.stack(parts, 1).view(-1, 1 << field.dims) for parts in (numbers, weights))
    return weighted_rows(field.table.view(-1, FEATURES), number, weight).view(-1, len(numbers) * FEATURES)


def network(field: TorchField, inputs: Tensor, bias: Tensor) -> Tensor:
    """Raw outputs [N, 4] for inputs [N, I]; `bias` [N, W] of the first layer carries the condition."""
    hidden = torch.relu(inputs @ field.w0.T + bias)
    hidden = torch.relu(functional.linear(hidden, field.w1, field.b1))
    return functional.linear(hidden, field.w2, field.b2)


def field_forward(field: TorchField, positions: Tensor, bias: Tensor, extra: Tensor | None = None) -> Tensor:
    """Raw outputs [N, 4] at positions [N, D]; `extra` [N, I - 32] holds further inputs."""
    features = encode(field, positions)
    return network(field, features if extra is None else torch.cat([features, extra], 1), bias)


# ---- rays through the head


def head_rays(frames: TorchFrames, rays: Rays) -> tuple[Tensor, Tensor]:
    """Origin and direction [R, 3] of each ray in the head's frame; the direction is of camera depth 1."""
    w, shift = frames.turn_shift[:, :3], frames.turn_shift[:, 3:]
    # exp(w) to the first order: w is zero, and its gradient is all that is wanted.
    one = torch.eye(3).to(w).expand(len(w), 3, 3)
    turn = one + torch.linalg.cross(w[:, None, :].expand_as(one), one).mT
    back = (turn @ frames.poses[:, :9].view(-1, 3, 3)).mT
    origin = -(back @ (frames.poses[:, 9:] + shift)[:, :, None])[..., 0]
    half = rays.pixel.new_tensor([frames.width / 2, frames.height / 2])
    x, y = ((rays.pixel - half) / frames.focal_px).unbind(1)
    camera = torch.stack([x, -y, -torch.ones_like(x)], 1)
    return origin[rays.frame], (back[rays.frame] @ camera[:, :, None])[..., 0]


def warp_offsets(frames: TorchFrames, frame: Tensor, points: Tensor, box: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """What the frame's warp adds to points [N, 3] of the head, and the gates [N]; beyond the box its border counts."""
    rows, columns = frames.warp.shape[1:3]
    x0, y0, x1, y1 = box
    x = ((points[:, 0] - x0) * ((columns - 1) / (x1 - x0))).clamp(0, columns - 1)
    y = ((points[:, 1] - y0) * ((rows - 1) / (y1 - y0))).clamp(0, rows - 1)
    left, low = x.long().clamp(max=columns - 2), y.long().clamp(max=rows - 2)
    ax, ay = x - left, y - low
    node = (frame * rows + low) * columns + left
    nodes = torch.stack([node, node + 1, node + columns, node + columns + 1], 1)
    shares = torch.stack([(1 - ax) * (1 - ay), ax * (1 - ay), (1 - ax) * ay, ax * ay], 1)
    found = weighted_rows(frames.warp.view(-1, 4), nodes, shares)
    return found[:, :3], found[:, 3].detach()


@torch.no_grad()
def occupied_depths(scene: TorchScene, frames: TorchFrames, rays: Rays) -> tuple[Tensor, Tensor, Tensor]:
    """Ray, slot and depth of the first MAX_RAY_SAMPLES samples of each ray in occupied cells."""
    middle = -frames.poses[:, 11]
    first = int(max(float(middle.min()) - CUBE_RADIUS, 0) / scene.step)
    last = int(max(float(middle.max()) + CUBE_RADIUS, 0) / scene.step)
    depth = (torch.arange(first, last + 1).to(rays.jitter) + 0.5 + rays.jitter[:, None]) * scene.step
    origin, direction = head_rays(frames, rays)
    points = origin[:, None, :] + depth[..., None] * direction[:, None, :] + 0.5
    x, y, z = (points * CELLS).long().clamp(0, CELLS - 1).unbind(-1)
    occupied = ((points >= 0) & (points < 1)).all(-1) & scene.occupancy[z, y, x]
    rank = occupied.cumsum(1)
    ray, column = (occupied & (rank <= MAX_RAY_SAMPLES)).nonzero(as_tuple=True)
    return ray, rank[ray, column] - 1, depth[ray, column]


def march(scene: TorchScene, frames: TorchFrames, rays: Rays) -> Samples:
    """Samples of each ray at depths (k + 1/2 + jitter) step in occupied cells, carried to the canonical head."""
    ray, slot, depth = occupied_depths(scene, frames, rays)
    origin, direction = head_rays(frames, rays)
    points = origin[ray] + depth[:, None] * direction[ray]
    # The warp is looked up at the point as it is now: its own slope has no part in the pose's gradient.
    offsets, gate = warp_offsets(frames, rays.frame[ray], points.detach(), scene.warp_box)
    return Samples(ray, slot, (points + offsets + 0.5).clamp(0, 1), gate)


def gated_bias(bias: Tensor, gate: Tensor) -> Tensor:
    """The first layer's bias [N, W] at samples, from its parts [N, 3, W]: everywhere, upper face, lower face."""
    return bias[:, 0] + torch.relu(gate)[:, None] * bias[:, 1] + torch.relu(-gate)[:, None] * bias[:, 2]


def blend(raw: Tensor, samples: Samples, rays: int, step: float) -> tuple[Tensor, Tensor, Tensor]:
    """Colour [R, 3], transmittance [R], light [R] of the head from raw outputs [N, 4] of its samples, front to back."""
    place = samples.ray, samples.slot
    thickness = raw.new_zeros(rays, MAX_RAY_SAMPLES).index_put(place, raw[:, 0].clamp(max=MAX_LOG_DENSITY).exp() * step)
    before = torch.exp(thickness - thickness.cumsum(1))
    drawn = before.detach() >= MIN_RAY_TRANSMITTANCE
    thickness = thickness * drawn
    real = torch.zeros_like(drawn).index_put(place, torch.ones_like(samples.ray, dtype=torch.bool))
    light = (torch.exp(-thickness.cumsum(1)) * (drawn & real)).sum(1)
    share = before * -torch.expm1(-thickness)
    color = share[place][:, None] * torch.sigmoid(raw[:, 1:])
    return raw.new_zeros(rays, 3).index_add(0, samples.ray, color), torch.exp(-thickness.sum(1)), light


# ---- behind the head


def torso_points(scene: TorchScene, frames: TorchFrames, rays: Rays, transmittance: Tensor) -> tuple[Tensor, Tensor]:
    """Rays [N] that reach the torso, and where they meet its plane [N, 2], in [0, 1]."""
    half = rays.pixel.new_tensor([frames.width / 2, frames.height / 2])
    q = (rays.pixel - half) / frames.width
    m = (frames.torso_motion.view(-1, 2, 3) + torch.eye(2, 3).to(q))[rays.frame]
    plane = ((m[:, :, :2] @ q[:, :, None])[..., 0] + m[:, :, 2]) * TORSO_SCALE + 0.5
    x, y = (plane.detach() * TORSO_CELLS).long().clamp(0, TORSO_CELLS - 1).unbind(1)
    inside = ((plane >= 0) & (plane < 1)).all(1) & scene.torso_occupancy[y, x]
    (ray,) = (inside & (transmittance >= MIN_RAY_TRANSMITTANCE)).nonzero(as_tuple=True)
    return ray, plane[ray]


def torso(
    scene: TorchScene, frames: TorchFrames, rays: Rays, color: Tensor, transmittance: Tensor
) -> tuple[Tensor, Tensor]:
    """Colour [R, 3] and opacity [R] of the torso, which sees the head's but sends no gradient there."""
    ray, plane = torso_points(scene, frames, rays, transmittance)
    head = torch.cat([color, 1 - transmittance[:, None]], 1).detach()
    raw = field_forward(scene.torso, plane, frames.torso_bias[rays.frame[ray]], head[ray])
    values = raw.new_zeros(len(rays.frame), 4).index_put((ray,), torch.sigmoid(raw))
    return values[:, 1:], values[:, 0]


# ---- pictures


def render(scene: TorchScene, frames: TorchFrames, rays: Rays) -> Picture:
    """Head and torso at the rays' pixels."""
    samples = march(scene, frames, rays)
    bias = gated_bias(frames.head_bias[rays.frame[samples.ray]], samples.gate)
    raw = field_forward(scene.head, samples.position, bias)
    color, transmittance, light = blend(raw, samples, len(rays.frame), scene.step)
    return Picture(color, transmittance, light, *torso(scene, frames, rays, color, transmittance), samples)


@torch.no_grad()
def render_picture(scene: TorchScene, frames: TorchFrames, plate: Tensor) -> tuple[Tensor, Tensor, int]:
    """Like `ops.render_field` for the first frame: image [H, W, 4], opacity [H, W], number of samples."""
    y, x = torch.meshgrid(torch.arange(frames.height), torch.arange(frames.width), indexing="ij")
    pixels = torch.stack([x.flatten(), y.flatten()], 1).to(plate) + 0.5
    parts = []
    for pixel, behind in zip(pixels.split(RAYS_AT_ONCE), plate.view(-1, 3).split(RAYS_AT_ONCE), strict=True):
        rays = Rays(torch.zeros_like(pixel[:, 0], dtype=torch.long), pixel, torch.zeros_like(pixel[:, 0]))
        picture = render(scene, frames, rays)
        image = torch.cat([picture.over(behind), 1 - picture.transmittance[:, None]], 1)
        parts.append((image, picture.opacity, len(picture.samples.ray)))
    image, opacity = (torch.cat([part[k] for part in parts]) for k in range(2))
    shape = frames.height, frames.width
    return image.view(*shape, 4), opacity.view(shape), sum(part[2] for part in parts)
