"""One table says how each renderer is trained."""

from __future__ import annotations

import pytest

from geneface.bench import TRAIN_BENCHMARKS
from geneface.errors import InputError
from geneface.render.registry import RENDERERS
from geneface.training.gaussian.config import GaussianTrainConfig, gaussian_config
from geneface.training.nerf.config import NerfTrainConfig, nerf_config
from geneface.training.presets import choose_preset
from geneface.training.trainers import TRAININGS, training_of


def test_every_renderer_can_be_trained_and_timed():
    assert set(TRAININGS) == set(TRAIN_BENCHMARKS) == set(RENDERERS)


def test_a_preset_is_looked_up_among_the_renderers_own():
    assert training_of("gaussian").config("good", seed=3) == gaussian_config("good", seed=3)
    assert training_of("nerf").config("good", seed=3) == nerf_config("good", seed=3)
    assert isinstance(training_of("gaussian").config("tiny"), GaussianTrainConfig)
    assert isinstance(training_of("nerf").config("tiny"), NerfTrainConfig)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="choose one of: gaussian, nerf"):
        training_of("mesh")
    with pytest.raises(InputError, match="tiny, fast, good"):
        training_of("nerf").config("huge")
    with pytest.raises(InputError, match="tiny, fast, good"):
        choose_preset(training_of("gaussian").presets, "huge")
