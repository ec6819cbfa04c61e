"""AudioToMotion: rates, reach and the KL against closed form."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from geneface.motion.vae import AudioToMotion, AudioToMotionConfig, Posterior


def make_model(**changes) -> AudioToMotion:
    torch.manual_seed(2)
    config = AudioToMotionConfig(
        feature_width=5,
        motion_width=6,
        latent_channels=4,
        speech_channels=16,
        channels=16,
        encoder_channels=16,
        flow_channels=8,
        **changes,
    )
    model = AudioToMotion(config).double().eval()
    for parameter in model.prior.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.mark.slow
def test_latent_runs_at_half_the_video_rate_and_no_feature_row_is_dropped():
    model = make_model()
    features = torch.randn(1, 80, 5).double().requires_grad_()
    speech, slow = model.condition(features)
    assert speech.shape[2] == 40 and slow.shape[2] == 20
    motion = model(features, torch.zeros(1, 4, 20).double())
    assert motion.shape == (1, 6, 40)
    motion[..., 20].sum().backward()
    assert features.grad is not None
    used = features.grad.abs().sum(dim=(0, 2))
    assert (used[36:46] > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"latent_stride": 4},
        {"flow_steps": 0},
        {"latent_stride": 4, "flow_steps": 0},
        {"dilations": (1, 1, 1, 1)},
        {"future_frames": 2},
        {"future_frames": 3},
        {"future_frames": 7, "latent_stride": 4},
        {"future_frames": 1, "flow_steps": 0},
        {"future_frames": 2, "flow_steps": 0},
    ],
)
def test_motion_depends_on_speech_within_the_stated_reach_only(changes):
    model = make_model(**changes)
    stride = model.config.latent_stride
    assert model.past_frames % stride == 0
    features, noise = torch.randn(1, 800, 5).double(), torch.randn(1, 4, 400 // stride).double()
    furthest_past, furthest_future = 0, 0
    for frame in range(80, 80 + stride):
        changed = features.clone()
        changed[:, 2 * frame : 2 * frame + 2] += 1
        moved = (model(changed, noise) - model(features, noise)).abs().amax(dim=(0, 1))
        # A frame after the changed speech looks back at it.
        where = (moved > 1e-15).nonzero().flatten() - frame
        furthest_past, furthest_future = max(furthest_past, int(where.max())), max(furthest_future, -int(where.min()))
    assert furthest_past <= model.past_frames and furthest_future <= model.future_frames
    # The bounds are worth their name: they are nearly reached, and a limit is reached.
    assert furthest_past >= 0.85 * model.past_frames - 2 * stride
    assert furthest_future >= model.future_frames - (2 * stride if model.config.future_frames is None else 0)


@pytest.mark.parametrize("future", [2, 3, 6])
def test_a_limited_future_is_kept_and_used(future):
    model = make_model(future_frames=future)
    assert model.future_frames == future
    assert model.past_frames > make_model().past_frames
    assert make_model(future_frames=future, flow_steps=0).future_frames == future
    with pytest.raises(ValueError, match="shorter than the 2 that are needed"):
        make_model(future_frames=1)


@pytest.mark.slow
def test_kl_matches_closed_form_when_the_flow_is_the_identity():
    torch.manual_seed(0)
    config = AudioToMotionConfig(feature_width=5, motion_width=6, latent_channels=4)
    model = AudioToMotion(config)
    posterior = Posterior(0.5 * torch.randn(1, 4, 10), -0.5 + 0.3 * torch.randn(1, 4, 10))
    slow = torch.zeros(1, config.flow_channels, 10).expand(3000, -1, -1)
    drawn = model.kl(posterior, posterior.sample(torch.randn(3000, 4, 10)), slow).mean().item()
    expected = kl_divergence(Normal(posterior.mean, posterior.log_std.exp()), Normal(0.0, 1.0)).mean().item()
    assert math.isclose(drawn, expected, rel_tol=0.03)


def test_encoder_sees_the_motion():
    model = make_model()
    speech, _ = model.condition(torch.randn(1, 40, 5).double())
    first = model.encode(torch.zeros(1, 6, 20).double(), speech)
    second = model.encode(torch.ones(1, 6, 20).double(), speech)
    assert first.mean.shape == (1, 4, 10)
    assert (first.mean - second.mean).abs().max() > 1e-3


def test_dilations_of_one_hear_less():
    """GeneFace's own stacks: 4 frames to either side instead of 15, in the decoder and in the posterior."""
    assert make_model().config.dilations == (1, 2, 4, 8)
    flat = make_model(dilations=(1, 1, 1, 1))
    assert (flat.decoder.past, flat.decoder.future, flat.encoder.past) == (4, 4, 4)
    assert make_model().future_frames - flat.future_frames == 15 - 4


@pytest.mark.parametrize("stride", [2, 4])
def test_latent_runs_at_the_video_rate_over_the_stride(stride):
    model = make_model(latent_stride=stride)
    speech, slow = model.condition(torch.randn(1, 80, 5).double())
    posterior = model.encode(torch.randn(1, 6, 40).double(), speech)
    assert slow.shape[2] == posterior.mean.shape[2] == 40 // stride
    z = torch.randn(1, 4, 40 // stride).double()
    assert model.decode(z, speech).shape == (1, 6, 40)
    # Frames of one latent step share its value: only the decoder's convolutions blur the border.
    changed = z.clone()
    changed[..., 4] += 1
    moved = (model.decode(changed, speech) - model.decode(z, speech)).abs().amax(dim=(0, 1))
    reach = model.decoder.past + 1
    frames = (moved > 1e-15).nonzero().flatten()
    assert (int(frames.min()), int(frames.max())) == (max(0, 4 * stride - reach), min(39, 5 * stride - 1 + reach))


def test_without_a_flow_the_prior_is_standard_normal_and_deaf():
    model = make_model(flow_steps=0)
    noise = torch.randn(1, 4, 10).double()
    for _ in range(2):
        slow = model.condition(torch.randn(1, 40, 5).double())[1]
        assert torch.equal(model.prior.inverse(noise, slow), noise)
    posterior = Posterior(torch.zeros(1, 4, 10).double(), torch.zeros(1, 4, 10).double())
    assert float(model.kl(posterior, noise, slow)) == pytest.approx(0, abs=1e-12)
    flowing = make_model()
    assert not torch.equal(flowing.prior.inverse(noise, slow), noise)
