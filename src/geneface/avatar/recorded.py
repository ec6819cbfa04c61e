"""Motion of recorded speech: the models in windows, all of the sound known. The counterpart of `avatar.live`."""

from __future__ import annotations

from collections.abc import Generator

from geneface.analysis.windows import CORE_ROWS
from geneface.avatar.finish import Finish
from geneface.avatar.hearing import Hearing
from geneface.avatar.held_lips import held_windows
from geneface.avatar.idle import closing_weight, voice_activity
from geneface.avatar.performance import Performance
from geneface.avatar.smoothing import smooth_landmark_windows
from geneface.avatar.stress import heard_windows, loudness_of
from geneface.signal.timing import ROWS_PER_FRAME
from geneface.types import FloatArray, MotionTrack

FACE_SIGMA_FRAMES = 1.5
"""Smoothing of brows and cheeks."""
_MOTION_FRAMES = CORE_ROWS // ROWS_PER_FRAME
"""Frames of motion that are made at once: what one window of the speech encoder is good for."""


def recorded_motion(
    hearing: Hearing,
    neutral: FloatArray,
    samples: FloatArray,
    performance: Performance,
    finish: Finish,
) -> Generator[MotionTrack, None, None]:
    """Consecutive pieces of the motion of a sound [T]: ceil(T / 640) frames in all.

    Args:
        neutral: [K, 3] the person's landmarks that displacements count from.
        finish: of this performance, at its first frame.
    """
    closing = closing_weight(voice_activity(samples))
    heard = heard_windows(loudness_of(samples), len(closing))
    displacement = hearing.model.predict_windows(
        hearing.encoder.blocks(samples),
        temperature=performance.temperature,
        seed=performance.seed,
        person=hearing.adaptation,
        window_frames=_MOTION_FRAMES,
        early_start=True,
    )
    moved = (neutral + window for window in displacement)
    start = 0
    for points in held_windows(smooth_landmark_windows(moved, FACE_SIGMA_FRAMES), samples):
        stop = start + len(points)
        yield finish.finished(finish.amplified(points), closing[start:stop], heard[start:stop])
        start = stop
