"""What judges are asked about, and what they answer.

Symbols: f frames of a shot; v of its small pictures, one each `VIEW_FRAMES` frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from geneface.portrait.clues import Clues, load_clues
from geneface.portrait.follow import Followed, load_followed
from geneface.portrait.plan import Shot
from geneface.portrait.scan import SourceScan
from geneface.types import Waveform


@dataclass(frozen=True)
class TrackedShot:
    """One shot of f frames as judges see it. All coordinates are pixels of the (upright) source picture."""

    scan: SourceScan
    shot: Shot
    folder: Path
    """Where `follow` left its chunks."""
    sound: Waveform | None
    """Of the whole source; times as in `Waveform`."""

    @cached_property
    def followed(self) -> Followed:
        """Meshes of all frames [f, 478, 3], which were found, how far the hair reaches."""
        return load_followed(self.folder, self.shot.frames)

    @cached_property
    def clues(self) -> Clues:
        """What its small pictures tell, row i about frame `i * VIEW_FRAMES` of the shot."""
        return load_clues(self.folder)


@dataclass(frozen=True)
class Drop:
    """Frames [start, stop) of one shot, counted from its first frame, that are not to be used."""

    shot: int
    """Index into the shots that were judged."""
    start: int
    stop: int
    reason: str
    """As `plan` words them: "two faces are seen"."""


@dataclass(frozen=True)
class Note:
    """What the user should know about frames [start, stop) of a shot; nothing is dropped for it."""

    shot: int
    start: int
    stop: int
    cause: str
    remedy: str


@dataclass(frozen=True)
class Verdict:
    """What a judge says."""

    drops: tuple[Drop, ...] = ()
    notes: tuple[Note, ...] = ()


Judge = Callable[[Sequence[TrackedShot]], Verdict]
