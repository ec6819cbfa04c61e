"""SyncExpert's windows and losses, against direct computation."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from geneface.motion.sync import SYNC_LANDMARKS, WINDOW, SyncExpert, SyncExpertConfig, contrastive_loss, lag_scores


def make_expert() -> SyncExpert:
    torch.manual_seed(0)
    return SyncExpert(SyncExpertConfig(feature_width=4, channels=16, embedding=8)).eval()


@pytest.mark.slow
def test_embedding_sees_its_window_only():
    expert = make_expert()
    features = torch.randn(1, 2 * 30, 4)
    points = torch.randn(1, 30, len(SYNC_LANDMARKS), 3)
    speech, lips = expert.embed_speech(features), expert.embed_lips(points)
    assert speech.shape == lips.shape == (1, 8, 30 - WINDOW + 1)
    assert torch.allclose(speech.norm(dim=1), torch.ones(1, 22), atol=1e-5)
    part = slice(5, 5 + WINDOW)
    assert torch.allclose(expert.embed_lips(points[:, part])[..., 0], lips[..., 5], atol=1e-5)
    assert torch.allclose(expert.embed_speech(features[:, 10 : 10 + 2 * WINDOW])[..., 0], speech[..., 5], atol=1e-5)


def test_contrastive_loss_is_cross_entropy_over_other_times_and_clips():
    torch.manual_seed(1)
    lips, speech = (functional.normalize(torch.randn(3, 8, 7), dim=1) for _ in range(2))
    temperature = torch.tensor(1.0)
    loss, _ = contrastive_loss(lips, speech, temperature, stride=3)
    pairs = [(clip, time) for clip in range(3) for time in (0, 3, 6)]
    total = 0.0
    for clip, time in pairs:
        by_speech = np.array([float(lips[clip, :, time] @ speech[c, :, t]) for c, t in pairs]) * np.e
        by_lips = np.array([float(speech[clip, :, time] @ lips[c, :, t]) for c, t in pairs]) * np.e
        own = pairs.index((clip, time))
        total += sum(np.log(np.exp(row).sum()) - row[own] for row in (by_speech, by_lips)) / 2
    assert abs(float(loss) - total / len(pairs)) < 1e-5


def test_perfect_pairs_hit_and_shuffled_pairs_do_not():
    lips = functional.normalize(torch.randn(4, 16, 9, generator=torch.Generator().manual_seed(0)), dim=1)
    assert float(contrastive_loss(lips, lips, torch.tensor(2.0))[1]) == 1.0
    assert float(contrastive_loss(lips, lips.flip(0), torch.tensor(2.0))[1]) < 0.5


def test_a_moment_drawn_twice_is_no_negative_of_itself():
    """The same clip twice in the batch: without its places half of the loss punishes what is right."""
    one = functional.normalize(torch.randn(1, 16, 9, generator=torch.Generator().manual_seed(0)), dim=1)
    twice, temperature = one.expand(2, -1, -1), torch.tensor(2.0)
    places = torch.arange(100, 120).expand(2, -1)
    alone, hits = contrastive_loss(one, one, temperature)
    found, hits_twice = contrastive_loss(twice, twice, temperature, places=places)
    assert torch.allclose(found, _with_wrong_times_twice(one, temperature), atol=1e-5)
    assert hits == hits_twice == 1
    assert contrastive_loss(twice, twice, temperature)[0] > found + 0.3 > alone
    # Other moments, other clips: nothing is left out.
    apart = torch.stack([places[0], places[0] + 1000])
    assert (
        contrastive_loss(twice, twice, temperature, places=apart)[0] == contrastive_loss(twice, twice, temperature)[0]
    )


def _with_wrong_times_twice(one: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    windows = one[0, :, ::3].T
    scores = windows @ windows.T * temperature.exp()
    wrong = scores.exp() - torch.diag(scores.diagonal().exp())
    return ((scores.diagonal().exp() + 2 * wrong.sum(1)).log() - scores.diagonal()).mean()


def test_lag_is_found():
    speech = functional.normalize(torch.randn(16, 60, generator=torch.Generator().manual_seed(0)), dim=0)
    # Lips that follow the speech of three windows later.
    lips = speech.roll(-3, dims=1)
    assert int(lag_scores(lips, speech, 10).argmax()) - 10 == 3
