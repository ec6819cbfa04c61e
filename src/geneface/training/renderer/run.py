"""A renderer's training from its first step, or its checkpoint, to its last: the same for both renderers.

A trainer draws what a step is shown (`batches`) and makes the step; when a run is killed, another with `resume` goes on
from the checkpoint, and what a step is shown follows from the seed and the step's number alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from geneface.portrait.portrait import Portrait
from geneface.training.renderer.checkpoint import Checkpointed, portrait_fingerprint
from geneface.training.renderer.config import SharedTrainConfig
from geneface.types import ProgressFn

CHECKPOINT_NAME = "renderer.safetensors"
RELEASE_SECONDS = 2.0
"""From one time that pictures which have been read are given back to the next."""


class Trainer(Protocol):
    """One step after another."""

    timed_steps: int
    """Steps that are tried to turn a time budget into a number of steps; the first third warms up."""
    unit: str
    """What a step is shown: "pixels", "rays"."""

    @property
    def units_per_step(self) -> int:
        """How many of them."""
        ...

    @property
    def state(self) -> Checkpointed:
        """What the steps have changed so far."""
        ...

    def limit_steps(self, steps: int) -> None:
        """Set the number of steps, and no more than the portrait is good for."""
        ...

    def restore(self, path: Path, fingerprint: str) -> None:
        """Go on from a checkpoint; InputError if it belongs to something else."""
        ...

    def batches(self, start: int, stop: int) -> Iterator[Any]:
        """What the steps `start` to `stop` are shown."""
        ...

    def step(self, batch: Any, /) -> Any:
        """One step."""
        ...


TrainerT = TypeVar("TrainerT", bound=Trainer)


def run_training(
    make: Callable[[], TrainerT],
    portrait: Portrait,
    work: Path,
    config: SharedTrainConfig,
    *,
    resume: bool,
    progress: ProgressFn,
) -> TrainerT:
    """Train to the last step.

    Args:
        make: a new trainer; called once more for the trial that measures a budget.
        work: folder for the checkpoint, rewritten every few seconds and at the end.
        resume: go on from the checkpoint if there is one.
        progress: called with "renderer", steps done, steps in all.

    Raises:
        InputError: a checkpoint of something else.
    """
    trainer = make()
    state = trainer.state
    path, fingerprint = work / CHECKPOINT_NAME, portrait_fingerprint(portrait, config)
    if resume and path.exists():
        trainer.restore(path, fingerprint)
    else:
        if config.budget_seconds is not None:
            trainer.limit_steps(steps_within(make(), config.budget_seconds))
        state.save(path, fingerprint)
    saved = released = time.monotonic()
    for batch in trainer.batches(state.step, state.total_steps):
        trainer.step(batch)
        progress("renderer", state.step, state.total_steps)
        now = time.monotonic()
        if now - released > RELEASE_SECONDS:
            portrait.release_pictures()
            released = now
        if now - saved > config.checkpoint_seconds:
            state.save(path, fingerprint)
            saved = time.monotonic()
    state.save(path, fingerprint)
    return trainer


def steps_within(trial: Trainer, budget_seconds: float) -> int:
    """Steps that fit into a time, from a short trial that is thrown away."""
    warm = trial.timed_steps // 3
    started = time.perf_counter()
    for number, batch in enumerate(trial.batches(0, trial.timed_steps)):
        if number == warm:
            started = time.perf_counter()
        trial.step(batch)
    per_step = (time.perf_counter() - started) / (trial.timed_steps - warm)
    return max(int(budget_seconds / per_step), 1)
