"""The finishing stage: landmarks of speech become all that moves. Recorded and live speech go through the same one.

F frames at 25 Hz, K named landmarks in the head frame. Amplitude of the mouth first, then the way to and from rest
(a recording's mouth is closed in its silences, a live one is eased in and out), then blinks and the head's path.
"""

from __future__ import annotations

import numpy as np

from geneface.avatar.body import Body
from geneface.avatar.body_path import body_frames
from geneface.avatar.idle import blink, blink_closure, close_mouth, scale_mouth
from geneface.avatar.performance import Performance
from geneface.avatar.person import PersonStatistics
from geneface.avatar.poses import first_frame, replay
from geneface.render.paste import spoken_face
from geneface.types import FloatArray, MotionTrack

_LIDS_BLOCK = 1500
"""Frames of blinks that are made beforehand: a minute."""


class Finish:
    """One performance by one person, from its first frame on. Pieces of any lengths give the same frames."""

    def __init__(self, person: PersonStatistics, performance: Performance, body: Body | None = None) -> None:
        """`body`: the video that the lips are put on; None: all is drawn."""
        self._person, self._performance = person, performance
        self._track = None if body is None else body.track
        self._first_pose = first_frame(person.path, performance.seed)
        self._lids = np.zeros(0, np.float32)
        self._frame = 0

    def amplified(self, points: FloatArray) -> FloatArray:
        """Landmarks [F, K, 3] with the performance's amplitude of the mouth."""
        gain = self._performance.mouth_gain
        return points if gain == 1.0 else scale_mouth(points, self._person.rest, gain)

    def finished(self, points: FloatArray, closing: FloatArray | None = None) -> MotionTrack:
        """Landmarks [F, K, 3] of the next frames -> with blinks and under the head's path, or on the person's video.

        Args:
            closing: [F] how far the mouth is brought to rest, 0 to 1; nowhere by default.
        """
        if closing is not None:
            points = close_mouth(points, self._person.rest, closing)
        start, stop = self._frame, self._frame + len(points)
        self._frame = stop
        if self._track is not None:
            frames = body_frames(self._track, self._performance.seed, start, stop)
            return MotionTrack(spoken_face(self._track.landmarks[frames], points), self._track.pose[frames], frames)
        if self._performance.blink:
            points = blink(points, self._person.blink.closing, self._closure(start, stop))
        return MotionTrack(points, replay(self._person.path, self._first_pose + start, self._first_pose + stop))

    def step_back(self, frames: int) -> None:
        """The last `frames` were never seen: blinks, head and the person's video go on from the one before."""
        self._frame -= frames

    def _closure(self, start: int, stop: int) -> FloatArray:
        """[F] how far the lids are closed; what is made for more frames begins with the same."""
        if stop > len(self._lids):
            self._lids = blink_closure(2 * stop + _LIDS_BLOCK, self._person.blink, self._performance.seed)
        return self._lids[start:stop]
