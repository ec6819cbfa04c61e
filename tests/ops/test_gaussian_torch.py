"""Compiled Gaussian kernels against the PyTorch twin and autograd in double precision, for every instruction set.

The numpy reference of `test_splatting.py` has gradients written by hand, like the kernels'; the twin's are not. The twin's
own pictures are held to a dense blend without tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from geneface import ops
from geneface.ops.types import (
    DEPTH,
    LOG_SCALE,
    MAX_ALPHA,
    MEAN,
    MIN_ALPHA,
    MIN_TRANSMITTANCE,
    NEAR,
    OPACITY,
    OPACITY_LOGIT,
)

from .scenes import Scene, make_scene
from .twin_gradients import small_turn

torch = pytest.importorskip("torch")
twin = pytest.importorskip("geneface.bench.torch_gaussian")

Arrays = dict[str, np.ndarray]

ALPHA_MARGIN, TRANSMITTANCE_MARGIN, DEPTH_MARGIN = 1e-5, 5e-5, 1e-6
"""What single precision moves alpha, transmittance (both relative) and depth: a scene in which something lies nearer to
a threshold, or to another splat's depth, has two right pictures."""
PICTURE_TOLERANCE = 2e-5
"""Single precision is at 3e-6 here: alpha is exact to 1e-6 or so, and a pixel gathers some dozens of splats."""
GRADIENT_TOLERANCE = 1e-4
"""Of a row's largest value. An error of 1e-6 in alpha counts 1 / (1 - alpha) times, up to a hundred times, in all that
lies behind; 4e-5 is what the instruction sets reach here."""
Arguments = dict[str, Any]


# ---- scenes


def plain(scene: Scene) -> Scene:
    return scene


def odd_mix(scene: Scene) -> Scene:
    """Gaussians behind the camera, nearer than the near plane, off the screen, tiny, huge, opaque, invisible, thin."""
    base = scene.base.copy()
    points = scene.rotation @ base[MEAN] + scene.translation[:, None]
    points[2, 0::8] *= -1
    points[2, 1::16] = -0.5 * NEAR
    points[:2, 2::16] *= 30
    base[MEAN] = scene.rotation.T @ (points - scene.translation[:, None])
    base[LOG_SCALE, 3::8] = -12
    base[LOG_SCALE, 4::32] = -0.5
    base[OPACITY_LOGIT, 5::8] = 12
    base[OPACITY_LOGIT, 6::8] = -6
    base[3, 7::8] = -9
    # The condition would carry some of them over the threshold that they are to lie beyond.
    return replace(scene, base=base, basis=scene.basis * 0.1)


def opaque(scene: Scene) -> Scene:
    """Most pixels are finished long before their lists end."""
    base = scene.base.copy()
    base[OPACITY_LOGIT] += 4
    base[LOG_SCALE] += 0.7
    return replace(scene, base=base)


def tiny(scene: Scene) -> Scene:
    """No wider on the screen than the dilation makes them."""
    base = scene.base.copy()
    base[LOG_SCALE] -= 6
    return replace(scene, base=base)


def drawn(splats: ops.Splats) -> np.ndarray:
    """[N] whether there is anything to draw."""
    return (splats.bounds[1] >= splats.bounds[0]) & (splats.bounds[3] >= splats.bounds[2])


def dense_blend(splats: ops.Splats, width: int, height: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Image [H, W, 4] over black and transmittance [H, W] in float64, every splat at every pixel; smallest margin.

    The margin tells how near anything comes to a threshold, in multiples of what single precision may move it.
    """
    values = splats.values[:, drawn(splats)]
    values = values[:, np.argsort(values[DEPTH], kind="stable")]
    u, v, depth, a, b, c, opacity = values[:7]
    y, x = np.mgrid[:height, :width].reshape(2, -1, 1) + 0.5
    dx, dy = x - u, y - v
    log_raw = np.log(opacity) - 0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy
    alpha = np.where(log_raw >= np.log(MIN_ALPHA), np.minimum(np.exp(log_raw), MAX_ALPHA), 0)
    after = np.cumprod(1 - alpha, 1)
    before = np.concatenate([np.ones_like(after[:, :1]), after[:, :-1]], 1)
    share = np.where(before >= MIN_TRANSMITTANCE, alpha * before, 0)
    margins = [
        np.abs(log_raw[before >= MIN_TRANSMITTANCE / 2] - np.log(MIN_ALPHA)) / ALPHA_MARGIN,
        np.abs(log_raw[before >= MIN_TRANSMITTANCE / 2] - np.log(MAX_ALPHA)) / ALPHA_MARGIN,
        np.abs(before / MIN_TRANSMITTANCE - 1) / TRANSMITTANCE_MARGIN,
        np.diff(depth) / DEPTH_MARGIN,
    ]
    image, transmittance = share @ values[7:11].T, 1 - share.sum(1)
    smallest = min(float(margin.min(initial=np.inf)) for margin in margins)
    return image.reshape(height, width, 4), transmittance.reshape(height, width), smallest


@lru_cache
def settled_scene(change: Callable[[Scene], Scene], **sizes: int) -> Scene:
    """A scene in which nothing is about to change sides; decided in float64, so all instruction sets see the same."""
    random = np.random.default_rng(3)
    start = change(make_scene(**sizes))
    for _ in range(40):
        nudged = start.base.copy()
        nudged[MEAN] += random.normal(size=nudged[MEAN].shape) * 1e-3
        scene = replace(start, base=nudged).single().converted(np.float64)
        splats = twin_splats(scene)
        if dense_blend(splats, *scene.size)[2] > 1:
            return scene
    raise AssertionError("no settled scene found")


SCENES: list[Arguments] = [
    {"change": plain},
    {"change": odd_mix, "width": 37, "height": 53},
    {"change": opaque},
    {"change": tiny, "gaussians": 600, "dynamic": 600},
    {"change": odd_mix, "gaussians": 400, "dynamic": 0, "conditions": 3, "width": 33, "height": 70},
    {"change": plain, "gaussians": 16, "dynamic": 16, "conditions": 4, "width": 16, "height": 16},
]


@pytest.fixture(params=SCENES, ids=lambda sizes: "-".join(str(getattr(v, "__name__", v)) for v in sizes.values()))
def settled(request: pytest.FixtureRequest) -> Scene:
    return settled_scene(**request.param)


# ---- the twin and the kernels, the same arrays out of either


def tensor(array: np.ndarray, *, leaf: bool = False, dtype: Any = torch.float64) -> Any:
    return torch.tensor(array, dtype=dtype, requires_grad=leaf)


def twin_splats(scene: Scene) -> ops.Splats:
    splats = twin.project(*map(tensor, scene.layer), *map(tensor, scene.view[:2]), scene.camera)
    return ops.Splats(splats.values.numpy(), splats.bounds.numpy().astype(np.int32))


@dataclass(frozen=True)
class Leaves:
    """What is differentiated; the turn and the shift of the pose are zero."""

    base: Any
    basis: Any
    condition: Any
    turn: Any
    shift: Any

    @classmethod
    def of(cls, scene: Scene, dtype: Any = torch.float64) -> Leaves:
        arrays = (*scene.layer, np.zeros(3), np.zeros(3))
        return cls(*(tensor(array, leaf=True, dtype=dtype) for array in arrays))

    def arguments(self, scene: Scene) -> tuple[Any, ...]:
        """Of `project`."""
        rotation, translation = (tensor(array, dtype=self.base.dtype) for array in scene.view[:2])
        rotation = small_turn(self.turn) @ rotation
        return self.base, self.basis, self.condition, rotation, translation + self.shift, scene.camera

    def gradients(self) -> Arrays:
        names = ("base", "basis", "condition", "turn", "shift")
        leaves = {name: getattr(self, name) for name in names}
        return {name: np.zeros(x.shape) if x.grad is None else x.grad.numpy() for name, x in leaves.items()}


def kernel_gradients(scene: Scene, splats: ops.Splats, grad_splats: np.ndarray) -> Arrays:
    single = scene.single()
    back = ops.project_backward(single.base, splats, grad_splats, scene.dynamic, *single.view)
    return {
        "base": back.base,
        "basis": np.multiply.outer(single.condition, back.dynamic),
        "condition": np.tensordot(single.basis, back.dynamic, 2),
        "turn": back.pose[:3],
        "shift": back.pose[3:],
    }


def assert_close(found: Arrays, expected: Arrays, tolerance: float) -> None:
    """Equal to within `tolerance` of the largest value: of each row of base and basis, of the whole otherwise."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        axis = {"base": (1,), "basis": (0, 2)}.get(name)
        scale = np.abs(value).max(axis=axis, keepdims=True, initial=1e-30)
        error = (np.abs(found[name] - value) / scale).max(initial=0)
        assert error <= tolerance, f"{name}: {error:.2e}"


# ---- tests


@pytest.mark.slow
def test_pictures_of_the_twin_are_those_of_a_dense_blend(settled: Scene, monkeypatch: pytest.MonkeyPatch):
    """Tiles and their groups change nothing."""
    given = *map(tensor, settled.layer), *map(tensor, settled.view[:2]), settled.camera
    splats, plate = twin.project(*given), tensor(settled.background)
    image, transmittance, _ = dense_blend(twin_splats(settled), *settled.size)
    image[..., :3] += transmittance[..., None] * settled.background
    for tile_px, places in ((16, 1 << 12), (16, 150), (5, 1)):
        monkeypatch.setattr(twin, "PLACES_AT_ONCE", places)
        found = twin.rasterize(splats, *settled.size, plate, tile_px=tile_px)
        np.testing.assert_allclose(found[0].numpy(), image, atol=1e-12)
        np.testing.assert_allclose(found[1].numpy(), transmittance, atol=1e-12)


@pytest.mark.usefixtures("instruction_set")
def test_splats_are_those_of_the_twin(settled: Scene):
    single, expected = settled.single(), twin_splats(settled)
    splats = ops.project(*single.layer, *single.view)
    np.testing.assert_array_equal(drawn(splats), drawn(expected))
    visible = drawn(expected)
    np.testing.assert_array_equal(splats.bounds[:, visible], expected.bounds[:, visible])
    scale = np.abs(expected.values[:, visible]).max(1, keepdims=True) + 1e-12
    assert (np.abs(splats.values - expected.values)[:, visible] / scale).max() < 1e-5


@pytest.mark.slow
@pytest.mark.usefixtures("instruction_set")
def test_pictures_and_their_gradients_are_those_of_the_twin(settled: Scene):
    """Any gradient of colours, label and transmittance."""
    single, leaves = settled.single(), Leaves.of(settled)
    image, transmittance = twin.rasterize(
        twin.project(*leaves.arguments(settled)), *settled.size, tensor(settled.background)
    )
    incoming = tensor(settled.grad_image), tensor(settled.grad_transmittance)
    ((image * incoming[0]).sum() + (transmittance * incoming[1]).sum()).backward()

    splats = ops.project(*single.layer, *single.view)
    output = ops.rasterize(splats, *settled.size, single.background)
    np.testing.assert_allclose(output.image, image.detach().numpy(), atol=PICTURE_TOLERANCE)
    np.testing.assert_allclose(output.transmittance, transmittance.detach().numpy(), atol=PICTURE_TOLERANCE)
    grad = ops.rasterize_backward(output, single.grad_image, single.grad_transmittance)
    assert_close(kernel_gradients(settled, splats, grad), leaves.gradients(), GRADIENT_TOLERANCE)


@pytest.mark.slow
@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("weighted", [False, True])
def test_a_training_step_is_that_of_the_twin(settled: Scene, weighted: bool):
    single, leaves = settled.single(), Leaves.of(settled)
    target, plate = tensor(settled.target), tensor(settled.background)
    weight = tensor(settled.weight) if weighted else None
    expected = twin.train_loss(*leaves.arguments(settled), target, weight, plate)
    expected.backward()

    splats = ops.project(*single.layer, *single.view)
    output = ops.rasterize(splats, *settled.size, single.background)
    loss, grad_image = ops.image_loss(output.image, single.target, single.weight if weighted else None)
    assert loss == pytest.approx(expected.item(), rel=5e-6)
    found = kernel_gradients(settled, splats, ops.rasterize_backward(output, grad_image))
    assert_close(found, leaves.gradients(), GRADIENT_TOLERANCE)


@pytest.mark.slow
@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("height, width", [(37, 53), (11, 11), (12, 131)])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("terms", [{}, {"l1": 0.0, "dssim": 1.0}, {"l1": 1.0, "dssim": 0.0, "epsilon": 0.0}])
@pytest.mark.parametrize("weighted", [False, True])
def test_image_loss_is_that_of_the_twin(height: int, width: int, channels: int, terms: Arguments, weighted: bool):
    random = np.random.default_rng(height)
    prediction = random.random((height, width, channels)).astype(np.float32)
    target = random.random((height, width, 3)).astype(np.float32)
    prediction[:5, :5, :3] = target[:5, :5]
    weight = (random.random((height, width)) * 3).astype(np.float32)
    weight[3:6] = 0
    leaf = tensor(prediction, leaf=True)
    expected = twin.image_loss(leaf, tensor(target), tensor(weight) if weighted else None, **terms)
    expected.backward()
    loss, grad = ops.image_loss(prediction, target, weight if weighted else None, **terms)
    assert loss == pytest.approx(expected.item(), rel=2e-6)
    np.testing.assert_allclose(grad, leaf.grad.numpy(), atol=3e-6 * float(leaf.grad.abs().max()))


@pytest.mark.slow
def test_what_lies_in_the_plane_of_the_camera_spoils_no_gradient():
    scene = make_scene()
    scene.base[MEAN, 150] = -scene.rotation.T @ scene.translation
    leaves = Leaves.of(replace(scene, basis=scene.basis[..., :100]))
    twin.train_loss(*leaves.arguments(scene), tensor(scene.target)).backward()
    gradients = leaves.gradients()
    assert all(np.isfinite(value).all() and np.abs(value).max() > 0 for value in gradients.values())
    assert not gradients["base"][:, 150].any()


@pytest.mark.parametrize("gaussians", [0, 3])
def test_nothing_in_sight_shows_the_background(gaussians: int):
    scene = make_scene(gaussians=gaussians, dynamic=0, conditions=0)
    scene.translation[2] = 3
    leaves = Leaves.of(scene)
    splats = twin.project(*leaves.arguments(scene))
    image, transmittance = twin.rasterize(splats, *scene.size, tensor(scene.background))
    np.testing.assert_array_equal(image[..., :3].detach().numpy(), scene.background)
    assert (transmittance == 1).all() and not image[..., 3].any()


@pytest.mark.usefixtures("instruction_set")
def test_too_thin_a_splat_and_equal_depths():
    """Splats made by hand: opacities around 1/255, one depth for all, bounds beyond the image."""
    random = np.random.default_rng(5)
    values = np.tile(np.array([[20, 8, 2, 1e-3, 2e-4, 2e-3, 0.3, 0, 0, 0, 1]], np.float32).T, (1, 40))
    values[OPACITY, ::3] = 0.9 * MIN_ALPHA
    values[7:10] = random.random((3, 40))
    bounds = np.tile(np.array([[-20, 60, -3, 60]], np.int32).T, (1, 40))
    output = ops.rasterize(ops.Splats(values, bounds), 37, 53)
    splats = twin.TorchSplats(tensor(values), torch.from_numpy(bounds).long())
    image, transmittance = twin.rasterize(splats, 37, 53)
    wrong = np.abs(output.image - image.numpy()).max(-1) > PICTURE_TOLERANCE
    # All pixels finish and fade out at the splats' borders together; a few are on a threshold.
    assert wrong.mean() < 0.01
    assert np.abs(output.transmittance - transmittance.numpy())[~wrong].max() < PICTURE_TOLERANCE


@pytest.mark.slow
def test_single_precision_is_close_to_double():
    scene = settled_scene(plain)
    both = [Leaves.of(scene, dtype) for dtype in (torch.float32, torch.float64)]
    for leaves in both:
        pictures = [tensor(array, dtype=leaves.base.dtype) for array in (scene.target, scene.weight, scene.background)]
        twin.train_loss(*leaves.arguments(scene), *pictures).backward()
    assert_close(both[0].gradients(), both[1].gradients(), GRADIENT_TOLERANCE)


@pytest.mark.slow
def test_traced_by_the_compiler_it_is_the_same():
    """Only the tracing: code for a machine takes half a minute to make."""
    scene = settled_scene(plain)
    results = []
    for function in (twin.train_loss, torch.compile(twin.train_loss, backend="aot_eager")):
        leaves = Leaves.of(scene)
        loss = function(*leaves.arguments(scene), tensor(scene.target), None, tensor(scene.background))
        loss.backward()
        results.append((loss.item(), leaves.gradients()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-12)
    assert_close(results[1][1], results[0][1], 1e-10)
