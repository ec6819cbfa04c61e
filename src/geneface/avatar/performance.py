"""How a sentence is acted."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, get_args

import numpy as np

from geneface.avatar.style import NEUTRAL, STYLES
from geneface.errors import InputError

BodyChoice = Literal["auto", "source", "drawn"]
BODIES: tuple[BodyChoice, ...] = get_args(BodyChoice)
_RANGES = {"temperature": (0.0, 3.0), "mouth_gain": (0.0, 3.0), "seed": (0, 2**63 - 1)}


@dataclass(frozen=True)
class Performance:
    """How a sentence is acted.

    Raises:
        InputError: a value of another kind or out of its range. Numbers of numpy are as good as Python's.
    """

    temperature: float = 0.0
    """Of the motion model's prior, 0 to 3: 0 is the mean path, 1 as varied as in training."""
    seed: int = 0
    """Of blinks, the start of the head's path, and the prior's noise: equal seeds give equal frames."""
    mouth_gain: float = 1.0
    """Amplitude of the mouth, 0 to 3 times."""
    blink: bool = True
    """Of a drawn body; in the person's own video they blink as they did."""
    body: BodyChoice = "auto"
    """What lips are put on: "source", the person's own video, which the avatar carries; "drawn", nothing: all of the
    picture is drawn; "auto": the video if there is one."""
    style: float | str = NEUTRAL
    """How lively: "calm", "neutral", "lively", a number from 0 (calm) to 1, or the name of one of the clips that the
    avatar was trained on, as an example (`avatar.style`). On the person's own video it changes the mouth alone."""

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
        if not isinstance(self.body, str) or self.body not in BODIES:
            raise InputError(f"there is no body {self.body!r}", f"choose one of: {', '.join(BODIES)}")
        object.__setattr__(self, "style", _style(self.style))


def _style(given: object) -> float | str:
    """A number from 0 to 1, or the name of a clip, which only the person can tell."""
    if isinstance(given, str) and given:
        if given.isdecimal() and given not in ("0", "1"):
            # Corpora number their clips: 00001 is one of them, and not lively.
            return str(given)
        try:
            given = STYLES[given] if given in STYLES else float(given)
        except ValueError:
            return str(given)
    if not _is_number(given, False) or not 0 <= float(given) <= 1:  # type: ignore[arg-type]
        raise InputError(f"style is {given!r}", f"give {', '.join(STYLES)}, a number from 0 to 1, or a clip's name")
    return float(given)  # type: ignore[arg-type]


def _is_number(value: object, whole: bool) -> bool:
    return isinstance(value, Integral if whole else Real) and not isinstance(value, bool)


def performance_or_default(performance: Performance | None) -> Performance:
    """`performance`, or the default for None."""
    if performance is None:
        return Performance()
    if not isinstance(performance, Performance):
        raise InputError(f"the performance is of the type {type(performance).__name__}", "give a Performance")
    return performance
