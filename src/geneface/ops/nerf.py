"""Pictures of a head's and a torso's radiance field, and gradients for patches of training frames.

The head's network answers otherwise in each part of the face: its first layer's bias is one for all samples, plus one
that counts in the upper and one that counts in the lower face. A gate between -1 and 1, the fourth value of the warp's
nodes, says how much at a sample: max(gate, 0) of the upper, max(-gate, 0) of the lower, so never of both.

Symbols: H x W pixels, C chunks of P patches (all patches of a chunk belong to one frame), 64 = 8 x 8 rays of a patch,
G x J nodes of the warp, Wh and Wt widths of the head's and the torso's network, S slots. Frames and units:
docs/conventions.md.

A ray has samples at the depths (k + 1/2 + jitter) step (along the camera's axis, head units; k integer) wherever a cell
of the occupancy grid is marked, at most 32 of them. A sample is carried to the canonical head by the frame's warp,
looked up in the head's field, and blended front to back (Mildenhall et al. 2020, eq. 3) as long as at least a hundredth
of the light behind comes through. The torso is a field on the plane of the picture, moved by `torso_motion`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.ops.field import Field, FieldGradients, check_field, native_field, native_gradients
from geneface.ops.native import FLOAT_MAX, check, check_kind, check_size, kernels
from geneface.ops.types import Array

CELLS, COARSE_CELLS, TORSO_CELLS = 128, 32, 64
PATCH = 8
PATCH_RAYS = PATCH * PATCH
MAX_LOG_DENSITY = 9.0
MAX_RAY_SAMPLES = 32
MIN_RAY_TRANSMITTANCE = 1e-2
TORSO_SCALE = 0.8
"""The torso's plane is the picture's, in image widths around its middle, times this."""


@dataclass(frozen=True)
class FieldScene:
    """What all frames share."""

    head: Field
    torso: Field
    occupancy: NDArray[np.uint32]
    """[128, 128, 4] bits of the cells z, y, x (32 to a word, lowest first) of the head's cube [-1/2, 1/2]^3."""
    coarse: NDArray[np.uint32]
    """[32, 32] bits of cells four times as large, each grown by one: see `coarse_occupancy`."""
    torso_occupancy: NDArray[np.uint8]
    """[64, 64] rows and columns of the torso's plane."""
    warp_box: tuple[float, float, float, float]
    """x, y of the first node of the warp and of the last, head units."""
    step: float
    """Depth between two samples, head units."""


@dataclass(frozen=True)
class FieldFrame:
    """What changes from frame to frame."""

    rotation: Array
    """[3, 3] head to camera."""
    translation: Array
    """[3]."""
    head_bias: Array
    """[3, Wh]: the first layer's bias, which carries the condition: everywhere, more in upper and lower face."""
    torso_bias: Array
    """[Wt]."""
    warp: Array
    """[G, J, 4] added to a point of the head at x, y; the fourth is the gate. Beyond the box its border counts."""
    torso_motion: Array
    """[6] rows of an affine map of the plane, less the identity."""


@dataclass(frozen=True, kw_only=True)
class RayBatch:
    """Patches of training frames."""

    poses: Array
    """[C, 12] rotation matrix and translation."""
    head_bias: Array
    """[C, 3, Wh]."""
    torso_bias: Array
    """[C, Wt]."""
    warp: Array
    """[C, G, J, 4]."""
    torso_motion: Array
    """[C, 6]."""
    corners: NDArray[np.int32]
    """[C, P, 2] x and y of each patch's first pixel."""
    jitter: Array
    """[C, P, 64] in steps."""
    target: NDArray[np.uint8]
    """[C, P, 64, 3]."""
    masks: NDArray[np.uint8]
    """[C, P, 64, 2] head, torso."""
    plate: NDArray[np.uint8]
    """[C, P, 64, 3]."""
    weight: Array
    """[C, P, 64] of the colour loss."""
    focal_px: float
    width: int
    height: int


@dataclass(frozen=True)
class FieldLoss:
    """Weights of `train_field`'s losses, all means over pixels."""

    epsilon: float = 1e-3
    """Colour: sqrt(d^2 + epsilon^2) - epsilon."""
    edge: float = 0.0
    """The same for differences of neighbouring pixels, times this."""
    silhouette: float = 0.1
    """sqrt(d^2 + silhouette_epsilon^2) for the head's opacity and that of head and torso, times this."""
    opaque: float = 0.0
    """Transmittance behind each sample, summed up along rays of the head's mask, times this: heads are opaque."""
    silhouette_epsilon: float = 0.05


@dataclass(frozen=True)
class BatchGradients:
    """Gradients of everything but the fields' own parameters."""

    head_bias: Array
    """[C, 3, Wh]."""
    torso_bias: Array
    """[C, Wt]."""
    warp: Array
    """[C, G, J, 4]; gates have none, nor does their slope count for where a sample is carried."""
    pose: Array
    """[C, 6] turn w and shift s of X_camera = exp(w) R X_head + t + s; the warp's own slope is left out."""
    torso_motion: Array
    """[C, 6]."""
    losses: NDArray[np.float64]
    """[C, 3] colour, silhouettes, light behind samples."""
    samples: NDArray[np.int64]
    """[C] samples that were looked up."""


def pack_cells(cells: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Bits [..., N / 32], lowest first, of cells [..., N]."""
    return np.packbits(cells, axis=-1, bitorder="little").view(np.uint32)


def unpack_cells(bits: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Invert `pack_cells`."""
    return np.unpackbits(bits.view(np.uint8), axis=-1, bitorder="little").astype(bool)


def shifted(cells: NDArray[np.bool_], axis: int, steps: int) -> NDArray[np.bool_]:
    """The cells moved along an axis; nothing comes in at the edge."""
    result = np.zeros_like(cells)
    source, target = [slice(None)] * cells.ndim, [slice(None)] * cells.ndim
    length = cells.shape[axis]
    source[axis] = slice(max(-steps, 0), length - max(steps, 0))
    target[axis] = slice(max(steps, 0), length + min(steps, 0))
    result[tuple(target)] = cells[tuple(source)]
    return result


def coarse_occupancy(occupancy: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """`FieldScene.coarse` of an occupancy grid [128, 128, 4]."""
    check("occupancy", occupancy, (CELLS, CELLS, CELLS // 32), np.uint32)
    coarse = unpack_cells(occupancy).reshape((COARSE_CELLS, 4) * 3).any((1, 3, 5))
    for axis in range(3):
        coarse = coarse | shifted(coarse, axis, 1) | shifted(coarse, axis, -1)
    return pack_cells(coarse)[..., 0]


def _check_warp_box(box: tuple[float, float, float, float]) -> None:
    if len(box) != 4 or not all(abs(value) <= FLOAT_MAX for value in box) or not (box[2] > box[0] and box[3] > box[1]):
        raise ValueError(f"warp_box must be x0, y0, x1, y1 with x1 > x0 and y1 > y0, not {box}")


def _native_scene(scene: FieldScene, rows: int, columns: int) -> Any:
    check_kind("scene", scene, FieldScene)
    check_field("scene.head", scene.head, 3)
    check_field("scene.torso", scene.torso, 2)
    check("scene.occupancy", scene.occupancy, (CELLS, CELLS, CELLS // 32), np.uint32)
    check("scene.coarse", scene.coarse, (COARSE_CELLS, COARSE_CELLS), np.uint32)
    check("scene.torso_occupancy", scene.torso_occupancy, (TORSO_CELLS, TORSO_CELLS), np.uint8)
    _check_warp_box(scene.warp_box)
    if not 1e-3 <= scene.step <= 1:
        raise ValueError(f"scene.step must be between .001 and 1, not {scene.step}")
    if rows < 2 or columns < 2:
        raise ValueError(f"the warp must have 2 x 2 nodes at least, not {rows} x {columns}")
    return kernels().SceneArrays(
        native_field(scene.head),
        native_field(scene.torso),
        scene.occupancy,
        scene.coarse,
        scene.torso_occupancy,
        list(scene.warp_box),
        rows,
        columns,
        scene.step,
    )


def _check_poses(poses: Array, focal_px: float) -> None:
    if not np.isfinite(poses).all() or (np.abs(poses[..., 9:]) > 100).any():
        raise ValueError("poses must be finite, and no farther than 100 head units")
    if not 0 < focal_px < 1e6:
        raise ValueError(f"focal_px must be positive, not {focal_px}")


def render_field(
    scene: FieldScene,
    frame: FieldFrame,
    focal_px: float,
    plate: Array,
    corner: tuple[int, int] = (0, 0),
    size: tuple[int, int] | None = None,
) -> tuple[Array, Array, int]:
    """Draw head over torso over plate.

    Args:
        plate: [H, W, 3] float32.
        corner: column and row of the plate's first pixel, where it is a part of a larger picture.
        size: width and height of that picture, by default the plate's.

    Returns:
        image [H, W, 4], its last channel the head's opacity; opacity [H, W] of head and torso; number of samples.
    """
    check_kind("frame", frame, FieldFrame)
    check("plate", plate, (None, None, 3))
    height, width = plate.shape[:2]
    whole = size or (width, height)
    check_size(width, height)
    check_size(*whole)
    if not all(0 <= first <= total - part for first, part, total in zip(corner, (width, height), whole, strict=True)):
        raise ValueError(f"a part of {width} x {height} pixels at {corner} does not lie in a picture of {whole}")
    check("frame.warp", frame.warp, (None, None, 4))
    native = _native_scene(scene, *frame.warp.shape[:2])
    check("frame.rotation", frame.rotation, (3, 3))
    check("frame.translation", frame.translation, (3,))
    check("frame.head_bias", frame.head_bias, (3, scene.head.width))
    check("frame.torso_bias", frame.torso_bias, (scene.torso.width,))
    check("frame.torso_motion", frame.torso_motion, (6,))
    pose = np.concatenate([frame.rotation.ravel(), frame.translation])
    _check_poses(pose, focal_px)
    image, opacity = np.empty((height, width, 4), np.float32), np.empty((height, width), np.float32)
    samples = kernels().render_field(
        native,
        pose,
        focal_px,
        frame.head_bias,
        frame.torso_bias,
        frame.warp,
        frame.torso_motion,
        plate,
        image,
        opacity,
        *corner,
        *whole,
    )
    return image, opacity, samples


def _native_batch(scene: FieldScene, batch: RayBatch) -> tuple[Any, Any]:
    check_kind("batch", batch, RayBatch)
    check("batch.corners", batch.corners, (None, None, 2), np.int32)
    chunks, patches = batch.corners.shape[:2]
    check("batch.warp", batch.warp, (chunks, None, None, 4))
    native = _native_scene(scene, *batch.warp.shape[1:3])
    check("batch.poses", batch.poses, (chunks, 12))
    _check_poses(batch.poses, batch.focal_px)
    check_size(batch.width, batch.height)
    size = np.array([batch.width, batch.height])
    if batch.corners.size and (batch.corners.min() < 0 or (batch.corners > size - PATCH).any()):
        raise ValueError("patches must lie inside of the image")
    rays = (chunks, patches, PATCH_RAYS)
    check("batch.head_bias", batch.head_bias, (chunks, 3, scene.head.width))
    check("batch.torso_bias", batch.torso_bias, (chunks, scene.torso.width))
    check("batch.torso_motion", batch.torso_motion, (chunks, 6))
    check("batch.jitter", batch.jitter, rays)
    if batch.jitter.size and not np.abs(batch.jitter).max() <= 0.5:
        raise ValueError("jitter must be between -1/2 and 1/2")
    check("batch.target", batch.target, (*rays, 3), np.uint8)
    check("batch.masks", batch.masks, (*rays, 2), np.uint8)
    check("batch.plate", batch.plate, (*rays, 3), np.uint8)
    check("batch.weight", batch.weight, rays)
    view = kernels().BatchArrays(
        batch.poses,
        batch.head_bias,
        batch.torso_bias,
        batch.warp,
        batch.torso_motion,
        batch.corners,
        batch.jitter,
        batch.target,
        batch.masks,
        batch.plate,
        batch.weight,
        batch.focal_px,
        batch.width,
        batch.height,
    )
    return native, view


def train_field(
    scene: FieldScene,
    batch: RayBatch,
    loss: FieldLoss,
    head_grad: FieldGradients,
    torso_grad: FieldGradients,
    *,
    move: bool = True,
) -> BatchGradients:
    """Losses of a batch of patches and their gradients.

    The same bits come out whatever the number of threads: the work is divided among the slots of the gradients.

    Args:
        head_grad, torso_grad: with as many slots each; gradients are added to what is there.
        move: False leaves the gradients of warp and pose zero, and saves their time.

    Raises:
        ValueError: something does not fit.
    """
    native, view = _native_batch(scene, batch)
    check_kind("loss", loss, FieldLoss)
    weights = (loss.epsilon, loss.silhouette, loss.silhouette_epsilon, loss.edge, loss.opaque)
    if not all(0 <= weight <= FLOAT_MAX for weight in weights):
        raise ValueError("weights and epsilons of the losses must not be negative")
    if not (loss.epsilon > 0 and loss.silhouette_epsilon > 0):
        raise ValueError("the losses' epsilons must be positive")
    head = native_gradients("head_grad", head_grad, scene.head)
    torso = native_gradients("torso_grad", torso_grad, scene.torso)
    if head_grad.table.shape[0] != torso_grad.table.shape[0]:
        raise ValueError("head_grad and torso_grad must have as many slots each")
    chunks = len(batch.poses)
    out = BatchGradients(
        np.zeros_like(batch.head_bias),
        np.zeros_like(batch.torso_bias),
        np.zeros_like(batch.warp),
        np.zeros((chunks, 6), np.float32),
        np.zeros((chunks, 6), np.float32),
        np.zeros((chunks, 3)),
        np.zeros(chunks, np.int64),
    )
    arrays = (out.head_bias, out.torso_bias, out.warp, out.pose, out.torso_motion, out.losses, out.samples)
    kernels().train_field(native, view, *weights, move, head, torso, kernels().BatchGradients(*arrays))
    return out
