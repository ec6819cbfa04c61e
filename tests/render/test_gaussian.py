from __future__ import annotations

import json

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.geometry.landmarks import LEFT_EYE, LIPS, RIGHT_EYE
from geneface.ops.types import Splats
from geneface.render import gaussian
from geneface.render.composite import from_uint8, over, resize
from geneface.render.gaussian import GaussianModel, GaussianRenderer, draw
from geneface.render.registry import RENDERERS, create_renderer
from geneface.render.renderer import Window
from geneface.training.gaussian.config import gaussian_config
from geneface.training.gaussian.train import initial_model
from geneface.types import Camera

from .drawn_at_once import assert_pictures_are_those_drawn_alone
from .synthetic import PaintedPortrait, as_portrait, painted_portrait, with_a_torso


@pytest.fixture(scope="module")
def portrait() -> PaintedPortrait:
    return painted_portrait()


@pytest.fixture(scope="module")
def model(portrait: PaintedPortrait) -> GaussianModel:
    """Not trained, but with bases that move everything."""
    config = gaussian_config("tiny", face_count=1000, mouth_count=100, shell_count=500, torso_count=400)
    made = initial_model(as_portrait(portrait), np.flatnonzero(~portrait.heldout), config)
    rng = np.random.default_rng(0)
    for layer in made.layers:
        layer.basis[:, :3] += rng.normal(0, 0.002, layer.basis[:, :3].shape)
        layer.basis[:, 3:] += rng.normal(0, 0.1, layer.basis[:, 3:].shape)
    return made


@pytest.fixture
def renderer(model: GaussianModel, portrait: PaintedPortrait) -> GaussianRenderer:
    return GaussianRenderer(model, from_uint8(portrait.background))


def arguments(portrait: PaintedPortrait, frame: int):
    return portrait.landmarks[frame], portrait.pose.rotation[frame], portrait.pose.translation[frame]


def splats_by_layer(
    model: GaussianModel, portrait: PaintedPortrait, landmarks, rotation, translation
) -> dict[str, np.ndarray]:
    splats = Splats.empty(len(model))
    draw(model, model.frame_conditions(landmarks, rotation, translation), portrait.camera, None, splats)
    return {layer.name: splats.values[:, columns].copy() for layer, columns in model.slices()}


def test_first_guess_lies_where_the_masks_are(renderer, portrait):
    frame = renderer.render(*arguments(portrait, 3), portrait.camera)
    head, torso = portrait.masks[3, ..., 0] > 127, portrait.masks[3, ..., 1] > 127
    assert frame.head_opacity[head].mean() > 0.8
    assert frame.opacity[torso].mean() > 0.7
    assert frame.opacity[~(head | torso)].mean() < 0.1
    assert frame.head_opacity[torso].mean() < 0.3


def test_expression_moves_the_face_only(model, portrait):
    landmarks, rotation, translation = arguments(portrait, 3)
    before = splats_by_layer(model, portrait, landmarks, rotation, translation)
    spoken = landmarks.copy()
    spoken[LIPS[1::2], 1] -= 0.02
    after = splats_by_layer(model, portrait, spoken, rotation, translation)
    for name in ("lower", "mouth"):
        assert not np.array_equal(before[name], after[name])
    for name in ("upper", "shell", "torso"):
        np.testing.assert_array_equal(before[name], after[name])


def test_a_blink_moves_the_upper_face_only(model, portrait):
    landmarks, rotation, translation = arguments(portrait, 3)
    before = splats_by_layer(model, portrait, landmarks, rotation, translation)
    shut = landmarks.copy()
    for eye in (LEFT_EYE, RIGHT_EYE):
        shut[eye[15:8:-1]] = shut[eye[1:8]]
    after = splats_by_layer(model, portrait, shut, rotation, translation)
    assert not np.array_equal(before.pop("upper"), after["upper"])
    for name, splats in before.items():
        np.testing.assert_array_equal(splats, after[name])


@pytest.mark.slow
def test_the_border_of_the_face_does_not_move(model, portrait):
    """Motion of both parts begins at the border between them, or the face would tear there."""
    config = gaussian_config("tiny", face_count=3000)
    made = initial_model(as_portrait(portrait), np.flatnonzero(~portrait.heldout), config)
    upper, lower = made.layers[:2]
    edge = upper.base[1].min()
    assert lower.base[1].max() <= edge
    for layer in (upper, lower):
        away = np.abs(layer.base[1] - edge)
        moved = np.abs(layer.basis[:, :3]).max((0, 1))
        assert moved[away < 0.002].max(initial=0) < 0.05 * moved.max()


def test_torso_follows_the_head_pose_but_less_than_the_head(model, portrait):
    landmarks, rotation, translation = arguments(portrait, 3)
    model.torso_map[3, 3] = 0.002
    before = splats_by_layer(model, portrait, landmarks, rotation, translation)
    after = splats_by_layer(model, portrait, landmarks, rotation, translation + np.array([0.02, 0, 0], np.float32))
    moved = {name: np.median(np.abs(after[name][0] - before[name][0])) for name in before}
    model.torso_map[3, 3] = 0
    assert 0.05 < moved["torso"] < 0.7 * moved["shell"]


def test_saved_model_draws_the_same_picture(model, renderer, portrait):
    config = json.loads(json.dumps(model.config()))
    tensors = model.tensors()
    again = create_renderer("gaussian", tensors, config, from_uint8(portrait.background))
    expected = renderer.render(*arguments(portrait, 5), portrait.camera).rgb.copy()
    drawn = again.render(*arguments(portrait, 5), portrait.camera).rgb
    assert np.sqrt(((drawn - expected) ** 2).mean()) < 0.01
    kept = sum(array.nbytes for array in tensors.values())
    full = sum(layer.base.nbytes + layer.basis.nbytes for layer in model.layers)
    assert kept < 0.4 * full


def test_equal_arguments_give_equal_pixels(model, portrait):
    plate = from_uint8(portrait.background)
    one, two = GaussianRenderer(model, plate), GaussianRenderer(model, plate)
    two.render(*arguments(portrait, 9), portrait.camera)
    for frame in (2, 7):
        a = one.render(*arguments(portrait, frame), portrait.camera).to_uint8()
        b = two.render(*arguments(portrait, frame), portrait.camera).to_uint8()
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_threads_and_sizes_do_not_see_each_other(renderer, model, portrait):
    alone = GaussianRenderer(model, from_uint8(portrait.background))
    assert_pictures_are_those_drawn_alone(renderer, alone, portrait, rounds=40)


def test_sizes_in_turn_are_prepared_once(renderer, portrait, monkeypatch):
    prepared = []
    scale = gaussian.scaled_to
    monkeypatch.setattr(gaussian, "scaled_to", lambda model, camera: prepared.append(camera) or scale(model, camera))
    for _ in range(3):
        for size in (64, 96):
            renderer.render(*arguments(portrait, 1), Camera(portrait.camera.focal, size, size))
    assert [camera.width for camera in prepared] == [64, 96]


@pytest.mark.parametrize("window", [Window(0, 0, 64, 64), Window(10, 20, 30, 12), Window(63, 1, 1, 7)])
def test_a_window_is_that_part_of_the_picture(renderer, portrait, window):
    whole = renderer.render(*arguments(portrait, 3), portrait.camera)
    part = renderer.render(*arguments(portrait, 3), portrait.camera, window)
    assert part.image.shape == (window.height, window.width, 4)
    np.testing.assert_allclose(part.image, whole.image[window.rows, window.columns], atol=2e-5)
    np.testing.assert_allclose(part.opacity, whole.opacity[window.rows, window.columns], atol=2e-5)
    np.testing.assert_array_equal(part.plate, whole.plate[window.rows, window.columns])


def test_double_size_shows_the_same_picture(renderer, portrait):
    size = portrait.size
    small = renderer.render(*arguments(portrait, 4), portrait.camera).image.copy()
    large = renderer.render(*arguments(portrait, 4), Camera(portrait.camera.focal, 2 * size, 2 * size))
    assert large.rgb.shape == (2 * size, 2 * size, 3)
    shrunk = large.image.reshape(size, 2, size, 2, 4).mean((1, 3))
    assert np.sqrt(((shrunk - small)[..., :3] ** 2).mean()) < 0.02
    # Had the dilation been left as it is, the larger picture would have gaps.
    assert abs(large.head_opacity.mean() - small[..., 3].mean()) < 0.01


def test_alpha_picture_over_the_plate_is_the_picture(renderer, portrait):
    frame = renderer.render(*arguments(portrait, 4), portrait.camera)
    rgba = frame.to_rgba().astype(np.float32) / 255
    again = over(rgba[..., :3], rgba[..., 3], resize(frame.plate, portrait.size, portrait.size))
    # Colours outside of 0..1, which a random basis makes, are clipped: at a few pixels the picture can't be the same.
    assert np.percentile(np.abs(again - np.clip(frame.rgb, 0, 1)), 95) < 0.01
    assert rgba[0, 0, 3] == 0


def test_unknown_renderer_names_those_that_exist(model, portrait):
    with pytest.raises(InputError, match="gaussian"):
        create_renderer("mesh", {}, {}, portrait.background)
    assert set(RENDERERS) == {"gaussian", "nerf"}


def test_wrong_focal_length_is_refused(renderer, portrait):
    with pytest.raises(InputError, match="focal"):
        renderer.render(*arguments(portrait, 0), Camera(2 * portrait.camera.focal, 64, 64))


def test_missing_tensor_is_named(model):
    tensors = model.tensors()
    del tensors["layer.lower.basis"]
    with pytest.raises(InputError, match=r"layer\.lower\.basis"):
        GaussianModel.from_tensors(tensors, model.config())


def test_other_format_is_refused(model):
    with pytest.raises(InputError, match="format"):
        GaussianModel.from_tensors(model.tensors(), {**model.config(), "format": 99})


@pytest.fixture(scope="module")
def mover() -> PaintedPortrait:
    return with_a_torso(painted_portrait())


@pytest.fixture(scope="module")
def mover_model(mover: PaintedPortrait) -> GaussianModel:
    config = gaussian_config("tiny", face_count=300, mouth_count=50, shell_count=300, torso_count=300)
    return initial_model(as_portrait(mover), np.flatnonzero(~mover.heldout), config)


def torso_splats(model: GaussianModel, portrait: PaintedPortrait, torso: np.ndarray | None) -> dict[str, np.ndarray]:
    splats = Splats.empty(len(model))
    draw(model, model.frame_conditions(*arguments(portrait, 3), torso), portrait.camera, None, splats)
    return {layer.name: splats.values[:2, columns].copy() for layer, columns in model.slices()}


def test_the_torso_goes_where_its_points_were_seen(mover_model, mover):
    """The whole difference between two frames' points arrives as pixels, and none of it in the head."""
    one, other = mover.pose.torso[5], mover.pose.torso[9]
    before, after = (torso_splats(mover_model, mover, torso) for torso in (one, other))
    for name in ("upper", "lower", "mouth", "shell"):
        np.testing.assert_array_equal(before[name], after[name])
    # The lattice are the picture's corners, the torso is between the lower two: nearer to them than to the others.
    moved = (after["torso"] - before["torso"]).mean(1)
    weights = np.array([0.15, 0.15, 0.35, 0.35])
    wanted = mover.size * weights @ (other - one)
    assert np.abs(moved - wanted).max() < 0.35 * np.abs(wanted).max()


def test_a_torso_that_was_not_followed_is_where_the_pose_has_it(mover_model, mover):
    unknown = torso_splats(mover_model, mover, None)
    mean = mover.pose.torso[~mover.heldout].mean(0)
    usual = torso_splats(mover_model, mover, mean)
    assert np.abs(unknown["torso"] - usual["torso"]).max() < 1.0
    # Points of another person, who has more of them, say nothing.
    other = torso_splats(mover_model, mover, np.ones((30, 2), np.float32))
    np.testing.assert_array_equal(other["torso"], unknown["torso"])


def test_points_far_beyond_all_that_was_seen_do_not_tear_the_torso_off(mover_model, mover):
    usual = torso_splats(mover_model, mover, None)["torso"]
    far = torso_splats(mover_model, mover, 50 * mover.pose.torso[5])["torso"]
    seen = [torso_splats(mover_model, mover, torso)["torso"] for torso in mover.pose.torso]
    reach = max(np.abs(torso - usual).max() for torso in seen)
    assert np.abs(far - usual).max() < 3 * reach


def test_a_model_with_a_torso_is_stored_and_one_without_keeps_its_format(mover_model, mover, model):
    assert (model.config()["format"], mover_model.config()["format"]) == (2, 3)
    again = GaussianModel.from_tensors(mover_model.tensors(), json.loads(json.dumps(mover_model.config())))
    torso = mover.pose.torso[5]
    one, two = (torso_splats(made, mover, torso)["torso"] for made in (mover_model, again))
    assert np.abs(one - two).max() < 0.2
    tensors = mover_model.tensors()
    del tensors["condition.torso.mean"]
    with pytest.raises(InputError, match=r"condition\.torso\.mean"):
        GaussianModel.from_tensors(tensors, mover_model.config())
