"""How far a job is, by named steps, and how long it will take.

A step has an expected duration, which is a rough guess, and stages, which are what the library's functions name in
`progress(stage, done, total)`, each with its share of the step. Work done is counted in expected seconds; what they
really took in this run says how fast the machine is, and so how long the rest will take.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from geneface.types import ProgressFn

_SEND_SECONDS = 0.5
_JUMP, _MUCH_FASTER = 0.1, 20.0
_TRUST_SECONDS = 10.0
"""How much the guess weighs against what was measured: a process needs seconds to begin, which say nothing."""

Send = Callable[[float, float | None, Sequence[dict[str, Any]]], bool]
"""Called as send(percent, eta_seconds, steps); false: the job is no longer ours."""


class Ended(BaseException):
    """The job was cancelled, or given to another worker. Not an `Exception`: nothing may take it for a failure."""


@dataclass(frozen=True)
class StepPlan:
    """One step of a job."""

    name: str
    expected_seconds: float
    stages: Mapping[str, float] = field(default_factory=dict)
    """Stage -> its share, in the order in which they come; none: the step is one stage, whatever its name."""

    def fraction(self, stage: str, done: int, total: int) -> float | None:
        """How much of the step is done, 0 to 1; None for a stage that it does not know."""
        within = min(1.0, done / total) if total > 0 else 0.0
        if not self.stages:
            return within
        if stage not in self.stages:
            return None
        names = list(self.stages)
        before = sum(self.stages[name] for name in names[: names.index(stage)])
        return (before + self.stages[stage] * within) / sum(self.stages.values())


@dataclass
class _Step:
    plan: StepPlan
    status: str = "pending"
    fraction: float = 0.0
    found: float = 0.0
    """Fraction that this run did not do: it was there already."""
    seen: float = 0.0
    """When it was last heard of."""
    stage: str | None = None
    started: float | None = None
    seconds: float = 0.0

    def advance(self, fraction: float, now: float) -> None:
        """So much is done. What jumps ahead was done by an earlier run, and says nothing of the machine's speed."""
        gain = fraction - self.fraction
        if gain > _JUMP and gain * self.plan.expected_seconds > _MUCH_FASTER * (now - self.seen):
            self.found += gain
        self.fraction, self.seen = max(self.fraction, fraction), now


class Reporter:
    """Tells the store how far a job is: at most twice a second, and whenever a step begins or ends."""

    def __init__(self, plans: Sequence[StepPlan], send: Send, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps = [_Step(plan) for plan in plans]
        self._send, self._clock = send, clock
        self._sent = -1e9

    @contextmanager
    def step(self, name: str) -> Iterator[ProgressFn]:
        """One step for the block; gives what the library's function wants as `progress`.

        Raises:
            Ended: the job is no longer ours.
        """
        step = next(step for step in self._steps if step.plan.name == name)
        step.status, step.started = "in_progress", self._clock()
        step.seen = step.started
        self._tell(now=True)

        def progress(stage: str, done: int, total: int) -> None:
            fraction = step.plan.fraction(stage, done, total)
            now = self._clock()
            if fraction is not None:
                step.advance(min(fraction, 1.0), now)
            is_new, step.stage = stage != step.stage, stage
            self._tell(now=is_new)

        yield progress
        step.status, step.fraction, step.stage = "completed", 1.0, None
        step.seconds = self._clock() - step.started
        self._tell(now=True)

    def skip(self, name: str) -> None:
        """A step that an earlier run has done.

        Raises:
            Ended: the job is no longer ours.
        """
        step = next(step for step in self._steps if step.plan.name == name)
        step.status, step.fraction, step.found = "completed", 1.0, 1.0
        self._tell(now=True)

    def _tell(self, now: bool) -> None:
        time_now = self._clock()
        if not now and time_now - self._sent < _SEND_SECONDS:
            return
        self._sent = time_now
        if not self._send(100 * self.fraction(), self.eta_seconds(), self.steps()):
            raise Ended

    def fraction(self) -> float:
        """Of the whole job, 0 to 1; 1 only when all is done."""
        total = sum(step.plan.expected_seconds for step in self._steps)
        return sum(step.plan.expected_seconds * step.fraction for step in self._steps) / total if total else 0.0

    def slowness(self) -> float:
        """How many seconds one expected second takes on this machine."""
        expected = taken = 0.0
        for step in self._steps:
            if step.started is not None:
                expected += step.plan.expected_seconds * (step.fraction - step.found)
                taken += step.seconds or self._clock() - step.started
        return (taken + _TRUST_SECONDS) / (expected + _TRUST_SECONDS)

    def eta_seconds(self) -> float:
        """How long the rest will take."""
        return round(sum(filter(None, (self._eta(step) for step in self._steps))), 1)

    def _eta(self, step: _Step) -> float | None:
        if step.status == "completed":
            return None
        return round(step.plan.expected_seconds * (1 - step.fraction) * self.slowness(), 1)

    def steps(self) -> list[dict[str, Any]]:
        """As the store keeps them."""
        return [
            {
                "name": step.plan.name,
                "status": step.status,
                "progress": round(step.fraction, 4),
                "stage": step.stage,
                "seconds": round(step.seconds or (self._clock() - step.started if step.started else 0.0), 1),
                "eta_seconds": self._eta(step),
            }
            for step in self._steps
        ]
