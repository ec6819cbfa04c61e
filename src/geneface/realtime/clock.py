"""The one clock of the real-time core. Times are seconds of a clock that never steps."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What sessions and the scheduler know of time; tests bring one of their own."""

    def now(self) -> float:
        """Seconds since some fixed moment."""
        ...

    def sleep_until(self, moment: float) -> None:
        """Return at `moment`, or at once where it has passed."""
        ...


class MonotonicClock:
    """The system's monotonic clock, which no change of the date moves; asyncio's loop uses the same."""

    def now(self) -> float:
        """As the system has it."""
        return time.monotonic()

    def sleep_until(self, moment: float) -> None:
        """Sleep, unless it is past."""
        delay = moment - time.monotonic()
        if delay > 0:
            time.sleep(delay)


MONOTONIC: Clock = MonotonicClock()
