"""Motion of live speech: feature rows in pairs, displacement as soon as the rows that the model looks ahead are there.

F frames at 25 Hz, K named landmarks, D feature width. Pieces of any lengths give the frames of all rows at once
(to rounding, 1e-5): each piece is computed with the past that its frames depend on.
"""

from __future__ import annotations

import numpy as np

from geneface.motion.runtime import MotionModel, PersonMotion, Window
from geneface.signal.timing import ROWS_PER_FRAME
from geneface.types import FloatArray


class LiveMotion:
    """Makes the motion of one live performance: rows go in, frames come out as soon as their future is there."""

    def __init__(
        self, model: MotionModel, person: PersonMotion | None = None, temperature: float = 0.0, seed: int = 0
    ) -> None:
        self._model, self._person, self._temperature, self._seed = model, person, temperature, seed
        self._past, self.future_frames = model.context(person)
        self._rows = np.zeros((0, model.config.feature_width), np.float32)
        self._start = 0
        """Frame of the first row that is kept."""
        self._done = 0

    def push(self, rows: FloatArray) -> FloatArray:
        """Feature rows [2f, D] -> the frames [F, K, 3] of displacement from neutral that they complete."""
        self._rows = np.concatenate([self._rows, rows])
        return self._frames_to(self._start + len(self._rows) // ROWS_PER_FRAME - self.future_frames)

    def finish(self) -> FloatArray:
        """The frames that were still waiting: no speech follows."""
        return self._frames_to(self._start + len(self._rows) // ROWS_PER_FRAME)

    def _frames_to(self, end: int) -> FloatArray:
        if end <= self._done:
            return np.zeros((0, *self._model.basis.mean.shape), np.float32)
        piece = Window(self._rows, self._start, self._done, end)
        motion = self._model.motion_of(piece, self._temperature, self._seed, person=self._person)
        stride = self._model.config.latent_stride
        start = max(0, (end - self._past) // stride * stride)
        self._rows = self._rows[(start - self._start) * ROWS_PER_FRAME :]
        self._start, self._done = start, end
        return motion
