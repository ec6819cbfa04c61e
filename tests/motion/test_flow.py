"""The flow against the change-of-variables formula computed by automatic differentiation."""

import pytest
import torch

from geneface.motion.flow import FlowPrior


def make_flow(affine: bool, latent: int = 4) -> FlowPrior:
    torch.manual_seed(1)
    flow = FlowPrior(latent, 3, 8, (1, 2), steps=4, affine=affine).double()
    # Away from the identity it starts as.
    for parameter in flow.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    return flow


@pytest.mark.slow
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("steps", [1, 7])
def test_inverse_is_exact(affine, steps):
    flow = make_flow(affine)
    z, condition = torch.randn(3, 4, steps).double(), torch.randn(3, 3, steps).double()
    u, _ = flow(z, condition)
    assert (u - z).abs().max() > 0.1
    assert torch.allclose(flow.inverse(u, condition), z, atol=1e-10)
    assert torch.allclose(flow(flow.inverse(z, condition), condition)[0], z, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("affine", [True, False])
def test_log_determinant_is_the_jacobians(affine):
    flow = make_flow(affine)
    z, condition = torch.randn(1, 4, 5).double(), torch.randn(1, 3, 5).double()

    def flat(x: torch.Tensor) -> torch.Tensor:
        return flow(x.reshape(1, 4, 5), condition)[0].flatten()

    jacobian = torch.autograd.functional.jacobian(flat, z.flatten())
    assert isinstance(jacobian, torch.Tensor)
    expected = torch.linalg.slogdet(jacobian).logabsdet
    found = flow(z, condition)[1][0]
    assert torch.allclose(found, expected, atol=1e-9)
    assert (abs(found) > 1e-3) == affine


def test_starts_as_the_standard_normal():
    flow = FlowPrior(4, 3, 8, (1,), steps=2, affine=True)
    z = torch.randn(2, 4, 6)
    u, log_determinant = flow(z, torch.randn(2, 3, 6))
    assert torch.equal(u, z)
    assert torch.equal(log_determinant, torch.zeros(2))


def test_every_channel_is_changed():
    flow = make_flow(True)
    z, condition = torch.randn(1, 4, 5).double(), torch.randn(1, 3, 5).double()
    moved = (flow(z, condition)[0] - z).abs().amax(dim=(0, 2))
    assert (moved > 1e-3).all()


def test_odd_latents_are_refused():
    with pytest.raises(ValueError, match="even"):
        FlowPrior(5, 3, 8, (1,), steps=2, affine=True)


@pytest.mark.slow
def test_reach_holds():
    flow = make_flow(True)
    condition = torch.randn(1, 3, 41).double()
    noise = torch.randn(1, 4, 41).double()
    changed = noise.clone()
    changed[..., 20] += 1
    moved = (
        (flow.inverse(changed, condition) - flow.inverse(noise, condition)).abs().amax(dim=(0, 1)).nonzero().flatten()
    )
    assert int(moved.min()) >= 20 - flow.future
    assert int(moved.max()) <= 20 + flow.past
