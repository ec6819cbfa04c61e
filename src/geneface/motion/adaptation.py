"""Generic motion moved into one person's manner: the adaptation at run time, in numpy.

F frames, K landmarks, C coefficients of the person's own basis, D feature width, H hidden channels of the generic
model. `training.adaptation.fit` fits it to the person's own seconds. What is left of a stack of regressions is one sum:

    affine    a gain for each coefficient of the generic motion, and an offset
    speech    linear in the features of the frame and its neighbours
    last      linear in the generic model's hidden layer: its last layer, fitted again
    nets      small convolutional networks on features and hidden layer

and one gain for all, which gives the opening of the mouth the amplitude that regression shrinks. The result is held to
shapes that the person was seen in (`motion.manifold`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINT_COUNT, positions
from geneface.io.tensors import load_tensors, save_tensors
from geneface.motion.basis import MotionBasis
from geneface.motion.convnet import FUTURE_FRAMES, PAST_FRAMES, ConvNet, LiveConvNets
from geneface.motion.generic import HIDDEN_DELAY, GenericMotion
from geneface.motion.manifold import COMPONENTS, SEEN_FRAMES, project, squares
from geneface.types import FloatArray

SPEECH_TAPS = (-1, 0, 1)
"""Frames around the present one whose features the linear part sees."""
UPPER_LIP = positions((191, 80, 81, 82, 13, 312, 311, 310, 415))
LOWER_LIP = positions((95, 88, 178, 87, 14, 317, 402, 318, 324))
"""Inner lips, corner to corner, each point above its partner."""
_MOST_NETS = 64
_LARGEST = 1e5
"""No weight, gain or distance comes near to this."""
_SINGLE = ("gain", "offset", "speech", "last", "seen", "lips")


@dataclass(frozen=True)
class Adaptation:
    """Generic displacement and speech to the person's displacement; a `motion.runtime.PersonMotion`."""

    basis: MotionBasis
    """The person's own."""
    gain: FloatArray
    """[C]."""
    offset: FloatArray
    """[C]."""
    speech: FloatArray
    """[3 D, C], or [0, C] where the seconds were too few for anything but gain and offset."""
    last: FloatArray
    """[H, C], or [0, C]."""
    nets: tuple[ConvNet, ...]
    amplitude: float
    """About the person's mean motion."""
    seen: FloatArray
    """[N, c] see `motion.manifold`."""
    lips: FloatArray
    """[2, 9] vertical distance of the inner lips' pairs: at rest, and the least that the person was seen with."""

    @property
    def past_frames(self) -> int:
        """Frames before a frame that its motion depends on."""
        return PAST_FRAMES + HIDDEN_DELAY if self.nets else -min(SPEECH_TAPS) if len(self.speech) else 0

    @property
    def future_frames(self) -> int:
        """Frames after it, no more than the generic model looks ahead."""
        return FUTURE_FRAMES if self.nets else max(SPEECH_TAPS) if len(self.speech) else 0

    def hears(self, feature_width: int, hidden_width: int) -> bool:
        """Whether it fits a generic model of these widths."""
        own = len(self.speech) // len(SPEECH_TAPS), len(self.last)
        return not len(self.speech) or own == (feature_width, hidden_width)

    def coefficients(
        self,
        generic: GenericMotion,
        first: int = 0,
        last: int | None = None,
        nets: FloatArray | None = None,
    ) -> FloatArray:
        """[F, C] in the person's basis, or only the frames [first, last) of it. `nets`: [f, C] their networks' part."""
        wanted = generic[first:last]
        total = self.basis.coefficients(wanted.displacement) * self.gain + self.offset
        if len(self.speech):
            heard = speech_windows(generic.frame_features(), first, last)
            # Not "@", as in `MotionBasis`.
            total = total + np.einsum("fs,sc->fc", heard, self.speech)
            total = total + np.einsum("fh,hc->fc", wanted.hidden, self.last)
            if nets is not None:
                total = total + nets
            elif self.nets:
                inputs = generic.inputs()
                for net in self.nets:
                    total = total + net(inputs, first, last)
        # Coefficients are centred on the person's mean motion, so this scales about it.
        return project(np.asarray(self.amplitude * total, np.float32), self.seen, self._seen_squares)

    def apply(self, generic: GenericMotion, first: int = 0, last: int | None = None) -> FloatArray:
        """[F, K, 3] displacement from the person's neutral, head units, or only the frames [first, last) of it."""
        return self.displacement(self.coefficients(generic, first, last))

    def live(self) -> LiveAdaptation:
        """For one speech whose frames are asked for in their order."""
        return LiveAdaptation(self)

    @cached_property
    def _seen_squares(self) -> FloatArray:
        return squares(self.seen)

    def displacement(self, coefficients: FloatArray) -> FloatArray:
        """[F, C] in the person's basis -> [F, K, 3]. Lips that would pass through each other meet halfway."""
        displacement = self.basis.displacement(coefficients)
        rest, least = self.lips
        gap = rest + displacement[:, UPPER_LIP, 1] - displacement[:, LOWER_LIP, 1]
        missing = np.maximum(least - gap, 0) / 2
        displacement[:, UPPER_LIP, 1] += missing
        displacement[:, LOWER_LIP, 1] -= missing
        return displacement

    def halved(self) -> Adaptation:
        """The same with weights that half precision holds exactly, as `save` writes them."""
        half = [tensor.astype(np.float16).astype(np.float32) for tensor in (self.speech, self.last, self.seen)]
        nets = [{name: tensor.astype(np.float16) for name, tensor in net.tensors().items()} for net in self.nets]
        return replace(self, speech=half[0], last=half[1], seen=half[2], nets=tuple(map(ConvNet.from_tensors, nets)))

    def save(self, path: Path) -> None:
        """Write one file; speech, last layer, networks and seen shapes in half precision."""
        tensors: dict[str, NDArray] = {
            **self.basis.tensors(),
            "gain": self.gain,
            "offset": self.offset,
            "speech": self.speech.astype(np.float16),
            "last": self.last.astype(np.float16),
            "seen": self.seen.astype(np.float16),
            "lips": self.lips,
            "amplitude": np.array([self.amplitude], np.float32),
        }
        for number, net in enumerate(self.nets):
            tensors |= {f"net.{number}.{name}": tensor.astype(np.float16) for name, tensor in net.tensors().items()}
        save_tensors(path, tensors)

    @classmethod
    def load(cls, path: Path) -> Adaptation:
        """Read what `save` wrote.

        Raises:
            InputError: it is missing, or its tensors don't belong together.
        """
        # In the precision that is used: what overflows there is no number.
        with np.errstate(over="ignore"):
            tensors = {name: np.asarray(value, np.float32) for name, value in load_tensors(path).items()}
        count = _check(tensors, path)
        basis = MotionBasis.from_tensors(tensors)
        nets = tuple(ConvNet.from_tensors(_net_tensors(tensors, number)) for number in range(count))
        single = {name: tensors[name] for name in _SINGLE}
        return cls(basis=basis, nets=nets, amplitude=float(tensors["amplitude"][0]), **single)


class LiveAdaptation:
    """The same for frames that come in their order, each once: the networks remember those before. A `PersonMotion`."""

    def __init__(self, adaptation: Adaptation) -> None:
        self._adaptation = adaptation
        self._nets = LiveConvNets(adaptation.nets) if adaptation.nets else None
        self._is_new = True
        self.past_frames = -min(SPEECH_TAPS) if len(adaptation.speech) else 0
        self.future_frames = adaptation.future_frames

    def apply(self, generic: GenericMotion, first: int = 0, last: int | None = None) -> FloatArray:
        """As `Adaptation.apply`; `generic` has all of `future_frames` after the frames that are wanted, and no more."""
        nets = None
        if self._nets is not None:
            # The networks have seen the future of the frames before.
            nets = self._nets.push(generic.inputs()[0 if self._is_new else first + FUTURE_FRAMES :])
            self._is_new = False
        adaptation = self._adaptation
        return adaptation.displacement(adaptation.coefficients(generic, first, last, nets))


def speech_windows(frames: NDArray[np.floating], first: int = 0, last: int | None = None) -> NDArray[np.floating]:
    """[F, D] -> [F, 3 D]: each frame with its neighbours, the first and last repeated beyond the ends.

    Of frames [first, last) only, if they are given.
    """
    chosen = np.arange(len(frames))[first:last]
    index = np.clip(chosen[:, None] + np.array(SPEECH_TAPS), 0, len(frames) - 1)
    return frames[index].reshape(len(chosen), -1)


def _net_tensors(tensors: dict[str, NDArray], number: int) -> dict[str, NDArray]:
    prefix = f"net.{number}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _check(tensors: dict[str, NDArray], path: Path) -> int:
    """Avatars are passed around: shapes and values are checked before they are used. Returns the number of nets."""
    count = len({name.split(".")[1] for name in tensors if name.startswith("net.")})
    width, face = len(tensors.get("gain", ())), (KEYPOINT_COUNT, 3)
    rows = {name: len(tensors.get(name, ())) for name in ("speech", "last", "seen")}
    shapes: dict[str, tuple[int, ...]] = {
        "basis.synthesis": (width, *face),
        "basis.analysis": (width, *face),
        "basis.mean": face,
        "gain": (width,),
        "offset": (width,),
        "speech": (rows["speech"] // len(SPEECH_TAPS) * len(SPEECH_TAPS), width),
        "last": (rows["last"], width),
        "seen": (rows["seen"], min(width, COMPONENTS)),
        "lips": (2, len(UPPER_LIP)),
        "amplitude": (1,),
    }
    inputs = rows["speech"] // len(SPEECH_TAPS) + rows["last"]
    for number in range(min(count, _MOST_NETS)):
        channels = len(tensors.get(f"net.{number}.enter", ()))
        for name, shape in ConvNet.shapes(inputs, channels, width).items():
            shapes[f"net.{number}.{name}"] = shape
    for name, shape in shapes.items():
        known = name in tensors and tensors[name].shape == shape
        # Also false where a value is not a number.
        if not known or not (np.abs(tensors[name]) <= _LARGEST).all():
            raise InputError(f"{path} is damaged ({name})", "train the avatar again or copy it again")
    empty = width == 0 or (rows["speech"] == 0) != (rows["last"] == 0)
    if empty or rows["seen"] > SEEN_FRAMES:
        raise InputError(f"{path} is damaged (sizes)", "train the avatar again or copy it again")
    if count > _MOST_NETS:
        raise InputError(f"{path} is damaged ({count} networks)", "train the avatar again or copy it again")
    return count
