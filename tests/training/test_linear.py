"""The linear map beside the network: against ridge regression in closed form, and in pieces against the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geneface.corpus.dataset import SequenceSampler
from geneface.motion.vae import SpeechFront
from geneface.training.motion.linear import fit_linear

WIDTH, MOTION, PENALTY = 3, 2, 0.5


class OneBatch(SequenceSampler):
    """The same sequences at every draw."""

    def __init__(self, features: np.ndarray, motion: np.ndarray) -> None:
        self._drawn = features, motion, np.zeros(motion.shape[:2], np.intp)

    def draw(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self._drawn


@pytest.fixture
def sequences() -> tuple[np.ndarray, np.ndarray]:
    """Features [B, 2F, D] and motion [B, F, C], neither of mean zero."""
    rng = np.random.default_rng(0)
    features = 1.0 + 2.0 * rng.standard_normal((4, 80, WIDTH))
    motion = 3.0 + features[:, ::2, :MOTION] + 0.3 * rng.standard_normal((4, 40, MOTION))
    return features.astype(np.float32), motion.astype(np.float32)


@pytest.fixture
def front(sequences: tuple[np.ndarray, np.ndarray]) -> SpeechFront:
    torch.manual_seed(0)
    front = SpeechFront(WIDTH, 5, 0.1, MOTION).eval()
    front.mean.fill_(0.7)
    front.scale.fill_(0.4)
    fit_linear(front, OneBatch(*sequences), PENALTY)
    return front


def test_the_map_is_ridge_regression(front: SpeechFront, sequences: tuple[np.ndarray, np.ndarray]) -> None:
    features, motion = (part.astype(np.float64) for part in sequences)
    pairs = ((features - 0.7) * 0.4).reshape(4, 40, 2 * WIDTH)
    rows = np.concatenate([pairs[:, :-2], pairs[:, 1:-1], pairs[:, 2:]], axis=2).reshape(-1, 6 * WIDTH)
    wanted = motion[:, 1:-1].reshape(-1, MOTION)
    # Least squares with a row for every weight, whose square is then penalised.
    centred, size = rows - rows.mean(0), rows.shape[1]
    augmented = np.concatenate([centred, np.sqrt(PENALTY * len(rows)) * np.eye(size)])
    targets = np.concatenate([wanted - wanted.mean(0), np.zeros((size, MOTION))])
    weights = np.linalg.lstsq(augmented, targets, rcond=None)[0]
    expected = (centred @ weights + wanted.mean(0)).reshape(4, 38, MOTION)
    linear = front.whole(torch.from_numpy(sequences[0]))[1]
    assert linear is not None
    np.testing.assert_allclose(linear.detach().numpy().transpose(0, 2, 1)[:, 1:-1], expected, atol=1e-3)


@pytest.mark.parametrize("sizes", [[40], [2, 1, 37], [7, 20, 13]])
def test_pieces_give_the_whole(front: SpeechFront, sequences: tuple[np.ndarray, np.ndarray], sizes: list[int]) -> None:
    features = torch.from_numpy(sequences[0][:1])
    condition, linear = front.whole(features)
    assert linear is not None
    before = torch.zeros(1, front.kept_channels, front.reach)
    conditions, linears, start = [], [], 0
    for size in sizes:
        piece, start = features[:, 2 * start : 2 * (start + size)], start + size
        after = torch.zeros(1, front.kept_channels, front.reach if start == 40 else 0)
        heard, moved, before = front.between(piece, before, after)
        assert moved is not None
        conditions.append(heard)
        linears.append(moved)
    torch.testing.assert_close(torch.cat(conditions, dim=2), condition, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.cat(linears, dim=2), linear, atol=1e-5, rtol=1e-5)


def test_without_it_the_front_gives_what_it_gave(sequences: tuple[np.ndarray, np.ndarray]) -> None:
    front = SpeechFront(WIDTH, 5, 0.1).eval()
    features = torch.from_numpy(sequences[0])
    condition, linear = front.whole(features)
    assert linear is None and front.kept_channels == 5
    torch.testing.assert_close(condition, front(features))
