"""A normalising flow over time: the prior of the latent motion, conditioned on speech.

Z latent channels, T latent steps. The flow maps a latent z to noise u ~ N(0, I); its inverse maps noise to motion.
Affine coupling with exact inverse and log-determinant: Dinh et al. 2017 (Real NVP), equations 7-8; the coupling
networks are WaveNets, one shared by all steps as in GeneFace (Ye et al. 2023, appendix B), each step with its own
input and output projections.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geneface.motion.layers import Memory, WaveNet

_MAX_LOG_SCALE = 1.0


class CouplingLayer(nn.Module):
    """Shifts and scales one half of the channels by functions of the other half and of the condition.

    `network` is shared between layers. With `affine` False the map keeps volume (log-determinant 0).
    """

    def __init__(self, latent_channels: int, network: WaveNet, affine: bool, keep_first: bool) -> None:
        super().__init__()
        self.kept, self.affine, self.keep_first = latent_channels // 2, affine, keep_first
        self.network = network
        self.pre = nn.Conv1d(self.kept, network.channels, 1)
        self.post = nn.Conv1d(network.channels, self.kept * (2 if affine else 1), 1)
        # The flow starts as the identity: the prior starts as N(0, I).
        nn.init.zeros_(self.post.weight)
        assert self.post.bias is not None
        nn.init.zeros_(self.post.bias)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.split(self.kept, dim=1)
        return (first, second) if self.keep_first else (second, first)

    def _join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([kept, changed] if self.keep_first else [changed, kept], dim=1)

    def _shift_and_log_scale(
        self, kept: Tensor, condition: Tensor, memory: Memory | None = None
    ) -> tuple[Tensor, Tensor]:
        out = self.post(self.network(self.pre(kept), condition, memory))
        if not self.affine:
            return out, torch.zeros_like(out)
        shift, raw = out.chunk(2, dim=1)
        # A bounded scale keeps the inverse stable on speech unlike the training set's.
        return shift, _MAX_LOG_SCALE * torch.tanh(raw / _MAX_LOG_SCALE)

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """[B, Z, T] -> the mapped [B, Z, T] and the log-determinant [B]."""
        kept, changed = self._split(x)
        shift, log_scale = self._shift_and_log_scale(kept, condition)
        return self._join(kept, (changed - shift) * torch.exp(-log_scale)), -log_scale.sum(dim=(1, 2))

    def inverse(self, u: Tensor, condition: Tensor, memory: Memory | None = None) -> Tensor:
        """From the latent side back: [B, Z, F], condition [B, S, F] -> [B, Z, F]."""
        kept, changed = self._split(u)
        shift, log_scale = self._shift_and_log_scale(kept, condition, memory)
        return self._join(kept, changed * torch.exp(log_scale) + shift)


class FlowPrior(nn.Module):
    """p(z | speech) as a chain of coupling layers that change the two halves of the channels in turn.

    Args:
        latent_channels: Z, even.
        condition_channels: width of the condition, at the latent's rate.
        channels: width of the shared WaveNet.
        dilations: of the shared WaveNet.
        steps: number of coupling layers; 0 leaves the standard normal.
        affine: scales too, or shifts only (volume-preserving).
        looks_ahead: whether the inverse sees later steps; all layers share one network, whose reaches add up.
    """

    def __init__(
        self,
        latent_channels: int,
        condition_channels: int,
        channels: int,
        dilations: tuple[int, ...],
        steps: int,
        affine: bool,
        looks_ahead: bool = True,
    ) -> None:
        super().__init__()
        if latent_channels % 2:
            raise ValueError(f"latent_channels must be even, not {latent_channels}")
        self.network = WaveNet(channels, condition_channels, dilations, future=None if looks_ahead else 0)
        self.layers = nn.ModuleList(
            CouplingLayer(latent_channels, self.network, affine, keep_first=index % 2 == 0) for index in range(steps)
        )

    @property
    def past(self) -> int:
        """Latent steps that the inverse looks back."""
        return self.network.past * len(self.layers)

    @property
    def future(self) -> int:
        """Latent steps that the inverse looks ahead."""
        return self.network.future * len(self.layers)

    def forward(self, z: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Latent [B, Z, T] -> noise [B, Z, T] and log |du/dz| [B]."""
        total = z.new_zeros(z.shape[0])
        for layer in self.layers:
            z, log_determinant = layer(z, condition)
            total = total + log_determinant
        return z, total

    def inverse(self, u: Tensor, condition: Tensor, memory: Memory | None = None) -> Tensor:
        """Noise [B, Z, T] -> latent [B, Z, T]; u = 0 gives the mean path."""
        for layer in reversed(self.layers):
            assert isinstance(layer, CouplingLayer)
            u = layer.inverse(u, condition, memory)
        return u
