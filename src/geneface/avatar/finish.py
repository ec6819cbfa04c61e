"""The finishing stage: landmarks of speech become all that moves. Recorded and live speech go through the same one.

F frames at 25 Hz, K named landmarks in the head frame. Amplitude of the mouth first, then the way to and from rest
(a recording's mouth is closed in its silences, a live one is eased in and out), then what is the person's own: brows
and head as they were recorded, faster where speech is stressed, nods, and blinks where phrases end (`avatar.stress`).
"""

from __future__ import annotations

import numpy as np

from geneface.avatar.body import Body
from geneface.avatar.body_path import body_frames
from geneface.avatar.idle import Blinker, blink, close_mouth, scale_mouth
from geneface.avatar.performance import Performance
from geneface.avatar.person import PersonStatistics
from geneface.avatar.poses import amplified, as_pose, first_frame, pose_values, replay
from geneface.avatar.stress import Acting, Follower, heard_windows
from geneface.avatar.style import mouth_gain, style_of
from geneface.geometry.landmarks import BROWS
from geneface.render.paste import spoken_face
from geneface.types import FloatArray, MotionTrack

_BROWS_GAIN = 0.45
"""Of the recorded movement of the brows: what speech foretells of them is added to it."""


class Finish:
    """One performance by one person, from its first frame on. Pieces of any lengths give the same frames."""

    def __init__(
        self, person: PersonStatistics, performance: Performance, body: Body | None = None, kept: int = 0
    ) -> None:
        """Begin.

        Args:
            body: the video that the lips are put on; None: all is drawn.
            kept: so many of the last frames can be taken back (`step_back`).

        Raises:
            InputError: the person has no clip of the style's name.
        """
        self._person, self._performance = person, performance
        self._style = style_of(person.styles, performance.style)
        self._track = None if body is None else body.track
        # Half of a style's speed is pace, half is amplitude.
        self._head = self._style.head**0.5
        self._path = amplified(pose_values(person.path), self._head)
        self._follower = Follower(first_frame(person.path, performance.seed), self._head, kept)
        self._blinker = Blinker(person.blink, performance.seed, self._style.blinks)
        self._frame = 0

    def amplified(self, points: FloatArray) -> FloatArray:
        """Landmarks [F, K, 3] with the performance's amplitude of the mouth."""
        gain, rest = self._performance.mouth_gain, self._person.rest
        if self._style.mouth != 1.0:
            return scale_mouth(points, rest, gain * mouth_gain(points, rest, self._style))
        return points if gain == 1.0 else scale_mouth(points, rest, gain)

    def finished(
        self, points: FloatArray, closing: FloatArray | None = None, heard: FloatArray | None = None
    ) -> MotionTrack:
        """Landmarks [F, K, 3] of the next frames -> with blinks and under the head's path, or on the person's video.

        Args:
            closing: [F] how far the mouth is brought to rest, 0 to 1; nowhere by default.
            heard: [F, look + 1] loudness of the frames and of those after each (`heard_windows`); silence by default.
        """
        if closing is not None:
            points = close_mouth(points, self._person.rest, closing)
        start, stop = self._frame, self._frame + len(points)
        self._frame = stop
        if self._track is not None:
            frames = body_frames(self._track, self._performance.seed, start, stop)
            return MotionTrack(spoken_face(self._track.landmarks[frames], points), self._track.pose[frames], frames)
        acting = self._follower.follow(heard_windows(np.zeros(0, np.float32), len(points)) if heard is None else heard)
        return self._drawn(points, acting)

    def _drawn(self, points: FloatArray, acting: Acting) -> MotionTrack:
        person, style = self._person, self._style
        if person.brows is not None:
            rows = replay(person.brows.reshape(len(person.brows), -1), acting.times)
            points = points.copy()
            points[:, BROWS] += np.float32(_BROWS_GAIN * style.brows) * rows.reshape(len(rows), len(BROWS), 3)
        if self._performance.blink:
            closure = self._blinker.closure(acting.pauses, acting.ends)
            points = blink(points, person.blink.closing, closure)
        rows = replay(self._path, acting.times)
        if person.nod is not None:
            rows[:, :6] += acting.stress[:, :1] * (np.float32(self._head) * person.nod)
        return MotionTrack(points, as_pose(rows))

    def step_back(self, frames: int) -> None:
        """The last `frames` were never seen: blinks, head and the person's video go on from the one before."""
        self._frame -= frames
        if self._track is None:
            self._follower.step_back(frames)
            if self._performance.blink:
                self._blinker.step_back(frames)
