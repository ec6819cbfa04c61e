"""SyncExpert: are these lips and this sound of one moment? (After SyncNet, Chung and Zisserman 2016.)

B clips, F video frames, D feature width, P lip and jaw landmarks, E embedding width. Both sides are embedded by
unpadded convolutions over a short window, so an embedding depends on nothing but its window (no clip borders, no
position), and an output exists for each of the F - WINDOW + 1 whole windows.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from geneface.config import Config
from geneface.geometry import landmarks
from geneface.motion.layers import stack_pairs

SYNC_LANDMARKS = np.unique(np.concatenate([landmarks.LIPS, landmarks.JAW]))
"""Positions in the named set that the expert sees."""
WINDOW = 9
"""Frames per embedding: 0.36 s, two or three phonemes."""


class SyncExpertConfig(Config):
    """Sizes of the expert."""

    feature_width: int
    """D of the speech encoder."""
    channels: int = 96
    embedding: int = 64
    """E."""
    dropout: float = 0.15


def _tower(inputs: int, channels: int, embedding: int, dropout: float) -> nn.Sequential:
    """[B, inputs, F] -> [B, embedding, F - WINDOW + 1]: kernels 3, 3 dilated by 2, 3: 2 + 4 + 2 = WINDOW - 1."""
    return nn.Sequential(
        nn.Dropout1d(dropout),
        nn.Conv1d(inputs, channels, 1),
        nn.GELU(),
        nn.Conv1d(channels, channels, 3),
        nn.GELU(),
        nn.Conv1d(channels, channels, 3, dilation=2),
        nn.GELU(),
        nn.Conv1d(channels, channels, 3),
        nn.GELU(),
        nn.Conv1d(channels, embedding, 1),
    )


class SyncExpert(nn.Module):
    """Embeds lips and speech on one unit sphere; the cosine is the evidence that they belong together."""

    def __init__(self, config: SyncExpertConfig) -> None:
        super().__init__()
        self.config = config
        self.lips_mean: Tensor
        self.lips_scale: Tensor
        self.speech_mean: Tensor
        self.speech_scale: Tensor
        points = 3 * len(SYNC_LANDMARKS)
        self.register_buffer("lips_mean", torch.zeros(points))
        self.register_buffer("lips_scale", torch.ones(points))
        self.register_buffer("speech_mean", torch.zeros(config.feature_width))
        self.register_buffer("speech_scale", torch.ones(config.feature_width))
        self.lips = _tower(points, config.channels, config.embedding, 0.0)
        self.speech = _tower(2 * config.feature_width, config.channels, config.embedding, config.dropout)
        self.log_temperature = nn.Parameter(torch.tensor(2.5))

    def embed_lips(self, points: Tensor) -> Tensor:
        """Displacement of `SYNC_LANDMARKS` from neutral [B, F, P, 3] -> unit vectors [B, E, F - WINDOW + 1]."""
        flat = (points.flatten(2) - self.lips_mean) * self.lips_scale
        return functional.normalize(self.lips(flat.transpose(1, 2)), dim=1)

    def embed_speech(self, features: Tensor) -> Tensor:
        """Features [B, 2F, D] -> unit vectors [B, E, F - WINDOW + 1]."""
        stacked = stack_pairs((features - self.speech_mean) * self.speech_scale)
        return functional.normalize(self.speech(stacked), dim=1)

    def evidence(self, points: Tensor, features: Tensor) -> Tensor:
        """Cosine of lips and speech at each window: [B, F - WINDOW + 1]."""
        return (self.embed_lips(points) * self.embed_speech(features)).sum(dim=1)


def contrastive_loss(
    lips: Tensor, speech: Tensor, log_temperature: Tensor, stride: int = 3, places: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Symmetric InfoNCE over all windows of all clips in the batch.

    Negatives are wrong clips (so also wrong speakers) and wrong times of the same clip; windows closer than `stride`
    frames to the true one are left out by taking every `stride`-th window only, since they are half right.

    Args:
        lips, speech: unit embeddings [B, E, W].
        places: [B, >= W] number of each frame in the corpus. A moment that is in the batch twice (speakers with few
            clips) is then no negative of itself.

    Returns:
        the loss, and how often the true window has the highest cosine (mean of both directions).
    """
    rows = lips[..., ::stride].transpose(1, 2).flatten(0, 1)
    columns = speech[..., ::stride].transpose(1, 2).flatten(0, 1)
    scores = rows @ columns.T * log_temperature.clamp(max=4.0).exp()
    truth = torch.arange(len(rows), device=scores.device)
    if places is not None:
        starts = places[:, : lips.shape[-1] : stride].flatten()
        repeated = (starts[:, None] - starts[None]).abs() < stride
        repeated[truth, truth] = False
        scores = scores.masked_fill(repeated, -torch.inf)
    loss = (functional.cross_entropy(scores, truth) + functional.cross_entropy(scores.T, truth)) / 2
    hits = (scores.argmax(0) == truth).float().mean() + (scores.argmax(1) == truth).float().mean()
    return loss, hits / 2


def lag_scores(lips: Tensor, speech: Tensor, max_lag: int) -> Tensor:
    """Mean cosine of a clip at each lag of the speech: lips, speech [E, W] -> [2 max_lag + 1]; lag 0 in the middle."""
    windows = lips.shape[1] - 2 * max_lag
    centre = lips[:, max_lag : max_lag + windows]
    scores = [(centre * speech[:, lag : lag + windows]).sum(0).mean() for lag in range(2 * max_lag + 1)]
    return torch.stack(scores)
