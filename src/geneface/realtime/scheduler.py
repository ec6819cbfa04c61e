"""Shares the cores among live faces: whoever's next frame is due first is served first.

Before a face is let in, what one of its frames costs is measured; if all together would take more than the cores give,
it is refused at the door, and those inside stay in time.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from geneface import ops
from geneface.avatar.performance import Performance
from geneface.realtime.clock import MONOTONIC, Clock
from geneface.realtime.item import FRAME_SECONDS
from geneface.realtime.session import Face, Session
from geneface.voice.voice import Voice
from geneface.workers import usable_cores

ENCODE_SECONDS_A_PIXEL = 16e-9
"""Processor time of a transport for a frame: a fast H.264 encoder, measured at 256 and 512 pixels."""
_SHARE = 0.85
"""Of the cores, for live faces; the rest is for the network, and for the unexpected."""
_TRIAL_FRAMES = 6
_LEAST_SHARE = 0.3
"""Of what was measured while others were at work, a newcomer's own part is taken to be no less."""
_RETRY_SECONDS = 10.0
_LATE_SHARE = 0.1
"""Where a face has come late more often than this of late there is no room, whatever was measured before."""
_LONGEST_WAIT = 1.0


class BusyError(Exception):
    """There is no room for another live face: try again `retry_after` seconds later."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("this machine can't serve another live face in time")


class Scheduler:
    """Makes the items of any number of sessions in a few threads, which begin with the first session."""

    def __init__(self, workers: int = 2, clock: Clock = MONOTONIC, *, cores: int | None = None) -> None:
        """`workers`: threads; `cores`: how many the faces may fill, by default those of this machine."""
        self._workers, self._clock = workers, clock
        self._cores = cores or min(workers, usable_cores())
        self._change = threading.Condition()
        self._sessions: dict[Session, float] = {}
        """Each with its load: cores that it fills."""
        self._at_work: set[Session] = set()
        self._threads: list[threading.Thread] = []
        self._loads: WeakKeyDictionary[Face, dict[Any, float]] = WeakKeyDictionary()
        """Of a face, by size and frame: cores that one of its sessions fills."""
        self._opening = threading.Lock()
        self._kernel_threads = ops.threads()
        self._is_closed = False

    @property
    def sessions(self) -> list[Session]:
        """Those that are open."""
        with self._change:
            self._drop_closed()
            return list(self._sessions)

    @property
    def load(self) -> float:
        """Cores that the open sessions are expected to fill."""
        with self._change:
            self._drop_closed()
            return sum(self._sessions.values())

    def open(
        self,
        face: Face,
        performance: Performance | None = None,
        *,
        size: Any = None,
        frame: Any = None,
        background: str | Path = "keep",
        voice: Voice | None = None,
    ) -> Session:
        """A live face.

        Args:
            face: an avatar; size, frame and background as for `Avatar.pictures`.
            voice: what `Session.say` speaks with.

        Raises:
            BusyError: there is no room for it.
            InputError: a size, frame, background or avatar that can't be used.
        """
        # One at a time: two that are measured together would look twice as dear.
        with self._opening:
            if self._is_closed:
                raise RuntimeError("the scheduler is closed")
            loads = self._loads.setdefault(face, {})
            known = loads.get((size, frame))
            self._refuse(known or 0.0)
            session = Session(
                face,
                performance,
                clock=self._clock,
                wake=self._wake,
                size=size,
                frame=frame,
                background=background,
                voice=voice,
            )
            load = known if known is not None else self._load_of(session)
            loads[size, frame] = load
            try:
                self._refuse(load)
            except BusyError:
                session.close()
                raise
            with self._change:
                self._sessions[session] = load
                self._share_cores()
                missing = self._workers - len(self._threads)
                started = [threading.Thread(target=self._run, name="live", daemon=True) for _ in range(missing)]
                self._threads += started
            for thread in started:
                thread.start()
            return session

    def close(self) -> None:
        """End all sessions and threads."""
        with self._change:
            self._is_closed = True
            sessions = list(self._sessions)
            self._sessions.clear()
        for session in sessions:
            session.close()
        self._share_cores()
        self._wake()
        for thread in self._threads:
            thread.join()

    def _share_cores(self) -> None:
        """With one face a frame is drawn by all cores, soonest; with several, each by one, which costs a third less."""
        ops.set_threads(1 if len(self._sessions) > 1 else self._kernel_threads)

    def _load_of(self, session: Session) -> float:
        """Cores that one more such face fills while a microphone drives it, which costs most."""
        others = self.load
        ops.set_threads(1)
        try:
            cost, seconds = session.rehearse(_TRIAL_FRAMES)
        finally:
            self._share_cores()
        # Those that are open went on meanwhile.
        made = max(cost - others * seconds, _LEAST_SHARE * cost)
        return (made + ENCODE_SECONDS_A_PIXEL * session.width * session.height) / FRAME_SECONDS

    def _refuse(self, load: float) -> None:
        with self._change:
            self._drop_closed()
            full = sum(self._sessions.values()) + load > _SHARE * self._cores
            # The first one is always let in: a slow machine shows fewer frames, which is better than none.
            if self._sessions and (full or self._falls_behind()):
                raise BusyError(_RETRY_SECONDS)

    def _falls_behind(self) -> bool:
        """Whether items of late came without their picture, of those that somebody takes."""
        late = [session for session in self._sessions if session.late_share > _LATE_SHARE]
        return any(session.next_due > self._clock.now() - _LONGEST_WAIT for session in late)

    def _wake(self) -> None:
        with self._change:
            self._change.notify_all()

    def _run(self) -> None:
        while (session := self._next()) is not None:
            try:
                session.work()
            except Exception:  # the session keeps it, and tells whoever takes its items
                self._forget(session)
            finally:
                with self._change:
                    self._at_work.discard(session)
                    self._change.notify_all()

    def _next(self) -> Session | None:
        """Wait for the most urgent session that has something to make; None at the end."""
        with self._change:
            while not self._is_closed:
                self._drop_closed()
                now = self._clock.now()
                steps = [(session, *session.wanted(now)) for session in self._sessions if session not in self._at_work]
                ready = [(due, session) for session, begin, due in steps if begin <= now]
                if ready:
                    chosen = min(ready, key=lambda pair: pair[0])[1]
                    self._at_work.add(chosen)
                    return chosen
                soonest = min((begin for _, begin, _ in steps), default=now + _LONGEST_WAIT)
                self._change.wait(min(soonest - now, _LONGEST_WAIT) if steps else None)
            return None

    def _drop_closed(self) -> None:
        for session in [session for session in self._sessions if session.is_closed]:
            del self._sessions[session]
            self._share_cores()

    def _forget(self, session: Session) -> None:
        with self._change:
            self._sessions.pop(session, None)
            self._share_cores()
