"""The stored radiance field: what is written is what is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from geneface import ops
from geneface.errors import InputError
from geneface.geometry.landmarks import EYES, LIPS
from geneface.geometry.rotation import rotation_matrix
from geneface.render import nerf
from geneface.render.composite import from_uint8
from geneface.render.nerf import NerfModel, NerfRenderer
from geneface.render.registry import create_renderer
from geneface.render.renderer import Window
from geneface.training.nerf.config import nerf_config
from geneface.training.nerf.occupancy import warp_at
from geneface.training.nerf.train import train_nerf
from geneface.types import Camera

from .drawn_at_once import assert_pictures_are_those_drawn_alone
from .synthetic import PaintedPortrait, as_portrait, painted_portrait


@pytest.fixture(scope="module")
def portrait() -> PaintedPortrait:
    return painted_portrait()


@pytest.fixture(scope="module")
def model(portrait: PaintedPortrait, tmp_path_factory: pytest.TempPathFactory) -> NerfModel:
    config = nerf_config("tiny", steps=80, rays_per_pixel=1000.0, components=6)
    return train_nerf(as_portrait(portrait), tmp_path_factory.mktemp("work"), config)


def pose(portrait: PaintedPortrait, frame: int = 0):
    return portrait.landmarks[frame], portrait.pose.rotation[frame], portrait.pose.translation[frame]


def test_a_stored_model_draws_the_same(portrait, model):
    plate = from_uint8(portrait.background)
    first = NerfRenderer(model, plate).render(*pose(portrait), portrait.camera)
    stored = create_renderer("nerf", model.tensors(), model.config(), plate)
    second = stored.render(*pose(portrait), portrait.camera)
    # The warp is stored in bytes, a 255th of its largest displacement.
    assert np.abs(first.image - second.image).max() < 0.02
    third = create_renderer("nerf", model.tensors(), model.config(), plate).render(*pose(portrait), portrait.camera)
    np.testing.assert_array_equal(second.image, third.image)


@pytest.mark.parametrize("window", [Window(0, 0, 64, 64), Window(8, 24, 30, 12), Window(5, 3, 41, 17)])
def test_a_window_is_that_part_of_the_picture(portrait, model, window):
    renderer = NerfRenderer(model, from_uint8(portrait.background))
    whole = renderer.render(*pose(portrait), portrait.camera)
    part = renderer.render(*pose(portrait), portrait.camera, window)
    assert part.image.shape == (window.height, window.width, 4)
    # Rays begin at other depths of the same lattice where tiles lie elsewhere.
    np.testing.assert_allclose(part.image, whole.image[window.rows, window.columns], atol=2e-3)
    np.testing.assert_allclose(part.opacity, whole.opacity[window.rows, window.columns], atol=2e-3)


def test_a_window_outside_of_the_picture_is_refused(portrait, model):
    renderer = NerfRenderer(model, from_uint8(portrait.background))
    scene, frame = model.scene(), model.frame(*pose(portrait))
    plate = np.zeros((10, 10, 3), np.float32)
    assert renderer.render(*pose(portrait), portrait.camera, Window(54, 54, 10, 10)).image.shape == (10, 10, 4)
    with pytest.raises(ValueError, match="does not lie in"):
        ops.render_field(scene, frame, 100.0, plate, (55, 54), (64, 64))


@pytest.mark.parametrize("size", [(32, 32), (96, 64), (33, 47)])
def test_any_size_shows_the_same_picture(portrait, model, size):
    plate = from_uint8(portrait.background)
    renderer = NerfRenderer(model, plate)
    whole = renderer.render(*pose(portrait), portrait.camera)
    width, height = size
    other = renderer.render(*pose(portrait), Camera(portrait.camera.focal, width, height))
    assert other.image.shape == (height, width, 4)
    if width == height:
        shrunk = whole.rgb.reshape(32, 2, 32, 2, 3).mean((1, 3))
        assert np.abs(shrunk - other.rgb).mean() < 0.02


def test_the_turn_of_the_head_moves_the_picture(portrait, model):
    renderer = NerfRenderer(model, from_uint8(portrait.background))
    landmarks, rotation, translation = pose(portrait)
    still = renderer.render(landmarks, rotation, translation, portrait.camera)
    moved = renderer.render(landmarks, rotation, translation + np.array([0.1, 0, 0], np.float32), portrait.camera)
    columns = np.arange(portrait.size)
    middles = [(f.head_opacity.sum(0) * columns).sum() / f.head_opacity.sum() for f in (still, moved)]
    expected = 0.1 * portrait.camera.focal * portrait.size / -translation[2]
    assert abs(middles[1] - middles[0] - expected) < 0.5


def part_of(portrait: PaintedPortrait, model: NerfModel, points: np.ndarray, frame: int = 0) -> np.ndarray:
    """Gates [N] at points [N, 3] of the head."""
    warps = model.warps(model.frame_conditions(*pose(portrait, frame)))
    return warp_at(points[None], warps[None], model.warp_box)[0, :, 3]


def pixels_of(portrait: PaintedPortrait, model: NerfModel, frame: int = 0) -> np.ndarray:
    """Gates [H, W] where the picture's rays meet the plane of the face."""
    _, rotation, translation = pose(portrait, frame)
    y, x = np.mgrid[: portrait.size, : portrait.size] + 0.5
    scale = portrait.camera.focal * portrait.size
    half = portrait.size / 2
    rays = np.stack([(x - half) / scale, (half - y) / scale, -np.ones_like(x)], -1).reshape(-1, 3)
    matrix = rotation_matrix(rotation)
    origin, directions = -translation @ matrix, rays @ matrix
    depth = (0.1 - origin[2]) / directions[:, 2]
    return part_of(portrait, model, origin + depth[:, None] * directions, frame).reshape(x.shape)


@pytest.mark.parametrize("moved, still", [("lids", "lower"), ("lips", "upper")])
def test_a_part_of_the_face_answers_to_its_own_landmarks_alone(portrait, model, moved, still):
    """Other lids, far beyond what was seen, change no bit of the lower face; other lips none of the upper."""
    renderer = NerfRenderer(model, from_uint8(portrait.background))
    landmarks, rotation, translation = pose(portrait)
    other = landmarks.copy()
    points = EYES if moved == "lids" else LIPS
    other[points, 1] += 0.5 * (other[points, 1].mean() - other[points, 1]) + 0.01
    first, second = (renderer.render(face, rotation, translation, portrait.camera) for face in (landmarks, other))
    changed = (first.image != second.image).any(-1)
    gates = pixels_of(portrait, model)
    # The plane is not where all samples are: three pixels are left out on each side of a border.
    upper, lower = (binary_erosion(gates > 0, iterations=3), binary_erosion(gates < 0, iterations=3))
    outside = binary_erosion(gates == 0, iterations=3, border_value=1)
    assert min(upper.sum(), lower.sum(), outside.sum()) > 50
    quiet, loud = (lower, upper) if still == "lower" else (upper, lower)
    assert not changed[quiet].any() and not changed[outside].any()
    assert changed[loud].mean() > 0.5


def test_beyond_what_was_seen_the_mesh_moves_the_face_and_nothing_learnt_does(portrait, model):
    neutral, open_mouth = portrait.landmarks[portrait.opening.argmin()], portrait.landmarks[portrait.opening.argmax()]
    far = [model.frame_conditions(neutral + way * (open_mouth - neutral), *pose(portrait)[1:]) for way in (1, 1.5, 2)]
    seen = model.conditions.expression(portrait.landmarks).values
    for given in far[1:]:
        margin = 0.11 * np.ptp(seen, axis=0) + 1e-4
        assert (given.expression.values >= seen.min(0) - margin).all()
        assert (given.expression.values <= seen.max(0) + margin).all()
    moves = np.stack([model.warps(given) for given in far])
    beyond = np.einsum("k,kgjd->gjd", far[2].expression.excess, model.mesh_warp)
    assert np.abs(beyond).max() > 0.005
    held = replace(far[2], expression=replace(far[2].expression, excess=np.zeros_like(far[2].expression.excess)))
    np.testing.assert_allclose(moves[2] - model.warps(held), beyond, atol=1e-6)
    # The chin goes on: its way to the canonical head is longer.
    chin = np.array([[0, portrait.neutral[152, 1] + 0.02, 0.1]])
    ways = [warp_at(chin[None], move[None], model.warp_box)[0, 0, 1] for move in moves]
    assert 0 < ways[0] < ways[1] < ways[2]


def test_refuses_what_does_not_fit(portrait, model):
    renderer = NerfRenderer(model, from_uint8(portrait.background))
    with pytest.raises(InputError, match="focal"):
        renderer.render(*pose(portrait), Camera(1.0, 64, 64))
    with pytest.raises(InputError, match="format"):
        NerfModel.from_tensors(model.tensors(), {"format": 99})
    with pytest.raises(InputError, match="train the avatar again"):
        NerfModel.from_tensors(model.tensors(), model.config() | {"format": 1})
    with pytest.raises(InputError, match="lacks"):
        NerfModel.from_tensors({}, model.config())
    broken = model.tensors() | {"head.w1": np.zeros((3, 3), np.float32)}
    with pytest.raises(ValueError, match="wide"):
        NerfRenderer(NerfModel.from_tensors(broken, model.config()), from_uint8(portrait.background)).render(
            *pose(portrait), portrait.camera
        )


@pytest.mark.slow
def test_threads_and_sizes_do_not_see_each_other(portrait, model):
    plate = from_uint8(portrait.background)
    assert_pictures_are_those_drawn_alone(NerfRenderer(model, plate), NerfRenderer(model, plate), portrait, rounds=12)


def test_sizes_in_turn_are_prepared_once(portrait, model, monkeypatch):
    prepared = []
    shrink = nerf.resize
    monkeypatch.setattr(nerf, "resize", lambda *given: prepared.append(given[1]) or shrink(*given))
    renderer = NerfRenderer(model, from_uint8(portrait.background))
    for _ in range(3):
        for size in (32, 48):
            renderer.render(*pose(portrait), Camera(portrait.camera.focal, size, size))
    assert prepared == [32, 48]
