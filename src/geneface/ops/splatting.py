"""3D Gaussians to pixels, and gradients back. Layouts and symbols: ops/types.py."""

from __future__ import annotations

import numpy as np

from geneface.ops.native import FLOAT_MAX, as_floats, check, check_columns, check_kind, check_size, kernels
from geneface.ops.types import (
    BASE_ROWS,
    DYNAMIC_ROWS,
    GRADIENT_ROWS,
    LABEL,
    SPLAT_ROWS,
    Array,
    ProjectionGradients,
    RasterOutput,
    Splats,
)
from geneface.types import Camera


def _view(rotation: Array, translation: Array, camera: Camera) -> tuple[Array, float]:
    """Rotation and translation as one [12], focal length in pixels; checked."""
    check_kind("camera", camera, Camera)
    check_size(camera.width, camera.height)
    if not 0 < camera.focal <= FLOAT_MAX:
        raise ValueError(f"focal must be positive, not {camera.focal}")
    rotation, translation = as_floats("rotation", rotation), as_floats("translation", translation)
    if rotation.shape != (3, 3) or translation.shape != (3,):
        raise ValueError(f"the pose must be [3, 3] and [3], not {list(rotation.shape)} and {list(translation.shape)}")
    return np.concatenate([rotation.ravel(), translation]), camera.focal * camera.width


def _check_splats(splats: Splats, count: int | None) -> None:
    check_kind("splats", splats, Splats)
    check_columns("splats.values", splats.values, (SPLAT_ROWS, count))
    check_columns("splats.bounds", splats.bounds, (4, splats.values.shape[1]), np.int32)


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
    """Move the Gaussians of a layer by the condition and project them to the screen (Zwicker et al. 2001, eq. 29-31).

    Args:
        base: [14, N].
        basis: [C, 7, D], D <= N; C or D may be 0.
        condition: [C].
        rotation: [3, 3] and translation [3]: X_camera = rotation X_head + translation.
        camera: focal length and image size.
        label: one value or [N]: what the splats add to the label channel.
        out: where to write, e.g. a slice of `Splats.empty(total)`.

    Returns:
        N splats. Those behind the camera, outside of the image, invisible or not finite have empty bounds.
    """
    check("base", base, (BASE_ROWS, None))
    count = base.shape[1]
    check("basis", basis, (None, len(DYNAMIC_ROWS), None))
    if basis.shape[2] > count:
        raise ValueError(f"basis moves {basis.shape[2]} Gaussians, but base has {count}")
    check("condition", condition, (basis.shape[0],))
    view, focal_px = _view(rotation, translation, camera)
    label = as_floats("label", label)
    if label.shape not in ((), (count,)):
        raise ValueError(f"label must be one value or [{count}], not {list(label.shape)}")
    out = Splats.empty(count) if out is None else out
    _check_splats(out, count)
    kernels().project(base, basis, condition, view, focal_px, camera.width, camera.height, out.values, out.bounds)
    out.values[LABEL] = label
    return out


def rasterize(
    splats: Splats, width: int, height: int, background: Array | tuple[float, float, float] | None = None
) -> RasterOutput:
    """Blend splats front to back over a background (Kerbl et al. 2023, eq. 3).

    A splat covers a pixel by alpha = opacity exp(-d^T conic d / 2), at most .99, and leaves it alone below 1/255; a
    pixel is finished when its transmittance falls below .001. Splats of equal depth keep their order.

    Args:
        splats: N splats, of one layer or several.
        width: pixels.
        height: pixels.
        background: [H, W, 3] or one colour; None is black.
    """
    check_size(width, height)
    _check_splats(splats, None)
    if background is not None:
        background = as_floats("background", background)
        if background.shape not in ((3,), (height, width, 3)):
            raise ValueError(f"background must be [3] or [{height}, {width}, 3], not {list(background.shape)}")
    image = np.empty((height, width, 4), np.float32)
    transmittance = np.empty((height, width), np.float32)
    state = kernels().rasterize(splats.values, splats.bounds, background, image, transmittance)
    return RasterOutput(image, transmittance, state)


def rasterize_backward(output: RasterOutput, grad_image: Array, grad_transmittance: Array | None = None) -> Array:
    """Gradient of the splats for the gradient of an image.

    Args:
        output: what `rasterize` returned; its arrays must not have been changed since.
        grad_image: [H, W, 4].
        grad_transmittance: [H, W] or None for zero. (The background's share in the image is accounted for.)

    Returns:
        [9, N], rows u, v, conic a b c, opacity, red, green, blue.
    """
    check_kind("output", output, RasterOutput)
    if not isinstance(output.state, kernels().RasterState):
        raise TypeError("output was not made by ops.rasterize")
    height, width = output.state.size
    check("output.image", output.image, (height, width, 4))
    check("output.transmittance", output.transmittance, (height, width))
    check("grad_image", grad_image, (height, width, 4))
    if grad_transmittance is not None:
        check("grad_transmittance", grad_transmittance, (height, width))
    grad = np.empty((GRADIENT_ROWS, output.state.count), np.float32)
    kernels().rasterize_backward(output.state, output.image, output.transmittance, grad_image, grad_transmittance, grad)
    return grad


def project_backward(
    base: Array,
    splats: Splats,
    grad_splats: Array,
    dynamic_count: int,
    rotation: Array,
    translation: Array,
    camera: Camera,
) -> ProjectionGradients:
    """Pull splat gradients back to one layer, its condition-driven part and the pose.

    Args:
        base: [14, N], as given to `project`.
        splats: the N splats that `project` returned for it.
        grad_splats: [9, N], a run of columns of what `rasterize_backward` returned.
        dynamic_count: D.
        rotation, translation, camera: as given to `project`.
    """
    check("base", base, (BASE_ROWS, None))
    count = base.shape[1]
    _check_splats(splats, count)
    check_columns("grad_splats", grad_splats, (GRADIENT_ROWS, count))
    if not 0 <= dynamic_count <= count:
        raise ValueError(f"dynamic_count must be between 0 and {count}, not {dynamic_count}")
    view, focal_px = _view(rotation, translation, camera)
    grad_base, grad_pose = np.empty((BASE_ROWS, count), np.float32), np.empty(6, np.float32)
    kernels().project_backward(
        base,
        splats.values,
        splats.bounds,
        grad_splats,
        view,
        focal_px,
        camera.width,
        camera.height,
        grad_base,
        grad_pose,
    )
    return ProjectionGradients(grad_base, grad_base[np.array(DYNAMIC_ROWS), :dynamic_count], grad_pose)
