"""Chunks of a portrait's held-out part: the ground truth, and what the avatar draws of it.

The avatar is shown twice: *from speech*, the whole chain from sound to picture, with the portrait's own head pose,
which speech does not determine; and *from tracked landmarks*, the renderer alone. If it carries a video of the person,
so that its own videos are recorded frames with another lower face, it is shown twice more: *pasted*, the held-out frame
itself with only its lower face drawn. F frames at 25 Hz.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from geneface.evaluation.drawing import LowerFaces, RenderClock
from geneface.evaluation.metrics.picture import ReferenceFrame
from geneface.evaluation.protocol.controls import DELAY_FRAMES
from geneface.evaluation.protocol.videos import Chunk
from geneface.evaluation.subjects import EvaluatedAvatar, ReferencePortrait, Span, evenly_spaced
from geneface.io.words import Words
from geneface.signal.timing import SAMPLES_PER_FRAME
from geneface.types import (
    VIDEO_RATE_HZ,
    ByteArray,
    FloatArray,
    MotionTrack,
    Waveform,
)

CHUNK_FRAMES = 100
"""Longer spans are measured in pieces: bounds memory."""
_ALPHA = 127


@dataclass(frozen=True)
class Piece:
    """Frames start .. stop - 1 of a span."""

    span: int
    """Index of the span."""
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def choose_pieces(spans: Sequence[Span], max_frames: int) -> list[Piece]:
    """Runs of consecutive frames, at most `max_frames` in all, spread evenly over the spans."""
    pieces = []
    for number, span in enumerate(spans):
        count = -(-(span.stop - span.start) // CHUNK_FRAMES)
        edges = np.linspace(span.start, span.stop, count + 1).astype(int).tolist()
        pieces += [Piece(number, a, b) for a, b in pairwise(edges)]
    total = sum(map(len, pieces))
    if total <= max_frames:
        return pieces
    wanted = max(1, round(max_frames * len(pieces) / total))
    chosen, left = [], max_frames
    for index in evenly_spaced(np.arange(len(pieces)), wanted).tolist():
        piece = pieces[index]
        chosen.append(Piece(piece.span, piece.start, min(piece.stop, piece.start + left)))
        left -= len(chosen[-1])
        if not left:
            break
    return chosen


class PortraitChunks:
    """Draws the chunks of a portrait, one after the other."""

    def __init__(
        self,
        avatar: EvaluatedAvatar,
        portrait: ReferencePortrait,
        tracked: MotionTrack,
        spans: Sequence[Span],
        predictions: Sequence[MotionTrack],
    ) -> None:
        """`tracked`: the portrait's own motion, [F]; `predictions`: from speech, one a span."""
        self._portrait, self._tracked = portrait, tracked
        self._spans, self._predictions = spans, predictions
        self.clock = RenderClock(avatar, portrait.camera.width)
        self.from_speech = f"{avatar.name}, from speech"
        self.from_landmarks = f"{avatar.name}, from tracked landmarks"
        self.pasted_from_speech = f"{avatar.name}, pasted, from speech"
        self.pasted_from_landmarks = f"{avatar.name}, pasted, from tracked landmarks"
        self._faces = None if avatar.files.body is None else LowerFaces(avatar, portrait.camera)
        self._plate = scene_plates(portrait)
        # The first frame of the training part: a held-out one would be compared with itself.
        self._still = portrait.frame(int(np.argmin(portrait.heldout)))[0]

    @property
    def pasted(self) -> tuple[str, ...]:
        """The rows of pasted pictures: none if the avatar carries no video of the person."""
        return () if self._faces is None else (self.pasted_from_speech, self.pasted_from_landmarks)

    @property
    def rows(self) -> tuple[str, ...]:
        """All rows, the drawn ones first."""
        return (self.from_speech, self.from_landmarks, *self.pasted)

    def draw(self, piece: Piece) -> Chunk:
        """The piece as a chunk."""
        span, portrait = self._spans[piece.span], self._portrait
        spoken = self._spoken(piece)
        plate = self._plate(span.segment)
        frames = range(piece.start, piece.stop)
        tracked = self._tracked[piece.start : piece.stop]
        drawn = {
            self.from_speech: list(self.clock.draw(spoken, plate)),
            self.from_landmarks: list(self.clock.draw(tracked, plate)),
        }
        references = [self._reference(index) for index in frames]
        pasted = {
            row: self._paste(references, tracked, motion)
            for row, motion in ((self.pasted_from_speech, spoken), (self.pasted_from_landmarks, tracked))
            if row in self.pasted
        }
        lead = range(max(span.segment_start, piece.start - DELAY_FRAMES), piece.start)
        return Chunk(
            name=_name(portrait.segments[span.segment].name, piece, span),
            references=references,
            evaluated=drawn | {row: [image for image, _ in pictures] for row, pictures in pasted.items()},
            masks={row: [mask for _, mask in pictures] for row, pictures in pasted.items()},
            before=[portrait.frame(index)[0] for index in lead],
            still=self._still,
            sound=self._sound(piece, span),
            words=self._words(piece, span),
        )

    def _paste(
        self, references: Sequence[ReferenceFrame], tracked: MotionTrack, motion: MotionTrack
    ) -> list[tuple[ByteArray, FloatArray]]:
        """Recorded frames with the lower face of a motion, and the masks of what is drawn."""
        assert self._faces is not None
        return [
            self._faces.paste(reference.image, tracked[i : i + 1], points, number=i)
            for i, (reference, points) in enumerate(zip(references, motion.points, strict=True))
        ]

    def _spoken(self, piece: Piece) -> MotionTrack:
        """Landmarks from speech, head pose from the portrait."""
        first = piece.start - self._spans[piece.span].start
        points = self._predictions[piece.span].points[first : first + len(piece)]
        return MotionTrack(points, self._tracked.pose[piece.start : piece.stop])

    def _reference(self, index: int) -> ReferenceFrame:
        image, masks = self._portrait.frame(index)
        return ReferenceFrame(
            np.array(image), masks[..., 0] > _ALPHA, masks[..., 1] > _ALPHA, self._portrait.mouth_box[index]
        )

    def _sound(self, piece: Piece, span: Span) -> Waveform:
        samples = self._portrait.audio(span.segment).samples
        first, last = piece.start - span.segment_start, piece.stop - span.segment_start
        return Waveform(samples[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME])

    def _words(self, piece: Piece, span: Span) -> Words | None:
        words = self._portrait.segments[span.segment].words
        return shift_words(words, piece.start - span.segment_start, len(piece)) if words else None


def shift_words(words: Words, first_frame: int, frames: int) -> Words:
    """Words of a longer recording as seen from `first_frame`: those that touch the `frames` after it."""
    begin, seconds = first_frame / VIDEO_RATE_HZ, frames / VIDEO_RATE_HZ
    moved = ((start - begin, stop - begin, word) for start, stop, word in words)
    return tuple(entry for entry in moved if entry[1] > 0 and entry[0] < seconds)


def _name(segment: str, piece: Piece, span: Span) -> str:
    """The segment's name, with the second where only a part of the segment is seen."""
    begin = (piece.start - span.segment_start) / VIDEO_RATE_HZ
    return segment if len(piece) == span.segment_stop - span.segment_start else f"{segment} from {begin:.1f} s"


def scene_plates(portrait: ReferencePortrait) -> Callable[[int], FloatArray | None]:
    """Plate of a segment if its scene is not the one the avatar carries: what lies behind is not what is evaluated."""

    @lru_cache(maxsize=2)
    def plate(segment: int) -> FloatArray | None:
        own = portrait.segment_background(segment)
        return None if np.array_equal(own, portrait.background) else (own / 255).astype(np.float32)

    return plate
