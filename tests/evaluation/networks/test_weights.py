"""Loading and converting weights; files are written by the safetensors library and by torch alone."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from geneface.errors import InputError
from geneface.evaluation import convert
from geneface.evaluation.convert import convert_weights
from geneface.evaluation.networks.weights import load_weights

LAYOUT = {"net.0.weight": (3, 2), "net.0.bias": (3,)}


def tensors() -> dict[str, torch.Tensor]:
    return {"net.0.weight": torch.arange(6.0).reshape(3, 2) / 4, "net.0.bias": torch.tensor([0.5, -1.0, 2.0])}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of two tensors, so that the files are small."""
    monkeypatch.setitem(convert._LAYOUTS, "syncnet", LAYOUT)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_tensors_come_back_as_float32_and_others_are_left_out(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "w.safetensors"
    extra = {"fc.weight": torch.ones(7), "net.0.num_batches_tracked": torch.tensor(3)}
    save_file({**{name: value.to(dtype) for name, value in tensors().items()}, **extra}, path)
    loaded = load_weights(path, LAYOUT, "syncnet")
    assert set(loaded) == set(LAYOUT)
    for name, value in tensors().items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], value)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"net.0.bias": None}, ("no tensor net.0.bias [3]",)),
        ({"net.0.weight": torch.ones(2, 3)}, ("net.0.weight", "[2, 3]", "[3, 2]")),
        ({"net.0.bias": torch.tensor([0.0, float("nan"), 1.0])}, ("net.0.bias", "not finite")),
        ({"net.0.bias": torch.tensor([0.0, float("inf"), 1.0])}, ("net.0.bias", "not finite")),
        ({"net.0.bias": torch.ones(3, dtype=torch.int64)}, ("net.0.bias", "not finite")),
        # numpy knows bfloat16 only if some other package taught it, so the sentence differs.
        ({"net.0.bias": torch.ones(3, dtype=torch.bfloat16)}, ()),
    ],
)
def test_wrong_tensors_are_named(tmp_path: Path, change: dict, words: tuple[str, ...]) -> None:
    path = tmp_path / "w.safetensors"
    content = {name: value for name, value in {**tensors(), **change}.items() if value is not None}
    save_file(content, path)
    with pytest.raises(InputError) as caught:
        load_weights(path, LAYOUT, "syncnet")
    for word in (*words, str(path), "geneface convert-weights syncnet"):
        assert word in str(caught.value)


def test_files_that_are_no_safetensors_are_refused_with_the_remedy(tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "new.pth")
    torch.save(tensors(), tmp_path / "old.model", _use_new_zipfile_serialization=False)
    (tmp_path / "other.safetensors").write_bytes(b"\x80\x04nothing of the kind" * 9)
    (tmp_path / "empty.safetensors").write_bytes(b"")
    (tmp_path / "text.safetensors").write_text("not found: 404" * 9)
    expected = {
        "missing.safetensors": "missing",
        "new.pth": "pickle",
        "old.model": "pickle",
        "other.safetensors": "pickle",
        "empty.safetensors": "not a readable safetensors",
        "text.safetensors": "not a readable safetensors",
    }
    for name, word in expected.items():
        with pytest.raises(InputError) as caught:
            load_weights(tmp_path / name, LAYOUT, "inception")
        assert word in str(caught.value) and name in str(caught.value)
        assert "geneface convert-weights inception pt_inception-2015-12-05-6726825d.pth" in str(caught.value)


def test_a_header_whose_length_looks_like_a_pickle_is_still_safetensors(tmp_path: Path) -> None:
    for padding in range(400):
        path = tmp_path / "w.safetensors"
        save_file(tensors(), path, metadata={"pad": "x" * padding})
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[0] == 0x80
    assert set(load_weights(path, LAYOUT, "syncnet")) == set(LAYOUT)


@pytest.mark.parametrize("is_new_format", [True, False])
@pytest.mark.parametrize("is_nested", [True, False])
def test_conversion_keeps_the_numbers(tmp_path: Path, small: None, is_new_format: bool, is_nested: bool) -> None:
    content = {**tensors(), "net.0.bias": tensors()["net.0.bias"].double(), "fc.weight": torch.ones(9)}
    source, out = tmp_path / "syncnet_v2.model", tmp_path / "deep" / "syncnet.safetensors"
    torch.save(
        {"state_dict": content, "epoch": 3} if is_nested else content,
        source,
        _use_new_zipfile_serialization=is_new_format,
    )
    done = convert_weights("syncnet", [source], out)
    assert done.tensors == 2
    assert done.sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
    stored = load_file(out)
    assert set(stored) == set(LAYOUT)
    assert all(torch.equal(stored[name], value) for name, value in tensors().items())
    assert all(torch.equal(value, tensors()[name]) for name, value in load_weights(out, LAYOUT, "syncnet").items())


def test_two_sources_are_joined_in_any_order(tmp_path: Path) -> None:
    from geneface.evaluation.metrics.lpips import LPIPS_LAYOUT

    rng = np.random.default_rng(0)
    content = {name: torch.from_numpy(rng.random(shape, dtype=np.float32)) for name, shape in LPIPS_LAYOUT.items()}
    network, linear = tmp_path / "alexnet.pth", tmp_path / "alex.pth"
    torch.save({name: value for name, value in content.items() if name.startswith("features")}, network)
    torch.save({name: value for name, value in content.items() if name.startswith("lin")}, linear)
    for sources in ([network, linear], [linear, network]):
        assert convert_weights("lpips", sources, tmp_path / "lpips.safetensors").tensors == len(LPIPS_LAYOUT)
        stored = load_file(tmp_path / "lpips.safetensors")
        assert all(torch.equal(stored[name], content[name]) for name in LPIPS_LAYOUT)
    with pytest.raises(InputError, match=r"alexnet\.pth has no tensor lin0"):
        convert_weights("lpips", [network], tmp_path / "half.safetensors")
    assert not (tmp_path / "half.safetensors").exists()


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_code_in_a_source_is_not_run(tmp_path: Path, small: None) -> None:
    marker, source = tmp_path / "marker", tmp_path / "syncnet_v2.model"
    for is_new_format in (True, False):
        torch.save({**tensors(), "x": Payload(marker)}, source, _use_new_zipfile_serialization=is_new_format)
        with pytest.raises(InputError, match="holds more than tensors"):
            convert_weights("syncnet", [source], tmp_path / "out.safetensors")
        assert not marker.exists() and not (tmp_path / "out.safetensors").exists()
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists(), "the payload would have worked"


@pytest.mark.parametrize("content", [b"", b"hello world", b"PK\x03\x04 cut short", b"\x80\x02cut short"])
def test_damaged_sources_are_refused(tmp_path: Path, small: None, content: bytes) -> None:
    source = tmp_path / "syncnet_v2.model"
    source.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        convert_weights("syncnet", [source], tmp_path / "out.safetensors")


def test_other_refusals_of_the_conversion(tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = tmp_path / "a.pth", tmp_path / "out.safetensors"
    with pytest.raises(InputError, match="missing"):
        convert_weights("syncnet", [source], out)
    torch.save([torch.ones(3)], source)
    with pytest.raises(InputError, match="has no tensor"):
        convert_weights("syncnet", [source], out)
    torch.save(tensors(), source)
    with pytest.raises(InputError, match=r"no network 'vgg'.*lpips, inception, syncnet"):
        convert_weights("vgg", [source], out)
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(InputError, match=r"install torch 2\.10"):
        convert_weights("syncnet", [source], out)
    assert not out.exists()
