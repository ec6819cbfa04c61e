"""The values that stages hand to each other.

Symbols: F video frames at 25 Hz, 2F speech-feature rows at 50 Hz, K named landmarks, D feature width.
Axes and units are defined once, in docs/conventions.md: the head frame has x to the image's right, y up,
z out of the face; one head unit is twice the height of the face (hairline to chin).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]

VIDEO_RATE_HZ = 25
"""Frames per second of every landmark track and every rendered video."""
SPEECH_RATE_HZ = 16_000
"""Samples per second of every waveform that is analysed."""
FEATURE_RATE_HZ = 50
"""Rows per second of every `SpeechFeatures`: two a video frame."""

ProgressFn = Callable[[str, int, int], None]
"""Called as progress(stage, done, total); `total` is 0 where it is not known."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Waveform:
    """Mono sound. `start_seconds` is the presentation time of sample 0 on the media's own clock."""

    samples: FloatArray
    """[T] in [-1, 1] at `SPEECH_RATE_HZ`."""
    start_seconds: float = 0.0

    @property
    def duration_seconds(self) -> float:
        return len(self.samples) / SPEECH_RATE_HZ


@dataclass(frozen=True)
class SpeechFeatures:
    """Rows of a speech encoder; row i describes the 20 ms that start at i / 50 s."""

    values: FloatArray
    """[2F, D]."""
    encoder: str
    """Name of the encoder that made them; models refuse features of another."""


@dataclass(frozen=True)
class HeadPose:
    """Rigid motion from head frame to camera frame: X_camera = R X_head + t (docs/conventions.md)."""

    rotation: FloatArray
    """[F, 3] rotation vectors (axis times angle), radians."""
    translation: FloatArray
    """[F, 3] head units; z is negative, the head is in front of the camera."""

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, frames: slice) -> HeadPose:
        return HeadPose(self.rotation[frames], self.translation[frames])


@dataclass(frozen=True)
class Camera:
    """Pinhole camera looking along -z, principal point at the image's centre."""

    focal: float
    """Focal length in image widths: u_px = width (1/2 + focal X / -Z)."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


@dataclass(frozen=True)
class LandmarkTrack:
    """The K named landmarks of `geometry.landmarks` in the canonical head frame."""

    points: FloatArray
    """[F, K, 3] head units."""

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class MotionTrack:
    """All that moves: what a renderer needs, one row a frame."""

    landmarks: LandmarkTrack
    pose: HeadPose

    def __len__(self) -> int:
        return len(self.landmarks)
