"""Rays through a head and a torso: pictures and gradients against the PyTorch twin, closed forms, for every instruction set."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from geneface import ops
from geneface.bench.torch_field import TorchFrames, TorchScene, render_picture
from geneface.bench.torch_field_train import Patches, train_loss
from geneface.ops.nerf import CELLS, COARSE_CELLS, MAX_RAY_SAMPLES, PATCH, PATCH_RAYS, TORSO_SCALE, coarse_occupancy

from .field_margins import settled
from .field_scenes import (
    FOCAL,
    ball_occupancy,
    constant_field,
    full_occupancy,
    make_batch,
    make_frame,
    make_scene,
)
from .twin_gradients import train_gradients

pytestmark = pytest.mark.usefixtures("float_networks")

LOSS = ops.FieldLoss(edge=0.3, opaque=0.02)
Gradients = dict[str, np.ndarray]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def named(
    rest: ops.BatchGradients, head: ops.FieldGradients, torso: ops.FieldGradients, *, summed: bool = True
) -> Gradients:
    """All gradients by name, the fields' slots added up."""
    found = {entry.name: getattr(rest, entry.name) for entry in fields(rest) if entry.name != "samples"}
    for part, grad in (("head", head), ("torso", torso)):
        for entry in fields(grad):
            value = getattr(grad, entry.name)
            found[f"{part}.{entry.name}"] = value.sum(0) if summed else value
    return found


def gradients(
    scene: ops.FieldScene, batch: ops.RayBatch, loss: ops.FieldLoss = LOSS, slots: int = 2, *, summed: bool = True
) -> Gradients:
    head, torso = ops.FieldGradients.zeros(scene.head, slots), ops.FieldGradients.zeros(scene.torso, slots)
    return named(ops.train_field(scene, batch, loss, head, torso), head, torso, summed=summed)


def exact_gradients(scene: ops.FieldScene, batch: ops.RayBatch, loss: ops.FieldLoss = LOSS) -> Gradients:
    head, torso = ops.FieldGradients.zeros(scene.head), ops.FieldGradients.zeros(scene.torso)
    return named(train_gradients(scene, batch, loss, head, torso, dtype=torch.float64), head, torso)


def assert_close(actual: Gradients, expected: Gradients, tolerance: float = 2e-4) -> None:
    """Equal to within `tolerance` of the largest value of each array."""
    for name, value in expected.items():
        error, scale = np.abs(actual[name] - value).max(initial=0), np.abs(value).max(initial=0)
        assert error <= tolerance * scale, f"{name}: {error} of {scale}"


@lru_cache
def smooth_example(width: int, torso_width: int, full: bool = False) -> tuple[ops.FieldScene, ops.RayBatch]:
    scene = make_scene(width, torso_width, occupancy=full_occupancy() if full else ball_occupancy())
    return scene, settled(scene, make_batch(scene))


# ---- gradients


@pytest.mark.slow
@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("torso_width", [32, 64])
def test_gradients_are_those_of_the_twin(width: int, torso_width: int):
    scene, batch = smooth_example(width, torso_width)
    expected = exact_gradients(scene, batch)
    assert all(np.abs(value).max() > 0 for value in expected.values()), "the example must reach every parameter"
    assert_close(gradients(scene, batch), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    [
        ops.FieldLoss(silhouette=0.0),
        ops.FieldLoss(epsilon=0.5, silhouette=0.0, edge=2.0),
        ops.FieldLoss(silhouette=3.0, silhouette_epsilon=0.2),
    ],
)
def test_each_loss_is_that_of_the_twin(loss: ops.FieldLoss):
    scene, batch = smooth_example(32, 32)
    assert_close(gradients(scene, batch, loss), exact_gradients(scene, batch, loss))


@pytest.mark.slow
def test_full_occupancy_and_rays_that_leave_the_grid():
    """Every cell is marked: rays enter and leave through the cube's faces, and many of them have all the samples."""
    scene, batch = smooth_example(32, 32, full=True)
    head, torso = ops.FieldGradients.zeros(scene.head), ops.FieldGradients.zeros(scene.torso)
    rest = ops.train_field(scene, batch, LOSS, head, torso)
    assert_close(named(rest, head, torso), exact_gradients(scene, batch))
    assert (rest.samples <= MAX_RAY_SAMPLES * PATCH_RAYS * batch.corners.shape[1]).all()


@pytest.mark.slow
def test_a_warp_beyond_the_cube_gets_no_gradient():
    """A sample that is held at the border does not move with the warp."""
    scene, batch = smooth_example(32, 32)
    warp = np.zeros_like(batch.warp)
    warp[..., 0] = 3
    batch = replace(batch, warp=warp)
    found, expected = gradients(scene, batch), exact_gradients(scene, batch)
    assert not expected["warp"][..., 0].any() and expected["warp"][..., 1].any()
    np.testing.assert_array_equal(found["warp"][..., 0], 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pose", "torso_motion"])
def test_pose_and_motion_are_finite_differences(name: str):
    """Of the twin's loss in double precision. What the pose's gradient leaves out is not there: slopes of the warp, a torso."""
    scene, batch = make_scene(), make_batch(make_scene(), chunks=1)
    if name == "pose":
        scene = replace(scene, torso_occupancy=np.zeros_like(scene.torso_occupancy))
        batch = replace(batch, warp=np.full_like(batch.warp, 0.01))
    batch = settled(scene, batch)
    found, twin = gradients(scene, batch)[name][0], TorchScene.of(scene, dtype=torch.float64)
    frames = TorchFrames.of_batch(batch, "cpu", torch.float64)
    (patches,) = Patches.of(batch, "cpu", torch.float64, at_once=batch.corners.size)

    @torch.no_grad()
    def loss_at(parameter: int, value: float) -> float:
        poses, motion = frames.poses.clone(), frames.torso_motion.clone()
        if name == "torso_motion":
            motion[0, parameter] += value
        elif parameter < 3:
            axis = value * torch.eye(3, dtype=torch.float64)[parameter]
            skew = torch.linalg.cross(axis.expand(3, 3), torch.eye(3, dtype=torch.float64)).T
            poses[0, :9] = (torch.linalg.matrix_exp(skew) @ poses[0, :9].view(3, 3)).flatten()
        else:
            poses[0, 6 + parameter] += value
        moved = replace(frames, poses=poses, torso_motion=motion)
        return float(train_loss(twin, moved, patches, LOSS, batch.jitter.size)[0].sum())

    h = 1e-6
    slopes = [(loss_at(k, h) - loss_at(k, -h)) / (2 * h) for k in range(6)]
    assert np.abs(found - slopes).max() <= 3e-4 * np.abs(slopes).max()


def test_threads_change_no_bit(all_threads: None):
    scene, batch = make_scene(), make_batch(make_scene(), chunks=5)
    frame, plate = make_frame(scene), np.random.default_rng(0).random((47, 33, 3), np.float32)

    def run(count: int) -> list[np.ndarray]:
        ops.set_threads(count)
        image, opacity, _ = ops.render_field(scene, frame, FOCAL * 33, plate)
        return [image, opacity, *gradients(scene, batch, slots=4, summed=False).values()]

    first = run(1)
    for count in (2, 3):
        for mine, expected in zip(run(count), first, strict=True):
            np.testing.assert_array_equal(mine, expected)


def test_gradients_are_added_to_what_is_there():
    scene, batch = make_scene(), make_batch(make_scene())
    head, torso = ops.FieldGradients.zeros(scene.head, 2), ops.FieldGradients.zeros(scene.torso, 2)
    once = named(ops.train_field(scene, batch, LOSS, head, torso), head, torso)
    twice = named(ops.train_field(scene, batch, LOSS, head, torso), head, torso)
    for name, value in once.items():
        np.testing.assert_allclose(twice[name], value * (2 if "." in name else 1), atol=1e-5 * np.abs(value).max())


def test_an_opaque_density_is_capped():
    """Beyond e^9 a density is no denser and has no gradient; the picture is the first sample's colour."""
    scene = make_scene(occupancy=full_occupancy())
    scene = replace(scene, head=constant_field(scene.head, (50, 0, 1, -1)))
    batch = make_batch(scene)
    found = gradients(scene, batch)
    assert found["head.b2"][0] == 0 and (found["head.b2"][1:] != 0).all()
    assert all(np.isfinite(value).all() for value in found.values())
    capped = replace(scene, head=constant_field(scene.head, (9, 0, 1, -1)))
    plate, frame = np.zeros((32, 32, 3), np.float32), make_frame(scene)
    image, _, samples = ops.render_field(scene, frame, FOCAL * 32, plate)
    np.testing.assert_array_equal(image, ops.render_field(capped, frame, FOCAL * 32, plate)[0])
    hit = image[..., 3] > 0
    assert hit.any() and (image[..., 3][hit] > 0.999999).all()
    np.testing.assert_allclose(image[hit, :3], np.tile(sigmoid(scene.head.b2[1:]), (hit.sum(), 1)), atol=1e-6)
    assert samples <= 4 * hit.sum()


# ---- pictures


def check_picture(scene: ops.FieldScene, frame: ops.FieldFrame, width: int, height: int) -> int:
    """Compare with the twin; returns the number of samples."""
    plate = np.random.default_rng(0).random((height, width, 3), np.float32)
    image, opacity, samples = ops.render_field(scene, frame, FOCAL * width, plate)
    twin = TorchScene.of(scene, dtype=torch.float64)
    frames = TorchFrames.of_frame(frame, FOCAL * width, width, height, "cpu", torch.float64)
    expected, expected_opacity, looked_up = render_picture(twin, frames, torch.from_numpy(plate).double())
    wrong = np.abs(image - expected.numpy()).max(-1) > 2e-5
    wrong |= np.abs(opacity - expected_opacity.numpy()) > 2e-5
    # Where a sample is on the border of a marked cell, or a ray near the least light that counts, either is right.
    assert wrong.sum() <= 0.003 * wrong.size
    assert samples <= looked_up + 0.003 * wrong.size
    return samples


@pytest.mark.slow
@pytest.mark.parametrize("width, torso_width", [(32, 32), (32, 64), (64, 32), (64, 64)])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (33, 47), (100, 7)])
def test_pictures_are_those_of_the_twin(width: int, torso_width: int, size: tuple[int, int]):
    scene = make_scene(width, torso_width)
    assert check_picture(scene, make_frame(scene), *size)


@pytest.mark.slow
@pytest.mark.parametrize("width, height", [(40, 40), (104, 96), (300, 64)])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_tile_misses_an_occupied_cell(width: int, height: int, seed: int):
    """Cells far apart, at the cube's border, too; small tiles are looked at along their middle only."""
    scene = scattered_scene(seed)
    plate, focal_px = np.zeros((height, width, 3), np.float32), FOCAL * width
    frame = make_frame(scene, seed)
    *_, samples = ops.render_field(scene, frame, focal_px, plate)
    frames = TorchFrames.of_frame(frame, focal_px, width, height, "cpu", torch.float64)
    *_, expected = render_picture(TorchScene.of(scene, dtype=torch.float64), frames, torch.from_numpy(plate).double())
    assert expected > 10 and abs(samples - expected) <= 0.003 * expected + 2


@pytest.mark.parametrize("width, height", [(40, 40), (104, 96), (304, 64)])
@pytest.mark.parametrize("seed", [0, 1])
def test_training_sees_every_cell_that_rendering_sees(width: int, height: int, seed: int):
    """It looks for occupied cells in another way, and has whole patches only."""
    scene = scattered_scene(seed)
    frame = make_frame(scene, seed)
    *_, samples = ops.render_field(scene, frame, FOCAL * width, np.zeros((height, width, 3), np.float32))
    assert training_samples(scene, frame, width, height) == samples


def scattered_scene(seed: int) -> ops.FieldScene:
    random = np.random.default_rng(seed)
    bits = np.zeros((CELLS, CELLS, CELLS), bool)
    bits[tuple(random.integers(0, CELLS, (3, 400)))] = True
    edge = random.integers(0, CELLS, (2, 6, 40))
    for face in range(6):
        place = [*edge[:, face]]
        place.insert(face % 3, np.full(40, 0 if face < 3 else CELLS - 1))
        bits[tuple(place)] = True
    return make_scene(occupancy=np.packbits(bits, axis=-1, bitorder="little").view(np.uint32), step=1 / 90)


def training_samples(scene: ops.FieldScene, frame: ops.FieldFrame, width: int, height: int) -> int:
    """Samples of patches that cover a whole picture."""
    x, y = np.meshgrid(np.arange(0, width, PATCH), np.arange(0, height, PATCH))
    patches = x.size
    rays = (1, patches, PATCH_RAYS)
    batch = ops.RayBatch(
        poses=np.append(frame.rotation, frame.translation)[None],
        head_bias=frame.head_bias[None],
        torso_bias=frame.torso_bias[None],
        warp=frame.warp[None],
        torso_motion=frame.torso_motion[None],
        corners=np.stack([x.ravel(), y.ravel()], -1)[None].astype(np.int32),
        jitter=np.zeros(rays, np.float32),
        target=np.zeros((*rays, 3), np.uint8),
        masks=np.zeros((*rays, 2), np.uint8),
        plate=np.zeros((*rays, 3), np.uint8),
        weight=np.ones(rays, np.float32),
        focal_px=FOCAL * width,
        width=width,
        height=height,
    )
    grads = [ops.FieldGradients.zeros(field) for field in (scene.head, scene.torso)]
    return int(ops.train_field(scene, batch, ops.FieldLoss(), *grads).samples.sum())


def test_nothing_is_there():
    """Empty grids: the plate comes through to the bit, and no field gets a gradient."""
    scene = make_scene(occupancy=np.zeros_like(full_occupancy()))
    scene = replace(scene, torso_occupancy=np.zeros_like(scene.torso_occupancy))
    plate = np.random.default_rng(0).random((33, 47, 3), np.float32)
    image, opacity, samples = ops.render_field(scene, make_frame(scene), FOCAL * 47, plate)
    np.testing.assert_array_equal(image[..., :3], plate)
    assert samples == 0 and not image[..., 3].any() and not opacity.any()
    found = gradients(scene, make_batch(scene))
    assert (
        all(not value.any() for name, value in found.items() if name != "losses") and (found["losses"][:, :2] > 0).all()
    )


@pytest.mark.parametrize("towards", [(0, 0, 5), (40, 0, -3), (0, -40, -3)])
def test_a_head_out_of_sight(towards: tuple[float, float, float]):
    """Behind the camera or beside the picture."""
    scene = make_scene(occupancy=full_occupancy())
    scene = replace(scene, torso_occupancy=np.zeros_like(scene.torso_occupancy))
    frame = replace(make_frame(scene), translation=np.array(towards, np.float32))
    plate = np.random.default_rng(0).random((16, 16, 3), np.float32)
    image, _, samples = ops.render_field(scene, frame, FOCAL * 16, plate)
    np.testing.assert_array_equal(image[..., :3], plate)
    assert samples == 0


@pytest.mark.slow
def test_the_camera_inside_the_head():
    scene = make_scene(occupancy=full_occupancy())
    check_picture(scene, replace(make_frame(scene), translation=np.array([0.1, 0, -0.2], np.float32)), 16, 16)


@pytest.mark.parametrize("part", [1, 2])
def test_a_part_of_the_bias_counts_on_its_side_of_the_gates_alone(part: int):
    """Gates above 0 for x > 0, below 0 for x < 0: to the bit, the other half of the head stays as it is."""
    scene = make_scene(occupancy=full_occupancy())
    scene = replace(scene, torso_occupancy=np.zeros_like(scene.torso_occupancy))
    warp = make_frame(scene).warp
    warp[..., 3] = np.linspace(-1, 1, warp.shape[1])
    front = {"rotation": np.eye(3, dtype=np.float32), "translation": np.array([0, 0, -4], np.float32)}
    frame = replace(make_frame(scene), warp=warp, **front)
    bias = frame.head_bias.copy()
    bias[part] += 1
    plate = np.zeros((40, 40, 3), np.float32)
    before, after = (ops.render_field(scene, f, 100.0, plate)[0] for f in (frame, replace(frame, head_bias=bias)))
    changed = (before != after).any(-1)
    # A ray of a column beside the middle crosses it nowhere.
    side, other = (slice(20, None), slice(None, 20)) if part == 1 else (slice(None, 20), slice(20, None))
    assert changed[:, side].mean() > 0.3 and not changed[:, other].any()


@pytest.mark.parametrize("density", [0.05, 1.0, 4.0])
def test_a_slab_lets_through_what_it_must(density: float):
    """A constant density between z = -1/8 and 1/8, seen from the front: opacity 1 - exp(-density length)."""
    bits = np.zeros((CELLS, CELLS, CELLS), bool)
    bits[CELLS // 2 - 16 : CELLS // 2 + 16] = True
    step = 1 / 96
    scene = make_scene(occupancy=np.packbits(bits, axis=-1, bitorder="little").view(np.uint32), step=step)
    raw = (float(np.log(density)), 0.4, -0.3, 2.0)
    scene = replace(scene, head=constant_field(scene.head, raw), torso_occupancy=np.zeros_like(scene.torso_occupancy))
    frame = replace(
        make_frame(scene), rotation=np.eye(3, dtype=np.float32), translation=np.array([0, 0, -4], np.float32)
    )
    plate = np.full((8, 8, 3), 0.25, np.float32)
    image, opacity, _ = ops.render_field(scene, frame, 40.0, plate)
    bounds = [1 - np.exp(-density * (0.25 + slack)) for slack in (-1.001 * step, 1.001 * step)]
    assert (image[..., 3] >= bounds[0]).all() and (image[..., 3] <= bounds[1]).all()
    np.testing.assert_array_equal(opacity, image[..., 3])
    share = image[..., 3:]
    color = sigmoid(np.array(raw[1:], np.float32))
    np.testing.assert_allclose(image[..., :3], share * color + (1 - share) * plate, atol=2e-6)


def test_a_torso_of_zeros_shows_its_last_bias():
    """Where its cells are marked, and the plate elsewhere."""
    scene = make_scene(occupancy=np.zeros_like(full_occupancy()))
    scene = replace(scene, torso=constant_field(scene.torso, (0.7, 0.4, -0.3, 2.0)))
    frame = replace(make_frame(scene), torso_motion=np.zeros(6, np.float32))
    plate = np.full((40, 40, 3), 0.25, np.float32)
    image, opacity, _ = ops.render_field(scene, frame, 100.0, plate)
    solid, *color = sigmoid(np.array([0.7, 0.4, -0.3, 2.0], np.float32))
    middle = ((np.arange(40) + 0.5) / 40 - 0.5) * TORSO_SCALE + 0.5
    cell = (middle * 64).astype(int)
    seen = scene.torso_occupancy[cell[:, None], cell[None]] > 0
    assert 0 < seen.mean() < 1
    np.testing.assert_allclose(opacity, solid * seen, atol=1e-6)
    np.testing.assert_allclose(
        image[seen, :3], np.tile(solid * np.array(color) + (1 - solid) * 0.25, (seen.sum(), 1)), atol=1e-6
    )
    np.testing.assert_array_equal(image[~seen, :3], plate[~seen])


# ---- occupancy, and what is refused


@pytest.mark.parametrize("seed", [0, 1])
def test_coarse_occupancy_is_that_of_a_loop(seed: int):
    random = np.random.default_rng(seed)
    bits = np.zeros((CELLS, CELLS, CELLS), bool)
    marked = random.integers(0, CELLS, (12, 3))
    marked[:2] = [[0, 0, 0], [CELLS - 1, 5, CELLS - 1]]
    expected = np.zeros((COARSE_CELLS,) * 3, bool)
    for z, y, x in marked:
        bits[z, y, x] = True
        low = [max(value // 4 - 1, 0) for value in (z, y, x)]
        high = [value // 4 + 2 for value in (z, y, x)]
        expected[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = True
    coarse = coarse_occupancy(np.packbits(bits, axis=-1, bitorder="little").view(np.uint32))
    found = np.array([[[coarse[z, y] >> x & 1 for x in range(32)] for y in range(32)] for z in range(32)], bool)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"step": 0.0},
        {"step": float("nan")},
        {"warp_box": (0.0, 0.0, 0.0, 1.0)},
        {"coarse": np.zeros((32, 31), np.uint32)},
        {"torso": make_scene().head},
    ],
)
def test_scenes_that_do_not_fit_are_refused(change: dict):
    scene = replace(make_scene(), **change)
    with pytest.raises(ValueError):
        ops.render_field(scene, make_frame(make_scene()), 20.0, np.zeros((8, 8, 3), np.float32))


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"corners": np.full((3, 2, 2), 41, np.int32)},
        {"corners": np.full((3, 2, 2), -1, np.int32)},
        {"jitter": np.full((3, 2, 64), 0.6, np.float32)},
        {"jitter": np.full((3, 2, 64), np.nan, np.float32)},
        {"poses": np.full((3, 12), np.inf, np.float32)},
        {"focal_px": 0.0},
        {"weight": np.zeros((3, 2, 63), np.float32)},
    ],
)
def test_batches_that_do_not_fit_are_refused(change: dict):
    scene = make_scene()
    with pytest.raises(ValueError):
        gradients(scene, replace(make_batch(scene), **change))
