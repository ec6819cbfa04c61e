"""Each clip's own offset of sound and picture, taken back before a model learns from it.

Recorders start sound and pictures of a clip anew. GRID's 892 clips of speaker 1 are .4 frames apart (deviation), which
blurs the lips that a model learns, and which it is then measured with. How late a clip's sound is, its lips tell
(`analysis.lip_agreement`). F frames at 25 Hz, K named landmarks, w windows of a few seconds, L lags.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.lip_agreement import LipAgreement
from geneface.analysis.sync_offset import Agreement, fit_near, fit_offset
from geneface.errors import InputError
from geneface.io.tensors import TensorFile
from geneface.motion.runtime import MotionModel
from geneface.types import FloatArray, SpeechFeatures

_NAMES = tuple(f"agreement.{name}" for name in ("middle", "values", "frames", "speech_frames"))


def agreement_tensors(
    samples: FloatArray, points: FloatArray, neutral: FloatArray, features: SpeechFeatures | None = None
) -> dict[str, NDArray]:
    """How well a clip's lips agree with their sound at each lag, as its file keeps it.

    Args:
        samples: [640 F].
        points: landmarks [F, K, 3].
        neutral: [K, 3].
        features: of the samples, by any encoder.
    """
    lips = _lip_agreement()
    gain = lips.towers.gain_of([points])
    windows = lips.windows(points, neutral, gain, samples, len(points), features=features)
    parts = [[getattr(window, name.partition(".")[2]) for window in windows] for name in _NAMES]
    return {name: np.array(part, np.float64) for name, part in zip(_NAMES, parts, strict=True)}


@functools.cache
def _lip_agreement() -> LipAgreement:
    """One per worker process."""
    return LipAgreement(MotionModel.load().predict)


def find_offsets(speakers: Mapping[str, Mapping[str, Path]]) -> dict[str, float]:
    """Frames by which the sound of each clip is late, by name; clips of speakers who are not sure are left out.

    Args:
        speakers: each one's clips: name and file.
    """
    late: dict[str, float] = {}
    for clips in speakers.values():
        windows = {name: _agreements(path) for name, path in clips.items()}
        common = fit_offset([window for of_clip in windows.values() for window in of_clip])
        if common.confident:
            late |= {
                # A clip that says nothing by itself was recorded like the others.
                name: (fit_near(of_clip, common) if of_clip else common).frames
                for name, of_clip in windows.items()
            }
    return late


def _agreements(path: Path) -> list[Agreement]:
    file = TensorFile(path)
    if _NAMES[0] not in file.keys():  # noqa: SIM118
        # Finished by a version that did not listen.
        return []
    try:
        rows = zip(*(file.get(name) for name in _NAMES), strict=True)
        return [Agreement(float(middle), values, frames, int(speech)) for middle, values, frames, speech in rows]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged", "remove it, and add --resume") from error
