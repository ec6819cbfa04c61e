"""Head-pose path: natural movement cut from the person's training frames, continued for any length.

A path is a `HeadPose` of P frames at 25 Hz. Rotation vectors of a head that faces the camera stay well below
pi, so that they are interpolated component by component.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.smoothing import smooth
from geneface.types import FloatArray, HeadPose

PATH_SIGMA_FRAMES = 2.5
"""Tracking noise lies above 4 Hz, head movement below: 100 ms of smoothing keeps the one and drops the other."""
TURN_FRAMES = 24
"""Frames in which the replay slows down to rest at an end of the path, and speeds up again behind it."""
PATH_LIMIT_FRAMES = 1500
MIN_RUN_FRAMES = 10
_MIN_BRIDGE_FRAMES = 8
_START_STREAM = 0x905E
"""Keeps the random start apart from what else is drawn from the same seed."""
_SLOWEST_BRIDGE = 0.002
"""Least speed of a bridge, per frame: a path of a head that hardly moves is not joined for minutes."""


def training_runs(segment: NDArray[np.integer], usable: NDArray[np.bool_]) -> list[slice]:
    """Longest stretches of consecutive usable frames of one segment. segment, usable: [F]."""
    if len(segment) == 0:
        return []
    starts = np.concatenate([[True], (segment[1:] != segment[:-1]) | (usable[1:] != usable[:-1])])
    edges = np.append(np.flatnonzero(starts), len(segment))
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges) if usable[a]]


def build_path(
    pose: HeadPose, runs: list[slice], along: FloatArray, limit_frames: int = PATH_LIMIT_FRAMES
) -> tuple[HeadPose, FloatArray]:
    """Join the most typical runs to one smooth path.

    Runs nearest to the person's median pose are taken until the limit is reached, ordered so that each begins
    near where the last one ended, and joined by cubic Hermite bridges: position and velocity are continuous.

    Args:
        pose: [F] of the whole portrait.
        runs: stretches of training frames; held-out frames must not be in them.
        along: [F, C] what else moved in these frames; it has no say in which are taken.
        limit_frames: length of the path, about.

    Returns:
        [P], and [P, C] along it.
    """
    head = pose_values(pose)
    width = head.shape[1]
    values = np.concatenate([head, along], axis=1)
    pieces = [smooth(values[run], PATH_SIGMA_FRAMES) for run in runs if run.stop - run.start >= MIN_RUN_FRAMES]
    if not pieces:
        middle = np.median(values, axis=0, keepdims=True)
        return as_pose(middle[:, :width]), middle[:, width:]
    chosen = _most_typical(pieces, limit_frames, width)
    speed = max(float(np.percentile([_speeds(piece[:, :width]).mean() for piece in chosen], 90)), _SLOWEST_BRIDGE)
    path = chosen.pop(0)
    while chosen:
        nearest = int(np.argmin([np.linalg.norm((piece[0] - path[-1])[:width]) for piece in chosen]))
        piece = chosen.pop(nearest)
        path = np.concatenate([path, _bridge(path, piece, speed, width), piece])
    return as_pose(path[:, :width]), np.ascontiguousarray(path[:, width:])


def first_frame(path: HeadPose, seed: int) -> int:
    """Where on the path the replay of a performance begins: a function of its seed."""
    return int(np.random.default_rng([seed, _START_STREAM]).integers(len(path)))


def replay(values: FloatArray, times: NDArray[np.float64]) -> FloatArray:
    """An endless replay of what was recorded along a path, back and forth with a soft turn at each end.

    The phase's velocity is a continuous function of time (1 inside, raised-cosine to 0 at an end), so that the
    velocity of the head is continuous where that of `times` is, and never above the path's own times theirs.

    Args:
        values: [P, C], of `pose_values` for instance.
        times: [F] in frames.

    Returns:
        [F, C]
    """
    return _interpolate(values, _phase(times, len(values)))


def amplified(values: FloatArray, gain: float) -> FloatArray:
    """A path [P, C] with that amplitude about its middle."""
    if gain == 1.0:
        return values
    middle = np.median(values, axis=0)
    return middle + np.float32(gain) * (values - middle)


def _phase(time: NDArray[np.float64], path_frames: int) -> NDArray[np.float64]:
    """Position on the path, 0 to P - 1, at each time in frames: a triangle wave with rounded corners."""
    last = path_frames - 1
    if last <= 0:
        return np.zeros_like(time)
    turn = float(min(TURN_FRAMES, last))
    # Each raised-cosine ramp of `turn` frames covers turn / 2 of the path.
    leg = last + turn
    leg_index = np.floor(time / leg)
    t = time - leg_index * leg
    mirrored = np.minimum(t, leg - t)
    in_turn = mirrored / 2 - turn / (2 * np.pi) * np.sin(np.pi * np.minimum(mirrored, turn) / turn)
    distance = np.where(mirrored < turn, in_turn, mirrored - turn / 2)
    forward = np.where(t <= leg / 2, distance, last - distance)
    return np.where(leg_index % 2 == 0, forward, last - forward)


def _interpolate(values: FloatArray, phase: NDArray[np.float64]) -> FloatArray:
    """Catmull-Rom interpolation of rows [P, C] at fractional positions [N] -> [N, C]."""
    last = len(values) - 1
    index = np.clip(np.floor(phase).astype(np.intp), 0, max(last - 1, 0))
    u = (phase - index)[:, None]
    p0, p1, p2, p3 = (values[np.clip(index + step, 0, last)].astype(np.float64) for step in (-1, 0, 1, 2))
    cubic = p1 + 0.5 * u * (p2 - p0 + u * (2 * p0 - 5 * p1 + 4 * p2 - p3 + u * (3 * (p1 - p2) + p3 - p0)))
    return cubic.astype(np.float32)


def _most_typical(pieces: list[FloatArray], limit_frames: int, width: int) -> list[FloatArray]:
    """Those whose first `width` columns are nearest to the middle."""
    middle = np.median(np.concatenate(pieces)[:, :width], axis=0)
    order = np.argsort([np.linalg.norm(piece[:, :width].mean(0) - middle) for piece in pieces], kind="stable")
    chosen, total = [], 0
    for index in order:
        piece = pieces[index][: limit_frames - total]
        if len(piece) < MIN_RUN_FRAMES:
            break
        chosen.append(piece)
        total += len(piece)
    return chosen


def _bridge(before: FloatArray, after: FloatArray, speed: float, width: int) -> FloatArray:
    """Cubic Hermite between two pieces, without their end rows; the head no faster than about `speed` a frame."""
    start, stop = before[-1], after[0]
    count = max(_MIN_BRIDGE_FRAMES, int(np.ceil(1.5 * np.linalg.norm((stop - start)[:width]) / speed)))
    tangents = (count + 1) * (before[-1] - before[-2]), (count + 1) * (after[1] - after[0])
    u = (np.arange(1, count + 1, dtype=np.float32) / (count + 1))[:, None]
    return (
        (2 * u**3 - 3 * u**2 + 1) * start
        + (u**3 - 2 * u**2 + u) * tangents[0]
        + (3 * u**2 - 2 * u**3) * stop
        + (u**3 - u**2) * tangents[1]
    )


def _speeds(values: FloatArray) -> FloatArray:
    return np.linalg.norm(np.diff(values, axis=0), axis=1)


def pose_values(pose: HeadPose) -> FloatArray:
    """[F, 6 + 2 G] all that moves along a path: the torso goes with its head."""
    torso = [] if pose.torso is None else [pose.torso.reshape(len(pose), -1)]
    return np.concatenate([pose.rotation, pose.translation, *torso], axis=1).astype(np.float32)


def as_pose(values: FloatArray) -> HeadPose:
    """The reverse of `pose_values`."""
    rotation, translation, torso = (np.ascontiguousarray(part) for part in np.split(values, (3, 6), axis=1))
    return HeadPose(rotation, translation, torso.reshape(len(torso), -1, 2) if torso.size else None)
