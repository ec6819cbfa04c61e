"""Training of the radiance fields on a painted person, whose frames are known exactly."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from scipy.ndimage import laplace

from geneface import ops
from geneface.bench.torch_field import TorchFrames, warp_offsets
from geneface.errors import InputError
from geneface.geometry.landmarks import (
    MESH_JAW,
    MESH_LEFT_BROW,
    MESH_LEFT_EYE,
    MESH_LIPS_OUTER,
    MESH_RIGHT_BROW,
    MESH_RIGHT_EYE,
)
from geneface.io.face_mesh import mean_face
from geneface.ops.field import from_bfloat16
from geneface.portrait.portrait import Portrait
from geneface.render.composite import from_uint8
from geneface.render.nerf import NerfModel, NerfRenderer
from geneface.training.gaussian.config import gaussian_config
from geneface.training.gaussian.targets import frame_target
from geneface.training.nerf import initialise
from geneface.training.nerf.batches import PatchSampler
from geneface.training.nerf.config import NerfTrainConfig, nerf_config
from geneface.training.nerf.occupancy import warp_at
from geneface.training.nerf.train import NerfTrainer, initial_state, train_nerf
from geneface.training.renderer.run import CHECKPOINT_NAME
from geneface.training.renderer.statistics import portrait_statistics

from ..render.synthetic import PaintedPortrait, as_portrait, painted_error, painted_portrait

pytestmark = pytest.mark.slow


def small(steps: int, **changes) -> NerfTrainConfig:
    return nerf_config("tiny", **{"steps": steps, "rays_per_pixel": 1000.0, "components": 6, **changes})


def heldout_error(model: NerfModel, portrait: PaintedPortrait) -> np.ndarray:
    return painted_error(NerfRenderer(model, from_uint8(portrait.background)), portrait)


def untrained(portrait: PaintedPortrait, config: NerfTrainConfig) -> NerfModel:
    frames = np.flatnonzero(~portrait.heldout)
    statistics = portrait_statistics(as_portrait(portrait), frames)
    return initial_state(as_portrait(portrait), frames, statistics, config).model


@pytest.fixture(scope="module")
def portrait() -> PaintedPortrait:
    return painted_portrait(frames=90)


@pytest.fixture(scope="module")
def trained(portrait: PaintedPortrait, tmp_path_factory: pytest.TempPathFactory) -> NerfModel:
    return train_nerf(as_portrait(portrait), tmp_path_factory.mktemp("work"), small(400))


@pytest.fixture
def any_threads() -> Iterator[None]:
    before = ops.threads()
    yield
    ops.set_threads(before)


def test_training_learns_head_and_torso(portrait, trained):
    before, after = heldout_error(untrained(portrait, small(300)), portrait), heldout_error(trained, portrait)
    assert (after < before / 4).all(), (before, after)
    assert -10 * np.log10(after[0]) > 27


def test_open_and_closed_mouths_differ_as_painted(portrait, trained):
    renderer = NerfRenderer(trained, from_uint8(portrait.background))
    drawn, painted = [], []
    for frame in np.flatnonzero(portrait.heldout):
        pose = portrait.pose.rotation[frame], portrait.pose.translation[frame]
        picture = renderer.render(portrait.landmarks[frame], *pose, portrait.camera)
        target = frame_target(as_portrait(portrait), int(frame), gaussian_config("fast"))
        lips = target.weight == gaussian_config("fast").lips_weight
        drawn.append(picture.rgb[lips].mean())
        painted.append(target.image[lips].mean())
    assert np.corrcoef(drawn, painted)[0, 1] > 0.9


def test_a_head_is_opaque_and_has_no_holes(portrait, trained):
    """Chin and mouth included, at every opening of the mouth."""
    renderer = NerfRenderer(trained, from_uint8(portrait.background))
    for frame in (int(portrait.opening.argmin()), int(portrait.opening.argmax())):
        pose = portrait.pose.rotation[frame], portrait.pose.translation[frame]
        picture = renderer.render(portrait.landmarks[frame], *pose, portrait.camera)
        inside = portrait.masks[frame, ..., 0] == 255
        for axis in (0, 1):
            for step in (-2, 2):
                inside &= np.roll(portrait.masks[frame, ..., 0] == 255, step, axis)
        assert picture.head_opacity[inside].min() > 0.9


def test_same_bits_on_any_number_of_threads(portrait, tmp_path, any_threads):
    models = []
    for threads in (1, 2, 3):
        ops.set_threads(threads)
        models.append(train_nerf(as_portrait(portrait), tmp_path / str(threads), small(20)).tensors())
    for name, array in models[0].items():
        for other in models[1:]:
            np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_resumed_equals_uninterrupted_to_the_bit(portrait, tmp_path):
    class KilledError(Exception):
        pass

    def kill(stage: str, done: int, total: int) -> None:
        if done == 23:
            raise KilledError

    config = small(40, checkpoint_seconds=1e-6)
    whole = train_nerf(as_portrait(portrait), tmp_path / "whole", config).tensors()
    with pytest.raises(KilledError):
        train_nerf(as_portrait(portrait), tmp_path / "parts", config, progress=kill)
    steps = []
    resumed = train_nerf(
        as_portrait(portrait), tmp_path / "parts", config, resume=True, progress=lambda _, done, __: steps.append(done)
    ).tensors()
    assert steps[0] == 23 and steps[-1] == 40
    for name, array in whole.items():
        np.testing.assert_array_equal(array, resumed[name], err_msg=name)
    assert (tmp_path / "whole" / CHECKPOINT_NAME).read_bytes() == (tmp_path / "parts" / CHECKPOINT_NAME).read_bytes()


def test_checkpoint_of_other_settings_is_refused(portrait, tmp_path):
    train_nerf(as_portrait(portrait), tmp_path, small(2))
    with pytest.raises(InputError, match="other settings"):
        train_nerf(as_portrait(portrait), tmp_path, small(2, seed=1), resume=True)


def test_heldout_frames_are_not_looked_at(portrait, tmp_path):
    class Watched:
        def __getattr__(self, name: str):
            return getattr(portrait, name)

        def frame(self, index: int):
            assert not portrait.heldout[index]
            return portrait.frame(index)

        def bordered_patch(self, index: int, *parts: slice):
            assert not portrait.heldout[index]
            return portrait.bordered_patch(index, *parts)

    train_nerf(cast(Portrait, Watched()), tmp_path, small(20, occupancy_steps=4))


def test_the_end_is_the_mean_of_the_last_steps(portrait, tmp_path):
    config = small(24, mean_start=0.5, mean_every=4)
    trainer = NerfTrainer(as_portrait(portrait), config)
    seen: list[dict[str, np.ndarray]] = []
    for batch in trainer.batches(0, 24):
        if trainer.state.step == 23:
            trainer.state.settle = lambda: None  # the last step as it is
        trainer.step(batch)
        if trainer.state.step in (12, 16, 20, 24):
            seen.append({name: array.copy() for name, array in trainer.state.learnt().items()})
    model = train_nerf(as_portrait(portrait), tmp_path, config)
    means = {name: np.mean([arrays[name] for arrays in seen], axis=0) for name in seen[0]}
    np.testing.assert_allclose(model.warp_basis, means["warp"], atol=1e-7)
    np.testing.assert_allclose(model.head.field.w1, means["head.w1"], atol=1e-6)
    assert np.abs(seen[0]["head.w1"] - means["head.w1"]).max() > 1e-4
    table = from_bfloat16(model.head.field.table)
    np.testing.assert_allclose(table, means["head.table"].reshape(table.shape), rtol=1 / 256, atol=1e-6)


def test_a_budget_bounds_the_steps(portrait, tmp_path):
    seen = []
    config = small(100_000, budget_seconds=1.0)
    train_nerf(as_portrait(portrait), tmp_path, config, progress=lambda _, done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] < 100_000


def test_patches_are_what_the_frames_show_a_little_sharper(portrait):
    config = small(1, detail=0.05)
    frames = np.flatnonzero(~portrait.heldout)
    share = np.ones((portrait.size, portrait.size), np.float32)
    sampler = PatchSampler(as_portrait(portrait), frames, share, share, config)
    batch = sampler.draw(7)
    again = sampler.draw(7)
    np.testing.assert_array_equal(batch.corners, again.corners)
    assert not np.array_equal(batch.corners, sampler.draw(8).corners)
    for chunk, frame in enumerate(batch.frames):
        for number, (x, y) in enumerate(batch.corners[chunk]):
            picture = portrait.images[frame].astype(float)
            edges = np.stack([laplace(picture[..., c], mode="nearest") for c in range(3)], -1)
            sharper = np.clip(picture - 0.05 * edges, 0, 255)[y : y + 8, x : x + 8]
            np.testing.assert_allclose(batch.target[chunk, number].reshape(8, 8, 3), sharper, atol=0.501)
    assert np.abs(batch.jitter).max() <= 0.5


def test_the_warp_inverts_the_motion_of_a_jaw():
    """A jaw that drops smoothly: nine tenths of the way back, at every opening, from a warp linear in the expression."""
    still = mean_face()
    lip_height = still[[13, 14], 1].mean()
    follow = np.exp(-((still[:, 0] / 0.15) ** 2)) / (1 + np.exp((still[:, 1] - lip_height) / 0.01))
    opening = np.linspace(-0.02, 0.02, 41)
    mesh = np.repeat(still[None], len(opening), 0)
    mesh[..., 1] -= opening[:, None] * follow
    box = initialise.warp_box(mesh)
    basis = initialise.fit_warp(mesh, [(opening[:, None] / 0.02, np.ones((56, 48)))], box)
    lower = np.flatnonzero((still[:, 1] < lip_height - 0.05) & (np.abs(still[:, 0]) < 0.1))
    for index in (0, 10, 40):
        warp = basis[0] * (opening[index] / 0.02)
        moved = mesh[index, lower] + warp_at(mesh[index, lower][None], warp[None], box)[0, :, :3]
        left = np.abs(moved - still[lower])[:, 1]
        assert left.mean() < 0.1 * np.abs(opening[index]) + 1e-4


def test_gates_tell_the_parts_of_a_face_apart():
    """Lids and brows are in the upper face, lips and chin in the lower, at every opening; ears and neck in neither."""
    mesh = np.repeat(mean_face()[None], 9, 0)
    mesh[:, list(MESH_JAW), 1] -= np.linspace(0, 0.06, 9)[:, None]
    box = initialise.warp_box(mesh)
    gates = initialise.face_gates(mesh, box, (56, 48))
    assert np.abs(gates).max() == 1 and not gates[[0, -1]].any() and not gates[:, [0, -1]].any()
    # No step from node to node: the picture must not tear.
    assert max(np.abs(np.diff(gates, axis=axis)).max() for axis in (0, 1)) < 0.65

    def at(points: np.ndarray) -> np.ndarray:
        return warp_at(points.reshape(1, -1, 3), gates[None, ..., None].repeat(4, -1), box)[0, :, 3]

    eyes = [*MESH_LEFT_EYE, *MESH_RIGHT_EYE, *MESH_LEFT_BROW, *MESH_RIGHT_BROW]
    assert at(mesh[:, eyes]).min() > 0.7
    assert at(mesh[:, list(MESH_LIPS_OUTER)]).max() == -1
    assert at(mesh[:, [152]]).max() <= -0.49
    beside = mesh[0, [234, 454, 152]] + np.array([[-0.04, 0, 0], [0.04, 0, 0], [0, -0.1, 0]])
    assert not at(beside).any()


def test_the_warp_stays_within_its_parts(portrait, trained):
    upper, mouth = trained.gates > 0, trained.conditions.parts["mouth"].start
    lower = trained.gates < 0
    warp, before = trained.warp_basis, untrained(portrait, small(300))
    for basis in (warp, trained.mesh_warp):
        assert not basis[:mouth, ~upper].any() and not basis[mouth : trained.conditions.width, ~lower].any()
    np.testing.assert_array_equal(trained.mesh_warp, before.mesh_warp)
    expressions = warp[: trained.conditions.width] - trained.mesh_warp
    assert np.abs(expressions).max() > 1e-4, "what was fitted is refined"
    # Near a border less than inside.
    assert np.abs(expressions[mouth:, lower & (trained.gates > -0.2)]).max() < 0.5 * np.abs(expressions).max()
    assert np.abs(warp[trained.conditions.width :, trained.gates == 0]).max() > 1e-5, "the pose moves hair and ears"


def test_cells_are_looked_at_where_the_kernel_looks(trained):
    """Warp and gates of random points, as the renderer's twin finds them."""
    rng = np.random.default_rng(0)
    warps = rng.normal(size=(3, *trained.gates.shape, 4)).astype(np.float32)
    points = rng.uniform(-0.5, 0.5, (3, 50, 3)).astype(np.float32)
    found = warp_at(points, warps, trained.warp_box).reshape(-1, 4)
    frames = cast(TorchFrames, SimpleNamespace(warp=torch.from_numpy(warps).double()))
    frame = torch.arange(3).repeat_interleave(50)
    offsets, gates = warp_offsets(frames, frame, torch.from_numpy(points.reshape(-1, 3)).double(), trained.warp_box)
    np.testing.assert_allclose(found[:, :3], offsets.numpy(), atol=1e-5)
    np.testing.assert_allclose(found[:, 3], gates.numpy(), atol=1e-5)


def test_few_frames_teach_less_about_expressions(portrait):
    """The weights of lids and lips, and how far codes and warp leave their priors."""

    def size(few: int) -> float:
        trainer = NerfTrainer(as_portrait(portrait), small(60, few_frames=few))
        for batch in trainer.batches(0, 60):
            trainer.step(batch)
        model = trainer.state.model
        return float(np.abs(model.lower_weights).mean() + np.abs(model.upper_weights).mean())

    enough = int((~portrait.heldout).sum())
    assert size(10 * enough) < 0.7 * size(enough)
    np.testing.assert_allclose(size(enough), size(1))
