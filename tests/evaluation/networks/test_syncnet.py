"""SyncNet's towers against the published modules, written down as torch builds them (three-dimensional convolutions)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from geneface.errors import InputError
from geneface.evaluation.networks.syncnet import SYNCNET_LAYOUT, SyncNet

PARAMETERS = 13_631_616
"""Of the published network, without the batch normalisations' statistics."""


class Published(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            nn.Conv2d(1, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(1, 1),
            nn.Conv2d(64, 192, 3, padding=1), nn.BatchNorm2d(192), nn.ReLU(), nn.MaxPool2d(3, (1, 2)),
            nn.Conv2d(192, 384, 3, padding=1), nn.BatchNorm2d(384), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(256, 512, (5, 4)), nn.BatchNorm2d(512), nn.ReLU(),
        )  # fmt: skip
        self.netcnnlip = nn.Sequential(
            nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2)), nn.BatchNorm3d(96), nn.ReLU(), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU(),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU(),
            nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU(),
            nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU(),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            nn.Conv3d(256, 512, (1, 6, 6)), nn.BatchNorm3d(512), nn.ReLU(),
        )  # fmt: skip
        self.netfcaud = nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))
        self.netfclip = nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


@pytest.fixture(scope="module")
def published() -> Published:
    """With weights and statistics that are anything but neutral."""
    torch.manual_seed(0)
    network = Published().eval()
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.ndim == 1 and value.is_floating_point():
            value.uniform_(0.2, 1.2)
    return network


def test_names_shapes_and_parameters_are_the_published_ones(published: Published) -> None:
    state = {name: value for name, value in published.state_dict().items() if "num_batches" not in name}
    assert {name: tuple(value.shape) for name, value in state.items()} == SYNCNET_LAYOUT
    assert sum(value.numel() for value in published.parameters()) == PARAMETERS
    assert sum(int(np.prod(shape)) for name, shape in SYNCNET_LAYOUT.items() if "running" not in name) == PARAMETERS


@pytest.mark.slow
def test_towers_embed_as_the_published_ones(published: Published, tmp_path: Path) -> None:
    save_file(published.state_dict(), tmp_path / "syncnet.safetensors")
    network = SyncNet.load(tmp_path / "syncnet.safetensors")
    lips, speech = torch.rand(2, 3, 5, 224, 224) * 255, torch.randn(3, 13, 20) * 10
    with torch.no_grad():
        expected_lips = published.netfclip(published.netcnnlip(lips).flatten(1))
        expected_speech = published.netfcaud(published.netcnnaud(speech[:, None]).flatten(1))
    assert network.lips(lips).shape == (2, 1024)
    assert network.speech(speech).shape == (3, 1024)
    assert expected_lips.std() > 1e-3 and expected_speech.std() > 1e-3
    torch.testing.assert_close(network.lips(lips), expected_lips, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(network.speech(speech), expected_speech, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_time_and_colour_are_not_confused(published: Published) -> None:
    network = SyncNet(dict(published.state_dict()))
    lips = torch.rand(1, 3, 5, 224, 224) * 255
    for swapped in (lips.flip(1), lips.flip(2)):
        assert not torch.allclose(network.lips(swapped), network.lips(lips), rtol=1e-3)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"netcnnlip.0.weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"has no tensor netcnnaud\.0\.weight \[64, 1, 3, 3\]"):
        SyncNet.load(tmp_path / "other.safetensors")
