"""The values that stages hand to each other.

Symbols: F video frames at 25 Hz, 2F speech-feature rows at 50 Hz, K named landmarks, D feature width.
Axes and units are defined once, in docs/conventions.md: the head frame has x to the image's right, y up,
z out of the face; one head unit is twice the height of the face (hairline to chin).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from geneface.errors import InputError

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]
Frames = slice | NDArray[np.integer] | NDArray[np.bool_]
"""Which frames of a track: a range, indices [N], or [F] that is true for those."""

VIDEO_RATE_HZ = 25
"""Frames per second of every landmark track and every rendered video."""
SPEECH_RATE_HZ = 16_000
"""Samples per second of every waveform that is analysed."""
FEATURE_RATE_HZ = 50
"""Rows per second of every `SpeechFeatures`: two a video frame."""

_WANTED_SAMPLES = "give float samples in -1..1, or integers of 8, 16 or 32 bits"

ProgressFn = Callable[[str, int, int], None]
"""Called as progress(stage, done, total); `total` is 0 where it is not known."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def to_int16(samples: FloatArray) -> NDArray[np.int16]:
    """Samples as whole numbers of 16 bits, little-endian, the way sound is sent and stored; what lies beyond is cut."""
    return np.clip(np.rint(samples * 32_767), -32_768, 32_767).astype("<i2")


def mono_samples(values: object, what: str = "the sound") -> FloatArray:
    """Samples [T] as float32 in C order, which are `values` themselves if they are that already.

    Args:
        values: anything that numpy makes an array of: [T], [T, 1] or [1, T]. Real numbers are taken as they are;
            integers of up to 32 bits are scaled by the range of their type: the middle to 0, the least to -1.
        what: names the sound in errors.

    Raises:
        InputError: several channels, or anything but such numbers. Their values are not looked at.
    """
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{what} is no array of numbers ({error})", _WANTED_SAMPLES) from error
    if array.dtype.kind not in "fiu":
        names = {"U": "text", "S": "bytes", "O": type(values).__name__ if array.ndim == 0 else "object"}
        kind = names.get(array.dtype.kind, array.dtype.name)
        raise InputError(f"{what} is of the type {kind}", _WANTED_SAMPLES)
    if array.ndim == 0:
        raise InputError(f"{what} is a single number", _WANTED_SAMPLES)
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1:
        raise InputError(
            f"{what} has the shape {list(array.shape)} instead of one channel [T]",
            "give the mean of its channels, or one of them",
        )
    if array.dtype.kind == "f":
        # What is too large for float32 becomes infinite, and is refused as such.
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(array, np.float32)
    if array.dtype.itemsize > 4:
        raise InputError(f"{what} is of the type {array.dtype.name}, whose full scale is unknown", _WANTED_SAMPLES)
    half = 2.0 ** (8 * array.dtype.itemsize - 1)
    middle = half if array.dtype.kind == "u" else 0.0
    return ((array.astype(np.float64) - middle) / half).astype(np.float32)


@dataclass(frozen=True)
class Waveform:
    """Mono sound. `start_seconds` is the presentation time of sample 0 on the media's own clock.

    Samples of other types are converted; see `mono_samples` for what is taken and what is refused.
    """

    samples: FloatArray
    """[T] in [-1, 1] at `SPEECH_RATE_HZ`."""
    start_seconds: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", mono_samples(self.samples))
        if not isinstance(self.start_seconds, Real) or not np.isfinite(self.start_seconds):
            raise InputError(f"the sound starts at {self.start_seconds!r}", "give its start in seconds")

    @property
    def duration_seconds(self) -> float:
        """Its length."""
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
    torso: FloatArray | None = None
    """[F, G, 2] how far the torso was from its usual place in those frames: points that stick to it, in image widths, x
    to the right and y down (`portrait.torso`). None: it is where the head's pose has it."""

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, frames: Frames) -> HeadPose:
        torso = None if self.torso is None else self.torso[_several(frames)]
        return HeadPose(self.rotation[_several(frames)], self.translation[frames], torso)

    def torso_at(self, frame: int) -> FloatArray | None:
        """[G, 2] where the torso was in one frame, for a renderer; None: where the head's pose has it."""
        return None if self.torso is None else self.torso[frame]


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
class MotionTrack:
    """All that moves, one row a frame at 25 Hz: what a renderer needs.

    `track[10:20]` is frames 10 to 19, `track[rows]` those that an array of indices or of [F] booleans names.
    """

    points: FloatArray
    """[F, K, 3] the named landmarks of `geometry.landmarks` in the canonical head frame, head units."""
    pose: HeadPose
    """[F]."""
    body: NDArray[np.int32] | None = None
    """[F] which frame of the avatar's own video stands behind each row; None: everything is drawn."""

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, frames: Frames) -> MotionTrack:
        body = None if self.body is None else self.body[_several(frames)]
        return MotionTrack(self.points[_several(frames)], self.pose[frames], body)

    @staticmethod
    def concatenate(tracks: Iterable[MotionTrack]) -> MotionTrack:
        """Tracks one after the other.

        Raises:
            InputError: there is none, or some have a body of their own and others have not.
        """
        parts = list(tracks)
        if not parts:
            raise InputError("there are no tracks to put together", "give at least one")
        bodies = [part.body for part in parts if part.body is not None]
        if bodies and len(bodies) < len(parts):
            raise InputError(
                "some of the tracks are for an avatar's own video, others are drawn whole",
                "give Avatar.draw a list of them instead, or make all with the same body",
            )
        torso = [part.pose.torso for part in parts if part.pose.torso is not None]
        pose = HeadPose(
            np.concatenate([part.pose.rotation for part in parts]),
            np.concatenate([part.pose.translation for part in parts]),
            np.concatenate(torso) if len(torso) == len(parts) else None,
        )
        return MotionTrack(
            np.concatenate([part.points for part in parts]), pose, np.concatenate(bodies) if bodies else None
        )


def _several(frames: Frames) -> Frames:
    if isinstance(frames, slice) or np.ndim(frames) == 1:
        return frames
    raise TypeError("a single frame is no track: take track[i : i + 1]")
