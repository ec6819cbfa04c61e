"""Compiled projection and rasteriser against the reference in double precision, for every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from geneface import ops
from geneface.ops import reference
from geneface.types import Camera

from .scenes import Scene, make_scene

pytestmark = pytest.mark.usefixtures("instruction_set")


def close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    """Equal to within `tolerance` of the largest value of each row."""
    assert actual.shape == expected.shape and actual.dtype == np.float32
    scale = np.abs(expected).max(axis=-1, keepdims=True) + 1e-12
    np.testing.assert_array_less(np.abs(actual - expected) / scale, tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    "scene",
    [
        make_scene(),
        make_scene(gaussians=16, dynamic=16, conditions=1, width=16, height=16),
        make_scene(gaussians=700, dynamic=0, conditions=3, width=33, height=130),
        make_scene(gaussians=1, dynamic=1, conditions=0, width=1, height=1),
        make_scene(gaussians=1025, dynamic=513, conditions=21, width=97, height=31),
    ],
    ids=lambda scene: f"{scene.base.shape[1]}x{scene.size}",
)
def test_values_and_gradients_are_those_of_the_reference(scene: Scene):
    single = scene.single()
    splats, expected = ops.project(*single.layer, *single.view), reference.project(*scene.layer, *scene.view)
    close(splats.values, expected.values)
    np.testing.assert_array_equal(splats.bounds, expected.bounds)

    output = ops.rasterize(splats, *scene.size, single.background)
    expected_output = reference.rasterize(expected, *scene.size, scene.background)
    # A pixel where alpha is 1/255 to seven digits may go either way: allow a few such in the whole image.
    wrong = np.abs(output.image - expected_output.image).max(-1) > 2e-5
    assert wrong.sum() <= 2 and np.abs(output.image - expected_output.image).max() < 5e-3
    assert np.abs(output.transmittance - expected_output.transmittance)[~wrong].max(initial=0) < 2e-5

    grad_splats = ops.rasterize_backward(output, single.grad_image, single.grad_transmittance)
    expected_grad = reference.rasterize_backward(expected_output, scene.grad_image, scene.grad_transmittance)
    close(grad_splats, expected_grad, 1e-4)

    gradients = ops.project_backward(single.base, splats, grad_splats, scene.dynamic, *single.view)
    exact = reference.project_backward(scene.base, expected, grad_splats.astype(np.float64), scene.dynamic, *scene.view)
    close(gradients.base, exact.base, 2e-5)
    close(gradients.dynamic, exact.dynamic, 2e-5) if scene.dynamic else None
    close(gradients.pose, exact.pose, 2e-5)


def test_layers_in_slices_of_one_buffer_equal_one_layer(scene: Scene):
    single = scene.single()
    whole = ops.project(*single.layer, *single.view)
    parts = ops.Splats.empty(len(whole))
    still = np.zeros((5, 7, 0), np.float32)
    first, second = slice(0, scene.dynamic), slice(scene.dynamic, None)
    left, right = (np.ascontiguousarray(single.base[:, columns]) for columns in (first, second))
    ops.project(left, single.basis, single.condition, *single.view, out=parts[first])
    ops.project(right, still, single.condition, *single.view, out=parts[second])
    np.testing.assert_array_equal(parts.values, whole.values)

    output = ops.rasterize(parts, *scene.size)
    grad = ops.rasterize_backward(output, single.grad_image)
    sides = (
        ops.project_backward(left, parts[first], grad[:, first], scene.dynamic, *single.view),
        ops.project_backward(right, parts[second], grad[:, second], 0, *single.view),
    )
    both = ops.project_backward(single.base, whole, grad, scene.dynamic, *single.view)
    # Not to the bit: Clang fuses products and sums differently in the two halves of a vector.
    np.testing.assert_allclose(np.concatenate([side.base for side in sides], 1), both.base, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sides[0].pose + sides[1].pose, both.pose, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("background", [None, (0.2, 0.4, 0.9)])
def test_backgrounds(scene: Scene, background):
    splats = ops.project(*scene.single().layer, *scene.single().view)
    output = ops.rasterize(splats, *scene.size, background)
    over_black = ops.rasterize(splats, *scene.size)
    plate = np.zeros(3) if background is None else np.array(background)
    np.testing.assert_allclose(output.rgb, over_black.rgb + over_black.transmittance[..., None] * plate, atol=1e-6)
    np.testing.assert_array_equal(output.label, over_black.label)


def test_label_channel_blends_labels(scene: Scene):
    single = scene.single()
    labels = np.linspace(0, 1, single.base.shape[1]).astype(np.float32)
    splats = ops.project(*single.layer, *single.view, label=labels)
    splats.values[7] = labels
    output = ops.rasterize(splats, *scene.size)
    np.testing.assert_allclose(output.label, output.image[..., 0], atol=1e-6)
    all_one = ops.rasterize(ops.project(*single.layer, *single.view), *scene.size)
    np.testing.assert_allclose(all_one.label, 1 - all_one.transmittance, atol=2e-6)


def test_equal_depths_keep_their_order():
    values = np.tile(np.array([[8, 8, 2, 1e-4, 0, 1e-4, 0.9, 0, 0, 0, 0]], np.float32).T, (1, 40))
    values[7] = np.arange(40) == 0
    bounds = np.tile(np.array([[0, 15, 0, 15]], np.int32).T, (1, 40))
    assert ops.rasterize(ops.Splats(values, bounds), 16, 16).image[8, 8, 0] > 0.89


def test_hidden_splats_get_no_gradient():
    """A hundred opaque sheets: those behind the first few are never reached, and their gradient is exactly zero."""
    values = np.tile(np.array([[8, 8, 2, 1e-6, 0, 1e-6, 0.95, 0.5, 0.5, 0.5, 1]], np.float32).T, (1, 100))
    values[2] = np.arange(100)[::-1] + 1
    bounds = np.tile(np.array([[0, 15, 0, 15]], np.int32).T, (1, 100))
    output = ops.rasterize(ops.Splats(values, bounds), 16, 16)
    grad = ops.rasterize_backward(output, np.ones((16, 16, 4), np.float32))
    assert output.transmittance.max() < 1e-3
    assert (grad[:, :97] == 0).all() and (grad[6, 97:] > 0).all()


@pytest.mark.parametrize("width, height", [(37, 53), (1, 1), (16, 16)])
def test_no_gaussians_show_the_background(width, height):
    camera = Camera(2.0, width, height)
    nothing = np.zeros((14, 0), np.float32), np.zeros((4, 7, 0), np.float32), np.zeros(4, np.float32)
    splats = ops.project(*nothing, np.eye(3), np.zeros(3), camera)
    output = ops.rasterize(splats, width, height, (0.1, 0.2, 0.3))
    np.testing.assert_allclose(output.image, np.broadcast_to([0.1, 0.2, 0.3, 0], (height, width, 4)), atol=1e-7)
    assert (output.transmittance == 1).all()
    grad = ops.rasterize_backward(output, np.ones((height, width, 4), np.float32))
    gradients = ops.project_backward(nothing[0], splats, grad, 0, np.eye(3), np.zeros(3), camera)
    assert gradients.base.shape == (14, 0) and (gradients.pose == 0).all()


@pytest.mark.parametrize("row", range(14))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_a_broken_gaussian_harms_no_other(scene: Scene, row, value):
    """Not finite or absurd numbers in one Gaussian: no crash, and the others' splats and gradients as if it were not."""
    single = scene.single()
    base = single.base.copy()
    base[row, 150] = value
    splats, healthy = ops.project(base, *single.layer[1:], *single.view), ops.project(*single.layer, *single.view)
    others = np.arange(base.shape[1]) != 150
    np.testing.assert_array_equal(splats.values[:, others], healthy.values[:, others])
    output = ops.rasterize(splats, *scene.size)
    grad = ops.rasterize_backward(output, single.grad_image)
    gradients = ops.project_backward(base, splats, grad, scene.dynamic, *single.view)
    if row not in (11, 12, 13):  # a colour is drawn as it is
        assert np.isfinite(output.image).all() and np.isfinite(grad).all()
        assert np.isfinite(gradients.base[:, others]).all()


def test_splats_that_lie_do_not_crash():
    """Bounds beyond the image, NaN everywhere, depths that are not numbers."""
    random = np.random.default_rng(0)
    values = random.normal(size=(11, 300)).astype(np.float32) * 1e3
    values[:, ::3] = np.nan
    values[2, ::5] = np.inf
    bounds = random.integers(-(2**31), 2**31 - 1, (4, 300), dtype=np.int64).astype(np.int32)
    output = ops.rasterize(ops.Splats(values, bounds), 37, 53)
    ops.rasterize_backward(output, np.full((53, 37, 4), np.nan, np.float32))


def test_behind_the_camera_is_not_drawn(scene: Scene):
    single = scene.single()
    splats = ops.project(*single.layer, single.rotation, -single.translation, single.camera)
    assert (splats.bounds[1] < splats.bounds[0]).all()
