"""AudioToMotion: speech to landmark motion, a variational autoencoder with a flow prior (GeneFace, section 3.1).

B clips, F video frames, D feature width, C motion coefficients, Z latent channels. Speech comes as
[B, 2F, D] at 50 Hz and is stacked in pairs; motion is [B, C, F] at 25 Hz, in the units of
`motion.basis.MotionBasis`; the latent runs at 25 / s Hz, [B, Z, F/s], with a stride s of two frames by default: 12.5 Hz
is fast enough for single phonemes. F is a multiple of s.

Beside the network there is a linear map of a frame's speech and its neighbours' (`SpeechFront.linear`, ridge
regression, Hoerl & Kennard 1970), and motion is the mean of both: the network says what it has heard better, the linear
map errs less on what it has not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geneface.config import Config
from geneface.motion.flow import FlowPrior
from geneface.motion.layers import DILATIONS, Memory, TimedConv, WaveNet, stack_pairs

LATENT_STRIDE = 2
"""Video frames per latent step, unless the configuration says otherwise."""


class AudioToMotionConfig(Config):
    """Sizes of the network."""

    feature_width: int
    """D of the speech encoder."""
    motion_width: int
    """C of the motion basis."""
    latent_channels: int = 16
    """Z."""
    latent_stride: int = Field(default=LATENT_STRIDE, ge=2, multiple_of=2)
    """Video frames per latent step, s. GeneFace's own code has 4."""
    speech_channels: int = 128
    """Width of the speech condition."""
    channels: int = 128
    """Width of the decoder's WaveNet."""
    encoder_channels: int = 96
    """Width of the posterior encoder's WaveNet, used in training only."""
    dilations: tuple[int, ...] = DILATIONS
    """Of encoder and decoder. GeneFace's own code has 1 in every layer."""
    flow_channels: int = 48
    flow_dilations: tuple[int, ...] = (1, 2)
    """Short, because the reaches of the steps add up and delay live speech."""
    flow_steps: int = Field(default=4, ge=0)
    """Coupling layers of the prior; 0: the prior is N(0, I), whatever the speech."""
    flow_affine: bool = True
    future_frames: int | None = None
    """Video frames of speech after a frame that its motion may depend on, for live speech: at least `latent_stride`,
    or 1 without a flow, whose steps they are. None: as far as the layers reach. Layers that see less of the future see
    more of the past."""
    dropout: float = 0.1
    """On the speech features and inside the decoder, in training."""
    linear_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Of the linear map in the motion; 0: there is none."""


@dataclass(frozen=True)
class Posterior:
    """q(z | motion, speech), a diagonal Gaussian."""

    mean: Tensor
    """[B, Z, F/s]."""
    log_std: Tensor
    """[B, Z, F/s]."""

    def sample(self, noise: Tensor) -> Tensor:
        """[B, Z, F/s] from standard normal noise of that shape."""
        return self.mean + torch.exp(self.log_std) * noise

    def log_density(self, z: Tensor) -> Tensor:
        """[B, Z, F/s], nats per element."""
        standardised = (z - self.mean) * torch.exp(-self.log_std)
        return -0.5 * standardised**2 - self.log_std - 0.5 * math.log(2 * math.pi)


class SpeechFront(nn.Module):
    """Features [B, 2F, D] -> condition [B, S, F]: normalise, stack pairs, project, one convolution; and linear motion.

    `linear_motion` is C, the coefficients of the linear map, or 0.
    """

    LINEAR_TAPS = 3
    """The frame before, its own, the one after."""

    def __init__(self, feature_width: int, channels: int, dropout: float, linear_motion: int = 0) -> None:
        super().__init__()
        self.channels = channels
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(feature_width))
        self.register_buffer("scale", torch.ones(feature_width))
        self.dropout = nn.Dropout1d(dropout)
        self.project = nn.Conv1d(2 * feature_width, channels, 1)
        self.mix = nn.Conv1d(channels, channels, 3)
        # Fitted, not trained. Every tap's coefficients beside one another, so that a piece needs nothing else of them.
        taps = self.LINEAR_TAPS
        self.linear = nn.Conv1d(2 * feature_width, taps * linear_motion, 1, bias=False) if linear_motion else None
        self.linear_bias: Tensor
        self.register_buffer("linear_bias", torch.zeros(linear_motion))
        if self.linear is not None:
            self.linear.weight.requires_grad_(False)

    reach = 1

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, 2F, D] -> condition [B, S, F]."""
        return self._mixed(functional.pad(self._projected(self._stacked(features)), (self.reach, self.reach)))

    def whole(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Condition [B, S, F] and linear motion [B, C, F] of a whole speech."""
        nothing = features.new_zeros(len(features), self.kept_channels, self.reach)
        condition, linear, _ = self.between(features, nothing, nothing)
        return condition, linear

    @property
    def kept_channels(self) -> int:
        """Of what `between` hands on."""
        return self.channels + (0 if self.linear is None else self.linear.out_channels)

    def between(self, features: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """The same of a piece whose neighbours are known, inside the model.

        Args:
            before: [B, kept_channels, *] what came before it, from the frame before the first that is wanted on.
            after: [B, kept_channels, *] what comes after it: a frame of zeros at the end of the speech, none if more
                will come.

        Returns:
            condition [B, S, F] and linear motion [B, C, F] of all frames but the first and the last; `before` of the
            next piece.
        """
        stacked = self._stacked(features)
        projected = self._projected(stacked)
        if self.linear is not None:
            projected = torch.cat([projected, self.linear(stacked)], dim=1)
        frames = torch.cat([before, projected, after], dim=2)
        condition = self._mixed(frames[:, : self.channels])
        return condition, self._linear_motion(frames[:, self.channels :]), frames[:, :, -2:]

    def neighbours(self, features: Tensor) -> Tensor:
        """What the linear map sees of all frames but the first and the last: [B, 2F, D] -> [B, F - 2, taps 2D]."""
        stacked = self._stacked(features)
        return torch.cat([stacked[:, :, :-2], stacked[:, :, 1:-1], stacked[:, :, 2:]], dim=1).transpose(1, 2)

    def _mixed(self, hidden: Tensor) -> Tensor:
        """[B, S, F + 2] with a frame on both sides -> [B, S, F]."""
        return hidden[:, :, 1:-1] + functional.gelu(self.mix(hidden))

    def _linear_motion(self, taps: Tensor) -> Tensor | None:
        """[B, taps C, F + 2] -> [B, C, F]."""
        if self.linear is None:
            return None
        first, own, last = taps.chunk(self.LINEAR_TAPS, dim=1)
        return first[:, :, :-2] + own[:, :, 1:-1] + last[:, :, 2:] + self.linear_bias[:, None]

    def _stacked(self, features: Tensor) -> Tensor:
        return stack_pairs((features - self.mean) * self.scale)

    def _projected(self, stacked: Tensor) -> Tensor:
        return functional.gelu(self.project(self.dropout(stacked)))


class AudioToMotion(nn.Module):
    """Speech to motion: `forward` samples the prior. Training calls `condition`, then `encode`, `decode`, `prior`."""

    def __init__(self, config: AudioToMotionConfig) -> None:
        super().__init__()
        # A frame depends on all frames of its latent step, if the prior depends on any.
        within_step = config.latent_stride - 1 if config.flow_steps else 0
        least = SpeechFront.reach + within_step
        if config.future_frames is not None and config.future_frames < least:
            raise ValueError(f"a future of {config.future_frames} frames is shorter than the {least} that are needed")
        self.config = config
        speech, z = config.speech_channels, config.latent_channels
        linear_motion = config.motion_width if config.linear_share else 0
        self.speech = SpeechFront(config.feature_width, speech, config.dropout, linear_motion)
        # A latent step sees its own frames and half as many to either side.
        stride = config.latent_stride
        reads, margin = 2 * stride, stride // 2
        # With a limited future it sees its own and those before.
        slow_ahead = margin if config.future_frames is None else 0
        self.slow_speech = TimedConv(speech, config.flow_channels, reads, slow_ahead, stride=stride)
        self.encoder_in = nn.Conv1d(config.motion_width, config.encoder_channels, 1)
        self.encoder = WaveNet(config.encoder_channels, speech, config.dilations)
        self.encoder_out = nn.Conv1d(config.encoder_channels, 2 * z, reads, stride=stride, padding=margin)
        self.prior = FlowPrior(
            z,
            config.flow_channels,
            config.flow_channels,
            config.flow_dilations,
            config.flow_steps,
            config.flow_affine,
            looks_ahead=config.future_frames is None,
        )
        left = None if config.future_frames is None else config.future_frames - least
        self.decoder_in = TimedConv(z + speech, config.channels, 3, 1 if left is None else 0)
        self.decoder = WaveNet(config.channels, speech, config.dilations, config.dropout, left)
        self.decoder_out = nn.Conv1d(config.channels, config.motion_width, 1)

    @property
    def goes_on(self) -> bool:
        """Whether nothing but the front and a latent step look ahead, so that speech may come in pieces."""
        stride = self.config.latent_stride
        return self.config.flow_steps > 0 and self.config.future_frames == stride - 1 + self.speech.reach

    @property
    def past_frames(self) -> int:
        """Video frames of speech before a frame that its motion depends on: a tight bound, in whole latent steps."""
        stride = self.config.latent_stride
        # From the last frame of a latent step to the first one that it reads; without a flow the latent reads none.
        slow = stride - 1 + self.slow_speech.back
        latent = stride * self.prior.past + slow if self.config.flow_steps else 0
        past = self.speech.reach + self.decoder_in.back + self.decoder.past + latent
        return past + -past % stride

    @property
    def future_frames(self) -> int:
        """Video frames of speech after a frame that its motion depends on: a tight bound."""
        stride = self.config.latent_stride
        slow = stride - 1 + self.slow_speech.ahead
        latent = stride * self.prior.future + slow if self.config.flow_steps else 0
        return self.speech.reach + self.decoder_in.ahead + self.decoder.future + latent

    def condition(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 2F, D] -> speech at 25 Hz [B, S, F], at the latent's rate [B, flow_channels, F/s]."""
        speech = self.speech(features)
        return speech, functional.gelu(self.slow_speech(speech))

    def encode(self, motion: Tensor, speech: Tensor) -> Posterior:
        """motion [B, C, F], speech [B, S, F] -> posterior at the latent's rate."""
        hidden = functional.gelu(self.encoder(self.encoder_in(motion), speech))
        mean, log_std = self.encoder_out(hidden).chunk(2, dim=1)
        return Posterior(mean, log_std.clamp(-6.0, 2.0))

    def decode(self, z: Tensor, speech: Tensor) -> Tensor:
        """Latent [B, Z, F/s], speech [B, S, F] -> motion [B, C, F]."""
        return self.decoder_out(self.decode_hidden(z, speech))

    def decode_hidden(self, z: Tensor, speech: Tensor, memory: Memory | None = None) -> Tensor:
        """What the last layer is linear in: [B, channels, F]."""
        fast = torch.stack([z] * self.config.latent_stride, dim=-1).flatten(2)
        hidden = self.decoder_in(torch.cat([fast, speech], dim=1), memory)
        return functional.gelu(self.decoder(hidden, speech, memory))

    def blend(self, network: Tensor, linear: Tensor | None) -> Tensor:
        """Motion [B, C, F] of the network's and the linear map's."""
        return network if linear is None else torch.lerp(network, linear, self.config.linear_share)

    def kl(self, posterior: Posterior, z: Tensor, slow_speech: Tensor) -> Tensor:
        """One-sample estimate of KL(q(z | motion, speech) || p(z | speech)), nats per latent element, [B].

        The prior's density goes through the flow: log p(z) = log N(u; 0, I) + log |du/dz|.
        """
        u, log_determinant = self.prior(z, slow_speech)
        log_prior = (-0.5 * u**2 - 0.5 * math.log(2 * math.pi)).sum(dim=(1, 2)) + log_determinant
        return (posterior.log_density(z).sum(dim=(1, 2)) - log_prior) / (z.shape[1] * z.shape[2])

    def forward(self, features: Tensor, noise: Tensor) -> Tensor:
        """Inference: features [B, 2F, D], noise [B, Z, F/s] (zero: the mean path) -> motion [B, C, F]."""
        return self.run(features, noise)[0]

    def run(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The same, with the hidden layer [B, channels, F] that the network's motion is linear in."""
        speech, linear = self.speech.whole(features)
        slow_speech = functional.gelu(self.slow_speech(speech))
        hidden = self.decode_hidden(self.prior.inverse(noise, slow_speech), speech)
        return self.blend(self.decoder_out(hidden), linear), hidden


class MotionGraph(nn.Module):
    """What is exported: motion, and the hidden layer that the network's is linear in, an input of the adaptation."""

    OUTPUTS = ("motion", "hidden")

    def __init__(self, model: AudioToMotion) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 2F, D], [B, Z, F/s] -> [B, C, F], [B, channels, F]."""
        return self.model.run(features, noise)


class PieceGraph(nn.Module):
    """The same for speech that may come in pieces: what `motion.runtime.MotionModel.go_on` runs."""

    def __init__(self, model: AudioToMotion) -> None:
        super().__init__()
        if not model.goes_on:
            raise ValueError("the layers of this model look ahead: its speech can't come in pieces")
        self.model = model

    def start(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """`before`, `after` and `memory` of speech that is there as a whole."""
        frame = torch.zeros(1, self.model.speech.kept_channels, self.model.speech.reach)
        memory = Memory()
        stride = self.model.config.latent_stride
        speech = torch.zeros(1, self.model.config.speech_channels, stride)
        self._run(speech, torch.zeros(1, self.model.config.latent_channels, 1), memory)
        return frame, frame, [torch.zeros_like(part) for part in memory.following]

    def forward(
        self, features: Tensor, noise: Tensor, before: Tensor, after: Tensor, *memory: Tensor
    ) -> tuple[Tensor, ...]:
        """-> motion, hidden layer, then `before` and `memory` of the next piece."""
        speech, linear, following = self.model.speech.between(features, before, after)
        heard = Memory(memory)
        motion, hidden = self._run(speech, noise, heard)
        return self.model.blend(motion, linear), hidden, following, *heard.following

    def _run(self, speech: Tensor, noise: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        slow_speech = functional.gelu(self.model.slow_speech(speech, memory))
        hidden = self.model.decode_hidden(self.model.prior.inverse(noise, slow_speech, memory), speech, memory)
        return self.model.decoder_out(hidden), hidden
