"""A live session that flashes and clicks once a second, with the interface of `realtime.Session` and nothing drawn.

Picture and sound of an item agree, so that whoever receives both can measure one against the other: while it speaks the
picture is as bright as the sound is loud. It is paced by the clock as a real session is.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import numpy as np

from geneface.realtime import FRAME_SECONDS, ITEM_SAMPLES, SOUND_RATE_HZ, Event, Item

EVERY = 25
SIZE = 128
CLICK = np.pad(0.8 * np.sin(np.arange(240) * 2 * np.pi * 2000 / SOUND_RATE_HZ), (0, ITEM_SAMPLES - 240)).astype(
    np.float32
)
"""5 ms of 2 kHz: every codec keeps it."""


@dataclass(frozen=True)
class Plain:
    """A picture of one grey."""

    value: int
    size: int = SIZE

    def to_uint8(self) -> np.ndarray:
        return np.full((self.size, self.size, 3), self.value, np.uint8)

    def to_yuv420(self) -> np.ndarray:
        planes = np.full((self.size * 3 // 2, self.size), 128, np.uint8)
        planes[: self.size] = 16 + self.value * 219 // 255
        return planes

    def to_rgba(self) -> np.ndarray:
        return np.full((self.size, self.size, 4), self.value, np.uint8)


class FlashSession:
    """Speech is played as it is given; without it, item 0, 25, 50... flashes and clicks."""

    width = height = SIZE

    def __init__(self) -> None:
        self._origin: float | None = None
        self.generation = 0
        self.heard: list[tuple[np.ndarray, int]] = []
        self.said: list[str] = []
        self.is_closed = False
        self._next = 0
        self._ids = itertools.count(1)
        self._speech: list[tuple[str, np.ndarray, bool]] = []
        self._started: set[str] = set()
        self._owed: list[Event] = []
        self._told: str | None = None

    @property
    def origin(self) -> float:
        """The first item's taker fixes it."""
        if self._origin is None:
            self._origin = time.monotonic()
        return self._origin

    @property
    def next_due(self) -> float:
        return self.origin + self._next * FRAME_SECONDS

    def hear(self, samples: np.ndarray, rate_hz: int) -> None:
        self.heard.append((np.array(samples), rate_hz))

    def say(self, text: str) -> str:
        self.said.append(text)
        return self.speak(np.full(ITEM_SAMPLES * 5, 0.25, np.float32), SOUND_RATE_HZ)

    def speak(self, samples: np.ndarray, rate_hz: int, utterance: str | None = None, is_last: bool = True) -> str:
        name = utterance or f"u{next(self._ids)}"
        if rate_hz != SOUND_RATE_HZ and len(samples):
            times = np.arange(len(samples) * SOUND_RATE_HZ // rate_hz) * rate_hz / SOUND_RATE_HZ
            samples = np.interp(times, np.arange(len(samples)), samples).astype(np.float32)
        self._speech.append((name, np.asarray(samples, np.float32), is_last))
        return name

    def take_voice_error(self) -> None:
        return None

    def interrupt(self) -> int:
        self._speech.clear()
        if self._told is not None:
            self._owed.append(Event("speech.end", self._told))
            self._told = None
        self.generation += 1
        return self.generation

    def take(self) -> Item:
        index, events, self._owed = self._next, self._owed, []
        self._next += 1
        sound = np.zeros(0, np.float32)
        spoken = False
        while self._speech and len(sound) < ITEM_SAMPLES:
            name, samples, is_last = self._speech[0]
            if name not in self._started:
                self._started.add(name)
                events.append(Event("speech.start", name))
            wanted = ITEM_SAMPLES - len(sound)
            sound, rest, spoken = (
                np.concatenate([sound, samples[:wanted]]),
                samples[wanted:],
                spoken or len(samples) > 0,
            )
            if len(rest):
                self._speech[0] = (name, rest, is_last)
                break
            self._speech.pop(0)
            if is_last:
                events.append(Event("speech.end", name))
        for event in events:
            self._told = event.utterance if event.name == "speech.start" else None
        if spoken:
            sound = np.pad(sound, (0, ITEM_SAMPLES - len(sound)))
            value = round(min(1.0, float(np.abs(sound).max())) * 255)
        else:
            is_flash = index % EVERY == 0
            sound, value = (CLICK, 255) if is_flash else (np.zeros(ITEM_SAMPLES, np.float32), 0)
        state = "speech" if spoken else "idle"
        return Item(index, self.generation, state, Plain(value), sound, False, tuple(events))

    async def items(self) -> AsyncIterator[Item]:
        while not self.is_closed:
            await asyncio.sleep(max(0.0, self.next_due - time.monotonic()))
            yield self.take()

    def frames(self) -> Iterator[Item]:
        while not self.is_closed:
            time.sleep(max(0.0, self.next_due - time.monotonic()))
            yield self.take()

    def set_background(self, background: str) -> None:
        self.background = background

    def stats(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        self.is_closed = True
