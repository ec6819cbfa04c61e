"""What a live face is about to show: entries, one a frame, from sound alone to a finished picture.

An entry gets its sound first, then its row of motion, then its picture. Rows of motion come in the order of the
entries. No entry knows when it is due: that is its place in the line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from geneface.realtime.item import Event, State
from geneface.render.renderer import Picture
from geneface.types import FloatArray, MotionTrack


@dataclass(eq=False)
class Entry:
    """One frame to come."""

    sound: FloatArray
    """[1920] at 48 kHz."""
    state: State
    is_prepared: bool = False
    """Its sound must not wait for its motion: somebody is listening to a sentence."""
    events: list[Event] = field(default_factory=list)
    track: MotionTrack | None = None
    """One row."""
    picture: Picture | None = None


class Timeline:
    """The entries of one session, used under its lock."""

    def __init__(self) -> None:
        self._line: deque[Entry] = deque()
        self.returned = 0
        """Rows that the performance has returned, and that it has not been told to take back."""
        self.shown = 0
        """Rows that were given out, in time or not."""

    def __len__(self) -> int:
        return len(self._line)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._line)

    @property
    def drawn(self) -> int:
        """Entries with a picture: they are the first ones, but for pictures that were given up."""
        return sum(entry.picture is not None for entry in self._line)

    @property
    def moved(self) -> int:
        """Entries with a row of motion: they are the first ones."""
        return sum(entry.track is not None for entry in self._line)

    @property
    def unshown(self) -> int:
        """Rows that the performance has returned and nobody has seen."""
        return max(self.returned - self.shown, 0)

    def add(self, entry: Entry) -> None:
        """Another frame at the end."""
        self._line.append(entry)

    def place(self, track: MotionTrack) -> None:
        """Give rows, as they were returned, to the entries that wait for them; those that nobody waits for are late."""
        late = max(self.shown - self.returned, 0)
        self.returned += len(track)
        waiting = (entry for entry in self._line if entry.track is None)
        for row, entry in zip(range(late, len(track)), waiting, strict=False):
            entry.track = track[row : row + 1]

    def drop_all(self) -> None:
        """Nothing of it will be shown."""
        self._line.clear()

    def drop_idle_end(self) -> int | None:
        """Take idle entries without pictures off the end, so that speech can begin now.

        Returns:
            How many of them had their motion; None if there is speech whose motion is still to come: nothing is done.
        """
        if any(entry.track is None and entry.state != "idle" for entry in self._line):
            return None
        dropped = 0
        while self._line and self._line[-1].state == "idle" and self._line[-1].picture is None:
            if self._line[-1].events:
                break
            dropped += self._line.pop().track is not None
        return dropped

    def first(self) -> Entry | None:
        """The next one."""
        return self._line[0] if self._line else None

    def last(self) -> Entry | None:
        """The one furthest in the future."""
        return self._line[-1] if self._line else None

    def pop(self) -> Entry:
        """Give out the next one."""
        self.shown += 1
        return self._line.popleft()
