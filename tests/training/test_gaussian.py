from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.geometry.rotation import compose
from geneface.render.composite import from_uint8
from geneface.render.gaussian import GaussianModel, GaussianRenderer
from geneface.training.gaussian import train as training
from geneface.training.gaussian.config import GaussianTrainConfig, gaussian_config
from geneface.training.gaussian.targets import frame_order, frame_target, mouth_target, mouth_window
from geneface.training.gaussian.train import initial_model, train_gaussian
from geneface.training.renderer import run
from geneface.training.renderer.frame_values import FrameValues, refined_poses
from geneface.training.renderer.run import CHECKPOINT_NAME
from geneface.training.renderer.targets import prefetched, sharpened

from ..render.synthetic import PaintedPortrait, as_portrait, painted_error, painted_portrait, with_a_torso


def small(steps: int, **changes) -> GaussianTrainConfig:
    counts = {"face_count": 900, "lips_count": 300, "mouth_count": 120, "shell_count": 500, "torso_count": 400}
    plain = {"steps": steps, "visits": 100, "components": 6, "mouth_steps": 0}
    return gaussian_config("tiny", **{**plain, **counts, **changes})


def heldout_error(model: GaussianModel, portrait: PaintedPortrait) -> np.ndarray:
    return painted_error(GaussianRenderer(model, from_uint8(portrait.background)), portrait)


@pytest.fixture(scope="module")
def portrait() -> PaintedPortrait:
    return painted_portrait()


@pytest.fixture(scope="module")
def trained(portrait: PaintedPortrait, tmp_path_factory: pytest.TempPathFactory) -> GaussianModel:
    return train_gaussian(as_portrait(portrait), tmp_path_factory.mktemp("work"), small(200))


@pytest.mark.slow
def test_training_learns_head_and_torso(portrait, trained):
    untrained = initial_model(as_portrait(portrait), np.flatnonzero(~portrait.heldout), small(200))
    before, after = heldout_error(untrained, portrait), heldout_error(trained, portrait)
    assert (after < before / 4).all(), (before, after)
    assert -10 * np.log10(after[0]) > 29


def test_open_and_closed_mouths_differ_as_painted(portrait, trained):
    """The darkness of the mouth region follows the opening on frames that were never seen."""
    renderer = GaussianRenderer(trained, from_uint8(portrait.background))
    frames = np.flatnonzero(portrait.heldout)
    drawn, painted = [], []
    for frame in frames:
        target = frame_target(as_portrait(portrait), int(frame), small(1))
        lips = target.weight == small(1).lips_weight
        pose = portrait.pose.rotation[frame], portrait.pose.translation[frame]
        picture = renderer.render(portrait.landmarks[frame], *pose, portrait.camera)
        drawn.append(picture.rgb[lips].mean())
        painted.append(target.image[lips].mean())
    assert np.corrcoef(drawn, painted)[0, 1] > 0.9


def test_no_gap_opens_at_the_neck_when_the_head_moves_up(portrait, trained):
    renderer = GaussianRenderer(trained, from_uint8(portrait.background))
    lifted = portrait.pose.translation[0] + np.array([0, 0.02, 0], np.float32)
    frame = renderer.render(portrait.landmarks[0], portrait.pose.rotation[0], lifted, portrait.camera)
    middle = portrait.size // 2
    column = frame.opacity[:, middle - 2 : middle + 3].mean(1)
    covered = np.flatnonzero(portrait.masks[0, :, middle].sum(-1) > 250)
    assert column[covered[3] : covered[-1]].min() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("moves", [False, True])
def test_resumed_equals_uninterrupted_to_the_bit(portrait, tmp_path, moves):
    portrait = with_a_torso(portrait) if moves else portrait

    class KilledError(Exception):
        pass

    def kill(stage: str, done: int, total: int) -> None:
        if done == 23:
            raise KilledError

    config = small(40, checkpoint_seconds=1e-6)
    whole = train_gaussian(as_portrait(portrait), tmp_path / "whole", config)
    with pytest.raises(KilledError):
        train_gaussian(as_portrait(portrait), tmp_path / "parts", config, progress=kill)
    steps = []
    resumed = train_gaussian(
        as_portrait(portrait),
        tmp_path / "parts",
        config,
        resume=True,
        progress=lambda stage, done, total: steps.append(done),
    )
    assert steps[0] == 23 and steps[-1] == 40
    for one, two in zip(whole.layers, resumed.layers, strict=True):
        np.testing.assert_array_equal(one.base, two.base)
        np.testing.assert_array_equal(one.basis, two.basis)
    assert (tmp_path / "whole" / CHECKPOINT_NAME).read_bytes() == (tmp_path / "parts" / CHECKPOINT_NAME).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("killed", [8, 13])
def test_resumed_among_the_mouth_s_own_steps(portrait, tmp_path, killed):
    """Steps of whole frames are 1 to 9; a run that ends before them and one that ends after them go on alike."""

    class KilledError(Exception):
        pass

    def kill(stage: str, done: int, total: int) -> None:
        assert total == 18
        if done == killed:
            raise KilledError

    config = small(12, mouth_steps=1.0, checkpoint_seconds=1e-6, diffusion_steps=4)
    whole = train_gaussian(as_portrait(portrait), tmp_path / "whole", config)
    with pytest.raises(KilledError):
        train_gaussian(as_portrait(portrait), tmp_path / "parts", config, progress=kill)
    resumed = train_gaussian(as_portrait(portrait), tmp_path / "parts", config, resume=True)
    for one, two in zip(whole.layers, resumed.layers, strict=True):
        np.testing.assert_array_equal(one.base, two.base)
        np.testing.assert_array_equal(one.basis, two.basis)


@pytest.mark.slow
def test_the_mouth_s_own_steps_change_lips_and_mouth_alone(portrait):
    config = small(12, mouth_steps=1.0, diffusion_steps=1)
    trainer = training.GaussianTrainer(as_portrait(portrait), config)
    assert (trainer.whole_steps, trainer.state.total_steps) == (9, 18)
    seen = list(trainer.batches(0, 18))
    assert [target.window is None for target in seen] == [True] * 9 + [False] * 9
    for target in seen[:9]:
        trainer.step(target)
    before = {name: array.copy() for name, array in trainer.state.arrays().items()}
    for target in seen[9:]:
        trainer.step(target)
    changed = {name for name, array in trainer.state.arrays().items() if not np.array_equal(array, before[name])}
    parts = {f"{part}{moment}" for part in ("base", "basis") for moment in ("", ".first", ".second")}
    assert changed == {f"{layer}.{part}" for layer in ("lips", "mouth") for part in parts}


def test_a_step_of_the_mouth_has_the_gradients_of_the_whole_picture(portrait):
    """A window shows what the whole frame shows there, and the Gaussians learn from it the same."""
    wide = as_portrait(portrait)
    config = small(4, mouth_steps=1.0, lips_weight=1.0)
    index = int(np.flatnonzero(~portrait.heldout)[3])
    target = mouth_target(wide, index, config)
    window = target.window
    assert window is not None
    # The whole picture with no weight outside of the window, and the mean over as many pixels.
    size = portrait.size
    share = size * size / (window.width * window.height)
    weight = np.zeros((size, size), np.float32)
    weight[window.rows, window.columns] = target.weight * share
    image = np.zeros((size, size, 3), np.float32)
    image[window.rows, window.columns] = target.image
    means = []
    for shown in (target, replace(frame_target(wide, index, config), image=image, weight=weight)):
        plain = config.model_copy(
            update={"silhouette": 0.0, "l1": 1.0, "dssim": 0.0, "mouth_l1": 1.0, "mouth_dssim": 0.0}
        )
        trainer = training.GaussianTrainer(wide, plain)
        trainer.state.step = trainer.whole_steps if shown.window is not None else 0
        trainer.step(shown)
        first = trainer.state.arrays()
        means.append([first[f"{layer}.base.first"] for layer in ("lips", "mouth")])
    for one, two in zip(*means, strict=True):
        assert np.abs(one).max() > 0
        np.testing.assert_allclose(one, two, atol=2e-3 * float(np.abs(two).max()))


@pytest.mark.parametrize("box", [(10, 12, 40, 30), (-3, 50, 20, 64), (60, 60, 64, 64), (0, 0, 64, 64), (64, 0, 64, 0)])
def test_a_mouth_s_window_lies_in_the_picture_and_holds_the_box(box):
    window = mouth_window(np.array(box, np.int32), 64)
    assert window.left >= 0 and window.top >= 0
    assert window.left + window.width <= 64 and window.top + window.height <= 64
    assert min(window.width, window.height) >= 16
    x0, y0, x1, y1 = np.clip(box, 0, 64)
    assert window.left <= x0 and x1 <= window.left + window.width
    assert window.top <= y0 and y1 <= window.top + window.height


def test_the_mouth_s_target_is_a_part_of_the_sharpened_picture(portrait):
    config = small(1, mouth_detail=0.1)
    target = mouth_target(as_portrait(portrait), 2, config)
    window = target.window
    assert window is not None
    whole = sharpened(from_uint8(portrait.images[2]), 0.1 * (portrait.size / 256) ** 2)
    np.testing.assert_allclose(target.image, whole[window.rows, window.columns], atol=1e-6)
    assert (target.weight == 1).sum() == np.prod(portrait.mouth_box[2, 2:] - portrait.mouth_box[2, :2])


@pytest.mark.slow
def test_finished_training_resumes_to_itself(portrait, tmp_path):
    config = small(5)
    first = train_gaussian(as_portrait(portrait), tmp_path, config)
    steps = []
    again = train_gaussian(
        as_portrait(portrait), tmp_path, config, resume=True, progress=lambda *args: steps.append(args)
    )
    assert steps == []
    np.testing.assert_array_equal(first.layers[0].base, again.layers[0].base)


@pytest.mark.slow
def test_checkpoint_of_other_settings_is_refused(portrait, tmp_path):
    train_gaussian(as_portrait(portrait), tmp_path, small(2))
    with pytest.raises(InputError, match="other settings"):
        train_gaussian(as_portrait(portrait), tmp_path, small(2, seed=1), resume=True)


@pytest.mark.slow
def test_heldout_frames_are_never_read(portrait, tmp_path):
    class Guarded(PaintedPortrait):
        def frame(self, index: int):
            assert not self.heldout[index]
            return super().frame(index)

    guarded = Guarded(**vars(portrait))
    train_gaussian(as_portrait(guarded), tmp_path, small(30))


@pytest.mark.slow
def test_a_short_portrait_is_not_shown_too_often(portrait, tmp_path):
    done = []
    config = small(999, visits=2)
    train_gaussian(
        as_portrait(portrait), tmp_path, config, progress=lambda stage, step, total: done.append((step, total))
    )
    limit = 2 * int((~portrait.heldout).sum())
    assert done[-1] == (limit, limit)


@pytest.mark.slow
def test_a_budget_becomes_steps_once(portrait, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "steps_within", lambda *_: 7)
    seen = []
    config = small(999, budget_seconds=1.0)
    train_gaussian(
        as_portrait(portrait), tmp_path, config, progress=lambda stage, done, total: seen.append((done, total))
    )
    assert seen[-1] == (7, 7)
    monkeypatch.setattr(run, "steps_within", lambda *_: pytest.fail("measured again"))
    train_gaussian(as_portrait(portrait), tmp_path, config, resume=True)


@pytest.mark.slow
def test_poses_are_refined_towards_the_true_ones(tmp_path):
    truth, noisy = painted_portrait(), painted_portrait(pose_noise=0.006)
    config = small(500, pose_prior=0.0, pose_rate=1e-3)
    trainer = training.GaussianTrainer(as_portrait(noisy), config)
    for index in frame_order(trainer.frames, 0, 0, 500):
        trainer.step(frame_target(as_portrait(noisy), index, config))
    frames = trainer.frames
    shift = noisy.pose.translation[frames] + trainer.state.poses.values[frames, 3:]
    true = truth.pose.translation[frames]

    def scatter(values):  # a shift that all frames share is the model's, not the poses'
        return ((values - true) - (values - true).mean(0))[:, :2].std()

    assert scatter(shift) < 0.7 * scatter(noisy.pose.translation[frames])


def test_several_frames_are_moved_as_one_after_another():
    """A frame that is there twice moves once, by the sum of its gradients."""
    random = np.random.default_rng(0)
    together, apart = FrameValues.zeros(5, 3), FrameValues.zeros(5, 3)
    for values in (together, apart):
        values.visits[:] = 1
    for _ in range(4):
        grads = random.normal(size=(3, 3))
        together.update(np.array([3, 1, 3]), grads, 0.01, 0.0)
        apart.update(3, grads[0] + grads[2], 0.01, 0.0)
        apart.update(1, grads[1], 0.01, 0.0)
    np.testing.assert_array_equal(together.visits, [1, 5, 1, 5, 1])
    for name in ("values", "first", "second"):
        np.testing.assert_allclose(getattr(together, name), getattr(apart, name), atol=1e-15)


def test_frame_values_have_no_common_drift():
    values = FrameValues.zeros(4)
    for step in range(50):
        values.update(step % 3, np.ones(6), 0.01, 0.0)
    np.testing.assert_allclose(values.values[:3].mean(0), 0, atol=1e-12)
    assert (values.values[3] == 0).all()


def test_frame_order_is_a_shuffle_that_can_start_anywhere():
    frames = np.array([2, 3, 5, 7, 11])
    whole = list(frame_order(frames, 1, 0, 20))
    assert whole[7:] == list(frame_order(frames, 1, 7, 20))
    for epoch in range(4):
        assert sorted(whole[5 * epoch : 5 * epoch + 5]) == list(frames)
    assert whole != list(frame_order(frames, 2, 0, 20))


def test_sharpening_is_the_classic_kernel():
    image = np.random.default_rng(0).uniform(0.3, 0.7, (9, 12, 3)).astype(np.float32)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    kernel = np.array([[0, -0.05, 0], [-0.05, 1.2, -0.05], [0, -0.05, 0]])
    expected = sum(kernel[y, x] * padded[y : y + 9, x : x + 12] for y in range(3) for x in range(3))
    np.testing.assert_allclose(sharpened(image, 0.05), expected, atol=1e-6)
    np.testing.assert_array_equal(sharpened(image, 0), image)


def test_sharpening_leaves_slopes_and_stays_in_range():
    slope = np.broadcast_to(np.linspace(0, 1, 16, dtype=np.float32)[:, None], (16, 16))[..., None].repeat(3, 2)
    np.testing.assert_allclose(sharpened(slope, 0.1)[1:-1], slope[1:-1], atol=1e-6)
    corner = np.zeros((8, 8, 3), np.float32)
    corner[4:, 4:] = 1
    sharp = sharpened(corner, 0.1)
    assert sharp.dtype == np.float32 and sharp.min() == 0 and sharp.max() == 1


def test_prefetching_keeps_order_and_passes_faults_on():
    assert list(prefetched(lambda index: index, range(10))) == list(range(10))  # type: ignore[arg-type, return-value]

    def broken(index):
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(prefetched(broken, [1]))


@pytest.mark.slow
def test_turned_pose_composes_with_the_tracked_one(portrait):
    trainer = training.GaussianTrainer(as_portrait(portrait), small(1))
    trainer.state.poses.values[4] = [0.1, 0, 0, 0, 0.2, 0]
    rotation, translation = refined_poses(trainer._portrait.pose, trainer.state.poses, 4)
    np.testing.assert_allclose(rotation, compose([0.1, 0, 0], portrait.pose.rotation[4]), atol=1e-6)
    np.testing.assert_allclose(translation, portrait.pose.translation[4] + [0, 0.2, 0], atol=1e-6)


def test_many_frames_are_held_less_and_few_no_more_than_before():
    config = gaussian_config("fast")
    few, usual, many = (training.diffusion_shares(config, frames)["torso"][0] for frames in (100, 400, 1200))
    assert few == usual == np.float32(config.pose_diffusion)
    assert many == pytest.approx(usual / 3)
    rates = [training.layer_rates(config, frames)["lower"].decay for frames in (400, 1200)]
    assert rates[1][0] == pytest.approx(rates[0][0] / 3)
    np.testing.assert_array_equal(rates[0][3:], rates[1][3:])
