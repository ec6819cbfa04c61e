"""The Gaussians' kernels, `ops.splatting` and `ops.image_loss`, once more in plain PyTorch: to read, test and compare.

Same algorithm, same constants, same layouts; gradients by autograd instead of by hand. It takes any device and dtype:
float64 is what tests hold the kernels to, float32 is for speed. It was written to run on CUDA, too (nothing but tensor
operations that exist there), but it has NOT been measured, or even tried, on a GPU.

Read in this order: `project` makes splats of Gaussians, `rasterize` a picture of splats, `image_loss` a number of
pictures; `train_loss` is all three. Symbols as in `ops.types`; T tiles of a group, K places in a tile's list.

Where it differs from the kernels:
- Every pixel of a tile sees every splat of the tile's list. The kernels leave out blocks of 4 x 4 pixels beyond a
  splat's bounds, and what lies behind finished pixels; neither changes the picture, since alpha is too small there, or
  set to 0. Of bounds narrower than the ellipse of alpha = 1/255, which `project` never makes, only the tiles count.
- Products of 1 - alpha are exponentials of sums of logarithms: `torch.compile` would make the gradient of `cumprod`
  again for every length of the lists. Uncompiled, `cumprod` is a tenth faster.
- u, v, conic of what lies behind the camera are those of depth 1. They are never read.
- What is not finite is not drawn here, either, but makes gradients of what it shares with others (condition, pose) NaN.

`torch.compile(train_loss)` works with its own choice of dynamic sizes. With dynamic=True the grouped convolution of the
loss does not compile (PyTorch 2.13).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from geneface.ops.image import SSIM_WINDOW_PX
from geneface.ops.reference import SSIM_C1, SSIM_C2
from geneface.ops.types import (
    COLOR,
    DEPTH,
    DILATION_PX2,
    DYNAMIC_ROWS,
    LOG_SCALE,
    MAX_ALPHA,
    MEAN,
    MIN_ALPHA,
    MIN_TRANSMITTANCE,
    NEAR,
    OPACITY,
    OPACITY_LOGIT,
    QUATERNION,
)
from geneface.types import Camera

TILE_PX = 16
PLACES_AT_ONCE = 1 << 12
"""Tiles are blended in groups of so many places in their lists, 4 MB for each intermediate value in float32.

Without gradients, that is. What the backward pass needs is kept for all groups: 1 GB for 30 000 Gaussians, 512 px.
"""
SSIM_SIGMA_PX = 1.5


@dataclass(frozen=True)
class TorchSplats:
    """Gaussians on the screen. Layouts: `ops.types.Splats`."""

    values: Tensor
    """[11, N]."""
    bounds: Tensor
    """[4, N] int64 first and last column, first and last row; last < first: not drawn."""


@dataclass(frozen=True)
class TileGroup:
    """Tiles whose lists are about equally long, as a rectangle."""

    tiles: Tensor
    """[T] numbers of the tiles, row by row."""
    corners: Tensor
    """[T, 2] x and y of the tile's corner, pixels."""
    splats: Tensor
    """[T, K] numbers of splats, near to far; N where the list is shorter."""


# ---- Gaussians to splats


def quaternion_matrix(quaternion: Tensor) -> Tensor:
    """Rotation matrices [3, 3, N] of unit quaternions wxyz [4, N]."""
    w, x, y, z = quaternion
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row) for row in rows])


def project(
    base: Tensor,
    basis: Tensor,
    condition: Tensor,
    rotation: Tensor,
    translation: Tensor,
    camera: Camera,
    *,
    label: float = 1.0,
) -> TorchSplats:
    """Move the Gaussians of a layer by the condition and project them to the screen, as `ops.project`.

    Args:
        base: [14, N].
        basis: [C, 7, D], D <= N; C or D may be 0.
        condition: [C].
        rotation: [3, 3] and translation [3]: X_camera = rotation X_head + translation.
        camera: focal length and image size.
        label: what the splats add to the label channel.
    """
    shift = (condition @ basis.flatten(1)).view(basis.shape[1:])
    rows = torch.stack([base[row] for row in DYNAMIC_ROWS])
    moved = base.clone()
    moved[list(DYNAMIC_ROWS)] = rows + functional.pad(shift, (0, base.shape[1] - basis.shape[2]))

    points = rotation @ moved[MEAN] + translation[:, None]
    depth = -points[2]
    # A depth of zero would send NaN back, even though the gradient that arrives here is zero.
    safe = torch.where(depth > NEAR, depth, 1)
    x, y, scale = points[0] / safe, points[1] / safe, camera.focal * camera.width / safe
    u, v = camera.width / 2 + camera.focal * camera.width * x, camera.height / 2 - camera.focal * camera.width * y

    # d(u, v) / d(head point), [2, 3, N].
    right, up, back = rotation[..., None]
    jacobian = torch.stack([scale * (right + x * back), -scale * (up + y * back)])
    matrix = quaternion_matrix(moved[QUATERNION] / torch.linalg.vector_norm(moved[QUATERNION], dim=0))
    axes = matrix * torch.exp(moved[LOG_SCALE])
    screen_axes = (jacobian[:, :, None] * axes).sum(1)
    (xx, yy), xy = (screen_axes**2).sum(1) + DILATION_PX2, (screen_axes[0] * screen_axes[1]).sum(0)
    determinant = xx * yy - xy * xy
    opacity = torch.sigmoid(moved[OPACITY_LOGIT])
    conic = yy / determinant, -xy / determinant, xx / determinant
    values = torch.stack([u, v, depth, *conic, opacity, *moved[COLOR], torch.full_like(u, label)])
    with torch.no_grad():
        drawable = (depth > NEAR) & (opacity > MIN_ALPHA) & (determinant > 0)
        bounds = screen_bounds(u, v, xx, yy, opacity, drawable, camera)
    return TorchSplats(values, bounds)


def screen_bounds(
    u: Tensor, v: Tensor, xx: Tensor, yy: Tensor, opacity: Tensor, drawable: Tensor, camera: Camera
) -> Tensor:
    """[4, N] pixels where alpha may reach MIN_ALPHA: those of the ellipse's box, none where that is not finite."""
    reach = torch.sqrt(2 * torch.log(opacity / MIN_ALPHA).clamp(min=0))
    # A hundredth of a pixel covers rounding.
    half_width, half_height = reach * torch.sqrt(xx) + 0.01, reach * torch.sqrt(yy) + 0.01
    box = torch.stack([u - half_width, u + half_width, v - half_height, v + half_height])
    box = torch.where(drawable & torch.isfinite(box).all(0), box, -1) - 0.5
    ranges = []
    for low, high, size in ((box[0], box[1], camera.width), (box[2], box[3], camera.height)):
        ranges += [low.clamp(0, size).ceil(), high.clamp(-1, size - 1).floor()]
    return torch.stack(ranges).long()


# ---- splats to pixels


@torch.compiler.disable()
@torch.no_grad()
def tile_groups(splats: TorchSplats, width: int, height: int, tile_px: int) -> list[TileGroup]:
    """The splats of every tile, near to far, in groups of at most PLACES_AT_ONCE places; empty tiles are left out.

    Not compiled: all its sizes follow from the data.
    """
    device, tiles_x = splats.values.device, -(-width // tile_px)
    last = torch.tensor([[width - 1], [height - 1]], device=device)
    first_px, last_px = splats.bounds[::2].clamp(min=0), splats.bounds[1::2].minimum(last)
    drawn = (first_px <= last_px).all(0)
    first = first_px // tile_px
    across, down = (last_px // tile_px - first + 1) * drawn
    near_to_far = torch.argsort(splats.values[DEPTH], stable=True)

    # One pair for each tile of each splat, in the order of depth; then by tile, which keeps that order.
    counts = (across * down)[near_to_far]
    splat = near_to_far.repeat_interleave(counts)
    place = torch.arange(len(splat), device=device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    tile = (first[1, splat] + place // across[splat]) * tiles_x + first[0, splat] + place % across[splat]
    tile, order = torch.sort(tile, stable=True)
    splat = splat[order]

    tiles, lengths = torch.unique_consecutive(tile, return_counts=True)
    starts = lengths.cumsum(0) - lengths
    longest_first = torch.argsort(lengths, descending=True)
    sizes = lengths[longest_first].tolist()
    groups, begin = [], 0
    while begin < len(sizes):
        longest = sizes[begin]
        some = longest_first[begin : begin + max(PLACES_AT_ONCE // longest, 1)]
        slot = torch.arange(longest, device=device)
        source = (starts[some, None] + slot).clamp(max=len(splat) - 1)
        listed = torch.where(slot < lengths[some, None], splat[source], splats.values.shape[1])
        corners = torch.stack([tiles[some] % tiles_x, tiles[some] // tiles_x], 1) * tile_px
        groups.append(TileGroup(tiles[some], corners, listed))
        begin += len(some)
    return groups


def blend(rows: Tensor, corners: Tensor, tile_px: int) -> Tensor:
    """Blend lists of splats front to back (Kerbl et al. 2023, eq. 3).

    Args:
        rows: [T, K, 10] u, v, conic a b c, log of the opacity, red, green, blue, label.
        corners: [T, 2] x and y of the tiles' corners, pixels.
        tile_px: width and height of a tile.

    Returns:
        [T, 5, P] red, green, blue, label and opacity of the P = tile_px^2 pixels, row by row.
    """
    u, v, a, b, c, log_opacity = (rows[..., k, None] for k in range(6))
    centres = torch.arange(tile_px, device=rows.device) + 0.5
    dx, dy = (corners[:, k, None, None] + centres - at for k, at in enumerate((u, v)))
    # Only the mixed term is no sum of a column's and a row's.
    of_column, of_row = log_opacity - 0.5 * a * dx * dx, -0.5 * c * dy * dy
    log_alpha = of_column[:, :, None, :] + of_row[..., None] - (b * dy)[..., None] * dx[:, :, None, :]
    log_alpha = log_alpha.flatten(2)
    alpha = torch.where(log_alpha >= math.log(MIN_ALPHA), torch.exp(log_alpha).clamp(max=MAX_ALPHA), 0)
    log_through = torch.log1p(-alpha)
    before = torch.exp(log_through.cumsum(1) - log_through)
    # Transmittance only falls: where it is too low without this mask, it is with it.
    share = torch.where(before >= MIN_TRANSMITTANCE, alpha * before, 0)
    colors = torch.cat([rows[..., 6:], torch.ones_like(rows[..., :1])], 2)
    return colors.mT @ share


@torch.compiler.disable(recursive=False)
def rasterize(
    splats: TorchSplats, width: int, height: int, background: Tensor | None = None, *, tile_px: int = TILE_PX
) -> tuple[Tensor, Tensor]:
    """Blend splats front to back over a background, as `ops.rasterize`.

    Not compiled itself, because the number of groups changes from frame to frame; `blend` is, where the caller is.

    Args:
        splats: N splats, of one layer or several.
        width: pixels.
        height: pixels.
        background: [H, W, 3] or [3]; None is black.
        tile_px: width and height of the tiles; the picture does not depend on it.

    Returns:
        Image [H, W, 4] with labels, transmittance [H, W].
    """
    values = splats.values
    # Below MIN_ALPHA nothing is drawn anyway; the limit keeps gradients finite.
    log_opacity = torch.log(values[OPACITY].clamp(min=MIN_ALPHA / 2))
    table = torch.stack([*values[:2], *values[3:6], log_opacity, *values[7:]], 1)
    nothing = table.new_zeros(1, table.shape[1])
    nothing[0, 5] = -torch.inf
    table = torch.cat([table, nothing])
    tiles_x, tiles_y = -(-width // tile_px), -(-height // tile_px)
    pixels = table.new_zeros(tiles_x * tiles_y, 5, tile_px * tile_px)
    groups, blended = tile_groups(splats, width, height, tile_px), []
    for group in groups:
        rows = table.index_select(0, group.splats.flatten()).view(*group.splats.shape, -1)
        blended.append(blend(rows, group.corners, tile_px))
    if groups:
        pixels = pixels.index_copy(0, torch.cat([group.tiles for group in groups]), torch.cat(blended))
    pixels = pixels.view(tiles_y, tiles_x, 5, tile_px, tile_px).permute(0, 3, 1, 4, 2)  # tiles into rows of pixels
    pixels = pixels.reshape(tiles_y * tile_px, tiles_x * tile_px, 5)[:height, :width]
    image, transmittance = pixels[..., :4], 1 - pixels[..., 4]
    if background is not None:
        image = image + functional.pad(transmittance[..., None] * background, (0, 1))
    return image, transmittance


# ---- pictures to a loss


def _window(like: Tensor) -> Tensor:
    """[11] taps of a Gaussian."""
    taps = torch.arange(SSIM_WINDOW_PX).to(like) - SSIM_WINDOW_PX // 2
    return torch.softmax(-0.5 * (taps / SSIM_SIGMA_PX) ** 2, 0)


def _mirrored(planes: Tensor, axis: int, reach: int) -> Tensor:
    """Planes with `reach` more pixels at both ends of an axis (d c b a | a b c d | d c b a)."""
    size = planes.shape[axis]
    ends = planes.narrow(axis, 0, reach), planes.narrow(axis, size - reach, reach)
    return torch.cat([ends[0].flip(axis), planes, ends[1].flip(axis)], axis)


def blur(planes: Tensor) -> Tensor:
    """[B, H, W] planes under SSIM's window, mirrored at the image's edges."""
    taps, reach, count = _window(planes), SSIM_WINDOW_PX // 2, len(planes)
    # Planes are channels of their own, not pictures of a batch: thirty times as fast on a CPU.
    for axis, shape in ((2, (1, -1)), (1, (-1, 1))):
        kernels = taps.view(1, 1, *shape).expand(count, -1, -1, -1)
        planes = functional.conv2d(_mirrored(planes, axis, reach)[None], kernels, groups=count)[0]
    return planes


def structural_similarity(x: Tensor, y: Tensor) -> Tensor:
    """SSIM [3, H, W] of channels [3, H, W] (Wang et al. 2004, eq. 13)."""
    mean_x, mean_y, squares, product = blur(torch.cat([x, y, x * x + y * y, x * y])).chunk(4)
    mean_product, mean_squares = mean_x * mean_y, mean_x**2 + mean_y**2
    luminance = (2 * mean_product + SSIM_C1) / (mean_squares + SSIM_C1)
    return luminance * (2 * (product - mean_product) + SSIM_C2) / (squares - mean_squares + SSIM_C2)


def image_loss(
    prediction: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    l1: float = 0.8,
    dssim: float = 0.2,
    epsilon: float = 1e-3,
) -> Tensor:
    """Charbonnier and structural loss of an image [H, W, 3 or 4] and its target [H, W, 3], as `ops.image_loss`.

    Args:
        prediction: of its channels the first three count.
        target: [H, W, 3].
        weight: [H, W] or None for 1. The sum is divided by 3 H W, not by the weights.
        l1, dssim: weights of the two terms; dssim 0 saves its time.
        epsilon: rounds the corner of |d|; 0 is plain L1.
    """
    x, y = prediction[..., :3].permute(2, 0, 1), target.permute(2, 0, 1)
    difference = x - y
    # The root has no slope at zero.
    distance = torch.sqrt(difference**2 + epsilon**2) - epsilon if epsilon > 0 else difference.abs()
    loss = l1 * distance
    if dssim > 0:
        loss = loss + dssim / 2 * (1 - structural_similarity(x, y))
    return (loss if weight is None else loss * weight).mean()


# ---- all of it


def train_loss(
    base: Tensor,
    basis: Tensor,
    condition: Tensor,
    rotation: Tensor,
    translation: Tensor,
    camera: Camera,
    target: Tensor,
    weight: Tensor | None = None,
    background: Tensor | None = None,
    *,
    l1: float = 0.8,
    dssim: float = 0.2,
    epsilon: float = 1e-3,
    tile_px: int = TILE_PX,
) -> Tensor:
    """Loss of one layer's picture: what a step of training differentiates. Arguments as above."""
    splats = project(base, basis, condition, rotation, translation, camera)
    image, _ = rasterize(splats, camera.width, camera.height, background, tile_px=tile_px)
    return image_loss(image, target, weight, l1=l1, dssim=dssim, epsilon=epsilon)
