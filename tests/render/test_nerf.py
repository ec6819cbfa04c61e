"""The stored radiance field: what is written is what is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.render import nerf
from geneface.render.composite import from_uint8
from geneface.render.nerf import NerfModel, NerfRenderer
from geneface.render.registry import create_renderer
from geneface.training.nerf import train_nerf
from geneface.training.nerf_config import nerf_config
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


def test_refuses_what_does_not_fit(portrait, model):
    renderer = NerfRenderer(model, from_uint8(portrait.background))
    with pytest.raises(InputError, match="focal"):
        renderer.render(*pose(portrait), Camera(1.0, 64, 64))
    with pytest.raises(InputError, match="format"):
        NerfModel.from_tensors(model.tensors(), {"format": 99})
    with pytest.raises(InputError, match="lacks"):
        NerfModel.from_tensors({}, model.config())
    broken = model.tensors() | {"head.w1": np.zeros((3, 3), np.float32)}
    with pytest.raises(ValueError, match="wide"):
        NerfRenderer(NerfModel.from_tensors(broken, model.config()), from_uint8(portrait.background)).render(
            *pose(portrait), portrait.camera
        )


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
