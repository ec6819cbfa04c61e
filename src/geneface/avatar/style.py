"""How lively a person speaks, from calm to lively, as their own clips span it.

A style is four factors on what the person usually does: amplitude of the mouth, movement of the brows, movement of the
head, rate of blinks. Training measures all four in pieces of about 3 s of the recording; a number from 0 to 1 is a
quantile of these, and a clip by its name is the mean of its pieces. N pieces, F frames at 25 Hz, K named landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.smoothing import smooth
from geneface.errors import InputError
from geneface.geometry.landmarks import BROWS, lip_opening
from geneface.types import VIDEO_RATE_HZ, FloatArray, HeadPose

STYLES = {"calm": 0.0, "neutral": 0.5, "lively": 1.0}
NEUTRAL = STYLES["neutral"]
MEASURES = 4
MOST_PIECES, MOST_NAME_BYTES = 5000, 1 << 18
_PIECE_FRAMES = 75
_PRIOR_PIECES = 8
"""A person of whom so many pieces are known is half as people usually are, between calm and lively."""
_EXTREMES = 0.1
"""Calm and lively are this quantile and its counterpart: single pieces may be tracked badly."""
_LOWEST = np.array([0.8, 0.4, 0.5, 0.6])
_HIGHEST = np.array([1.25, 1.8, 1.4, 1.6])
"""Factors beyond which faces look wrong or lips miss: mouth, brows, head, blinks."""
_USUAL_CALM = np.array([0.88, 0.6, 0.65, 0.8])
_USUAL_LIVELY = np.array([1.12, 1.5, 1.3, 1.25])
"""Of people of whom nothing is known."""
_PRIOR_SECONDS = 20.0
"""Blinks are rare: a piece's rate is held to the person's by so many seconds of it."""
_SIGMA_FRAMES = 2.0
_LARGEST_VALUE = 1e4
"""No measure comes near to this."""
_OPENED = 0.008
"""Lip opening, head units, from which on the mouth has all of its style: closed lips stay as they are."""


@dataclass(frozen=True)
class Style:
    """Factors on what the person usually does."""

    mouth: float = 1.0
    brows: float = 1.0
    head: float = 1.0
    blinks: float = 1.0


@dataclass(frozen=True)
class StyleStatistics:
    """What the pieces of a person's recording show."""

    names: tuple[str, ...]
    """Of the clips."""
    clip: NDArray[np.int32]
    """[N] which clip a piece is of."""
    values: FloatArray
    """[N, 4] spread of the lip opening and of the brows (head units), head speed (radians per frame), blinks a
    minute."""

    @property
    def clips(self) -> tuple[str, ...]:
        """The names of those that have a piece."""
        return tuple(dict.fromkeys(self.names[number] for number in self.clip))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> StyleStatistics | None:
        """Invert `tensors`; None if they are not there, or can't be right. They may come from anywhere."""
        if not {"style.names", "style.clip", "style.values"} <= set(tensors):
            return None
        names, clip, values = (tensors[f"style.{name}"] for name in ("names", "clip", "values"))
        pieces = len(clip) if clip.ndim == 1 else 0
        if not (1 <= pieces <= MOST_PIECES and values.shape == (pieces, MEASURES) and values.dtype.kind == "f"):
            return None
        if names.dtype != np.uint8 or names.ndim != 1 or len(names) > MOST_NAME_BYTES or clip.dtype.kind != "i":
            return None
        known = tuple(names.tobytes().decode(errors="replace").split("\n"))
        if len(set(known)) < len(known):
            return None
        # Compared before they are made float32, which has no room for all of float64.
        if not (((values >= 0) & (values <= _LARGEST_VALUE)).all() and ((clip >= 0) & (clip < len(known))).all()):
            return None
        return cls(known, clip.astype(np.int32), values.astype(np.float32))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As an avatar stores them."""
        text = "\n".join(self.names).encode()
        return {
            "style.names": np.frombuffer(text, np.uint8).copy(),
            "style.clip": self.clip,
            "style.values": self.values,
        }


def style_of(statistics: StyleStatistics | None, choice: float | str) -> Style:
    """The factors of a number from 0 (calm) to 1 (lively), or of a clip of the person.

    Raises:
        InputError: the person has no clip of that name.
    """
    values = np.zeros((0, MEASURES), np.float32) if statistics is None else statistics.values
    usual = np.median(values, axis=0) if len(values) else np.ones(MEASURES)

    def compared(measured: FloatArray) -> NDArray[np.float64]:
        # Who was never seen to blink blinks as usual in any style.
        return np.where(usual > 0, measured / np.maximum(usual, 1e-9), 1.0)

    if isinstance(choice, str):
        if statistics is None or choice not in statistics.clips:
            known = () if statistics is None else statistics.clips
            raise InputError(f"there is no style or clip {choice!r}", f"give {_known(known)}")
        factors = compared(values[statistics.clip == statistics.names.index(choice)].mean(axis=0))
    elif choice == NEUTRAL:
        return Style()
    else:
        share = 2 * abs(choice - NEUTRAL)
        factors = 1 + share * ((_USUAL_CALM if choice < NEUTRAL else _USUAL_LIVELY) - 1)
        if len(values):
            own = compared(np.quantile(values, _EXTREMES + (1 - 2 * _EXTREMES) * choice, axis=0))
            factors = (_PRIOR_PIECES * factors + len(values) * own) / (_PRIOR_PIECES + len(values))
    return Style(*np.clip(factors, _LOWEST, _HIGHEST).tolist())


def mouth_gain(points: FloatArray, rest: FloatArray, style: Style) -> FloatArray:
    """Amplitude of the mouth frame by frame: [F, K, 3], rest [K, 3] -> [F]; 1 where the lips meet."""
    opened = np.clip((lip_opening(points) - lip_opening(rest)) / _OPENED, 0, 1)
    return (1 + (style.mouth - 1) * opened * opened * (3 - 2 * opened)).astype(np.float32)


def measure_styles(
    landmarks: FloatArray,
    pose: HeadPose,
    blinking: NDArray[np.bool_],
    silent: NDArray[np.bool_],
    runs: Sequence[slice],
    clips: Sequence[str],
) -> StyleStatistics | None:
    """Measure the pieces of a recording.

    Args:
        landmarks: [F, K, 3].
        pose: [F].
        blinking: [F] frames in which a blink begins.
        silent: [F] true where the person says nothing; pieces that are mostly silent don't count.
        runs: stretches of training frames, each of one clip.
        clips: the name of each run's clip.

    Returns:
        None if there is no piece long enough.
    """
    names = tuple(dict.fromkeys(name.replace("\n", " ") for name in clips))
    frames = sum(run.stop - run.start for run in runs)
    usual_rate = 60 * VIDEO_RATE_HZ * sum(int(blinking[run].sum()) for run in runs) / max(frames, 1)
    clip, values = [], []
    for run, name in zip(runs, clips, strict=True):
        for start in range(run.start, run.stop - _PIECE_FRAMES // 2, _PIECE_FRAMES):
            piece = slice(start, min(start + _PIECE_FRAMES, run.stop))
            if silent[piece].mean() > 0.5:
                continue
            low, high = np.percentile(lip_opening(landmarks[piece]), [10, 90])
            brows = smooth(landmarks[piece][:, BROWS], _SIGMA_FRAMES)
            head = np.diff(smooth(pose.rotation[piece], _SIGMA_FRAMES), axis=0)
            seconds = (piece.stop - piece.start) / VIDEO_RATE_HZ
            rate = (60 * blinking[piece].sum() + _PRIOR_SECONDS * usual_rate) / (seconds + _PRIOR_SECONDS)
            clip.append(names.index(name.replace("\n", " ")))
            values.append([high - low, brows.std(axis=0).mean(), np.linalg.norm(head, axis=1).mean(), rate])
    if not values:
        return None
    keep = slice(0, MOST_PIECES)
    return StyleStatistics(names, np.array(clip[keep], np.int32), np.array(values[keep], np.float32))


def _known(names: Sequence[str]) -> str:
    words = f"{', '.join(STYLES)} or a number from 0 to 1"
    if not names:
        return f"{words}; this avatar names no clips"
    some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{words}, or a clip of the person ({some})"
