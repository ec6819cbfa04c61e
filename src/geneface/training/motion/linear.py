"""Ridge regression of motion on speech: the linear map beside the network (`motion.vae.SpeechFront`).

A convolutional network that learnt a few words in a few voices is sure of itself on all others, too. A linear map can't
be: on people and words that were not in training it is as good as the network, errs elsewhere, and their mean is better
than either (docs/decisions.md, 2026-11-30).
"""

from __future__ import annotations

import torch

from geneface.corpus.dataset import SequenceSampler
from geneface.motion.vae import SpeechFront

_BATCHES, _BATCH = 120, 6
_SEED = 1 << 41
"""Seeds that the network's updates don't use; both see the same clips and voices."""


@torch.no_grad()
def fit_linear(front: SpeechFront, sampler: SequenceSampler, penalty: float) -> None:
    """Fit the linear map to sequences as the network sees them, other voices and sounds without speech included.

    With X the normalised features of a frame and its neighbours [N, 3 * 2D] and Y its motion [N, C], both less their
    means, it solves (X'X + penalty N I) W = X'Y.

    Args:
        sampler: its motion is that of the network, [F, C].
    """
    assert front.linear is not None
    width = front.LINEAR_TAPS * front.linear.in_channels
    gram, cross = torch.zeros(width, width), torch.zeros(width, len(front.linear_bias))
    rows_sum, motion_sum, frames = torch.zeros(width), torch.zeros(len(front.linear_bias)), 0
    for batch in range(_BATCHES):
        features, motion, _ = sampler.draw(_BATCH, _SEED + batch)
        rows = front.neighbours(torch.from_numpy(features)).flatten(0, 1)
        wanted = torch.from_numpy(motion[:, 1:-1]).flatten(0, 1)
        gram.addmm_(rows.T, rows)
        cross.addmm_(rows.T, wanted)
        rows_sum, motion_sum, frames = rows_sum + rows.sum(0), motion_sum + wanted.sum(0), frames + len(rows)
    rows_mean, motion_mean = rows_sum / frames, motion_sum / frames
    gram += penalty * frames * torch.eye(width) - torch.outer(rows_sum, rows_mean)
    cross -= torch.outer(rows_sum, motion_mean)
    weights = torch.linalg.solve(gram.double(), cross.double()).float()
    # [3 * 2D, C] -> [3 C, 2D, 1]
    taps = weights.unflatten(0, (front.LINEAR_TAPS, -1)).transpose(1, 2)
    front.linear.weight.copy_(taps.flatten(0, 1)[:, :, None])
    front.linear_bias.copy_(motion_mean - rows_mean @ weights)
