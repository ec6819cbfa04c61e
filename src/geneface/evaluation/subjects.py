"""What an evaluation needs of an avatar and of a portrait, and which frames of the portrait it may use.

F frames of the portrait in all; a *span* is a run of consecutive held-out frames inside one segment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.body import Body
from geneface.avatar.performance import Performance
from geneface.render.renderer import RenderedFrame, Renderer
from geneface.types import ByteArray, Camera, FloatArray, HeadPose, MotionTrack, Waveform


class CarriedFiles(Protocol):
    """The part of `avatar.folder.AvatarFiles` that is looked at."""

    @property
    def body(self) -> Body | None:
        """The video of the person that the avatar carries, on whose frames the drawn lower face is pasted."""
        ...


class EvaluatedAvatar(Protocol):
    """The part of `avatar.Avatar` that is evaluated."""

    @property
    def name(self) -> str:
        """As the report calls it."""
        ...

    @property
    def camera(self) -> Camera:
        """The camera of its training frames."""
        ...

    @property
    def neutral(self) -> FloatArray:
        """[478, 3] the person's face at rest."""
        ...

    @property
    def files(self) -> CarriedFiles:
        """What lies in its folder."""
        ...

    @cached_property
    def renderer(self) -> Renderer:
        """Draws over the avatar's plate."""
        ...

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The figures stored with the avatar, if it carries any."""
        ...

    def motion(self, audio: Waveform, performance: Performance | None = None, /) -> MotionTrack:
        """The whole way from speech to motion, on the mean path (temperature 0)."""
        ...

    def drawn(self, motion: MotionTrack, /, *, size: int | None = None) -> Iterator[RenderedFrame]:
        """The motion's frames over the avatar's plate, one at a time, `size` pixels wide, by default its own."""
        ...

    def unadapted(self) -> EvaluatedAvatar | None:
        """The same with the generic model's motion; None if there is no adaptation to leave out."""
        ...


class ReferencePortrait(Protocol):
    """The part of `portrait.Portrait` that serves as ground truth."""

    @property
    def camera(self) -> Camera:
        """The camera of all frames."""
        ...

    @property
    def neutral(self) -> FloatArray:
        """[478, 3] the person's face at rest."""
        ...

    @property
    def landmarks(self) -> FloatArray:
        """[F, K, 3]."""
        ...

    @property
    def pose(self) -> HeadPose:
        """[F]."""
        ...

    @property
    def background(self) -> ByteArray:
        """[H, W, 3] the clean plate of most frames, which the avatar carries."""
        ...

    @property
    def segment(self) -> NDArray[np.integer]:
        """[F] index of each frame's segment; a segment's frames are consecutive."""
        ...

    @property
    def heldout(self) -> NDArray[np.bool_]:
        """[F]."""
        ...

    @property
    def mouth_box(self) -> NDArray[np.integer]:
        """[F, 4] x0, y0, x1, y1 in pixels."""
        ...

    @property
    def segments(self) -> Sequence[Any]:
        """Each with a `name` and `words`, ((start, end, word), ...) in seconds from its first frame."""
        ...

    def frame(self, index: int, /) -> tuple[ByteArray, ByteArray]:
        """Image [H, W, 3] and masks [H, W, 2] (head, torso)."""
        ...

    def audio(self, segment: int, /) -> Waveform:
        """Sound of a segment, from its first frame on."""
        ...

    def segment_background(self, segment: int, /) -> ByteArray:
        """Clean plate [H, W, 3] of the segment's scene."""
        ...


@dataclass(frozen=True)
class Span:
    """Frames start .. stop - 1 of the portrait, all held out and all of one segment."""

    segment: int
    start: int
    stop: int
    segment_start: int
    """First frame of the whole segment: its sound starts there."""
    segment_stop: int


def heldout_spans(segment: NDArray[np.integer], heldout: NDArray[np.bool_]) -> list[Span]:
    """The runs of held-out frames in order. segment, heldout: [F]."""
    edges = np.flatnonzero((np.diff(segment) != 0) | (np.diff(heldout.astype(np.int8)) != 0)) + 1
    bounds = [0, *edges.tolist(), len(segment)]
    spans = []
    for start, stop in pairwise(bounds):
        if stop > start and heldout[start]:
            inside = np.flatnonzero(segment == segment[start])
            spans.append(Span(int(segment[start]), start, stop, int(inside[0]), int(inside[-1]) + 1))
    return spans


def evenly_spaced(indices: NDArray[np.integer], count: int) -> NDArray[np.integer]:
    """At most `count` of the indices, spread evenly, the middle of each stretch."""
    if len(indices) <= count:
        return indices
    return indices[((np.arange(count) + 0.5) * len(indices) / count).astype(int)]
