"""What a program hands to an avatar: checked, and made plain values of Python and numpy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from numbers import Integral, Real
from operator import index
from pathlib import Path

import numpy as np

from geneface.errors import InputError
from geneface.io.audio import LOUDEST, read_audio
from geneface.types import FloatArray, Waveform, mono_samples

MIN_SIZE, MAX_SIZE = 64, 1024
NO_SPEECH = "the speech", "give a Waveform (samples at 16 kHz) or the path of a media file"
"""What is wrong with a speech of another type, for `path_of`."""
_RANGES = {"temperature": (0.0, 3.0), "mouth_gain": (0.0, 3.0), "seed": (0, 2**63 - 1)}


@dataclass(frozen=True)
class Performance:
    """How a sentence is acted.

    Raises:
        InputError: a value of another kind or out of its range. Numbers of numpy are as good as Python's.
    """

    temperature: float = 0.0
    """Of the motion model's prior: 0 is the mean path, 1 as varied as in training."""
    seed: int = 0
    """Of blinks, the start of the head's path, and the prior's noise: equal seeds give equal frames."""
    mouth_gain: float = 1.0
    """Amplitude of the mouth."""
    blink: bool = True

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value, whole = getattr(self, name), name == "seed"
            option = name.replace("_", "-")
            if not _is_number(value, whole):
                kind = "whole number" if whole else "number"
                raise InputError(f"{option} is {value!r}", f"give a {kind} from {low} to {high}")
            if not low <= value <= high:
                raise InputError(f"{option} is {value}", f"give a value from {low} to {high}")
            object.__setattr__(self, name, int(value) if whole else float(value))
        if not isinstance(self.blink, bool | np.bool_):
            raise InputError(f"blink is {self.blink!r}", "give True or False")
        object.__setattr__(self, "blink", bool(self.blink))


def _is_number(value: object, whole: bool) -> bool:
    return isinstance(value, Integral if whole else Real) and not isinstance(value, bool)


def performance_or_default(performance: Performance | None) -> Performance:
    """`performance`, or the default for None."""
    if performance is None:
        return Performance()
    if not isinstance(performance, Performance):
        raise InputError(f"the performance is of the type {type(performance).__name__}", "give a Performance")
    return performance


def speech_samples(audio: Waveform | Path | str) -> FloatArray:
    """[T], T > 0, of a sound or of the file at a path."""
    samples = audio.samples if isinstance(audio, Waveform) else read_audio(path_of(audio, *NO_SPEECH)).samples
    if not len(samples):
        raise InputError("the speech is empty", "give at least one frame (40 ms) of sound")
    return _checked(samples, "the speech")


def live_samples(values: object) -> FloatArray:
    """[T] of a piece of live sound, as `mono_samples` takes it; T may be 0."""
    return _checked(mono_samples(values, "the live sound"), "the live sound")


def path_of(value: object, what: str, remedy: str) -> Path:
    """A path from text or from what stands for one."""
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{what} is of the type {type(value).__name__}", remedy)
    return Path(value)


def picture_size(size: int) -> int:
    """Pixels along the side of a picture."""
    try:
        pixels = index(size)
    except TypeError:
        pixels = 0
    if not MIN_SIZE <= pixels <= MAX_SIZE or pixels % 2:
        shown = repr(size) if isinstance(size, str) else size
        raise InputError(
            f"the size is {shown} pixels", f"give an even whole number (an int) from {MIN_SIZE} to {MAX_SIZE}"
        )
    return pixels


def _checked(samples: FloatArray, what: str) -> FloatArray:
    if not np.isfinite(samples).all():
        raise InputError(f"{what} holds NaN or infinite samples", "export the sound again")
    # Not by np.abs: a second copy of an hour of sound would not stay small.
    if len(samples) and max(-float(samples.min()), float(samples.max())) > LOUDEST:
        raise InputError(f"the samples of {what} are far beyond -1..1", "scale them to -1..1")
    return samples
