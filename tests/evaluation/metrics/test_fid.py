"""FID against torchmetrics, closed forms, Pillow, and torch-fidelity's Inception-v3.

torch-fidelity is not installed for the tests: the features that its network (version 0.4.0) gives for the weights of
`random_weights` and the image of `test_features_are_those_of_torch_fidelity` are written down below.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchmetrics.image.fid import _compute_fid

from geneface.errors import InputError
from geneface.evaluation.metrics.fid import FeatureStatistics, InceptionFeatures, clean_resize, frechet_distance
from geneface.evaluation.networks.inception import INCEPTION_LAYOUT, Inception

TORCH_FIDELITY = {
    22: 0.975769,
    117: 0.791633,
    342: 0.988541,
    538: 0.947755,
    725: 1.142241,
    926: 0.843991,
    1106: 1.283154,
    1331: 1.005713,
    1482: 1.040776,
    1729: 0.784855,
    1866: 1.029648,
    1906: 1.615119,
    2047: 0.176045,
}
"""Index of a feature -> its value."""
TORCH_FIDELITY_MEAN = 0.2091415


def random_weights() -> dict[str, torch.Tensor]:
    """Weights of the published names and shapes that keep the activations' size through the layers."""
    rng = np.random.default_rng(0)
    weights = {}
    for name, shape in INCEPTION_LAYOUT.items():
        value = rng.standard_normal(shape, dtype=np.float32)
        if name.endswith("conv.weight"):
            value *= np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            value = 1 + 0.2 * np.abs(value)
        else:
            value = 0.1 * value + (1 if name.endswith("bn.weight") else 0)
        weights[name] = torch.from_numpy(value.astype(np.float32))
    return weights


@pytest.fixture(scope="module")
def network() -> InceptionFeatures:
    return InceptionFeatures(Inception(random_weights()))


def image(seed: int = 1, height: int = 299, width: int = 299) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.slow
def test_features_are_those_of_torch_fidelity(network: InceptionFeatures) -> None:
    features = network.features([image()])
    assert features.shape == (1, 2048) and features.dtype == np.float64
    for index, value in TORCH_FIDELITY.items():
        assert features[0, index] == pytest.approx(value, rel=1e-3, abs=1e-5)
    assert features.mean() == pytest.approx(TORCH_FIDELITY_MEAN, rel=1e-4)


@pytest.mark.slow
def test_features_of_a_batch_are_those_of_its_images(network: InceptionFeatures) -> None:
    images = [image(2, 40, 60), image(1), image(3, 340, 310)]
    together = network.features(images)
    assert together.shape == (3, 2048)
    np.testing.assert_allclose(together[1], network.features(images[1:2])[0], rtol=1e-3, atol=1e-5)
    assert network.features([]).shape == (0, 2048)


def test_the_layout_is_the_published_networks() -> None:
    # Szegedy et al. 2016, table 1 and figures 5 to 7, by hand.
    assert INCEPTION_LAYOUT["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3)
    assert INCEPTION_LAYOUT["Mixed_5b.branch_pool.conv.weight"] == (32, 192, 1, 1)
    assert INCEPTION_LAYOUT["Mixed_5d.branch1x1.conv.weight"] == (64, 288, 1, 1)
    assert INCEPTION_LAYOUT["Mixed_6c.branch7x7dbl_2.conv.weight"] == (160, 160, 7, 1)
    assert INCEPTION_LAYOUT["Mixed_7a.branch7x7x3_4.conv.weight"] == (192, 192, 3, 3)
    assert INCEPTION_LAYOUT["Mixed_7c.branch3x3dbl_3b.conv.weight"] == (384, 384, 3, 1)
    assert INCEPTION_LAYOUT["Mixed_7c.branch_pool.bn.running_var"] == (192,)
    # torchvision's inception_v3 has 23 834 568 parameters with 1000 classes and without the auxiliary classifier:
    # 2 049 000 of them are the classifier's. Buffers (mean, variance) come on top: one pair a channel.
    sizes = {name: int(np.prod(shape)) for name, shape in INCEPTION_LAYOUT.items()}
    assert sum(size for name, size in sizes.items() if "running" not in name) == 23_834_568 - 2_049_000


def test_weights_are_read_from_safetensors(tmp_path: Path) -> None:
    weights = {"Conv2d_1a_3x3.conv.weight": torch.ones(32, 3, 3, 2)}
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"Conv2d_1a_3x3\.conv\.weight.*\[32, 3, 3, 2\].*\[32, 3, 3, 3\]"):
        InceptionFeatures.load(tmp_path / "w.safetensors")


@pytest.mark.parametrize("height, width", [(450, 512), (120, 77), (299, 299), (700, 130), (1, 2)])
def test_clean_resize_is_pillows_bicubic_without_rounding(height: int, width: int) -> None:
    picture = image(4, height, width)
    channels = [
        Image.fromarray(picture[..., channel].astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)
        for channel in range(3)
    ]
    expected = np.stack([np.asarray(channel) for channel in channels], axis=-1).clip(0, 255)
    resized = clean_resize(picture)
    assert resized.shape == (299, 299, 3) and resized.dtype == np.float32
    np.testing.assert_allclose(resized, expected, atol=2e-3)


def statistics(*parts: np.ndarray) -> FeatureStatistics:
    out = FeatureStatistics()
    for part in parts:
        out.add(part)
    return out


def test_statistics_of_parts_are_those_of_the_whole() -> None:
    rows = np.random.default_rng(5).normal(3, 2, (60, 7))
    expected_mean, expected_covariance = rows.mean(0), np.cov(rows.T)
    merged = statistics(rows[:11])
    merged.merge(statistics(rows[11:12], rows[12:12], rows[12:40]))
    merged.merge(statistics(rows[40:]))
    merged.merge(FeatureStatistics())
    for candidate in (statistics(rows), statistics(*rows[:, None]), merged):
        assert candidate.count == 60
        assert len(candidate.factor) <= 14
        np.testing.assert_allclose(candidate.mean, expected_mean, rtol=1e-12)
        np.testing.assert_allclose(candidate.covariance, expected_covariance, rtol=1e-10, atol=1e-12)


def test_distance_in_one_dimension() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(1, 2, (50, 1)), rng.normal(4, 0.5, (80, 1))
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(statistics(a), statistics(b)) == pytest.approx(expected, rel=1e-10)


def test_distance_of_diagonal_covariances() -> None:
    # The eight corners of a cube are uncorrelated exactly; the deviation along each axis is its scale * sqrt(8 / 7).
    corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T
    first, second, shift = np.array([1.0, 2.0, 0.0]), np.array([3.0, 0.5, 1.0]), np.array([1.0, 0.0, -2.0])
    expected = np.sum(shift**2) + 8 / 7 * np.sum((first - second) ** 2)
    distance = frechet_distance(statistics(corners * first), statistics(corners * second + shift))
    assert distance == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("counts, width", [((200, 300), 12), ((9, 14), 64), ((9, 300), 64), ((2, 2), 5)])
def test_distance_is_torchmetrics(counts: tuple[int, int], width: int) -> None:
    """Also where covariances are singular, as those of 300 frames in 2048 dimensions are."""
    rng = np.random.default_rng(7)
    mixing = rng.normal(size=(width, width))
    sides = [rng.gamma(1.5, size=(count, width)) @ mixing + index for index, count in enumerate(counts)]
    moments = []
    for rows in sides:
        moments += [torch.from_numpy(rows.mean(0)), torch.from_numpy(np.cov(rows.T))]
    expected = float(_compute_fid(*moments))
    distance = frechet_distance(*(statistics(rows) for rows in sides))
    assert distance == pytest.approx(expected, rel=1e-3)
    assert frechet_distance(*(statistics(rows) for rows in sides[::-1])) == pytest.approx(distance, rel=1e-9)


def test_distance_to_itself_is_zero_and_needs_two_rows() -> None:
    rows = np.random.default_rng(8).normal(size=(20, 64))
    assert frechet_distance(statistics(rows), statistics(rows[::-1])) == pytest.approx(0, abs=1e-9)
    for few in (rows[:0], rows[:1]):
        assert np.isnan(frechet_distance(statistics(rows), statistics(few)))
        assert np.isnan(frechet_distance(statistics(few), statistics(rows)))
