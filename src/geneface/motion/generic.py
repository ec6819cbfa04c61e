"""What the generic model makes of speech, as adaptation to a person takes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geneface.types import FloatArray

HIDDEN_DELAY = 2
"""Frames; as many as `motion.convnet` looks ahead."""


@dataclass(frozen=True)
class GenericMotion:
    """Consecutive frames of one recording. F frames at 25 Hz, K named landmarks, H hidden channels, D feature width."""

    displacement: FloatArray
    """[F, K, 3] from neutral, head units."""
    hidden: FloatArray
    """[F, H] what the model's last layer is linear in."""
    features: FloatArray
    """[2F, D] the speech."""

    def __len__(self) -> int:
        return len(self.displacement)

    def __getitem__(self, frames: slice) -> GenericMotion:
        start, stop, _ = frames.indices(len(self))
        rows = slice(2 * start, 2 * stop)
        return GenericMotion(self.displacement[start:stop], self.hidden[start:stop], self.features[rows])

    def frame_features(self) -> FloatArray:
        """[F, D] the mean of each frame's two rows."""
        return self.features.reshape(len(self), 2, -1).mean(1)

    def inputs(self) -> FloatArray:
        """[F, D + H] inputs of the networks: `frame_features`, and a late hidden layer.

        It is that of `HIDDEN_DELAY` frames before: a hidden row has looked ahead itself, so networks that look ahead
        may not see those that come, or live speech would wait for twice as much.
        """
        late = self.hidden[np.maximum(np.arange(len(self)) - HIDDEN_DELAY, 0)]
        return np.concatenate([self.frame_features(), late], axis=1)
