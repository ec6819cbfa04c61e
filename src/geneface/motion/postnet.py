"""PostNet: what closed form leaves between generic motion and a person's own (GeneFace, section 3.2).

B sequences, F frames, C coefficients of the person's basis. A residual 1-D CNN over time corrects the aligned
coefficients; an MLP discriminator knows what this person's motion looks like.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from geneface.config import Config
from geneface.motion.layers import TimedConv


class PostNetConfig(Config):
    """Sizes of the residual network."""

    motion_width: int
    """C."""
    channels: int = 64
    dilations: tuple[int, ...] = (1, 2, 4)
    dropout: float = 0.2


class PostNet(nn.Module):
    """[B, C, F] aligned coefficients -> [B, C, F]; zero-padded, the identity before training. It looks back only:
    what it looked ahead would add to what the generic model does, and live speech would wait for both.

    `amplitude` scales the result about the person's mean motion; it is set after training, from validation.
    """

    def __init__(self, config: PostNetConfig) -> None:
        super().__init__()
        self.amplitude: Tensor
        self.register_buffer("amplitude", torch.ones(()))
        self.config = config
        self.enter = nn.Conv1d(config.motion_width, config.channels, 1)
        self.layers = nn.ModuleList(
            TimedConv(config.channels, config.channels, 3, 0, dilation=dilation) for dilation in config.dilations
        )
        self.dropout = nn.Dropout(config.dropout)
        self.leave = nn.Conv1d(config.channels, config.motion_width, 1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    @property
    def past_frames(self) -> int:
        """Frames that an output looks back."""
        return 2 * sum(self.config.dilations)

    def forward(self, motion: Tensor) -> Tensor:
        hidden = self.enter(motion)
        for layer in self.layers:
            hidden = hidden + self.dropout(functional.gelu(layer(hidden)))
        return self.amplitude * (motion + self.leave(hidden))


class Discriminator(nn.Module):
    """MLP on single frames of coefficients and their velocity: [B, C, F] -> [B, F - 1], 1 for the person's own.

    Args:
        scale: [C] deviation of the person's coefficients.
    """

    def __init__(self, scale: Tensor, channels: int = 96) -> None:
        super().__init__()
        self.scale: Tensor
        self.register_buffer("scale", scale.reshape(-1, 1))
        # Convolutions of kernel 1 are one MLP applied to every frame.
        self.layers = nn.Sequential(
            nn.Conv1d(2 * len(scale), channels, 1),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.2),
            nn.Conv1d(channels, channels, 1),
            nn.LeakyReLU(0.2),
            nn.Conv1d(channels, 1, 1),
        )

    def forward(self, motion: Tensor) -> Tensor:
        motion = motion / self.scale
        # Velocities are smaller than positions by about this factor at 25 Hz.
        velocity = 3.0 * (motion[..., 1:] - motion[..., :-1])
        return self.layers(torch.cat([motion[..., 1:], velocity], dim=1))[:, 0]


def generator_loss(scores: Tensor) -> Tensor:
    """Least-squares GAN (Mao et al. 2017, equation 9, a = 0, b = c = 1)."""
    return (scores - 1).square().mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """See `generator_loss`."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2
