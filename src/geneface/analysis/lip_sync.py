"""The two towers of the lip-sync classifier: lips and speech as unit vectors that are close where they keep time.

Symbols: F video frames at 25 Hz, 2F rows of features at 50 Hz, K named landmarks, W = F - 8 windows, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geneface.config import Config
from geneface.errors import InputError
from geneface.geometry.landmarks import lip_opening, positions
from geneface.io.assets import asset_path
from geneface.io.records import read_record
from geneface.io.session import open_session
from geneface.types import FloatArray, SpeechFeatures

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from typing_extensions import Self

LIP_SYNC_FORMAT = 1


class LipSyncConfig(Config):
    """`lip_sync.json` of a folder of `pretrain lip-sync`."""

    format: int = LIP_SYNC_FORMAT
    encoder: str
    """Speech encoder whose features it takes."""
    feature_width: int
    """D."""
    window: int
    """Frames per embedding."""
    landmarks: tuple[int, ...]
    """Mesh indices of the P landmarks that it sees."""
    opening_deviation: float
    """Deviation of the lip opening within a clip, in head units, of the speaker whose amplitude counts as 1."""
    heldout: dict[str, Any]
    """Scores on clips that it was not trained on, over all speakers and by speaker."""
    training: dict[str, Any]
    """What made it: corpus, settings, names of the clips it was trained on."""


class LipSyncTowers:
    """The networks of a folder (`lip_sync.json`, `lips.onnx`, `speech.onnx`)."""

    def __init__(self, config: LipSyncConfig, lips: InferenceSession, speech: InferenceSession) -> None:
        self.config, self._lips, self._speech = config, lips, speech
        self._points = positions(config.landmarks)

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """Load a folder, by default the classifier that ships with the package.

        Raises:
            InputError: a file is missing, unreadable, or of another format or landmark set.
        """
        folder = asset_path("lip_sync") if folder is None else Path(folder)
        again = "train the lip-sync classifier again"
        config = read_record(LipSyncConfig, folder / "lip_sync.json", LIP_SYNC_FORMAT, again)
        try:
            return cls(config, open_session(folder / "lips.onnx"), open_session(folder / "speech.onnx"))
        except KeyError as error:
            raise InputError(f"the lip-sync classifier {folder} sees unknown landmarks", "train it again") from error

    def gain_of(self, clips: Sequence[NDArray[np.floating[Any]]]) -> float:
        """How much wider than the training's reference speaker a person opens the lips, from the ground truth's clips.

        Args:
            clips: landmarks [F, K, 3] each.

        Returns:
            the `gain` to give to *every* row of a comparison; 1 where the lips don't move.
        """
        deviations = [float(lip_opening(np.asarray(points, np.float64)).std()) for points in clips]
        mean = float(np.mean(deviations)) if deviations else 0.0
        return mean / self.config.opening_deviation if np.isfinite(mean) and mean > 1e-6 else 1.0

    def embed_lips(
        self, points: NDArray[np.floating[Any]], neutral: NDArray[np.floating[Any]], gain: float
    ) -> FloatArray:
        """Landmarks [F, K, 3], neutral [K, 3] -> unit vectors [E, W]."""
        seen = (points[:, self._points] - neutral[self._points]) / gain
        inputs = {"points": np.ascontiguousarray(seen[None], np.float32)}
        return np.asarray(self._lips.run(["embedding"], inputs)[0])[0]

    def embed_speech(self, features: SpeechFeatures) -> FloatArray:
        """Features [2F, D] -> unit vectors [E, W].

        Raises:
            InputError: they are of another encoder.
        """
        if features.encoder != self.config.encoder or features.values.shape[1] != self.config.feature_width:
            raise InputError(
                f"the lip-sync classifier takes speech features of {self.config.encoder}, not of {features.encoder}",
                f"encode the speech with {self.config.encoder}, or give the samples",
            )
        inputs = {"features": np.ascontiguousarray(features.values[None], np.float32)}
        return np.asarray(self._speech.run(["embedding"], inputs)[0])[0]
