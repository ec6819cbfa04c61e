"""Does a blink move the mouth? The same sound with and without blinks, compared in the lower face.

F frames at 25 Hz, K named landmarks in the head frame (head units). Images are uint8 [H, W, 3] RGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.performance import Performance
from geneface.evaluation.metrics.pixels import Mask
from geneface.evaluation.schema import MetricDefinition, MetricRow, MetricTable, figure, missing
from geneface.evaluation.subjects import EvaluatedAvatar
from geneface.geometry.camera import project
from geneface.geometry.landmarks import JAW, eye_openness
from geneface.imaging.shapes import pixels_inside_polygon
from geneface.types import Camera, FloatArray, MotionTrack, Waveform

DEFINITIONS = {
    "blink_lower_face_psnr": MetricDefinition(
        title="Lower face under a blink",
        unit="dB",
        direction="higher",
        description="The same sentence, seed and pose with and without blinks: PSNR of the pixels inside the jaw line, "
        "over all frames in which the lids have fallen at least 60 % as far as in the deepest blink. A blink must not "
        "touch them: from 50 dB on nothing can be seen, identical pixels count as 99 dB. Our definition.",
    ),
    "blink_lower_face_psnr_worst": MetricDefinition(
        title="Lower face under a blink, worst frame",
        unit="dB",
        direction="higher",
        description="The same of the frame in which the face moves most.",
    ),
}
BLINK_KEYS = tuple(DEFINITIONS)
IDENTICAL_DB = 99.0
"""What identical pixels count as."""
CLOSED_SHARE = 0.6
"""Eyes are closed where the lids have fallen at least this far, as a share of the deepest blink."""
NO_BLINK = "the avatar does not blink"
_SHALLOWEST = 0.1
"""Lids that fall by less than this part of the opening do not blink."""
_ENOUGH_FRAMES = 12
_MOST_SEEDS = 8


@dataclass(frozen=True)
class BlinkPair:
    """The frames in which a blink has closed the eyes, as they are with it and as they would be without."""

    closed: MotionTrack
    open: MotionTrack

    def __len__(self) -> int:
        return len(self.closed)


def blink_pair(avatar: EvaluatedAvatar, audio: Waveform) -> BlinkPair:
    """Closed-eye frames of the sound, trying one seed after the other until there are a dozen; none without blinks."""
    closed: list[MotionTrack] = []
    opened: list[MotionTrack] = []
    plain = avatar.motion(audio, Performance(blink=False, seed=0, body="drawn"))
    for seed in range(_MOST_SEEDS):
        blinking = avatar.motion(audio, Performance(blink=True, seed=seed, body="drawn"))
        rows = closed_frames(plain.points, blinking.points)
        if len(rows):
            closed.append(blinking[rows])
            same_seed = plain if seed == 0 else avatar.motion(audio, Performance(blink=False, seed=seed, body="drawn"))
            opened.append(same_seed[rows])
        if sum(map(len, closed)) >= _ENOUGH_FRAMES:
            break
    return BlinkPair(MotionTrack.concatenate([plain[:0], *closed]), MotionTrack.concatenate([plain[:0], *opened]))


def closed_frames(open_eyes: FloatArray, blinking: FloatArray) -> NDArray[np.intp]:
    """Numbers of the frames in which a blink has closed the lids by `CLOSED_SHARE`. [F, K, 3] each."""
    openness = np.asarray(eye_openness(open_eyes)).mean(-1)
    fallen = 1 - np.asarray(eye_openness(blinking)).mean(-1) / np.maximum(openness, 1e-6)
    deepest = float(fallen.max(initial=0.0))
    if deepest < _SHALLOWEST:
        return np.zeros(0, np.intp)
    return np.flatnonzero(fallen >= CLOSED_SHARE * deepest)


def blink_errors(avatar: EvaluatedAvatar, pair: BlinkPair) -> FloatArray:
    """Mean squared difference of the lower face, frame by frame, levels of 255 squared. -> [F]."""
    errors = []
    drawn = zip(avatar.drawn(pair.closed), avatar.drawn(pair.open), strict=True)
    for index, frames in enumerate(drawn):
        mask = lower_face(pair.open, index, avatar.camera)
        with_blink, without = (frame.to_uint8()[mask].astype(np.float32) for frame in frames)
        if mask.any():
            errors.append(np.square(with_blink - without).mean(dtype=np.float64))
    return np.asarray(errors, np.float32)


def blink_table(avatar: EvaluatedAvatar, audio: Waveform) -> MetricTable:
    """PSNR of the lower face, blinks on against off, over all closed-eye frames together, and of the worst frame."""
    errors = blink_errors(avatar, blink_pair(avatar, audio))
    figures = missing(BLINK_KEYS, NO_BLINK)
    if len(errors):
        figures = {
            "blink_lower_face_psnr": figure(_decibels(errors), NO_BLINK),
            "blink_lower_face_psnr_worst": figure(_decibels(errors[[errors.argmax()]]), NO_BLINK),
        }
    note = (
        f"The bundled sentence with and without blinks, otherwise the same: {len(errors)} frames with closed eyes. "
        f"{IDENTICAL_DB:.0f} dB means identical to the last bit."
    )
    return MetricTable(
        title="What a blink does to the mouth",
        note=note,
        rows=[MetricRow(name=avatar.name, role="evaluated", figures=figures)],
    )


def lower_face(motion: MotionTrack, index: int, camera: Camera) -> Mask:
    """[H, W] pixels inside the jaw line, which runs from ear to ear around the chin: nothing near the lids."""
    pose = motion.pose
    jaw = project(motion.points[index][JAW], pose.rotation[index], pose.translation[index], camera)
    return pixels_inside_polygon(jaw, camera.height, camera.width)


def _decibels(errors: FloatArray) -> float:
    """PSNR of frames with these mean squared errors, taken together; nan of none."""
    if not len(errors):
        return float("nan")
    mean = float(errors.mean(dtype=np.float64))
    return IDENTICAL_DB if mean == 0 else min(IDENTICAL_DB, 10 * float(np.log10(255.0**2 / mean)))
