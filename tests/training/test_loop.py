"""Training survives kill -9: what resumes ends with the bits of what was never interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from geneface.errors import InputError
from geneface.io.tensors import TensorFile
from geneface.training.loop import CHECKPOINT, descend, learning_rate, train, update_average

SCRIPT = """
import sys, time
from pathlib import Path
import torch
from torch import nn
from geneface.training.loop import descend, learning_rate, train, update_average

torch.set_num_threads(1)

class Fit:
    name = "fit"
    def __init__(self):
        make = lambda: nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.3), nn.Linear(16, 1))
        self.modules = {"model": make(), "average": make()}
        self.parameters = list(self.modules["model"].parameters())
        self.optimizers = {"model": torch.optim.AdamW(self.parameters)}
        self.notes = {"best": 1e9}
    def step(self, index, total, generator):
        x = torch.randn(8, 4, generator=generator)
        loss = (self.modules["model"](x) - x.sum(1, keepdim=True)).square().mean()
        descend(self.optimizers["model"], loss, self.parameters, learning_rate(index, total, 1e-2))
        update_average(self.modules["average"], self.modules["model"], index, 0.9)
        self.notes["best"] = min(self.notes["best"], loss.item())
        time.sleep(float(sys.argv[2]))
        return {"loss": loss.item()}

torch.manual_seed(5)
train(Fit(), 60, Path(sys.argv[1]), settings={"a": 1}, seed=3, resume=True, checkpoint_seconds=0, log_every=5)
"""


def start(folder: Path, delay: float) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), str(delay)], env=dict(os.environ))


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted_to_the_bit(tmp_path):
    reference, killed = tmp_path / "reference", tmp_path / "killed"
    assert start(reference, 0).wait(timeout=120) == 0
    process = start(killed, 0.05)
    while not (killed / CHECKPOINT).is_file():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stopped = TensorFile(killed / CHECKPOINT).metadata["training"]
    assert '"step": 60' not in stopped
    assert start(killed, 0).wait(timeout=120) == 0
    expected, found = TensorFile(reference / CHECKPOINT), TensorFile(killed / CHECKPOINT)
    assert expected.keys() == found.keys()
    for key in expected.keys():  # noqa: SIM118
        assert np.array_equal(expected.get(key), found.get(key)), key
    assert expected.metadata == found.metadata
    assert sorted(path.name for path in killed.iterdir()) == [CHECKPOINT]


class Count:
    """Draws one number a step."""

    name = "count"

    def __init__(self) -> None:
        self.modules = {"model": torch.nn.Linear(2, 1)}
        self.optimizers = {"model": torch.optim.Adam(self.modules["model"].parameters())}
        self.notes: dict[str, float] = {}
        self.drawn: list[int] = []

    def step(self, index: int, total: int, generator: torch.Generator) -> dict[str, float]:
        self.drawn.append(int(torch.randint(1000, (1,), generator=generator)))
        loss = self.modules["model"](torch.ones(1, 2)).square().sum()
        descend(self.optimizers["model"], loss, list(self.modules["model"].parameters()), 0.01)
        return {"drawn": float(self.drawn[-1])}


def test_without_resume_training_starts_anew_and_other_settings_are_refused(tmp_path):
    first, second = Count(), Count()
    train(first, 4, tmp_path, settings={"width": 2})
    train(second, 4, tmp_path, settings={"width": 2})
    assert first.drawn == second.drawn
    with pytest.raises(InputError, match="width"):
        train(Count(), 4, tmp_path, settings={"width": 3}, resume=True)
    done = Count()
    train(done, 4, tmp_path, settings={"width": 2}, resume=True)
    assert done.drawn == []


def test_the_callers_random_state_is_left_alone(tmp_path):
    task = Count()
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    train(task, 2, tmp_path, settings={})
    assert torch.equal(torch.rand(1), expected)


def test_learning_rate_rises_then_falls_to_zero():
    rates = [learning_rate(index, 1000, 1.0) for index in range(1000)]
    assert max(rates) == pytest.approx(1.0) and rates.index(max(rates)) in (99, 100)
    assert rates[0] == pytest.approx(0.01) and rates[-1] < 1e-4
    assert rates[550] == pytest.approx(0.5, abs=0.01)


def test_average_forgets_its_start_and_follows():
    model, average = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    torch.nn.init.constant_(model.weight, 3.0)
    torch.nn.init.constant_(average.weight, -100.0)
    for index in range(200):
        update_average(average, model, index, 0.9)
    assert average.weight.item() == pytest.approx(3.0, abs=1e-4)
