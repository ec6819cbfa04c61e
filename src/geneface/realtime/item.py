"""What a live session gives out: one video frame with its own slice of sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from geneface.render.renderer import Picture
from geneface.types import FloatArray

FRAME_SECONDS = 0.04
ITEM_SAMPLES = 1920
"""Of sound, in one item: 40 ms."""
State = Literal["speech", "idle"]


@dataclass(frozen=True)
class Event:
    """What begins or ends with an item. It is told when the item is sent, so that it is true for who listens."""

    name: Literal["speech.start", "speech.end"]
    utterance: str


@dataclass(frozen=True)
class Item:
    """One frame. Item k of a session is due at its origin + k * `FRAME_SECONDS`."""

    index: int
    generation: int
    """Raised by every interruption."""
    state: State
    picture: Picture
    sound: FloatArray
    """[1920] at 48 kHz, in [-1, 1]: what is heard while this picture is shown."""
    is_repeat: bool
    """The picture is that of the item before: no other one was ready."""
    events: tuple[Event, ...] = ()
