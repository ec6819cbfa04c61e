from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from geneface.evaluation import convert

from .conftest import Run


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published file of a network with one tensor."""
    monkeypatch.setitem(convert._LAYOUTS, "syncnet", {"net.weight": (2,)})
    path = tmp_path / "syncnet_v2.model"
    torch.save({"net.weight": torch.tensor([1.0, 2.0])}, path)
    return path


def test_a_published_file_is_converted(run: Run, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "syncnet.safetensors"
    outcome = run("convert-weights", "syncnet", source, "-o", out, "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out) == {
        "out": str(out),
        "network": "syncnet",
        "tensors": 1,
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
    }
    assert load_file(out)["net.weight"].tolist() == [1.0, 2.0]
    assert "1 tensors of syncnet" in run("convert-weights", "syncnet", source, "-o", out).out


def test_refusals_are_one_sentence(run: Run, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    run("convert-weights", "syncnet", tmp_path / "absent.model", "-o", out).refused("absent.model", "does not exist")
    run("convert-weights", "vgg", source, "-o", out).refused("'vgg'", "'lpips', 'inception', 'syncnet'")
    run("convert-weights", "syncnet", source, "-o", tmp_path).refused("cannot write")
    source.write_bytes(b"<html>not found</html>")
    run("convert-weights", "syncnet", source, "-o", out).refused("syncnet_v2.model", "damaged")
    assert not out.exists()


def test_it_explains_itself_with_an_example(run: Run) -> None:
    assert "Example: geneface convert-weights lpips" in " ".join(run("convert-weights", "--help").out.split())
