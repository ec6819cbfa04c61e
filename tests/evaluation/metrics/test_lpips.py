"""LPIPS against the copy in torchmetrics, plain loops and closed forms, on random convolutions and the published linear layers."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from geneface.errors import InputError
from geneface.evaluation.metrics.lpips import LPIPS_LAYOUT, LPIPS_MIN_SIDE_PX, Lpips

torch = pytest.importorskip("torch")
from safetensors.numpy import save_file  # noqa: E402

SHIFT = np.array([-0.030, -0.088, -0.188])
SCALE = np.array([0.458, 0.448, 0.450])


def random_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that keep the activations' size from layer to layer, biases of both signs, the published linear layers."""
    rng = np.random.default_rng(seed)
    weights = {name: values.numpy() for name, values in published_linear_layers().items()}
    for name, shape in LPIPS_LAYOUT.items():
        if name.startswith("lin"):
            continue
        if name.endswith("bias"):
            values = rng.normal(0, 0.1, shape)
        else:
            values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        weights[name] = values.astype(np.float32)
    return weights


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weights") / "lpips.safetensors"
    save_file(random_weights(), out)
    return out


@pytest.fixture(scope="module")
def model(path: Path) -> Lpips:
    return Lpips.load(path)


def picture(seed: int = 0, height: int = 96, width: int = 131) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(height, width, 3)), (2, 2, 0))
    return np.clip(128 + 300 * smooth, 0, 255).astype(np.uint8)


def noisy(image: np.ndarray, sigma: float, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(image + rng.normal(0, sigma, image.shape), 0, 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def theirs(path: Path) -> dict[str, Any]:
    """torchmetrics' own network on the same weights. torchvision is not needed: it would only build these layers."""
    from safetensors.torch import load_file
    from torchmetrics.functional.image import lpips

    weights, networks = load_file(path), {}
    backbone = alexnet()
    backbone.load_state_dict({k[len("features.") :]: v for k, v in weights.items() if k.startswith("features.")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lpips, "_get_tv_model_features", lambda net, pretrained: backbone)
        for kind in ("distance", "map"):
            networks[kind] = lpips._LPIPS(pretrained=False, pnet_rand=True, spatial=kind == "map")
            for k in range(5):
                networks[kind].lins[k].load_state_dict({"model.1.weight": weights[f"lin{k}.model.1.weight"]})
    return networks


def alexnet() -> Any:
    """torchvision's `alexnet().features`, of which only the layers and their numbers matter."""
    nn = torch.nn
    layers = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(), nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()]
    layers += [nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2)]
    return nn.Sequential(*layers)


def published_linear_layers() -> dict[str, Any]:
    """The linear layers of lpips 0.1 for AlexNet; torchmetrics ships a copy."""
    folder = files("torchmetrics").joinpath("functional/image/lpips_models")
    with folder.joinpath("alex.pth").open("rb") as file:
        return torch.load(file, map_location="cpu", weights_only=True)


def test_the_layout_is_that_of_the_published_files() -> None:
    linear = {name: tuple(values.shape) for name, values in published_linear_layers().items()}
    convolutions = {f"features.{name}": tuple(values.shape) for name, values in alexnet().state_dict().items()}
    assert linear | convolutions == LPIPS_LAYOUT


def tensor(image: np.ndarray) -> Any:
    return torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1)[None] / 255)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(96, 131), (LPIPS_MIN_SIDE_PX, 64), (150, 80)])
@pytest.mark.parametrize("sigma", [3.0, 40.0])
def test_distance_and_map_equal_torchmetrics(
    model: Lpips, theirs: dict[str, Any], size: tuple[int, int], sigma: float
) -> None:
    a = picture(1, *size)
    b = noisy(a, sigma)
    result = model.compare(model.features(a), model.features(b))
    assert result.distance == pytest.approx(float(theirs["distance"](tensor(a), tensor(b), normalize=True)), rel=1e-3)
    expected = theirs["map"](tensor(a), tensor(b), normalize=True)[0, 0].numpy()
    assert result.map.shape == size and result.map.dtype == np.float32
    np.testing.assert_allclose(result.map, expected, rtol=1e-3, atol=1e-3 * expected.mean())


@pytest.mark.slow
def test_equal_pictures_have_no_distance(model: Lpips) -> None:
    a = picture(2)
    assert model.distance(a, a.copy()) == 0
    assert not model.compare(model.features(a), model.features(a.copy())).map.any()


@pytest.mark.slow
def test_the_maps_mean_is_close_to_the_distance(model: Lpips) -> None:
    # The same change everywhere: the map then has no trend that the border pixels could over-weigh.
    a = picture(3, 160, 160)
    b = noisy(a, 12)
    result = model.compare(model.features(a), model.features(b))
    assert result.map.mean() == pytest.approx(result.distance, rel=0.03)


@pytest.mark.slow
def test_features_can_be_used_again(model: Lpips) -> None:
    reference, others = picture(4), [noisy(picture(4), sigma) for sigma in (2, 10, 40)]
    kept = model.features(reference)
    again = [model.compare(kept, model.features(other)).distance for other in others]
    assert again == [model.distance(reference, other) for other in others]
    assert again == sorted(again) and again[0] > 0
    assert model.distance(others[1], reference) == pytest.approx(again[1], rel=1e-5)


@pytest.mark.slow
def test_the_map_shows_where_the_pictures_differ(model: Lpips) -> None:
    a = picture(5, 160, 160)
    b = a.copy()
    b[100:150, 16:66] = 255 - b[100:150, 16:66]
    spread = model.compare(model.features(a), model.features(b)).map
    assert spread[100:150, 16:66].mean() > 5 * spread[:60].mean()


@pytest.mark.slow
def test_first_layer_equals_plain_loops() -> None:
    """The first layer by the definition, in float64, one place at a time; the other layers weigh nothing."""
    weights = random_weights(6)
    for name in LPIPS_LAYOUT:
        if name.startswith("lin") and not name.startswith("lin0"):
            weights[name][:] = 0
    a = picture(7, 35, 43)
    b = noisy(a, 20)
    total, places = 0.0, 0
    filters, bias = weights["features.0.weight"].astype(np.float64), weights["features.0.bias"]
    padded = [np.pad((x / 127.5 - 1 - SHIFT) / SCALE, ((2, 2), (2, 2), (0, 0))) for x in (a, b)]
    for y in range(0, 35 + 4 - 10, 4):
        for x in range(0, 43 + 4 - 10, 4):
            units = []
            for image in padded:
                window = image[y : y + 11, x : x + 11].transpose(2, 0, 1)
                values = np.array(
                    [max(0.0, (kernel * window).sum() + c) for kernel, c in zip(filters, bias, strict=True)]
                )
                units.append(values / (np.sqrt((values**2).sum()) + 1e-10))
            total += float(weights["lin0.model.1.weight"].ravel() @ (units[0] - units[1]) ** 2)
            places += 1
    model = Lpips({name: torch.from_numpy(values) for name, values in weights.items()})
    assert model.distance(a, b) == pytest.approx(total / places, rel=1e-4)


@pytest.mark.slow
def test_pictures_without_any_activation_are_finite() -> None:
    weights = random_weights(8)
    for name in LPIPS_LAYOUT:
        if name.endswith("bias"):
            weights[name][:] = -100
    model = Lpips({name: torch.from_numpy(values) for name, values in weights.items()})
    assert model.distance(picture(9), picture(10)) == 0


def test_sizes_are_checked(model: Lpips) -> None:
    with pytest.raises(ValueError, match="different shapes"):
        model.distance(picture(), picture(height=100))
    with pytest.raises(ValueError, match=r"at least 31 pixels a side, not 64 x 30"):
        model.features(picture(height=30, width=64))


def test_negative_linear_weights_are_refused(tmp_path: Path) -> None:
    weights = random_weights()
    weights["lin3.model.1.weight"][0, 7] = -0.1
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"lin3\.model\.1\.weight .* negative"):
        Lpips.load(tmp_path / "other.safetensors")


def test_what_the_file_lacks_is_named(tmp_path: Path) -> None:
    weights = random_weights()
    del weights["features.8.bias"]
    save_file(weights, tmp_path / "part.safetensors")
    with pytest.raises(InputError, match=r"features\.8\.bias"):
        Lpips.load(tmp_path / "part.safetensors")
