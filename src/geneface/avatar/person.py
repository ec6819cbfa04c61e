"""What an avatar keeps of a person besides the picture: shapes, blinks, movement of head and brows, and its range.

F training frames at 25 Hz, K named landmarks in the canonical head frame (head units), P frames of pose path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.body_track import MOST_TORSO_POINTS
from geneface.avatar.idle import BlinkStatistics, measure_blinks
from geneface.avatar.poses import PATH_SIGMA_FRAMES, as_pose, build_path, pose_values, training_runs
from geneface.avatar.smoothing import smooth
from geneface.avatar.stress import fit_nod, stress_of_recording
from geneface.avatar.style import StyleStatistics, measure_styles
from geneface.errors import InputError
from geneface.geometry.landmarks import BROWS, KEYPOINT_COUNT, KEYPOINTS, MESH_SIZE, lip_opening
from geneface.types import FloatArray, HeadPose, MotionTrack

_REST_PERCENTILES = (5, 20)
"""Lip openings of a mouth at rest: the very smallest are pressed lips (m, b, p) and tracking errors."""
_CLOSED_PERCENTILE = 50
_FEWEST_SILENT_FRAMES = 25
_LONGEST_PATH = 100_000
_LARGEST_VALUE = 100.0
"""No shape (head units), angle or distance comes near to this."""


@dataclass(frozen=True)
class PersonStatistics:
    """All that drives this person's face besides speech."""

    neutral: FloatArray
    """[478, 3] the whole mesh at rest, what displacements count from."""
    rest: FloatArray
    """[K, 3] with the mouth closed."""
    blink: BlinkStatistics
    path: HeadPose
    """[P]."""
    brows: FloatArray | None = None
    """[P, 20, 3] where the brows were along the path, from their middle place; None: avatars made before."""
    nod: FloatArray | None = None
    """[6] how the head's pose follows the stress of words (`avatar.stress`); None: it doesn't."""
    styles: StyleStatistics | None = None
    """How much the person's clips differ; None: nothing is known of it."""

    @property
    def neutral_landmarks(self) -> FloatArray:
        """[K, 3]."""
        return self.neutral[list(KEYPOINTS)]

    def at_rest(self) -> MotionTrack:
        """The closed mouth carried along the path, [P]: what renderers are tried on."""
        return MotionTrack(np.repeat(self.rest[None], len(self.path), axis=0), self.path)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The values by the names under which they are stored."""
        return {
            "neutral": self.neutral,
            "rest": self.rest,
            "blink.closing": self.blink.closing,
            "blink.rates": np.array([self.blink.per_minute, self.blink.duration_frames], np.float32),
            "path.rotation": self.path.rotation,
            "path.translation": self.path.translation,
            **({} if self.path.torso is None else {"path.torso": self.path.torso}),
            **({} if self.brows is None else {"path.brows": self.brows.astype(np.float16)}),
            **({} if self.nod is None else {"nod": self.nod}),
            **({} if self.styles is None else self.styles.tensors()),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], source: str) -> PersonStatistics:
        """Invert `tensors`. The file may come from anywhere: shapes and values are checked.

        Args:
            source: name of the file, for errors.
        """
        frames = len(tensors["path.rotation"]) if "path.rotation" in tensors else 0
        if not 1 <= frames <= _LONGEST_PATH:
            raise _damaged(source, "path.rotation")
        shapes: dict[str, tuple[int, ...]] = {
            "neutral": (MESH_SIZE, 3),
            "rest": (KEYPOINT_COUNT, 3),
            "blink.closing": (KEYPOINT_COUNT, 3),
            "blink.rates": (2,),
            "path.rotation": (frames, 3),
            "path.translation": (frames, 3),
        }
        # Avatars made before have none.
        if "path.torso" in tensors:
            points = tensors["path.torso"].shape[1] if tensors["path.torso"].ndim == 3 else 0
            if not 1 <= points <= MOST_TORSO_POINTS:
                raise _damaged(source, "path.torso")
            shapes["path.torso"] = (frames, points, 2)
        more = {"path.brows": (frames, len(BROWS), 3), "nod": (6,)}
        shapes |= {name: shape for name, shape in more.items() if name in tensors}
        values: dict[str, FloatArray] = {}
        for name, shape in shapes.items():
            if name not in tensors or tensors[name].shape != shape or tensors[name].dtype.kind != "f":
                raise _damaged(source, name)
            values[name] = tensors[name].astype(np.float32)
            if not (np.isfinite(values[name]).all() and np.abs(values[name]).max() <= _LARGEST_VALUE):
                raise _damaged(source, name)
        per_minute, duration = values["blink.rates"].tolist()
        if not (0 < per_minute <= 60 and 1 <= duration <= 25):
            raise _damaged(source, "blink.rates")
        blink = BlinkStatistics(per_minute, duration, values["blink.closing"])
        path = HeadPose(values["path.rotation"], values["path.translation"], values.get("path.torso"))
        styles = StyleStatistics.from_tensors(tensors)
        if styles is None and any(name.startswith("style.") for name in tensors):
            raise _damaged(source, "style")
        return cls(values["neutral"], values["rest"], blink, path, values.get("path.brows"), values.get("nod"), styles)


@dataclass(frozen=True)
class Spoken:
    """What is heard in tracked frames."""

    silent: NDArray[np.bool_]
    """[F] true where the person says nothing."""
    loud: FloatArray
    """[F] `avatar.stress.loudness_of` each segment."""
    clips: tuple[str, ...]
    """The name of each segment."""


def measure_person(
    landmarks: FloatArray,
    pose: HeadPose,
    segment: NDArray[np.integer],
    usable: NDArray[np.bool_],
    spoken: Spoken,
    neutral: FloatArray,
) -> PersonStatistics:
    """Statistics of tracked frames.

    Args:
        landmarks: [F, K, 3].
        pose: [F].
        segment: [F] index of each frame's segment; movement is not continued from one to the next.
        usable: [F] false for held-out frames, which are not looked at.
        spoken: [F] what is heard.
        neutral: [478, 3].
    """
    runs = training_runs(segment, usable)
    if not runs:
        raise InputError("the portrait has no training frames", "prepare it again from a longer video")
    blinking = np.zeros(len(landmarks), bool)
    blink = measure_blinks(landmarks, runs, blinking)
    word = np.concatenate([stress_of_recording(spoken.loud[segment == number])[:, 0] for number in np.unique(segment)])
    nod, calm = _without_nod(pose, word, runs)
    brows = landmarks[:, BROWS].reshape(len(landmarks), -1)
    path, brows = build_path(calm, runs, brows)
    clips = [spoken.clips[segment[run.start]] for run in runs]
    return PersonStatistics(
        neutral=neutral.astype(np.float32),
        rest=rest_shape(landmarks[usable], spoken.silent[usable]),
        blink=blink,
        path=path,
        brows=(brows - np.median(brows, axis=0)).reshape(len(path), len(BROWS), 3).astype(np.float32),
        nod=nod if nod.any() else None,
        styles=measure_styles(landmarks, pose, blinking, spoken.silent, runs, clips),
    )


def _without_nod(pose: HeadPose, word: FloatArray, runs: list[slice]) -> tuple[FloatArray, HeadPose]:
    """How the head nods with speech, and the poses without: what is replayed is added to it again."""
    values = pose_values(pose)
    smoothed = values[:, :6].copy()
    for run in runs:
        smoothed[run] = smooth(values[run, :6], PATH_SIGMA_FRAMES)
    nod = fit_nod(smoothed, word, runs)
    values[:, :6] -= word[:, None] * nod
    return nod, as_pose(values)


def rest_shape(landmarks: FloatArray, silent: NDArray[np.bool_]) -> FloatArray:
    """How the person holds the mouth in silence: a median of frames with nearly closed lips. [F, K, 3] -> [K, 3].

    Of silent frames those count whose lips are not open (to breathe in, say); where there are too few of them,
    all frames with nearly closed lips.

    Args:
        silent: [F].
    """
    opening = lip_opening(landmarks)
    chosen = silent & (opening <= np.percentile(opening, _CLOSED_PERCENTILE))
    if chosen.sum() < _FEWEST_SILENT_FRAMES:
        low, high = np.percentile(opening, _REST_PERCENTILES)
        chosen = (opening >= low) & (opening <= high)
    return np.median(landmarks[chosen], axis=0).astype(np.float32)


def _damaged(source: str, name: str) -> InputError:
    return InputError(
        f"the values {name!r} in {source} are missing or wrong", "train the avatar again or copy it again"
    )
