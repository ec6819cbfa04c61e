"""PostNet, its losses, and the person's runtime with and without the network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINT_COUNT
from geneface.motion.alignment import Alignment
from geneface.motion.basis import fit_basis
from geneface.motion.export import export_onnx
from geneface.motion.person import PostNetRecord, PostNetRuntime, save_person
from geneface.motion.postnet import Discriminator, PostNet, PostNetConfig, discriminator_loss, generator_loss


def test_starts_as_the_identity_and_keeps_its_reach():
    network = PostNet(PostNetConfig(motion_width=3, channels=8)).eval()
    motion = torch.randn(2, 3, 40)
    assert torch.equal(network(motion), motion)
    torch.nn.init.normal_(network.leave.weight)
    changed = motion.clone()
    changed[:, :, 20] += 1
    moved = (network(changed) - network(motion)).abs().amax(dim=(0, 1)).nonzero().flatten()
    assert int(moved.min()) == 20 and int(moved.max()) == 20 + network.past_frames


def test_discriminator_can_tell_still_from_moving():
    torch.manual_seed(0)
    judge = Discriminator(torch.ones(2), channels=16)
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)
    real, fake = torch.randn(8, 2, 20), torch.randn(8, 2, 1).expand(8, 2, 20)
    first = discriminator_loss(judge(real), judge(fake)).item()
    for _ in range(60):
        loss = discriminator_loss(judge(real), judge(fake))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 * first
    judge.eval()
    assert generator_loss(judge(real)) < 0.5 * generator_loss(judge(fake))


@pytest.fixture
def alignment() -> Alignment:
    rng = np.random.default_rng(0)
    basis = fit_basis(0.01 * rng.standard_normal((50, KEYPOINT_COUNT, 3)).astype(np.float32), 4)
    # Lips that may go anywhere.
    lips = np.array([[0.0] * 9, [-1.0] * 9], np.float32)
    return Alignment(basis, np.full(4, 2.0, np.float32), np.zeros(4, np.float32), 1.0, 0.0, None, lips)


def test_runtime_without_network_is_the_alignment(alignment, tmp_path):
    save_person(alignment, PostNetRecord(encoder="x", network=False, network_past_frames=0, metrics={}), tmp_path)
    generic = 0.01 * np.random.default_rng(1).standard_normal((9, KEYPOINT_COUNT, 3)).astype(np.float32)
    person = PostNetRuntime.load(tmp_path)
    assert person.past_frames == 0
    assert np.array_equal(person.apply(generic), alignment.apply(generic))


def test_runtime_with_network_adds_its_correction(alignment, tmp_path):
    network = PostNet(PostNetConfig(motion_width=4, channels=8))
    torch.nn.init.normal_(network.leave.weight, std=0.3)
    axes = {"aligned": {2: "frames"}, "corrected": {2: "frames"}}
    export_onnx(network, {"aligned": torch.zeros(1, 4, 16)}, "corrected", axes, Path(tmp_path) / "postnet.onnx")
    record = PostNetRecord(encoder="x", network=True, network_past_frames=network.past_frames, metrics={})
    save_person(alignment, record, tmp_path)
    generic = 0.01 * np.random.default_rng(1).standard_normal((30, KEYPOINT_COUNT, 3)).astype(np.float32)
    person = PostNetRuntime.load(tmp_path)
    with torch.no_grad():
        corrected = network.eval()(torch.from_numpy(alignment.coefficients(generic)).T[None])[0].T.numpy()
    assert person.past_frames == 14
    assert abs(person.apply(generic) - alignment.basis.displacement(corrected)).max() < 1e-5
    assert abs(person.apply(generic) - alignment.apply(generic)).max() > 1e-4
    (tmp_path / "postnet.onnx").unlink()
    with pytest.raises(InputError, match=r"postnet\.onnx"):
        PostNetRuntime.load(tmp_path)
