"""Motion of live speech: feature rows in pairs, displacement as soon as the rows that the model looks ahead are there.

F frames at 25 Hz, K named landmarks, D feature width. Pieces of any lengths give the frames of all rows at once
(to rounding, 1e-5). A latent step of the generic model is computed once, with what its layers remember; models that
can't go on (`MotionModel.goes_on`), and the end of the speech, are computed with the past that their frames depend on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from geneface.motion.generic import GenericMotion
from geneface.motion.runtime import LivePersonMotion, ModelState, MotionModel, PersonMotion, Window, moved, varied
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
        self._ways: list[_Way] = []
        """The mean path, and the one that varies."""
        if model.goes_on:
            self._ways = [_Way(model, person, level, seed) for level in ((0.0, temperature) if temperature else (0.0,))]

    def push(self, rows: FloatArray) -> FloatArray:
        """Feature rows [2f, D] -> the frames [F, K, 3] of displacement from neutral that they complete."""
        self._rows = np.concatenate([self._rows, rows])
        heard = self._start + len(self._rows) // ROWS_PER_FRAME
        for way in self._ways:
            way.hear(self._rows, self._start, heard)
        return self._frames_to(heard - self.future_frames, self._goes_on)

    def finish(self) -> FloatArray:
        """The frames that were still waiting: no speech follows."""
        return self._frames_to(self._start + len(self._rows) // ROWS_PER_FRAME, self._seen_anew)

    def _frames_to(self, end: int, make: Callable[[int], FloatArray]) -> FloatArray:
        if end <= self._done:
            return np.zeros((0, *self._model.basis.mean.shape), np.float32)
        motion = make(end)
        stride = self._model.config.latent_stride
        start = max(0, (end - self._past) // stride * stride)
        self._rows = self._rows[(start - self._start) * ROWS_PER_FRAME :]
        self._start, self._done = start, end
        return motion

    def _seen_anew(self, end: int) -> FloatArray:
        piece = Window(self._rows, self._start, self._done, end)
        return self._model.motion_of(piece, self._temperature, self._seed, person=self._person)

    def _goes_on(self, end: int) -> FloatArray:
        if not self._ways:
            return self._seen_anew(end)
        motion, *sample = (way.frames(self._done, end, self._rows, self._start) for way in self._ways)
        return varied(motion, sample[0]) if sample else motion


class _Way:
    """The motion of a speech on one way through the latent space."""

    def __init__(self, model: MotionModel, person: PersonMotion | None, temperature: float, seed: int) -> None:
        self._person = person.live() if isinstance(person, LivePersonMotion) else person
        self._model, self._temperature, self._seed = model, temperature, seed
        self._state: ModelState | None = None
        self._steps = 0
        self._start = 0
        """Frame of the first that is kept."""
        self._displacement = np.zeros((0, *model.basis.mean.shape), np.float32)
        self._hidden = np.zeros((0, model.hidden_width), np.float32)

    def hear(self, rows: FloatArray, start: int, heard: int) -> None:
        """Make the latent steps that can be made of rows [*, D] from frame `start` to `heard`."""
        stride = self._model.config.latent_stride
        steps = (heard - 1) // stride
        if steps <= self._steps:
            return
        given = 0 if self._state is None else stride * self._steps + 1
        piece = rows[(given - start) * ROWS_PER_FRAME : (stride * steps + 1 - start) * ROWS_PER_FRAME]
        displacement, hidden, self._state = self._model.go_on(
            piece, self._steps, self._state, self._temperature, self._seed
        )
        self._displacement = np.concatenate([self._displacement, displacement])
        self._hidden = np.concatenate([self._hidden, hidden])
        self._steps = steps

    def frames(self, first: int, end: int, rows: FloatArray, rows_start: int) -> FloatArray:
        """Displacement of frames [first, end), of the person if there is one; rows [*, D] begin at frame `rows_start`.

        Nothing is kept that only frames before need.
        """
        past, future = (0, 0) if self._person is None else (self._person.past_frames, self._person.future_frames)
        start = max(0, first - past)
        self._displacement = self._displacement[start - self._start :]
        self._hidden = self._hidden[start - self._start :]
        self._start = start
        known = end - start
        # The motion of the frames to come is not known yet, and nobody may look at it.
        displacement, hidden = (
            np.concatenate([part[:known], np.zeros((future, *part.shape[1:]), np.float32)])
            for part in (self._displacement, self._hidden)
        )
        heard = rows[(start - rows_start) * ROWS_PER_FRAME : (end + future - rows_start) * ROWS_PER_FRAME]
        return moved(GenericMotion(displacement, hidden, heard), first - start, known, self._person)
