"""A resumable training loop. Killed at any moment (kill -9) it goes on from its last checkpoint, and ends with the
same bits as an uninterrupted run on the same machine with the same number of threads.

A checkpoint is one safetensors file, written atomically: parameters and buffers of every module, the optimizers'
state, the states of both random generators, and, as JSON in its metadata, step, settings, history and the task's notes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from geneface.errors import InputError
from geneface.io.atomic import sha256
from geneface.io.place import remove_leftovers
from geneface.io.tensors import TensorFile, save_tensors
from geneface.io.work import exclusive_folder
from geneface.types import ProgressFn, no_progress

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 15.0


class Task(Protocol):
    """What is trained. Everything that changes from step to step lives in these attributes."""

    name: str
    """Stage shown by progress."""
    notes: dict[str, Any]
    """Plain values (JSON) that the task keeps, e.g. the best score so far."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Networks whose parameters and buffers a checkpoint holds, by name."""
        ...

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Optimisers whose state it holds, by name."""
        ...

    def step(self, index: int, total: int, generator: torch.Generator) -> dict[str, float]:
        """Do one update. Data is drawn with `generator` only; returns figures to log."""
        ...


def train(
    task: Task,
    steps: int,
    folder: Path,
    *,
    settings: Mapping[str, Any],
    seed: int = 0,
    resume: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    log_every: int = 50,
    progress: ProgressFn = no_progress,
) -> list[dict[str, float]]:
    """Run `steps` updates, or those that a checkpoint in `folder` still lacks.

    Args:
        settings: whatever decides the result; a checkpoint made with others is refused.
        resume: go on from the checkpoint, if there is one; without it training starts again.

    Returns:
        history, one row each `log_every` steps: step and the means of the step's figures.

    Raises:
        InputError: the checkpoint was made with other settings.
    """
    path = Path(folder) / CHECKPOINT
    # The numbers as they will be read back.
    fixed = json.loads(json.dumps({**settings, "seed": seed, "steps": steps}, sort_keys=True))
    with _seeded(seed):
        generator = torch.Generator().manual_seed(seed)
        history: list[dict[str, float]] = []
        first = _restore(path, task, generator, history, fixed) if resume and path.is_file() else 0
        window: list[dict[str, float]] = []
        saved = time.monotonic()
        for index in range(first, steps):
            window.append(task.step(index, steps, generator))
            if (index + 1) % log_every == 0 or index + 1 == steps:
                history.append({"step": float(index + 1), **_mean(window)})
                window.clear()
            progress(task.name, index + 1, steps)
            # Only between rows of the history, so that a resumed run logs the same means.
            if not window and (time.monotonic() - saved >= checkpoint_seconds or index + 1 == steps):
                _save(path, task, generator, history, fixed, index + 1)
                saved = time.monotonic()
    return history


@contextmanager
def training_folder(out: Path, resume: bool, *, result: str | None = None, work: str = "") -> Iterator[Path]:
    """Keep a folder to one training for the block; yields the folder for its checkpoints.

    Args:
        result: a file that the finished training writes into `out`, if it writes one.
        work: name of the checkpoints' folder in `out`; by default they are in `out` itself.

    Raises:
        InputError: another process trains there, or a training was begun or finished there and `resume` is false.
    """
    with exclusive_folder(out):
        traces = [out / work / CHECKPOINT, *([] if result is None else [out / result])]
        if not resume and any(path.exists() for path in traces):
            raise InputError(f"{out} holds a training already", "add --resume to go on with it, or remove that folder")
        remove_leftovers(out / work)
        yield out / work


def file_digest(path: Path) -> str:
    """What identifies an input of a training in its settings."""
    return sha256(path)[:16]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator (dropout draws from it) for the block, and leave the caller's alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}


def _save(
    path: Path,
    task: Task,
    generator: torch.Generator,
    history: list[dict[str, float]],
    settings: dict[str, Any],
    step: int,
) -> None:
    tensors: dict[str, np.ndarray] = {
        "random.global": torch.get_rng_state().numpy(),
        "random.data": generator.get_state().numpy(),
    }
    for name, module in task.modules.items():
        for key, value in module.state_dict().items():
            tensors[f"module.{name}.{key}"] = value.detach().numpy()
    for name, optimizer in task.optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"optimizer.{name}.{index}.{key}"] = torch.as_tensor(value).detach().numpy()
    record = {"step": step, "settings": settings, "history": history, "notes": task.notes}
    save_tensors(path, tensors, {"training": json.dumps(record)})


def _restore(
    path: Path, task: Task, generator: torch.Generator, history: list[dict[str, float]], settings: dict[str, Any]
) -> int:
    """Load a checkpoint into the task; returns the number of steps done."""
    stored = TensorFile(path)
    if "training" not in stored.metadata:
        raise InputError(f"{path} is not a checkpoint of a training", "train in another folder")
    record = json.loads(stored.metadata["training"])
    if record["settings"] != settings:
        changed = sorted(key for key in settings if record["settings"].get(key) != settings[key])
        raise InputError(
            f"{path} was made with other settings ({', '.join(changed) or 'keys missing'})",
            "use the same settings, or train in another folder",
        )
    # A copy each: the file's memory map is read-only and is closed.
    tensors = {key: torch.from_numpy(np.array(stored.get(key))) for key in stored.keys()}  # noqa: SIM118
    for name, module in task.modules.items():
        module.load_state_dict(_below(tensors, f"module.{name}."))
    for name, optimizer in task.optimizers.items():
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(tensors, f"optimizer.{name}.").items():
            index, _, field = key.partition(".")
            states.setdefault(int(index), {})[field] = value
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["random.global"])
    generator.set_state(tensors["random.data"])
    history[:] = record["history"]
    task.notes.clear()
    task.notes.update(record["notes"])
    return int(record["step"])


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


# ---- parts that tasks share


def learning_rate(index: int, total: int, peak: float, warm_up: int = 100) -> float:
    """Linear warm-up (a tenth of a short run), then a half cosine to zero."""
    warm_up = min(warm_up, max(1, total // 10))
    if index < warm_up:
        return peak * (index + 1) / warm_up
    return peak * 0.5 * (1 + float(np.cos(np.pi * (index - warm_up) / max(1, total - warm_up))))


def descend(
    optimizer: torch.optim.Optimizer, loss: Tensor, parameters: list[nn.Parameter], rate: float, max_norm: float = 1.0
) -> None:
    """One update with clipped gradients at the given learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    optimizer.step()


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, index: int, decay: float) -> None:
    """Exponential moving average of weights, with the decay shortened at the start (Adam's bias correction)."""
    decay = min(decay, (1 + index) / (10 + index))
    for ours, theirs in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if ours.dtype.is_floating_point:
            ours.lerp_(theirs, 1 - decay)
        else:
            ours.copy_(theirs)
