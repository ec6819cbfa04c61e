"""What is known of every frame of an avatar's body loop: where the head is, and where the path through it may turn.

Symbols: P frames of the loop, K named landmarks, T turning points, J jumps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINT_COUNT
from geneface.types import VIDEO_RATE_HZ, FloatArray, HeadPose

MOST_FRAMES = 90 * VIDEO_RATE_HZ
"""Frames of a loop."""
MOST_JUMPS = 10_000
MOST_TORSO_POINTS = 1000
"""Of `HeadPose.torso`: no lattice comes near to it."""
_REMEDY = "train the avatar again or copy it again"


@dataclass(frozen=True, eq=False)
class BodyTrack:
    """Poses, landmarks and ways through the frames of a body loop. Two are equal if they are the same object."""

    pose: HeadPose
    """[P] where the head is, for the avatar's own camera, which looks at `crop`."""
    landmarks: FloatArray
    """[P, K, 3] canonical head frame, head units."""
    crop: FloatArray
    """[3] x, y and side, in pixels of the loop's pictures, of the square that the avatar's camera sees."""
    run: NDArray[np.int32]
    """[P] frames of one number were filmed one after the other; numbers do not fall."""
    turns: NDArray[np.int32]
    """[T] still steps, rising: after t, t + 1 the path may go back to t without its being seen; and after t + 1, t to
    t + 1."""
    jumps: NDArray[np.int32]
    """[J, 2] (a, b): in place of a + 1, frame b may follow a; and on the way back, a may follow b."""
    blur: FloatArray
    """[P] standard deviation in pixels, of the loop's pictures, of the Gaussian that makes its sharpest frames as soft
    as this one: what a drawn part has to be blurred by."""
    grain: float
    """Standard deviation of the recording's noise, in levels of 0 to 1."""

    def __len__(self) -> int:
        return len(self.landmarks)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As named arrays, for a safetensors file."""
        return {
            "rotation": self.pose.rotation,
            "translation": self.pose.translation,
            "landmarks": self.landmarks,
            "crop": self.crop,
            "run": self.run,
            "turns": self.turns,
            "jumps": self.jumps,
            "blur": self.blur,
            "grain": np.array([self.grain], np.float32),
            **({} if self.pose.torso is None else {"torso": self.pose.torso}),
        }

    @staticmethod
    def from_tensors(tensors: Mapping[str, NDArray[Any]], where: str) -> BodyTrack:
        """The reverse of `tensors`, for arrays of a file that anybody may have written.

        Raises:
            InputError: arrays that are missing, of another shape or type, or with values that can't be.
        """
        frames = len(tensors["landmarks"]) if "landmarks" in tensors and tensors["landmarks"].ndim else 0
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {
            "rotation": ("f", (frames, 3)),
            "translation": ("f", (frames, 3)),
            "landmarks": ("f", (frames, KEYPOINT_COUNT, 3)),
            "crop": ("f", (3,)),
            "run": ("i", (frames,)),
            "turns": ("i", (-1,)),
            "jumps": ("i", (-1, 2)),
            "blur": ("f", (frames,)),
            "grain": ("f", (1,)),
        }
        torso = tensors.get("torso")
        if torso is not None:
            shapes["torso"] = ("f", (frames, min(np.size(torso) // (2 * max(frames, 1)), MOST_TORSO_POINTS), 2))
        if not 1 <= frames <= MOST_FRAMES:
            raise _damaged(where, "landmarks")
        arrays: dict[str, NDArray[Any]] = {}
        for name, (kind, shape) in shapes.items():
            array = tensors.get(name)
            if array is None or array.dtype.kind != kind or array.ndim != len(shape):
                raise _damaged(where, name)
            if any(want not in (-1, have) for have, want in zip(array.shape, shape, strict=True)):
                raise _damaged(where, name)
            with np.errstate(over="ignore"):
                arrays[name] = np.ascontiguousarray(array, np.float32 if kind == "f" else np.int32)
            # What is too large for single precision or for 32 bits is no value either.
            if not (np.isfinite(arrays[name]) if kind == "f" else arrays[name] == array).all():
                raise _damaged(where, name)
        track = BodyTrack(
            HeadPose(arrays["rotation"], arrays["translation"], arrays.get("torso")),
            arrays["landmarks"],
            arrays["crop"],
            arrays["run"],
            arrays["turns"],
            arrays["jumps"],
            arrays["blur"],
            float(arrays["grain"][0]),
        )
        track._check(where)
        return track

    def _check(self, where: str) -> None:
        """Raise unless the values can be: what leads out of the loop would crash, or never end."""
        frames = len(self)
        is_right = {
            "crop": self.crop[2] >= 1,
            "run": (self.run >= 0).all() and (self.run < frames).all() and (np.diff(self.run) >= 0).all(),
            "turns": (np.diff(self.turns) > 0).all() and ((self.turns >= 0) & (self.turns < frames - 1)).all(),
            "jumps": len(self.jumps) <= MOST_JUMPS and ((self.jumps >= 0) & (self.jumps < frames)).all(),
            "blur": ((self.blur >= 0) & (self.blur < 100)).all(),
            "grain": 0 <= self.grain < 1,
            "translation": (self.pose.translation[:, 2] < 0).all(),
        }
        for name, right in is_right.items():
            if not right:
                raise _damaged(where, name)


def _damaged(where: str, name: str) -> InputError:
    return InputError(f"{where} is damaged: its {name} can't be right", _REMEDY)
