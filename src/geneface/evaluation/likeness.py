"""Likeness: held-out frames drawn from their own tracked landmarks and pose, against the frames themselves.

It shows what the renderer can do, apart from how well speech predicts the motion. The controls are measured on the
same frames: what our own video encoding costs, what two frames of delay cost, and what a still picture would score.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.image import ImageScores
from geneface.evaluation.schema import Figure, MetricRow, MetricTable, figure
from geneface.evaluation.sheet import SheetEntry
from geneface.evaluation.subjects import (
    EvaluatedAvatar,
    ReferencePortrait,
    Span,
    evenly_spaced,
    heldout_spans,
    late_frame,
)
from geneface.io.video import read_frames, write_video
from geneface.render.renderer import RenderedFrame
from geneface.types import ByteArray, Camera, FloatArray, MotionTrack, ProgressFn

CONTROL_DELAY_FRAMES = 2
_HEAD_ALPHA = 127
_WARM_UP_FRAMES = 3
"""The first frames pay for buffers and threads: they are drawn but not timed."""
_EMPTY_HEAD, _EMPTY_MOUTH = "the head masks are empty", "the mouth is outside of every frame"


@dataclass(frozen=True)
class Likeness:
    """Result of `measure_likeness`."""

    table: MetricTable
    render_rate: Figure
    entries: list[SheetEntry]


class RenderClock:
    """Times the renderer alone."""

    def __init__(self, avatar: EvaluatedAvatar, camera: Camera) -> None:
        self._renderer, self._camera = avatar.renderer, camera
        self._frames, self._seconds = 0, 0.0

    def draw(self, motion: MotionTrack, index: int, plate: FloatArray | None = None) -> ByteArray:
        """Draw frame `index` of the motion, [H, W, 3], over the avatar's plate or over [H, W, 3] in [0, 1]."""
        begin = time.perf_counter()
        frame = self._renderer.render(
            motion.landmarks.points[index], motion.pose.rotation[index], motion.pose.translation[index], self._camera
        )
        image = frame.to_uint8()
        self._frames += 1
        if self._frames > _WARM_UP_FRAMES:
            self._seconds += time.perf_counter() - begin
        return image if plate is None else _over(frame, plate)

    def rate(self) -> Figure:
        """Frames a second."""
        timed = self._frames - _WARM_UP_FRAMES
        value = timed / self._seconds if timed > 0 and self._seconds > 0 else float("nan")
        return figure(value, f"fewer than {_WARM_UP_FRAMES + 1} frames were drawn")


def measure_likeness(
    avatar: EvaluatedAvatar,
    portrait: ReferencePortrait,
    tracked: MotionTrack,
    *,
    max_frames: int,
    sheet_frames: int,
    progress: ProgressFn,
) -> Likeness:
    """Compare at most `max_frames` held-out frames with their renderings.

    Args:
        tracked: the portrait's own motion, [F].
        sheet_frames: how many of them to keep for the contact sheet.
    """
    spans = heldout_spans(portrait.segment, portrait.heldout)
    frames = evenly_spaced(np.flatnonzero(portrait.heldout), max_frames)
    shown = set(evenly_spaced(frames, sheet_frames).tolist())
    clock = RenderClock(avatar, portrait.camera)
    plates = _scene_plates(portrait)
    rendered, late, still = ImageScores(), ImageScores(), ImageScores()
    still_image = portrait.frame(_still_index(portrait.heldout))[0]
    entries = []
    for done, index in enumerate(frames.tolist()):
        image, head = _truth(portrait, index)
        drawn = clock.draw(tracked, index, plates(int(portrait.segment[index])))
        box = portrait.mouth_box[index]
        rendered.add(image, drawn, head, box)
        late_index = late_frame(index, _span_of(index, spans), CONTROL_DELAY_FRAMES)
        late.add(image, portrait.frame(late_index)[0], head, box)
        still.add(image, still_image, head, box)
        if index in shown:
            entries.append(SheetEntry(np.array(image), drawn, box, str(index)))
        progress("likeness", done + 1, len(frames))
    encoded = _score_encoding(portrait, frames, progress)
    scores = {avatar.name: rendered, "ground truth, encoded as our MP4": encoded}
    scores |= {f"ground truth, {CONTROL_DELAY_FRAMES} frames late": late, "still frame of the training part": still}
    rows = [
        MetricRow(
            name=name,
            role="evaluated" if row is rendered else "control",
            figures=row.figures(_EMPTY_HEAD, _EMPTY_MOUTH),
        )
        for name, row in scores.items()
    ]
    note = f"{len(frames)} held-out frames (spans: {len(spans)}), drawn from their own tracked landmarks and head pose."
    return Likeness(MetricTable(title="Likeness", note=note, rows=rows), clock.rate(), entries)


def _truth(portrait: ReferencePortrait, index: int) -> tuple[ByteArray, NDArray[np.bool_]]:
    image, masks = portrait.frame(index)
    return image, masks[..., 0] > _HEAD_ALPHA


def _scene_plates(portrait: ReferencePortrait) -> Callable[[int], FloatArray | None]:
    """Plate of a segment if its scene is not the one the avatar carries: what lies behind is not what is evaluated."""

    @lru_cache(maxsize=2)
    def plate(segment: int) -> FloatArray | None:
        own = portrait.segment_background(segment)
        return None if np.array_equal(own, portrait.background) else (own / 255).astype(np.float32)

    return plate


def _over(frame: RenderedFrame, plate: FloatArray) -> ByteArray:
    """The frame with its plate exchanged: what shines through it is known."""
    moved = frame.rgb + (1 - frame.opacity[..., None]) * (plate - frame.plate)
    return np.round(np.clip(moved, 0, 1) * 255).astype(np.uint8)


def _still_index(heldout: NDArray[np.bool_]) -> int:
    """The first frame of the training part: a held-out one would be compared with itself."""
    return int(np.argmin(heldout))


def _span_of(index: int, spans: list[Span]) -> Span:
    return next(span for span in spans if span.start <= index < span.stop)


def _score_encoding(portrait: ReferencePortrait, frames: NDArray[np.integer], progress: ProgressFn) -> ImageScores:
    """Score the ground truth after our own MP4 writer, the ceiling of every video we write."""
    scores = ImageScores()
    if not len(frames):
        return scores

    def originals() -> Iterator[ByteArray]:
        for index in frames.tolist():
            yield portrait.frame(index)[0]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ground_truth.mp4"
        write_video(path, originals(), None)
        for done, (index, decoded) in enumerate(zip(frames.tolist(), read_frames(path), strict=False)):
            image, head = _truth(portrait, index)
            scores.add(image, decoded.image, head, portrait.mouth_box[index])
            progress("encoding control", done + 1, len(frames))
    return scores
