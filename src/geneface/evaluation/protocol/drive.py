"""Motions that a renderer was not trained on: each measure of face and head, to the edge of what was seen and beyond.

A measure is one number of a frame: how far the mouth is open, how far the head is turned. What one unit of it moves is
learnt from the recording, so that a driven mouth is the person's own. F frames at 25 Hz, K named landmarks in the
head frame (head units).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.performance import Performance
from geneface.evaluation.subjects import EvaluatedAvatar, ReferencePortrait
from geneface.geometry.landmarks import (
    BROWS,
    LEFT_EYE,
    LOWER_FACE,
    RIGHT_EYE,
    eye_openness,
    lip_opening,
    lip_width,
)
from geneface.types import VIDEO_RATE_HZ, HeadPose, MotionTrack, Waveform

BEYOND = 0.2
"""How far past the 1st and the 99th percentile the face is driven, as a part of the range between them."""
PERCENTILES = (1.0, 99.0)
EXPRESSIONS = ("opening", "width", "brows", "lids")
"""Lip opening and lip width, height of the brows, openness of the eyes."""
POSES = ("pitch", "yaw", "roll", "shift x", "shift y", "scale")
"""The components of rotation vector and translation, in their order; the distance from the camera sets the scale."""
SWEEP_FRAMES = 2 * VIDEO_RATE_HZ
"""A second to the upper end and back, a second to the lower one."""
_LIDS = np.concatenate([LEFT_EYE, RIGHT_EYE])
_PARTS: tuple[tuple[tuple[str, ...], NDArray[np.intp]], ...] = (
    (("opening", "width"), LOWER_FACE),
    (("brows",), BROWS),
    (("lids",), _LIDS),
)
"""Measures of one part are separated from each other: a wide mouth is not an open one."""
_NEVER_NEGATIVE = ("opening", "lids")
_SLOWEST_HZ, _FASTEST_HZ = 0.25, 0.7

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DrivenMotion:
    """A motion that is not the recording's."""

    name: str
    track: MotionTrack


def seen_motion(portrait: ReferencePortrait) -> MotionTrack:
    """The training frames of a portrait: what a renderer was trained on."""
    return MotionTrack(portrait.landmarks, portrait.pose)[~np.asarray(portrait.heldout)]


def own_motion(avatar: EvaluatedAvatar, audio: Waveform) -> MotionTrack:
    """Without a portrait: what the avatar does by itself when it says the same sentence three times."""
    return MotionTrack.concatenate(avatar.motion(audio, Performance(seed=seed, body="drawn")) for seed in range(3))


class Drive:
    """Moves the median face and pose along one measure or several."""

    def __init__(self, seen: MotionTrack) -> None:
        points = seen.points.astype(np.float64)
        poses = np.concatenate([seen.pose.rotation, seen.pose.translation], axis=1).astype(np.float64)
        self._face, self._pose = np.median(points, axis=0), np.median(poses, axis=0)
        values: dict[str, Array] = {
            "opening": np.asarray(lip_opening(points)),
            "width": np.asarray(lip_width(points)),
            "brows": points[:, BROWS, 1].mean(-1),
            "lids": np.asarray(eye_openness(points)).mean(-1),
            **dict(zip(POSES, poses.T, strict=True)),
        }
        self._slopes: dict[str, Array] = {}
        for names, part in _PARTS:
            self._slopes |= _slopes(points, {name: values[name] for name in names}, part)
        self.middle = {name: float(np.median(value)) for name, value in values.items()}
        self.seen: dict[str, tuple[float, float]] = {
            name: (float(np.percentile(value, PERCENTILES[0])), float(np.percentile(value, PERCENTILES[1])))
            for name, value in values.items()
        }
        """Measure -> its 1st and 99th percentile."""

    def end(self, name: str, upper: bool, beyond: float = BEYOND) -> float:
        """The measure at one of its percentiles, or `beyond` of the range past it; lips and lids do not cross."""
        low, high = self.seen[name]
        value = high + beyond * (high - low) if upper else low - beyond * (high - low)
        return max(value, 0.0) if name in _NEVER_NEGATIVE else value

    def motion(self, values: Mapping[str, Array]) -> MotionTrack:
        """The median face with some measures set. values: measure -> [F]."""
        frames = len(next(iter(values.values())))
        points = np.repeat(self._face[None], frames, axis=0)
        poses = np.repeat(self._pose[None], frames, axis=0)
        for name, value in values.items():
            if name in POSES:
                poses[:, POSES.index(name)] = value
            else:
                points += (value - self.middle[name])[:, None, None] * self._slopes[name]
        rotation, translation = (np.ascontiguousarray(part, np.float32) for part in (poses[:, :3], poses[:, 3:]))
        return MotionTrack(points.astype(np.float32), HeadPose(rotation, translation))

    def sweep(self, name: str, frames: int = SWEEP_FRAMES) -> MotionTrack:
        """A measure to its upper end and back, then to its lower one."""
        half = frames // 2
        lobe = (1 - np.cos(2 * np.pi * (np.arange(half) + 0.5) / half)) / 2
        middle = self.middle[name]
        ways = [self.end(name, upper) - middle for upper in (True, False)]
        return self.motion({name: np.concatenate([middle + lobe * way for way in ways])})

    def wander(self, names: Sequence[str], frames: int, seed: int, beyond: float = BEYOND) -> dict[str, Array]:
        """Measure -> [F]: each swings between its ends in a rhythm of its own, so that many combinations come up."""
        rng = np.random.default_rng([seed, 0xD817])
        time = np.arange(frames) / VIDEO_RATE_HZ
        values: dict[str, Array] = {}
        for name in names:
            wave = np.sin(2 * np.pi * (rng.uniform(_SLOWEST_HZ, _FASTEST_HZ) * time + rng.uniform()))
            middle = self.middle[name]
            up, down = (self.end(name, upper, beyond) - middle for upper in (True, False))
            values[name] = middle + np.where(wave > 0, wave * up, -wave * down)
        return values


def driven_motions(
    seen: MotionTrack,
    speech: MotionTrack | None = None,
    closed_eyes: MotionTrack | None = None,
    *,
    frames: int = SWEEP_FRAMES,
    seed: int = 0,
) -> list[DrivenMotion]:
    """Each measure alone, from end to end; face, pose and both in combination; speech, under its own head's movement
    and under another's, which stays inside of what was seen; and its blinks.

    Args:
        speech: motion of a sentence that is not the recording's.
        closed_eyes: those of its frames in which a blink has closed the eyes; one blink shows about five.
        frames: length of a sweep.
        seed: of the combinations.
    """
    drive = Drive(seen)
    motions = [DrivenMotion(name, drive.sweep(name, frames)) for name in (*EXPRESSIONS, *POSES)]
    everything = (*EXPRESSIONS, *POSES)
    for number, (name, names) in enumerate(
        (("whole face", EXPRESSIONS), ("whole pose", POSES), ("face and pose", everything))
    ):
        motions.append(DrivenMotion(name, drive.motion(drive.wander(names, 2 * frames, 10 * seed + number))))
    if speech is not None:
        other = drive.motion(drive.wander(POSES, len(speech), 10 * seed + 9, beyond=0.0)).pose
        motions.append(DrivenMotion("speech", speech))
        motions.append(DrivenMotion("speech, other poses", MotionTrack(speech.points, other)))
    if closed_eyes is not None and len(closed_eyes):
        motions.append(DrivenMotion("speech, closed eyes", closed_eyes))
    return motions


def _slopes(points: Array, values: Mapping[str, Array], part: NDArray[np.intp]) -> dict[str, Array]:
    """Measure -> [K, 3] what one unit of it moves: least squares over the frames, nothing outside of the part."""
    design = np.stack(list(values.values()), axis=-1)
    design = design - design.mean(0)
    centred = (points - points.mean(0))[:, part].reshape(len(points), -1)
    gram = design.T @ design
    # A measure that never varied moves nothing.
    gram += (1e-6 * np.trace(gram) + 1e-12) * np.eye(len(gram))
    solved = np.linalg.solve(gram, design.T @ centred).reshape(len(values), len(part), 3)
    slopes = {name: np.zeros(points.shape[1:]) for name in values}
    for name, slope in zip(values, solved, strict=True):
        slopes[name][part] = slope
    return slopes
