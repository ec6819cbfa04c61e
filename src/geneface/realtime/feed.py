"""From sound to motion, in the order and the pieces that suit the sound.

Silence and prepared speech are known ahead and go into the models in large pieces, which is cheap; a live source goes
in as it comes. When speech begins, the silence that was to be shown is taken back, and the performance steps back with
it (`LivePerformance.restart`): nothing jumps, and nobody waits for silence to end.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from geneface.avatar.idle import frame_energy_db
from geneface.avatar.live import LivePerformance
from geneface.errors import InputError
from geneface.realtime.item import FRAME_SECONDS, ITEM_SAMPLES, Event, State
from geneface.realtime.source import MODEL_SAMPLES, Source, silence
from geneface.realtime.timeline import Entry, Timeline
from geneface.types import SPEECH_RATE_HZ, FloatArray, MotionTrack

MOST_SECONDS = 660
"""Of speech that waits to be spoken."""
_CHUNK = 25
"""Frames of known sound that go into the models at once."""
_LOW = 8
"""With fewer frames of motion ahead the next piece is made."""
_LIVE_GAP_SECONDS = 0.4
"""A live source that is silent for longer has ended."""
_LIVE_STEP = MODEL_SAMPLES // 4
"""Samples of a live source that are worth a call of the models."""
_LIVE_MARGIN_SECONDS = 0.03
"""What a live source's motion aims to be early by: its pieces come unevenly."""
_LIVE_SPARE_SECONDS = 0.05
"""Motion of a live source that was earlier than this for a second is too early: quiet sound is passed over until its
delay has shrunk again."""
_LIVE_LOOK_SECONDS = 1.0
_LIVE_MOST_WAITING = 2 * _CHUNK
_QUIET_DB = -45.0
_HANGOVER_PIECES = 15
_DEAD_KEPT = 200
_SMOOTHING = 0.1


@dataclass(frozen=True)
class Piece:
    """Sound that goes into the models."""

    samples: FloatArray
    """[T] at 16 kHz."""
    taken_back: int | None = None
    """So many of the last rows are not shown: a new utterance begins. None: it goes on."""


class Feed:
    """Sound waiting, sound in the models, and the entries they become. Used under its session's lock, but for `push`,
    `plan` and `performance`, which belong to the thread that makes items."""

    def __init__(self, performance: LivePerformance) -> None:
        self.performance = performance
        self.timeline = Timeline()
        self._sources: deque[Source] = deque()
        self._live: Source | None = None
        self._live_heard = 0.0
        self._live_early: deque[tuple[float, float]] = deque()
        """When pieces of a live source went in, and how much later their motion was due."""
        self._rest = np.zeros(0, np.float32)
        """Sound for listeners that is in the models already and fills no item yet."""
        self._events: list[Event] = []
        self._dead: deque[str] = deque(maxlen=_DEAD_KEPT)
        """Utterances that were interrupted: what still comes of them is dropped."""
        self._since_loud = _HANGOVER_PIECES
        self.push_seconds = 0.005
        """What a short piece takes the models."""
        look_ahead = performance.look_ahead_seconds + FRAME_SECONDS
        self.first_frames = int(np.ceil(look_ahead / FRAME_SECONDS - 1e-6))
        """Frames of sound that give the first frame of motion."""

    # ---- sound in

    def hear(self, samples: FloatArray, rate_hz: int, now: float) -> None:
        """A live source's sound. It is not kept for later: where nobody looks, it is lost."""
        if self._sources:
            self._live = None
        waiting = len(self.timeline) + (self._live.ready_frames if self._live is not None else 0)
        if self._sources or waiting > _LIVE_MOST_WAITING:
            return
        if self._live is None:
            self._live = Source("")
        self._live_heard = now
        self._live.push(samples, rate_hz)

    def source_of(self, utterance: str, seconds: float) -> Source | None:
        """Where so much more sound of an utterance goes; None if it was interrupted.

        Raises:
            InputError: it has ended, or too much would wait.
        """
        if utterance in self._dead:
            return None
        found = next((source for source in self._sources if source.utterance == utterance), None)
        if found is not None and found.is_ended:
            raise InputError("the utterance has ended", "begin another one")
        if self.waiting_seconds + seconds > MOST_SECONDS:
            raise InputError(f"more than {MOST_SECONDS} s of speech would wait", "send it when some has been spoken")
        if found is None:
            found = Source(utterance)
            self._sources.append(found)
        return found

    @property
    def waiting_seconds(self) -> float:
        """Of speech that has not gone into the models."""
        return sum(source.ready_frames for source in self._sources) * FRAME_SECONDS

    def drop_all(self, utterances: Iterable[str]) -> None:
        """An interruption: no sound waits, nothing of what was made is shown, and no more is taken of `utterances`."""
        self._dead.extend(utterances)
        self._dead.extend(source.utterance for source in self._sources)
        self._sources.clear()
        self._live = None
        self._events = []
        self.timeline.drop_all()

    # ---- sound into the models

    def ready_at(self, now: float, motion_due: float) -> float:
        """When the next piece can be made; `motion_due`: when motion will be missing."""
        ahead = self.timeline.moved - self.timeline.drawn
        soon = motion_due - 2 * FRAME_SECONDS
        if self._sources:
            source = self._sources[0]
            if not source.is_begun:
                return now if source.ready_frames >= self.first_frames or source.is_ended else soon
            has_enough = source.ready_frames >= _CHUNK // 2 or source.is_ended
            return now if ahead < _LOW and has_enough else soon
        if self._live is not None:
            if not self._live.is_begun or self._live.ready >= _LIVE_STEP:
                return now
            # At the last moment: what is missing may be on its way.
            return motion_due - _LIVE_MARGIN_SECONDS / 2 - self.push_seconds
        return now if ahead < _LOW else motion_due - _LOW * FRAME_SECONDS

    def next_piece(self, now: float, motion_due: float) -> Piece:
        """Take the next sound, and make the entries that it will be."""
        while self._sources and self._sources[0].is_ended and not self._sources[0].ready:
            self._end(self._sources.popleft())
        if self._sources:
            return self._prepared(self._sources[0])
        if self._live is not None and now - self._live_heard > _LIVE_GAP_SECONDS:
            self._live = None
        if self._live is not None:
            return self._from_live(self._live, now, motion_due)
        return self.silent(_CHUNK)

    def plan(self, piece: Piece) -> None:
        """A piece, all the way."""
        self.returned(self.push(piece), is_wanted=True)

    def push(self, piece: Piece) -> MotionTrack:
        """A piece into the models."""
        if piece.taken_back is not None:
            self.performance.restart(piece.taken_back)
        started = time.perf_counter()
        track = self.performance.push(piece.samples)
        if 0 < len(piece.samples) <= 2 * MODEL_SAMPLES:
            self.push_seconds += _SMOOTHING * (time.perf_counter() - started - self.push_seconds)
        return track

    def returned(self, track: MotionTrack, *, is_wanted: bool) -> None:
        """What the models made of it."""
        if is_wanted:
            self.timeline.place(track)
        else:
            self.timeline.returned += len(track)

    # ---- interruption

    def take_back(self) -> int:
        """How many rows the performance has to take back, as nobody has seen them."""
        self._rest = np.zeros(0, np.float32)
        unshown = self.timeline.unshown
        self.timeline.returned = self.timeline.shown
        return unshown

    def rest(self, track: MotionTrack, *, is_wanted: bool) -> None:
        """The way of the mouth to rest, in silence."""
        if not is_wanted:
            self.timeline.returned += len(track)
            return
        for _ in range(len(track)):
            self.timeline.add(Entry(np.zeros(ITEM_SAMPLES, np.float32), "idle"))
        self.timeline.place(track)

    # ---- pieces

    def _prepared(self, source: Source) -> Piece:
        count = min(source.ready_frames, _CHUNK)
        taken_back = None
        if not source.is_begun and count:
            source.is_begun = True
            taken_back = self._cut()
            self._events.append(Event("speech.start", source.utterance))
            if taken_back is not None:
                # The first motion as soon as it can be.
                count = min(count, self.first_frames)
        if not count:
            # More of it is late: a pause, as short as can be.
            return self.silent(1 if source.is_begun else _CHUNK)
        samples, sound = source.take(count * MODEL_SAMPLES)
        samples, sound = self._aligned(samples, sound)
        self._add(sound, "speech", is_prepared=True)
        if source.is_ended and not source.ready:
            self._end(self._sources.popleft())
        return Piece(samples, taken_back)

    def _from_live(self, live: Source, now: float, motion_due: float) -> Piece:
        if not live.is_begun:
            live.is_begun = True
            self._live_early.clear()
            return self._before_live(now, motion_due)
        samples, sound = live.take(live.ready)
        if not len(samples):
            self._live_early.clear()
            samples, sound = silence(1)
        is_loud = frame_energy_db(samples).max() >= _QUIET_DB
        if self._is_early(now, motion_due) and not is_loud:
            self._live_early.clear()
            return Piece(np.zeros(0, np.float32))
        self._since_loud = 0 if is_loud else self._since_loud + 1
        self._add(sound, "speech" if self._since_loud < _HANGOVER_PIECES else "idle")
        return Piece(samples)

    def _before_live(self, now: float, motion_due: float) -> Piece:
        """The silence after which a live source's sound makes its first motion just in time."""
        moved = self.timeline.moved
        taken_back = self._cut()
        if taken_back is None:
            return self.silent(1)
        left = motion_due - (moved - self.timeline.moved) * FRAME_SECONDS - now
        needed = self.performance.look_ahead_seconds + FRAME_SECONDS + self.push_seconds + _LIVE_MARGIN_SECONDS
        seconds = needed - max(left, 0.0)
        count = max(round(seconds * SPEECH_RATE_HZ / _LIVE_STEP), 0) * _LIVE_STEP
        self._add(np.zeros(count * ITEM_SAMPLES // MODEL_SAMPLES, np.float32), "idle")
        return Piece(np.zeros(count, np.float32), taken_back)

    def _is_early(self, now: float, motion_due: float) -> bool:
        """Whether the motion of a live source has been early for a while."""
        self._live_early.append((now, motion_due - now))
        if now - self._live_early[0][0] < _LIVE_LOOK_SECONDS:
            return False
        while now - self._live_early[0][0] > _LIVE_LOOK_SECONDS:
            self._live_early.popleft()
        return min(early for _, early in self._live_early) > self.push_seconds + _LIVE_SPARE_SECONDS

    def silent(self, frames: int) -> Piece:
        """A piece of silence."""
        samples, sound = self._aligned(*silence(frames))
        self._add(sound, "idle")
        return Piece(samples)

    def _cut(self) -> int | None:
        """Take back the silence at the end; how many rows of motion that is, or None where speech is under way."""
        dropped = self.timeline.drop_idle_end()
        if dropped is not None:
            # Rows that were still to come, too, are forgotten.
            self.timeline.returned = self.timeline.shown + self.timeline.moved
            self._rest = np.zeros(0, np.float32)
        return dropped

    def _aligned(self, samples: FloatArray, sound: FloatArray) -> tuple[FloatArray, FloatArray]:
        """With silence before it that fills an item which a live source had begun."""
        if not len(self._rest):
            return samples, sound
        missing = ITEM_SAMPLES - len(self._rest)
        before = np.zeros(missing * MODEL_SAMPLES // ITEM_SAMPLES, np.float32)
        return np.concatenate([before, samples]), np.concatenate([np.zeros(missing, np.float32), sound])

    def _add(self, sound: FloatArray, state: State, *, is_prepared: bool = False) -> None:
        """Entries of sound that goes into the models now."""
        whole = np.concatenate([self._rest, sound])
        count = len(whole) // ITEM_SAMPLES
        for start in range(0, count * ITEM_SAMPLES, ITEM_SAMPLES):
            self.timeline.add(Entry(whole[start : start + ITEM_SAMPLES], state, is_prepared, self._events))
            self._events = []
        self._rest = whole[count * ITEM_SAMPLES :]

    def _end(self, source: Source) -> None:
        """The utterance ends with the last entry that is waiting, or with the next one that will."""
        if not source.is_begun:
            # It had no sound at all.
            self._events.append(Event("speech.start", source.utterance))
        event, last = Event("speech.end", source.utterance), self.timeline.last()
        if last is not None and last.is_prepared and source.is_begun:
            last.events.append(event)
        else:
            self._events.append(event)
