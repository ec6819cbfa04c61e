"""The kernels in plain numpy: same signatures, any float dtype, written to be read, not to be fast.

Sources: Kerbl et al. 2023, "3D Gaussian Splatting" (projection, blending); Zwicker et al. 2001, "EWA volume splatting"
(eq. 29-31, the affine approximation of the projection); Wang et al. 2004 (SSIM); Kingma and Ba 2015 (Adam).
Symbols and layouts: ops/types.py.
"""

from __future__ import annotations

import numpy as np

from geneface.ops.types import (
    BASE_ROWS,
    COLOR,
    CONIC,
    DEPTH,
    DILATION_PX2,
    DYNAMIC_ROWS,
    GRADIENT_ROWS,
    LABEL,
    LOG_SCALE,
    MAX_ALPHA,
    MEAN,
    MIN_ALPHA,
    MIN_TRANSMITTANCE,
    NEAR,
    OPACITY,
    OPACITY_LOGIT,
    QUATERNION,
    RGB,
    Array,
    ProjectionGradients,
    RasterOutput,
    Splats,
    U,
    V,
)
from geneface.types import Camera

SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2


def quaternion_matrix(quaternion: Array) -> Array:
    """Rotation matrices [N, 3, 3] of unit quaternions wxyz [4, N]."""
    w, x, y, z = quaternion
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _screen_jacobian(points: Array, rotation: Array, camera: Camera) -> Array:
    """d(u, v) / d(head point), [N, 2, 3], at camera points [N, 3]."""
    x, y, depth = points[:, 0], points[:, 1], -points[:, 2]
    scale = camera.focal * camera.width
    zero = np.zeros_like(depth)
    # u = W/2 + f W x / depth, v = H/2 - f W y / depth, depth = -z.
    by_u = [scale / depth, zero, scale * x / depth**2]
    by_v = [zero, -scale / depth, -scale * y / depth**2]
    by_camera_point = np.array([by_u, by_v])
    return np.moveaxis(by_camera_point, -1, 0) @ rotation


def project(
    base: Array,
    basis: Array,
    condition: Array,
    rotation: Array,
    translation: Array,
    camera: Camera,
    *,
    label: float | Array = 1.0,
    out: Splats | None = None,
) -> Splats:
    """Move the Gaussians by the condition and project them to the screen. See `ops.project`."""
    dynamic = basis.shape[2]
    moved = base.copy()
    moved[np.array(DYNAMIC_ROWS), :dynamic] += np.tensordot(condition, basis, 1)
    out = Splats.empty(base.shape[1], base.dtype) if out is None else out
    with np.errstate(all="ignore"):  # whatever is not finite is not drawn
        points: Array = moved[MEAN].T @ rotation.T + translation
        depth = -points[:, 2]
        scale = camera.focal * camera.width
        u = camera.width / 2 + scale * points[:, 0] / depth
        v = camera.height / 2 - scale * points[:, 1] / depth
        quaternion = moved[QUATERNION] / np.linalg.norm(moved[QUATERNION], axis=0)
        axes = quaternion_matrix(quaternion) * np.exp(moved[LOG_SCALE]).T[:, None, :]
        screen_axes = _screen_jacobian(points, rotation, camera) @ axes
        covariance = screen_axes @ screen_axes.swapaxes(1, 2) + DILATION_PX2 * np.eye(2, dtype=base.dtype)
        xx, xy, yy = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
        determinant = xx * yy - xy * xy
        opacity = 1 / (1 + np.exp(-moved[OPACITY_LOGIT]))
        # alpha = MIN_ALPHA on an ellipse with these half extents; a hundredth of a pixel covers rounding.
        reach = np.sqrt(np.maximum(2 * np.log(opacity / MIN_ALPHA), 0))
        half_width, half_height = reach * np.sqrt(xx) + 0.01, reach * np.sqrt(yy) + 0.01
        corners = np.array([u - half_width, u + half_width, v - half_height, v + half_height])
        drawn = (depth > NEAR) & (opacity > MIN_ALPHA) & (determinant > 0) & np.isfinite(corners).all(0)
        out.values[[U, V, DEPTH]] = u, v, depth
        out.values[CONIC] = yy / determinant, -xy / determinant, xx / determinant
        out.values[OPACITY], out.values[RGB], out.values[LABEL] = opacity, moved[COLOR], label
        corners[:, ~drawn] = -1
        last_column, last_row = camera.width - 1, camera.height - 1
        out.bounds[0] = np.ceil(np.clip(corners[0] - 0.5, 0, last_column + 1))
        out.bounds[1] = np.floor(np.clip(corners[1] - 0.5, -1, last_column))
        out.bounds[2] = np.ceil(np.clip(corners[2] - 0.5, 0, last_row + 1))
        out.bounds[3] = np.floor(np.clip(corners[3] - 0.5, -1, last_row))
    return out


def _background_image(background: Array | tuple[float, float, float] | None, shape: tuple[int, int], dtype) -> Array:
    image = np.zeros((*shape, 4), dtype)
    if background is not None:
        image[..., :3] = background
    return image


def rasterize(
    splats: Splats, width: int, height: int, background: Array | tuple[float, float, float] | None = None
) -> RasterOutput:
    """Blend splats front to back over a background. See `ops.rasterize`."""
    values = splats.values
    image = np.zeros((height, width, 4), values.dtype)
    transmittance = np.ones((height, width), values.dtype)
    steps = []
    x0, x1, y0, y1 = splats.bounds
    for n in np.argsort(values[DEPTH], kind="stable"):
        if x1[n] < x0[n] or y1[n] < y0[n]:
            continue
        window = slice(y0[n], y1[n] + 1), slice(x0[n], x1[n] + 1)
        dx = np.arange(x0[n], x1[n] + 1) + 0.5 - values[U, n]
        dy = (np.arange(y0[n], y1[n] + 1) + 0.5 - values[V, n])[:, None]
        a, b, c = values[CONIC, n]
        raw = values[OPACITY, n] * np.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
        before = transmittance[window].copy()
        alpha = np.where((raw >= MIN_ALPHA) & (before >= MIN_TRANSMITTANCE), np.minimum(raw, MAX_ALPHA), 0)
        image[window] += (alpha * before)[..., None] * values[7:11, n]
        transmittance[window] *= 1 - alpha
        steps.append((n, window, dx, dy, raw, alpha, before))
    plate = _background_image(background, (height, width), values.dtype)
    return RasterOutput(image + transmittance[..., None] * plate, transmittance, (splats, steps, plate))


def rasterize_backward(output: RasterOutput, grad_image: Array, grad_transmittance: Array | None = None) -> Array:
    """Gradient of the splats, back to front. See `ops.rasterize_backward`."""
    splats, steps, plate = output.state
    values = splats.values
    grad = np.zeros((GRADIENT_ROWS, len(splats)), values.dtype)
    # What is seen through the splat at hand, times the incoming gradient.
    behind = (grad_image * plate).sum(-1) + (0 if grad_transmittance is None else grad_transmittance)
    for n, window, dx, dy, raw, alpha, before in reversed(steps):
        incoming = grad_image[window]
        own = incoming @ values[7:11, n]
        grad_alpha = before * (own - behind[window])
        behind[window] += alpha * (own - behind[window])
        grad_log_alpha = np.where((alpha > 0) & (raw <= MAX_ALPHA), grad_alpha * raw, 0)
        a, b, c = values[CONIC, n]
        grad[0, n] = (grad_log_alpha * (a * dx + b * dy)).sum()
        grad[1, n] = (grad_log_alpha * (b * dx + c * dy)).sum()
        grad[2, n] = -0.5 * (grad_log_alpha * dx * dx).sum()
        grad[3, n] = -(grad_log_alpha * dx * dy).sum()
        grad[4, n] = -0.5 * (grad_log_alpha * dy * dy).sum()
        grad[5, n] = grad_log_alpha.sum() / values[OPACITY, n]
        grad[6:9, n] = ((alpha * before)[..., None] * incoming[..., :3]).sum((0, 1))
    return grad


def _quaternion_gradient(quaternion: Array, grad_matrix: Array) -> Array:
    """Pull a gradient [N, 3, 3] of `quaternion_matrix` back to the quaternion [4, N] before its normalisation."""
    norm = np.linalg.norm(quaternion, axis=0)
    w, x, y, z = unit = quaternion / norm
    zero = np.zeros_like(w)
    by_component = 2 * np.array(
        [
            [[zero, -z, y], [z, zero, -x], [-y, x, zero]],
            [[zero, y, z], [y, -2 * x, -w], [z, w, -2 * x]],
            [[-2 * y, x, w], [x, zero, z], [-w, z, -2 * y]],
            [[-2 * z, -w, x], [w, -2 * z, y], [x, y, zero]],
        ]
    )
    grad_unit = np.einsum("qijn,nij->qn", by_component, grad_matrix)
    return (grad_unit - unit * (grad_unit * unit).sum(0)) / norm


def project_backward(
    base: Array,
    splats: Splats,
    grad_splats: Array,
    dynamic_count: int,
    rotation: Array,
    translation: Array,
    camera: Camera,
) -> ProjectionGradients:
    """Pull splat gradients back to the layer and the pose. See `ops.project_backward`."""
    drawn = np.flatnonzero((splats.bounds[1] >= splats.bounds[0]) & (splats.bounds[3] >= splats.bounds[2]))
    grad_base = np.zeros((BASE_ROWS, base.shape[1]), base.dtype)
    layer, values, grad = base[:, drawn], splats.values[:, drawn], grad_splats[:, drawn]
    scale = camera.focal * camera.width
    u, v, depth = values[[U, V, DEPTH]]
    x, y = (u - camera.width / 2) * depth / scale, (camera.height / 2 - v) * depth / scale
    points = np.stack([x, y, -depth], 1)
    jacobian = _screen_jacobian(points, rotation, camera)
    matrix = quaternion_matrix(layer[QUATERNION] / np.linalg.norm(layer[QUATERNION], axis=0))
    deviations = np.exp(layer[LOG_SCALE]).T
    screen_axes = jacobian @ (matrix * deviations[:, None, :])

    # The conic is the covariance's inverse: d covariance = -conic (d conic) conic, matrices being symmetric.
    a, b, c = values[CONIC]
    conic = np.moveaxis(np.array([[a, b], [b, c]]), -1, 0)
    grad_conic = np.moveaxis(np.array([[grad[2], grad[3] / 2], [grad[3] / 2, grad[4]]]), -1, 0)
    grad_covariance = -conic @ grad_conic @ conic
    grad_screen_axes = 2 * grad_covariance @ screen_axes
    grad_axes = jacobian.swapaxes(1, 2) @ grad_screen_axes
    grad_base[LOG_SCALE, drawn] = ((grad_axes * matrix).sum(1) * deviations).T
    grad_base[QUATERNION, drawn] = _quaternion_gradient(layer[QUATERNION], grad_axes * deviations[:, None, :])

    # The Jacobian is (matrix of the camera point) R: through the first factor the point sees the covariance ...
    grad_jacobian = grad_screen_axes @ (matrix * deviations[:, None, :]).swapaxes(1, 2)
    grad_factor = grad_jacobian @ rotation.T
    inverse = 1 / depth
    grad_point = np.zeros_like(points)
    grad_point[:, 0] = grad_factor[:, 0, 2] * scale * inverse**2
    grad_point[:, 1] = -grad_factor[:, 1, 2] * scale * inverse**2
    grad_depth = (grad_factor[:, 1, 1] - grad_factor[:, 0, 0]) * scale * inverse**2
    grad_depth += 2 * scale * inverse**3 * (grad_factor[:, 1, 2] * y - grad_factor[:, 0, 2] * x)
    grad_point[:, 2] = -grad_depth
    # ... and through the screen position.
    grad_point += np.einsum("nij,ni->nj", jacobian @ rotation.T, grad[:2].T)
    grad_base[MEAN, drawn] = (grad_point @ rotation).T
    grad_base[OPACITY_LOGIT, drawn] = grad[5] * values[OPACITY] * (1 - values[OPACITY])
    grad_base[COLOR, drawn] = grad[6:9]

    # A turn w moves a camera point by w x (point - t), and the covariance's factor R turns along.
    torque = np.cross(points - translation, grad_point)
    turned = (jacobian @ rotation.T).swapaxes(1, 2) @ grad_factor
    for axis, (i, j) in enumerate([(2, 1), (0, 2), (1, 0)]):
        torque[:, axis] += turned[:, i, j] - turned[:, j, i]
    pose = np.concatenate([torque.sum(0), grad_point.sum(0)])
    return ProjectionGradients(grad_base, grad_base[np.array(DYNAMIC_ROWS), :dynamic_count], pose)


def adam(
    param: Array,
    grad: Array,
    first: Array,
    second: Array,
    *,
    step: int,
    lr: float | Array,
    beta1: float = 0.9,
    beta2: float = 0.99,
    eps: float = 1e-12,
) -> None:
    """One step in place; what has no gradient stays as it is. See `ops.adam`."""
    rates = np.broadcast_to(np.reshape(lr, (-1, 1)), param.shape)
    touched = grad != 0
    first[touched] += (1 - beta1) * (grad[touched] - first[touched])
    second[touched] += (1 - beta2) * (grad[touched] ** 2 - second[touched])
    mean, square = first[touched] / (1 - beta1**step), second[touched] / (1 - beta2**step)
    param[touched] -= rates[touched] * mean / (np.sqrt(square) + eps)


def adam_basis(
    basis: Array,
    grad_dynamic: Array,
    condition: Array,
    first: Array,
    second: Array,
    *,
    step: int,
    lr: float | Array,
    decay: float | Array = 0.0,
    beta1: float = 0.9,
    beta2: float = 0.99,
    eps: float = 1e-12,
) -> None:
    """`adam` for the basis, its gradient the outer product condition[c] * grad_dynamic. See `ops.adam_basis`."""
    rows = len(grad_dynamic)
    rates = np.broadcast_to(np.asarray(lr, basis.dtype).reshape(-1, 1), (rows, 1))
    shrink = 1 - rates * np.broadcast_to(np.asarray(decay, basis.dtype).reshape(-1, 1), (rows, 1))
    for value, table, m, v in zip(condition, basis, first, second, strict=True):
        grad = (value * grad_dynamic).astype(basis.dtype)
        before = table.copy()
        adam(table, grad, m, v, step=step, lr=rates[:, 0], beta1=beta1, beta2=beta2, eps=eps)
        table[:] = np.where(grad != 0, shrink * before + (table - before), before)


def _window() -> Array:
    """The 11 taps of a Gaussian of sigma 1.5 pixels."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    return taps / taps.sum()


def _blur_matrix(size: int) -> Array:
    """[size, size] filter of `_window` with the image mirrored at its edges (d c b a | a b c d | d c b a)."""
    matrix = np.zeros((size, size))
    rows = np.arange(size)
    for tap, weight in zip(range(-5, 6), _window(), strict=True):
        columns = (rows + tap) % (2 * size)
        np.add.at(matrix, (rows, np.minimum(columns, 2 * size - 1 - columns)), weight)
    return matrix


def image_loss(
    prediction: Array,
    target: Array,
    weight: Array | None = None,
    *,
    l1: float = 0.8,
    dssim: float = 0.2,
    epsilon: float = 1e-3,
) -> tuple[float, Array]:
    """Charbonnier and structural loss with its gradient. See `ops.image_loss`."""
    height, width = prediction.shape[:2]
    weight = np.ones((height, width), prediction.dtype) if weight is None else weight
    share = weight / (3 * height * width)
    rows, columns = _blur_matrix(height).astype(prediction.dtype), _blur_matrix(width).astype(prediction.dtype)
    grad, loss = np.zeros_like(prediction), 0.0
    for channel in range(3):
        x, y = prediction[..., channel], target[..., channel]
        difference = x - y
        distance = np.sqrt(difference**2 + epsilon**2)
        loss += l1 * float((share * (distance - epsilon)).sum())
        grad[..., channel] = l1 * share * np.divide(difference, distance, out=np.zeros_like(x), where=distance > 0)
        # Wang et al. 2004 eq. 13, from blurred x, y, x^2 + y^2 and x y.
        mean_x, mean_y = rows @ x @ columns.T, rows @ y @ columns.T
        squares, product = rows @ (x * x + y * y) @ columns.T, rows @ (x * y) @ columns.T
        mean_product, mean_squares = mean_x * mean_y, mean_x**2 + mean_y**2
        luminance, structure = 2 * mean_product + SSIM_C1, 2 * (product - mean_product) + SSIM_C2
        luminance_below, structure_below = mean_squares + SSIM_C1, squares - mean_squares + SSIM_C2
        ssim = luminance * structure / (luminance_below * structure_below)
        loss += dssim * float((share * (1 - ssim) / 2).sum())
        outer = -dssim / 2 * share
        by_product = outer * 2 * luminance / (luminance_below * structure_below)
        by_squares = -outer * ssim / structure_below
        by_mean = outer * 2 * mean_y * (structure - luminance) / (luminance_below * structure_below)
        by_mean += outer * ssim * 2 * mean_x * (1 / structure_below - 1 / luminance_below)
        pulled = [rows.T @ field @ columns for field in (by_mean, by_squares, by_product)]
        grad[..., channel] += pulled[0] + 2 * x * pulled[1] + y * pulled[2]
    return loss, grad


def to_uint8(image: Array) -> Array:
    """[H, W, 3] bytes of a [H, W, 3 or 4] image in 0..1. See `ops.to_uint8`."""
    return np.floor(np.clip(np.nan_to_num(image[..., :3], nan=0.0), 0, 1) * 255 + 0.5).astype(np.uint8)


def cut_out(image: Array, move: Array, side: int, canvas: int | None = None) -> Array:
    """[3, side, side] bytes of a part of a picture [H, W, 3]. See `ops.cut_out`."""
    across, down = np.arange(side)[None], np.arange(side)[:, None]
    steps = np.rint(32 * (move[:, :1, None] * across + (move[:, 1:2, None] * down + move[:, 2:, None])))
    weights = steps % 32
    total = np.full((side, side, 3), 512.0)
    for corner in np.ndindex(2, 2):
        places = steps // 32 + np.array(corner)[:, None, None]
        if canvas is not None:
            places = places.clip(0, canvas - 1)
        shares = np.where(np.array(corner)[:, None, None] == 1, weights, 32 - weights)
        inside = ((places >= 0) & (places < np.array(image.shape[1::-1])[:, None, None])).all(0)
        column, row = np.where(inside, places, 0).astype(int)
        total += (inside * shares.prod(0))[..., None] * image[row, column]
    return (total // 1024).astype(np.uint8).transpose(2, 0, 1)


def sharpen(image: Array, amount: float) -> Array:
    """See `ops.sharpen`."""
    bordered = np.pad(image[..., :3], ((1, 1), (1, 1), (0, 0)), mode="edge")
    neighbours = bordered[:-2, 1:-1] + bordered[2:, 1:-1] + bordered[1:-1, :-2] + bordered[1:-1, 2:]
    colours = image[..., :3] - amount * (neighbours - 4 * image[..., :3])
    return np.concatenate([colours, image[..., 3:]], axis=-1)


def to_yuv420(image: Array) -> Array:
    """[3 H / 2, W] bytes of a [H, W, 3 or 4] image in 0..1. See `ops.to_yuv420`."""
    rgb = np.clip(np.nan_to_num(image[..., :3], nan=0.0), 0, 1).astype(np.float64)
    height, width = rgb.shape[:2]
    boxes = rgb.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
    # ITU-R BT.709-6, items 3.2 to 3.4.
    weights = np.array([0.2126, 0.7152, 0.0722])
    blue, red = ((boxes[..., c] - boxes @ weights) / (2 * (1 - weights[c])) for c in (2, 0))
    planes = [16 + 219 * (rgb @ weights), 128 + 224 * blue, 128 + 224 * red]
    return np.floor(np.concatenate([plane.ravel() for plane in planes]) + 0.5).astype(np.uint8).reshape(-1, width)
