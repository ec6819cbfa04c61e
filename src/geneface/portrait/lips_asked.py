"""Lips as they are seen and as their sound asks for, in the terms of `analysis.sync_offset`: what finds its offset.

What is asked (`analysis.lip_agreement`) is about people in general, so a few seconds of anybody are enough.

Symbols: f frames of a span, F of all, K named landmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.lip_agreement import LipAgreement
from geneface.analysis.sync_offset import MAX_LAG_FRAMES, Agreement
from geneface.geometry.landmarks import KEYPOINTS, STABLE_MESH
from geneface.geometry.pose import neutral_shape, orient
from geneface.geometry.rotation import umeyama
from geneface.motion.runtime import MotionModel
from geneface.signal.sound import covered_frames, cut_frames
from geneface.signal.timing import SAMPLES_PER_FRAME, whole_frames
from geneface.types import FloatArray, Waveform

_STRETCH_FRAMES = 1500
"""Longer spans are heard in parts of about this length: memory stays small."""
_CONTEXT_FRAMES = 25
"""Sound before and after what is compared, which the encoder hears with it."""
_SHAPE_FRAMES = 200
_STABLE, _KEYPOINTS = np.array(STABLE_MESH), np.array(KEYPOINTS)
_BELOW_LOUD_DB, _FLOOR_DB = 30.0, -60.0

Array = NDArray[np.float64]


def rest_shape(meshes_px: Sequence[NDArray[np.floating]]) -> Array:
    """The face at rest [478, 3], head units, of meshes [f, 478, 3] in pixels of one person's spans."""
    some = sampled(meshes_px)
    shape, everything = _upright(some)[len(some) // 2], list(range(some.shape[1]))
    for _ in range(3):
        shape = neutral_shape(_aligned(some, shape, everything))
    return orient(shape)


def head_landmarks(mesh_px: NDArray[np.floating], shape: Array) -> Array:
    """Landmarks [f, K, 3] in the head frame from tracked meshes [f, 478, 3] alone, by a similarity a frame.

    Rougher than `geometry.pose.solve_head_poses`, and some 50 times faster; lips' speeds are the same.

    Args:
        shape: [478, 3] see `rest_shape`.
    """
    return _aligned(mesh_px, shape, list(KEYPOINTS))


def sampled(meshes_px: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Some hundred meshes from all spans."""
    step = max(1, sum(map(len, meshes_px)) // _SHAPE_FRAMES)
    return np.concatenate([mesh[::step] for mesh in meshes_px])


def _upright(points_px: NDArray[np.floating]) -> Array:
    """FaceMesh's axes (y down, z away from the viewer) to ours."""
    return np.asarray(points_px, np.float64) * np.array([1.0, -1.0, -1.0])


def _aligned(mesh_px: NDArray[np.floating], shape: Array, points: list[int]) -> Array:
    """These points of meshes [f, 478, 3], moved onto a shape [478, 3] by what speech does not move."""
    scale, rotation, shift = umeyama(_upright(mesh_px[:, _STABLE]), shape[_STABLE])
    moved = scale[:, None, None] * _upright(mesh_px[:, points])
    return moved @ np.swapaxes(rotation, -1, -2) + shift[:, None]


class LipListener:
    """Compares seen lips with sounds; holds the networks."""

    def __init__(self) -> None:
        self._lips = LipAgreement(MotionModel.load().predict)

    def agreements(
        self, meshes_px: Sequence[NDArray[np.floating]], starts: Sequence[int], sounds: Sequence[Waveform]
    ) -> list[list[Agreement]]:
        """How well the lips of each span agree with its sound at each lag.

        Args:
            meshes_px: [f, 478, 3] of spans of one person.
            starts: the frame of its source at which each begins.
            sounds: that source's sound.
        """
        if not meshes_px:
            return []
        shape = rest_shape(meshes_px)
        gain = self._lips.towers.gain_of([head_landmarks(sampled(meshes_px), shape)])
        found = []
        for mesh_px, start, sound in zip(meshes_px, starts, sounds, strict=True):
            edges = np.linspace(0, len(mesh_px), max(1, round(len(mesh_px) / _STRETCH_FRAMES)) + 1).astype(int)
            windows: list[Agreement] = []
            for first, last in pairwise(edges.tolist()):
                points = head_landmarks(mesh_px[first:last], shape)
                windows += self._compare(points, shape[_KEYPOINTS], gain, start + first, sound)
            found.append(windows)
        return found

    def _compare(self, points: Array, neutral: Array, gain: float, start: int, sound: Waveform) -> list[Agreement]:
        reach = MAX_LAG_FRAMES + _CONTEXT_FRAMES
        first, last = covered_frames(sound)
        # The recording alone: silence added at its ends would be heard as the end of speech.
        first, last = max(first, start - reach), min(last, start + len(points) + reach)
        samples = cut_frames(sound, first, max(0, last - first))
        sounding = sounding_frames(samples)
        return self._lips.windows(
            points, neutral, gain, samples, last - first, sounding=sounding, lead=start - first, start=start
        )


def sounding_frames(samples: FloatArray) -> NDArray[np.bool_]:
    """Frames [f] of a sound that are not silent compared with its loud ones."""
    frames = whole_frames(len(samples))
    if not frames:
        return np.zeros(0, bool)
    rows = samples[: frames * SAMPLES_PER_FRAME].reshape(frames, SAMPLES_PER_FRAME).astype(np.float64)
    level = 10 * np.log10(np.square(rows).mean(1) + 1e-10)
    return level > max(_FLOOR_DB, np.quantile(level, 0.95) - _BELOW_LOUD_DB)
