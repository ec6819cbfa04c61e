"""AudioToMotion: rates, reach and the KL against closed form."""

import math

import torch
from torch.distributions import Normal, kl_divergence

from geneface.motion.vae import AudioToMotion, AudioToMotionConfig, Posterior


def make_model() -> AudioToMotion:
    torch.manual_seed(2)
    config = AudioToMotionConfig(
        feature_width=5,
        motion_width=6,
        latent_channels=4,
        speech_channels=16,
        channels=16,
        encoder_channels=16,
        flow_channels=8,
    )
    model = AudioToMotion(config).double().eval()
    for parameter in model.prior.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return model


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


def test_motion_depends_on_speech_within_the_stated_reach_only():
    model = make_model()
    features, noise = torch.randn(1, 240, 5).double(), torch.randn(1, 4, 60).double()
    for frame in (60, 61):
        changed = features.clone()
        changed[:, 2 * frame : 2 * frame + 2] += 1
        moved = (model(changed, noise) - model(features, noise)).abs().amax(dim=(0, 1))
        where = (moved > 1e-15).nonzero().flatten() - frame
        assert int(where.abs().max()) <= model.reach_frames
        # The bound is worth its name: it is nearly reached.
        assert int(where.abs().max()) >= model.reach_frames - 6


def test_kl_matches_closed_form_when_the_flow_is_the_identity():
    torch.manual_seed(0)
    config = AudioToMotionConfig(feature_width=5, motion_width=6, latent_channels=4)
    model = AudioToMotion(config)
    posterior = Posterior(0.5 * torch.randn(1, 4, 10), -0.5 + 0.3 * torch.randn(1, 4, 10))
    slow = torch.zeros(1, config.flow_channels, 10)
    draws = [model.kl(posterior, posterior.sample(torch.randn(1, 4, 10)), slow).item() for _ in range(3000)]
    expected = kl_divergence(Normal(posterior.mean, posterior.log_std.exp()), Normal(0.0, 1.0)).mean().item()
    assert math.isclose(sum(draws) / len(draws), expected, rel_tol=0.03)


def test_encoder_sees_the_motion():
    model = make_model()
    speech, _ = model.condition(torch.randn(1, 40, 5).double())
    first = model.encode(torch.zeros(1, 6, 20).double(), speech)
    second = model.encode(torch.ones(1, 6, 20).double(), speech)
    assert first.mean.shape == (1, 4, 10)
    assert (first.mean - second.mean).abs().max() > 1e-3
