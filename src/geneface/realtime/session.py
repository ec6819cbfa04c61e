"""One live face: sound goes in at any time, an item comes out for every 40 ms of one clock.

Two sides meet here. Whoever listens calls `take` when an item is due and never waits. Whoever makes the items, a
thread of the scheduler, calls `work`. Sound is turned into motion well ahead where it is known (silence, prepared
speech) and piece by piece where it is not (a microphone); pictures are made at most `LEAD_SECONDS` ahead.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from geneface.avatar.live import LivePerformance
from geneface.avatar.performance import Performance
from geneface.realtime.clock import Clock
from geneface.realtime.feed import Feed
from geneface.realtime.item import FRAME_SECONDS, ITEM_SAMPLES, Event, Item
from geneface.realtime.source import checked_sound
from geneface.realtime.speaking import Speaking, new_utterance
from geneface.realtime.timeline import Entry
from geneface.render.renderer import Picture
from geneface.types import MotionTrack
from geneface.voice.voice import Voice

LEAD_SECONDS = 0.06
"""So long before it is due a picture may be begun."""
_MOST_PICTURES = 2
"""That wait to be taken: with the one being sent no more than 100 ms."""
_SKIP_SECONDS = 0.5
"""Who comes later than this for an item is given the present one: time has passed."""
_PIECE_SECONDS = 1.0
"""Of prepared speech, that is resampled at once: whoever waits for an item must not wait for ten minutes of it."""
_LATE_ITEMS = 125
"""Over which `late_share` is a mean, about: 5 s."""
_SMOOTHING = 0.1
"""Weight of the last picture in the mean of what one costs."""


class Face(Protocol):
    """What a session needs of an avatar."""

    def live(self, performance: Performance | None = None) -> LivePerformance:
        """As `Avatar.live`."""
        ...

    def pictures(
        self, motion: Any, *, size: Any = None, frame: Any = None, background: str | Path = "keep"
    ) -> Generator[Picture, None, None]:
        """As `Avatar.pictures`."""
        ...


class Session:
    """A live face. `Scheduler.open` makes one; any thread may call."""

    def __init__(
        self,
        face: Face,
        performance: Performance | None,
        *,
        clock: Clock,
        wake: Callable[[], None],
        size: Any = None,
        frame: Any = None,
        background: str | Path = "keep",
        voice: Voice | None = None,
    ) -> None:
        """Makes the first picture, so that what can't be shown is refused here.

        Args:
            wake: called when there may be something to make.
            voice: what `say` speaks with.

        Raises:
            InputError: a size, frame, background or avatar that can't be used.
        """
        self._face, self._clock, self._wake, self._view = face, clock, wake, {"size": size, "frame": frame}
        self._lock = threading.Lock()
        self._feed = Feed(face.live(performance))
        self._rows: deque[MotionTrack] = deque()
        self._pictures = self._pictures_over(background)
        self._feed.plan(self._feed.next_piece(0.0, 0.0))
        first = next(entry for entry in self._feed.timeline if entry.track is not None)
        self._last = first.picture = self._drawn(first)
        shape = self._last.to_uint8().shape
        self.height, self.width = shape[0], shape[1]
        self.draw_seconds = 0.01
        self._made_generation = 0
        self._sent: Picture | None = None
        self._owed: list[Event] = []
        self._told: str | None = None
        """The utterance whose beginning was given out, and whose end was not."""
        self._origin: float | None = None
        self._next = 0
        self._error: BaseException | None = None
        self._speaking = Speaking(voice, self.speak, self._waiting_seconds)
        self.generation = 0
        self.is_closed = False
        self.late_share = 0.0
        """Of the last items, how many came without a picture of their own."""
        self._counts = {"items": 0, "repeats": 0, "skipped": 0, "interruptions": 0}

    # ---- sound in

    def hear(self, samples: ArrayLike, rate_hz: int) -> None:
        """Sound [T] of a live source, as it comes: it is shown as soon as can be; where it has gaps there is silence.

        While a sentence is spoken nothing else is heard.

        Raises:
            InputError: no such sound.
        """
        heard = checked_sound(samples, rate_hz)
        with self._lock:
            self._feed.hear(heard, rate_hz, self._clock.now())
        self._wake()

    def speak(self, samples: ArrayLike, rate_hz: int, utterance: str | None = None, is_last: bool = True) -> str:
        """Prepared speech [T], all of it or a piece, faster than it is spoken if you like.

        Args:
            utterance: which one this is a piece of; by default a new one, which is spoken after those before it.
            is_last: no more pieces follow.

        Returns:
            The utterance's id.

        Raises:
            InputError: no such sound, or more of it than `MOST_SECONDS`.
        """
        heard = checked_sound(samples, rate_hz)
        name = utterance or new_utterance()
        with self._lock:
            source = self._feed.source_of(name, len(heard) / rate_hz)
        step = round(_PIECE_SECONDS * rate_hz)
        for start in range(0, max(len(heard), 1), step):
            with self._lock:
                if source is not None:
                    source.push(heard[start : start + step], rate_hz, is_last=is_last and start + step >= len(heard))
            self._wake()
        return name

    def say(self, text: str) -> str:
        """Speak a text with the session's voice, a sentence at a time. Returns the utterance's id at once.

        Raises:
            InputError: the session has no voice, or the text no words.
        """
        return self._speaking.say(text)

    def take_voice_error(self) -> BaseException | None:
        """What kept the voice from speaking a text since this was last asked; `say` returns before that is known."""
        return self._speaking.take_error()

    def interrupt(self) -> int:
        """Be silent now: whatever was not taken yet is dropped, the mouth goes to rest. Returns the new generation."""
        with self._lock:
            self.generation += 1
            self._counts["interruptions"] += 1
            self._feed.drop_all(self._speaking.interrupt())
            if self._told is not None:
                self._owed.append(Event("speech.end", self._told))
                self._told = None
            generation = self.generation
        self._wake()
        return generation

    def set_background(self, background: str | Path) -> None:
        """Show the face before something else, from one of the next pictures on.

        Raises:
            InputError: one that can't be used.
        """
        pictures = self._pictures_over(background)
        with self._lock:
            self._pictures = pictures

    # ---- items out

    @property
    def origin(self) -> float:
        """When item 0 was due. The first item's taker fixes it, once."""
        with self._lock:
            return self._begin()

    @property
    def next_due(self) -> float:
        """When the next item is due."""
        with self._lock:
            return self._begin() + self._next * FRAME_SECONDS

    def take(self) -> Item:
        """The next item. Without its picture it comes with the one before; without its sound it is silent.

        Raises:
            RuntimeError: the session is closed, or making its items failed.
        """
        with self._lock:
            if self._error is not None:
                raise RuntimeError("the live face has failed") from self._error
            if self.is_closed:
                raise RuntimeError("the session is closed")
            behind = self._clock.now() - self._begin() - self._next * FRAME_SECONDS
            if behind > _SKIP_SECONDS:
                skipped = int(behind / FRAME_SECONDS)
                self._next += skipped
                self._counts["skipped"] += skipped
            item = self._item()
        self._wake()
        return item

    def frames(self) -> Iterator[Item]:
        """Items as they are due, for a thread. Ends when the session is closed."""
        while not self.is_closed:
            self._clock.sleep_until(self.next_due)
            if not self.is_closed:
                yield self.take()

    async def items(self) -> AsyncIterator[Item]:
        """Items as they are due, for asyncio. Ends when the session is closed."""
        while not self.is_closed:
            await asyncio.sleep(max(self.next_due - self._clock.now(), 0))
            if not self.is_closed:
                yield self.take()

    def stats(self) -> dict[str, float]:
        """Counts since the beginning, and what waits now, in items; a picture's cost in seconds."""
        with self._lock:
            timeline = self._feed.timeline
            waiting = {"pictures": timeline.drawn, "motion": timeline.moved, "sound": len(timeline)}
            return {**self._counts, **waiting, "draw_seconds": self.draw_seconds, "generation": self.generation}

    def close(self) -> None:
        """End: takers stop, nothing more is made."""
        with self._lock:
            self.is_closed = True
        self._speaking.close()
        self._wake()

    # ---- what the scheduler calls, one thread at a time

    def wanted(self, now: float) -> tuple[float, float]:
        """When the next step can begin, `now` at the earliest, and by when it should be done."""
        with self._lock:
            return self._next_step(now)[:2]

    def work(self) -> None:
        """Do the next step: a piece of motion, or a picture."""
        try:
            with self._lock:
                now = self._clock.now()
                _, due, entry = self._next_step(now)
                generation = self.generation
                is_stale = self._made_generation != generation
                piece = None if entry is not None or is_stale else self._feed.next_piece(now, due)
            if is_stale:
                self._rest(generation)
            elif entry is not None:
                self._draw(entry, generation)
            elif piece is not None:
                track = self._feed.push(piece)
                with self._lock:
                    self._feed.returned(track, is_wanted=generation == self.generation)
        except BaseException as error:
            with self._lock:
                self._error = error
            raise

    def rehearse(self, frames: int) -> tuple[float, float]:
        """Make so many frames of rest that nobody sees, one at a time as for a microphone.

        Returns:
            What one takes all cores of this process, and how long it takes by the clock.
        """
        started, used = self._clock.now(), time.process_time()
        for _ in range(frames):
            self._feed.plan(self._feed.silent(1))
        entries = [entry for entry in self._feed.timeline if entry.track is not None]
        drawing = self._clock.now()
        for entry in entries[:frames]:
            self._drawn(entry).to_yuv420()
        ended = self._clock.now()
        self.draw_seconds = (ended - drawing) / frames
        return (time.process_time() - used) / frames, (ended - started) / frames

    def _next_step(self, now: float) -> tuple[float, float, Entry | None]:
        """When the next step can begin, when it should be done, and the entry to draw, if it is that."""
        if self._made_generation != self.generation:
            return now, now, None
        # Until somebody listens, the first item is due all the time; so is the next one when nobody takes it any more.
        due = now if self._origin is None else max(self._origin + self._next * FRAME_SECONDS, now - _SKIP_SECONDS)
        timeline = self._feed.timeline
        motion_due = due + timeline.moved * FRAME_SECONDS - self.draw_seconds
        best = (self._feed.ready_at(now, motion_due), motion_due, None)
        if timeline.drawn >= _MOST_PICTURES:
            return best
        place, entry = self._to_draw(due, now)
        if entry is not None:
            entry_due = due + place * FRAME_SECONDS
            ready = entry_due - max(LEAD_SECONDS, 2 * self.draw_seconds)
            if max(ready, now) < max(best[0], now) or (ready <= now and entry_due <= best[1]):
                best = (ready, entry_due, entry)
        return best

    def _to_draw(self, due: float, now: float) -> tuple[int, Entry | None]:
        """The first entry without a picture that can still be in time, or the last one that can't."""
        found: tuple[int, Entry | None] = (0, None)
        for place, entry in enumerate(self._feed.timeline):
            if entry.track is None:
                break
            if entry.picture is None:
                found = (place, entry)
                if due + place * FRAME_SECONDS >= now + 0.5 * self.draw_seconds:
                    break
        return found

    def _rest(self, generation: int) -> None:
        """Follow an interruption."""
        with self._lock:
            unshown = self._feed.take_back()
        track = self._feed.performance.interrupt(unshown)
        with self._lock:
            self._feed.rest(track, is_wanted=generation == self.generation)
            self._made_generation = generation

    def _draw(self, entry: Entry, generation: int) -> None:
        started = self._clock.now()
        picture = self._drawn(entry)
        with self._lock:
            self.draw_seconds += _SMOOTHING * (self._clock.now() - started - self.draw_seconds)
            if generation != self.generation:
                return
            entry.picture = picture
            if not any(other is entry for other in self._feed.timeline):
                # Too late for its own item, not for the next one that has none.
                self._last = picture

    def _drawn(self, entry: Entry) -> Picture:
        assert entry.track is not None
        self._rows.append(entry.track)
        return next(self._pictures)

    def _pictures_over(self, background: str | Path) -> Generator[Picture, None, None]:
        def rows() -> Iterator[MotionTrack]:
            while True:
                yield self._rows.popleft()

        return self._face.pictures(rows(), background=background, **self._view)

    def _waiting_seconds(self) -> float:
        with self._lock:
            return self._feed.waiting_seconds

    # ---- under the lock

    def _begin(self) -> float:
        if self._origin is None:
            self._origin = self._clock.now()
        return self._origin

    def _item(self) -> Item:
        first = self._feed.timeline.first()
        can_go = first is not None and (first.track is not None or first.is_prepared)
        entry = self._feed.timeline.pop() if can_go else None
        events = [*self._owed, *(entry.events if entry else [])]
        self._owed = []
        for event in events:
            self._told = event.utterance if event.name == "speech.start" else None
        if entry is not None and entry.picture is not None:
            self._last = entry.picture
        is_repeat = self._last is self._sent
        self._sent = self._last
        item = Item(
            index=self._next,
            generation=self.generation,
            state=entry.state if entry else "idle",
            picture=self._last,
            sound=entry.sound if entry else np.zeros(ITEM_SAMPLES, np.float32),
            is_repeat=is_repeat,
            events=tuple(events),
        )
        self._next += 1
        self._counts["items"] += 1
        self._counts["repeats"] += is_repeat
        self.late_share += (is_repeat - self.late_share) / _LATE_ITEMS
        return item
