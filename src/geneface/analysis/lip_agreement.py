"""How well the lips of a face agree with a sound at each lag: what is seen against what a sound asks of anybody's lips.

A motion model says how lips would move to the sound; the lip-sync classifier's towers say what look and sound have in
common. `analysis.sync_offset` compares both and finds the offset. F frames at 25 Hz, K named landmarks, T samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.lip_sync import LipSyncTowers
from geneface.analysis.speech import load_encoder
from geneface.analysis.sync_offset import Agreement, LipTrack, compare
from geneface.types import FloatArray, SpeechFeatures


class LipAgreement:
    """Holds the networks."""

    def __init__(self, predict: Callable[[SpeechFeatures], FloatArray]) -> None:
        """`predict`: features [2F, D] of the classifier's encoder -> displacement [F, K, 3], as of a motion model."""
        self._predict, self.towers = predict, LipSyncTowers.load()
        self._encoder = load_encoder(self.towers.config.encoder)

    def windows(
        self,
        points: NDArray[np.floating],
        neutral: NDArray[np.floating],
        gain: float,
        samples: FloatArray,
        frames: int,
        *,
        features: SpeechFeatures | None = None,
        sounding: NDArray[np.bool_] | None = None,
        lead: int = 0,
        start: int = 0,
    ) -> list[Agreement]:
        """Of landmarks [F, K, 3] in the head frame, neutral [K, 3]; nothing where there is too little or no sound.

        Args:
            gain: `LipSyncTowers.gain_of` the person.
            samples, frames: the sound [T], and how many frames of it are heard.
            features: of it, used if they are of the classifier's encoder.
            sounding: [frames] that are not silent; all by default.
            lead, start: as for `sync_offset.compare`.
        """
        if min(len(points), frames) <= self.towers.config.window or not samples.any():
            return []
        if features is None or features.encoder != self._encoder.name:
            features = self._encoder.encode(samples, frames)
        asked = LipTrack.of(neutral + self._predict(features), self.towers.embed_speech(features))
        seen = LipTrack.of(points, self.towers.embed_lips(points, neutral, gain))
        return compare(seen, asked, lead, np.ones(frames, bool) if sounding is None else sounding, start)
