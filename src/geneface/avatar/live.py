"""A face for live speech: sound in pieces, frames of motion as soon as the models have heard enough.

F frames at 25 Hz, K named landmarks. Pieces of any lengths give the frames of the whole sound in one piece
(to rounding, 1e-4 head units at most). Frame f of an utterance shows the sound of f / 25 s of it and comes
when `look_ahead_seconds` more have been heard. Blinks and the head's path go on over utterances.

Any thread may call: sound is heard in the order in which the calls get their turn, and every frame comes out once.
"""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
from numpy.typing import ArrayLike

from geneface.analysis.live import LevelFollower, LiveSpeech
from geneface.analysis.speech import StreamingEncoder
from geneface.analysis.steady_sound import SteadySound
from geneface.avatar.body import Body
from geneface.avatar.finish import Finish
from geneface.avatar.held_lips import HeldLips
from geneface.avatar.inputs import live_samples
from geneface.avatar.performance import Performance
from geneface.avatar.person import PersonStatistics
from geneface.avatar.smoothing import UPPER_AND_OUTER_FACE, LiveSmoother
from geneface.avatar.stress import LOOK_FRAMES, heard_windows, loudness
from geneface.geometry.landmarks import JAW, LOWER_FACE
from geneface.motion.live import LiveMotion
from geneface.motion.runtime import MotionModel, PersonMotion
from geneface.signal.timing import SAMPLES_PER_FRAME
from geneface.types import VIDEO_RATE_HZ, FloatArray, MotionTrack

EASE_FRAMES = 5
"""Frames in which the mouth goes to rest after an interruption, and from rest into speech: 0.2 s."""
MOST_UNSHOWN = 300 * VIDEO_RATE_HZ
"""Frames that a performance can take back: 5 minutes, 17 MB."""
_SMOOTHED = np.setdiff1d(UPPER_AND_OUTER_FACE, JAW)
_UTTERANCE_SEEDS = 1_000_003
"""Distance of the seeds of utterances."""


class _Level(LevelFollower):
    """Follows the speaker's level, and keeps the loudness of what was heard of the utterance and not shown yet."""

    def __init__(self) -> None:
        super().__init__()
        self.restart()

    def restart(self) -> None:
        """Begin another utterance."""
        super().restart()
        self._sound = np.zeros(0, np.float32)
        self._loud = np.zeros(0, np.float32)

    def push(self, samples: FloatArray) -> FloatArray:
        """As `LevelFollower.push`."""
        levelled = super().push(samples)
        self._sound = np.concatenate([self._sound, levelled])
        whole = len(self._sound) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME
        self._loud = np.concatenate([self._loud, loudness(self._sound[:whole])])
        self._sound = self._sound[whole:]
        return levelled

    def take(self, frames: int, look: int) -> FloatArray:
        """[frames, look + 1] loudness of the next frames that are shown, each with those after it."""
        heard = heard_windows(self._loud, frames, look)
        self._loud = self._loud[frames:]
        return heard


class LivePerformance:
    """Live speech: sound goes in piece by piece, frames of motion come out. `Avatar.live` makes one."""

    def __init__(
        self,
        encoder: StreamingEncoder,
        model: MotionModel,
        adaptation: PersonMotion | None,
        person: PersonStatistics,
        performance: Performance,
        *,
        sigma_frames: float,
        body: Body | None = None,
    ) -> None:
        """`sigma_frames`: smoothing of brows and cheeks; `body`: the video that the lips are put on."""
        self._encoder, self._model, self._adaptation, self._person = encoder, model, adaptation, person
        self._performance = performance
        self._turn = threading.Lock()
        self._level = _Level()
        self._smoother = LiveSmoother(sigma_frames, _SMOOTHED, MOST_UNSHOWN)
        self._finishing = Finish(person, performance, body, MOST_UNSHOWN)
        self._made = 0
        self._utterances = 0
        self._begun: deque[int] = deque(maxlen=MOST_UNSHOWN)
        """The frame at which each utterance began."""
        self._shown = person.rest
        """The mouth of the last frame, before lids and head."""
        self._begin()

    def _begin(self) -> None:
        self._speech = LiveSpeech(self._encoder, self._level)
        # Another utterance, another way to say it.
        seed = self._performance.seed + _UTTERANCE_SEEDS * self._utterances
        self._motion = LiveMotion(self._model, self._adaptation, self._performance.temperature, seed)
        self._utterances += 1
        self._begun.append(self._made)
        self._uttered = 0
        self._steady_sound, self._held = SteadySound(), HeldLips()
        self._steady = np.zeros(0, np.float32)
        """Of the frames that are still to come."""
        self._from = self._shown

    @property
    def look_ahead_seconds(self) -> float:
        """Sound after the end of a frame that is heard before the frame is made."""
        return self._motion.future_frames / VIDEO_RATE_HZ + self._speech.look_ahead_seconds

    def push(self, samples: ArrayLike) -> MotionTrack:
        """Hear sound [T] at 16 kHz; returns the frames that it completes, often none.

        Raises:
            InputError: the sound has several channels, values that are not finite or far beyond -1..1, or a type that
                `mono_samples` refuses. Nothing of it is heard then.
        """
        heard = live_samples(samples)
        with self._turn:
            self._steady = np.concatenate([self._steady, self._steady_sound.push(heard)])
            return self._show(self._motion.push(self._speech.push(heard)))

    def finish(self) -> MotionTrack:
        """The frames that still waited for sound: there is no more. The next sound begins a new utterance.

        The mouth stays as the last frame has it, which after a word cut short is open; `interrupt` brings it to rest.
        """
        with self._turn:
            self._steady = np.concatenate([self._steady, self._steady_sound.finish()])
            rest = self._motion.push(self._speech.finish())
            track = self._show(np.concatenate([rest, self._motion.finish()]))
            self._begin()
            return track

    def interrupt(self, unshown: int = 0) -> MotionTrack:
        """Forget the sound that was not shown yet; the mouth goes to rest in the `EASE_FRAMES` that are returned.

        Args:
            unshown: so many of the last frames that were returned were never seen (dropped from a queue). All goes on
                from the frame before them, as if they had not been made. What they told of the speaker's level stays.

        Raises:
            ValueError: fewer frames were made, or `unshown` is over `MOST_UNSHOWN`. Nothing is changed then.
        """
        weight = _ease(np.arange(1, EASE_FRAMES + 1))
        with self._turn:
            self._step_back(unshown)
            track = self._finished(self._shown + weight * (self._person.rest - self._shown))
            self._begin()
            return track

    def restart(self, unshown: int = 0) -> None:
        """Forget the sound that was not shown yet: the next sound begins a new utterance, and the mouth eases into it.

        Args:
            unshown: as for `interrupt`, and so are the errors.
        """
        with self._turn:
            self._step_back(unshown)
            self._begin()

    def _step_back(self, frames: int) -> None:
        """Take back the last frames that were returned."""
        most = min(self._smoother.reach, MOST_UNSHOWN)
        if not 0 <= frames <= most:
            raise ValueError(f"unshown is {frames}; 0 to {most} frames can be taken back")
        if frames == 0:
            return
        shown = self._smoother.step_back(frames)
        self._shown = self._person.rest if shown is None else shown
        self._finishing.step_back(frames)
        self._made -= frames
        while self._begun and self._begun[-1] > self._made:
            self._begun.pop()
            self._utterances -= 1

    def _show(self, displacement: FloatArray) -> MotionTrack:
        """Displacement [F, K, 3] of the utterance's next frames -> what is seen of them."""
        steady, self._steady = np.split(self._steady, [len(displacement)])
        points = self._held.push(self._person.neutral_landmarks + displacement, steady)
        points = self._finishing.amplified(points)
        # The mouth may have been anywhere before.
        count = max(min(EASE_FRAMES - self._uttered, len(points)), 0)
        if count:
            weight = _ease(np.arange(self._uttered + 1, self._uttered + count + 1))
            points[:count, LOWER_FACE] = (self._from + weight * (points[:count] - self._from))[:, LOWER_FACE]
        self._uttered += len(points)
        look = min(LOOK_FRAMES, int(self.look_ahead_seconds * VIDEO_RATE_HZ))
        return self._finished(points, self._level.take(len(points), look))

    def _finished(self, points: FloatArray, heard: FloatArray | None = None) -> MotionTrack:
        """[F, K, 3] -> with smoothed brows and cheeks, blinks and the head's movement."""
        points = self._smoother.push(np.asarray(points, np.float32))
        if len(points):
            self._shown = points[-1]
            self._made += len(points)
        return self._finishing.finished(points, heard=heard)


def _ease(step: np.ndarray) -> FloatArray:
    """Raised cosine, 1 at `EASE_FRAMES`: [F] -> [F, 1, 1]."""
    return (0.5 - 0.5 * np.cos(np.pi * step / EASE_FRAMES)).astype(np.float32)[:, None, None]
