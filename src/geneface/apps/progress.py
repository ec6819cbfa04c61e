"""Progress bars with an ETA on the terminal's error stream; silence where no person looks at it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geneface.types import ProgressFn


@contextmanager
def progress_bars(enabled: bool = True) -> Iterator[ProgressFn]:
    """Give a function that draws one bar a stage.

    Args:
        enabled: false where the output is for a program (`--json`). Nothing is drawn either unless standard
            error is a terminal.
    """
    if not enabled or not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Count(TextColumn):
        """Done and total; nothing where the total is not known, for which rich's bar pulses."""

        def render(self, task: Task) -> Text:
            return Text("" if task.total is None else f"{task.completed:.0f}/{task.total:.0f}")

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        Count(""),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
    )
    tasks: dict[str, TaskID] = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=None)
        # Of one step that has just begun "0/1" says nothing: there the bar pulses too.
        is_known = total > 1 or done > 0
        bars.update(tasks[stage], completed=done, total=total if total and is_known else None)

    with bars:
        yield report
