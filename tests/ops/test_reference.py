"""The reference against things simpler than itself: loops, finite differences, another library's SSIM."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geneface.ops import reference
from geneface.ops.types import RasterOutput, Splats
from geneface.types import Camera

from .scenes import Scene

STEP = 1e-6
SMALL_STEP = 1e-8
"""For what moves all splats at once: with a longer step some pixel's alpha would jump over 1/255."""


def loss_of(scene: Scene, layer, view, *, weight=None) -> tuple[float, Splats, RasterOutput, np.ndarray]:
    """Everything that has a gradient, as one number: image loss, label, transmittance."""
    splats = reference.project(*layer, *view)
    output = reference.rasterize(splats, *scene.size, scene.background)
    loss, grad_image = reference.image_loss(output.image, scene.target, weight)
    grad_image[..., 3] = scene.grad_image[..., 3] * 1e-3
    loss += (output.label * grad_image[..., 3]).sum() + (output.transmittance * scene.grad_transmittance).sum() * 1e-3
    return loss, splats, output, grad_image


def gradients_of(scene: Scene):
    _, splats, output, grad_image = loss_of(scene, scene.layer, scene.view)
    grad_splats = reference.rasterize_backward(output, grad_image, scene.grad_transmittance * 1e-3)
    return reference.project_backward(scene.base, splats, grad_splats, scene.dynamic, *scene.view)


def difference(function, step: float = STEP) -> float:
    return (function(step) - function(-step)) / (2 * step)


def turn(rotation_vector: np.ndarray) -> np.ndarray:
    """A rotation matrix to second order, plenty for a step of 1e-6."""
    x, y, z = rotation_vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / 2


@pytest.mark.slow
@pytest.mark.parametrize("row", range(14))
def test_base_gradient_is_the_derivative_of_render_and_loss(scene: Scene, row):
    gradients = gradients_of(scene)
    for column in (3, 60, 131, 202):

        def moved(step, column=column):
            base = scene.base.copy()
            base[row, column] += step
            return loss_of(scene, (base, scene.basis, scene.condition), scene.view)[0]

        assert difference(moved) == pytest.approx(gradients.base[row, column], rel=1e-4, abs=2e-9)


def test_basis_gradient_is_the_outer_product(scene: Scene):
    gradients = gradients_of(scene)
    for c, row, column in [(0, 0, 5), (1, 2, 40), (2, 3, 77), (4, 6, 116)]:

        def moved(step, c=c, row=row, column=column):
            basis = scene.basis.copy()
            basis[c, row, column] += step
            return loss_of(scene, (scene.base, basis, scene.condition), scene.view)[0]

        expected = scene.condition[c] * gradients.dynamic[row, column]
        assert difference(moved) == pytest.approx(expected, rel=1e-4, abs=2e-9)


def test_dynamic_gradient_is_the_derivative_by_the_condition(scene: Scene):
    gradient = np.tensordot(scene.basis, gradients_of(scene).dynamic, 2)
    for c in range(len(gradient)):

        def moved(step, c=c):
            condition = scene.condition.copy()
            condition[c] += step
            return loss_of(scene, (scene.base, scene.basis, condition), scene.view)[0]

        assert difference(moved, SMALL_STEP) == pytest.approx(gradient[c], rel=1e-4, abs=1e-6)


def test_pose_gradient_is_the_derivative(scene: Scene):
    pose = gradients_of(scene).pose
    for k in range(6):

        def moved(step, k=k):
            change = np.eye(6)[k] * step
            view = turn(change[:3]) @ scene.rotation, scene.translation + change[3:], scene.camera
            return loss_of(scene, scene.layer, view)[0]

        assert difference(moved, SMALL_STEP) == pytest.approx(pose[k], rel=1e-4, abs=1e-6)


def test_splat_covariance_is_that_of_projected_points(scene: Scene):
    """The conic's inverse, without the dilation, against the spread of points drawn from the 3D Gaussian."""
    splats = reference.project(*scene.layer, *scene.view)
    random = np.random.default_rng(0)
    moved = scene.base.copy()
    moved[[0, 1, 2], : scene.dynamic] += np.tensordot(scene.condition, scene.basis, 1)[:3]
    for n in (0, 50, 200):
        axes = reference.quaternion_matrix(scene.base[6:10, n : n + 1] / np.linalg.norm(scene.base[6:10, n]))[0]
        # A hundredth of the size: there the projection is as good as linear.
        points = moved[:3, n] + (random.normal(size=(40_000, 3)) * np.exp(scene.base[3:6, n]) * 0.01) @ axes.T
        camera_points = points @ scene.rotation.T + scene.translation
        pixels = scene.camera.focal * scene.camera.width * camera_points[:, :2] / -camera_points[:, 2:] * [1, -1]
        a, b, c = splats.values[3:6, n]
        expected = np.linalg.inv([[a, b], [b, c]]) - 0.3 * np.eye(2)
        np.testing.assert_allclose(np.cov(pixels.T) * 1e4, expected, atol=0.03 * expected.max())


@pytest.mark.slow
def test_rasterize_is_the_pixel_by_pixel_loop(scene: Scene):
    base = scene.base.copy()
    base[10, ::5] = 9  # some reach the cap on alpha
    splats = reference.project(base, *scene.layer[1:], *scene.view, label=np.linspace(0, 1, base.shape[1]))
    output = reference.rasterize(splats, *scene.size, scene.background)
    order = sorted(range(len(splats)), key=lambda n: splats.values[2, n])
    width, height = scene.size
    for y in range(height):
        for x in range(width):
            color, through = np.zeros(4), 1.0
            for n in order:
                u, v, _, a, b, c, opacity, *own = splats.values[:, n]
                dx, dy = x + 0.5 - u, y + 0.5 - v
                alpha = min(0.99, opacity * math.exp(-(a * dx * dx + 2 * b * dx * dy + c * dy * dy) / 2))
                if through < 1e-3:
                    break
                if alpha >= 1 / 255:
                    color += through * alpha * np.array(own)
                    through *= 1 - alpha
            color[:3] += through * scene.background[y, x]
            np.testing.assert_allclose(output.image[y, x], color, atol=1e-12)
            assert output.transmittance[y, x] == pytest.approx(through, abs=1e-12)


def test_camera_convention():
    """A point to the right of the axis and above it lies right and up in the image, and one unit is focal * width px."""
    base = np.zeros((14, 1))
    base[:3, 0], base[3:6], base[6] = [0.1, 0.2, 0.0], -6, 1
    camera = Camera(2.0, 100, 60)
    splats = reference.project(base, np.zeros((0, 7, 0)), np.zeros(0), np.eye(3), np.array([0, 0, -4.0]), camera)
    assert splats.values[:3, 0] == pytest.approx([50 + 0.1 / 4 * 200, 30 - 0.2 / 4 * 200, 4.0])


def test_ssim_is_that_of_scikit_image(scene: Scene):
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    prediction = np.clip(scene.target + scene.grad_image[..., :3] * 0.1, 0, 1)
    _, per_pixel = structural_similarity(
        prediction,
        scene.target,
        channel_axis=2,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    loss, _ = reference.image_loss(prediction, scene.target, scene.weight, l1=0.0, dssim=1.0)
    assert loss == pytest.approx((scene.weight[..., None] * (1 - per_pixel) / 2).mean(), rel=1e-9)


def test_l1_is_the_weighted_mean_distance(scene: Scene):
    loss, grad = reference.image_loss(scene.target * 0.5, scene.target, scene.weight, l1=2.0, dssim=0.0, epsilon=0.0)
    assert loss == pytest.approx((scene.weight[..., None] * scene.target).mean())
    np.testing.assert_allclose(grad, -2 * np.repeat(scene.weight[..., None], 3, 2) / scene.target.size)


def test_image_gradient_is_the_derivative(scene: Scene):
    prediction = scene.background
    _, grad = reference.image_loss(prediction, scene.target, scene.weight)
    for place in [(0, 0, 0), (3, 50, 1), (18, 20, 2), (36, 52, 0)]:

        def moved(step, place=place):
            changed = prediction.copy()
            changed[place] += step
            return reference.image_loss(changed, scene.target, scene.weight)[0]

        assert difference(moved) == pytest.approx(grad[place], rel=1e-5, abs=1e-10)


def test_adam_is_that_of_torch_where_all_gradients_are_set():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    start, grads = random.normal(size=(3, 8)), random.normal(size=(4, 3, 8))
    param, first, second = start.copy(), np.zeros((3, 8)), np.zeros((3, 8))
    twin = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.Adam([twin], lr=0.02, betas=(0.9, 0.99), eps=1e-12)
    for step, grad in enumerate(grads, 1):
        reference.adam(param, grad, first, second, step=step, lr=0.02)
        twin.grad = torch.tensor(grad)
        optimizer.step()
    np.testing.assert_allclose(param, twin.detach().numpy(), rtol=1e-9)
