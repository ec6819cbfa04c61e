"""Shares the cores among live faces."""

from __future__ import annotations

from geneface.realtime.clock import MONOTONIC, Clock


class BusyError(Exception):
    """No room for another live face."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("no room for another live session")


class Scheduler:
    """Lands in the next commit."""

    def __init__(self, workers: int = 2, clock: Clock = MONOTONIC) -> None:
        self.workers, self.clock = workers, clock

    def close(self) -> None:
        """End."""
