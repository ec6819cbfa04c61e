"""Which frames of which videos are used, framed how, and why the others are not: one judgement for `check` and
`prepare`.

scan (detector, cuts, sound) -> shots -> the face followed through every frame -> judges -> spans -> squares -> sound
moved to its picture -> segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from geneface.analysis.sync_offset import UNKNOWN
from geneface.portrait import steps
from geneface.portrait.crops import Framed, Square, inside, plan_crops
from geneface.portrait.judges import judge_all
from geneface.portrait.manifest import DroppedSpan
from geneface.portrait.offsets import SpanOffset
from geneface.portrait.plan import HEAD_LEAVES, OTHER_SCENE, Shot, dropped, usable_shots
from geneface.portrait.quality import scenes_of
from geneface.portrait.scan import SourceScan
from geneface.portrait.segments import Segment, plan_segments
from geneface.portrait.tracks import TrackedSpan, split_span, tracked_spans
from geneface.portrait.verdict import Note, TrackedShot
from geneface.signal.spans import true_spans
from geneface.types import VIDEO_RATE_HZ, Waveform

_FRAMINGS = 3
"""How many times squares are chosen, each time for what those before could not hold."""
_OWN_FRAMES = 4 * VIDEO_RATE_HZ
"""How long the head must stay elsewhere to be worth a square and a background of its own."""


@dataclass(frozen=True)
class Survey:
    """All decisions about the videos."""

    scans: Sequence[SourceScan]
    shots: Sequence[Shot]
    """What was tracked; `TrackedSpan.shot` points here."""
    segments: list[Segment]
    """What is used; meshes in pixels of the sources."""
    squares: list[Square]
    """By `TrackedSpan.framing`."""
    dropped: list[DroppedSpan]
    """What is not used, by source and time."""
    offsets: list[SpanOffset]
    """Of all spans that were tracked."""
    notes: list[Note]
    """What judges want to be known; `Note.shot` points into `shots`."""

    def place(self, note: Note) -> tuple[SourceScan, float, float]:
        """Where a note belongs: the source, from when to when in seconds."""
        shot = self.shots[note.shot]
        start, stop = shot.start + note.start, shot.start + note.stop
        return self.scans[shot.source], start / VIDEO_RATE_HZ, stop / VIDEO_RATE_HZ

    def offsets_of(self, source: int) -> list[SpanOffset]:
        """The sound's offset in each span of one source."""
        return [span for span in self.offsets if span.source == source]

    def in_scene(self, scene: int) -> list[Segment]:
        """What is used of one scene."""
        return [segment for segment in self.segments if segment.span.scene == scene]

    @property
    def scenes(self) -> list[int]:
        """Numbers of its scenes; scene 1 has the most frames."""
        return sorted({segment.span.scene for segment in self.segments})

    @property
    def main_frames(self) -> int:
        """Frames of scene 1, those held out included: what an avatar is trained on by default."""
        return sum(segment.span.frames for segment in self.in_scene(1))

    @property
    def main_heldout_frames(self) -> int:
        """Frames of scene 1 that are kept from training, to measure on."""
        return sum(int(segment.heldout_flags.sum()) for segment in self.in_scene(1))

    @property
    def unused(self) -> list[DroppedSpan]:
        """What an avatar of scene 1 does not show: what was dropped, and the other scenes."""
        rest = [segment.span for segment in self.segments if segment.span.scene > 1]
        others = [dropped(self.scans[s.source], s.start, s.start + s.frames, OTHER_SCENE) for s in rest]
        return [*self.dropped, *others]

    @property
    def frames(self) -> int:
        """Frames that are used, those held out included."""
        return sum(segment.span.frames for segment in self.segments)

    @property
    def heldout_frames(self) -> int:
        """Frames that are kept from training, to measure on."""
        return sum(int(segment.heldout_flags.sum()) for segment in self.segments)


def survey(
    prep: steps.Preparation,
    scans: Sequence[SourceScan],
    sounds: Sequence[Waveform | None],
    *,
    correct_sound: bool,
) -> Survey:
    """Track what is worth it and decide about every frame.

    Args:
        sounds: of each source; None where it can't be used.
    """
    shots, rest = usable_shots(scans)
    steps.track_faces(prep, scans, shots)
    steps.find_clues(prep, shots)
    tracked = [
        TrackedShot(scans[shot.source], shot, prep.followed(index), sounds[shot.source])
        for index, shot in enumerate(shots)
    ]
    reasons, notes = judge_all(tracked)
    spans: list[TrackedSpan] = []
    for index, (shot, why) in enumerate(zip(tracked, reasons, strict=True)):
        followed = shot.followed
        kept, lost = tracked_spans(index, shot.shot, shot.scan, followed.mesh_px, followed.found, why)
        spans += kept
        rest += lost
    scenes = scenes_of(tracked)
    spans = [replace(span, scene=scenes[span.shot]) for span in spans]
    spans, squares, lost = frame_spans(spans, tracked)
    rest += lost
    offsets = steps.find_offsets(prep, sounds, spans)
    applied = [span.offset if correct_sound else UNKNOWN for span in offsets]
    segments, silent = plan_segments(scans, spans, sounds, applied)
    rest = merge_spans([*rest, *silent])
    return Survey(scans, shots, segments, squares, rest, offsets, notes)


def frame_spans(
    spans: Sequence[TrackedSpan], tracked: Sequence[TrackedShot]
) -> tuple[list[TrackedSpan], list[Square], list[DroppedSpan]]:
    """Give each span its framing and square, and drop the frames whose head is outside.

    Scenes share no framing: a background belongs to one light.
    """
    kept: list[TrackedSpan] = []
    squares: list[Square] = []
    dropped: list[DroppedSpan] = []
    for scene in sorted({span.scene for span in spans}):
        own, found, lost = _frame_scene([span for span in spans if span.scene == scene], tracked)
        kept += [replace(span, framing=len(squares) + span.framing) for span in own]
        squares += found
        dropped += lost
    return sorted(kept, key=lambda span: (span.source, span.start)), squares, dropped


def _frame_scene(
    spans: Sequence[TrackedSpan], tracked: Sequence[TrackedShot]
) -> tuple[list[TrackedSpan], list[Square], list[DroppedSpan]]:
    """`frame_spans` of one scene.

    A span outside that is long enough gets a square of its own: somebody who moves his chair is lost for the
    moment in which he moves, not for the rest of the video.
    """
    kept: list[TrackedSpan] = []
    squares: list[Square] = []
    dropped: list[DroppedSpan] = []
    pending = list(spans)
    for turn in range(_FRAMINGS):
        framed = [_framed(span, tracked[span.shot]) for span in pending]
        framing_of, found = plan_crops(framed)
        elsewhere: list[TrackedSpan] = []
        for span, head, framing in zip(pending, framed, framing_of, strict=True):
            span = replace(span, framing=len(squares) + framing)
            is_inside = inside(head.heads, found[framing])
            outside = true_spans(~is_inside) if turn + 1 < _FRAMINGS else []
            away = [(start, stop) for start, stop in outside if stop - start >= _OWN_FRAMES]
            elsewhere += [span.cut(span.start + start, span.start + stop) for start, stop in away]
            edges = [0, *(edge for ends in away for edge in ends), span.frames]
            for start, stop in zip(edges[::2], edges[1::2], strict=True):
                if stop > start:
                    part = span.cut(span.start + start, span.start + stop)
                    good, lost = split_span(part, is_inside[start:stop], tracked[span.shot].scan, HEAD_LEAVES)
                    kept += good
                    dropped += lost
        squares += found
        pending = elsewhere
    return kept, squares, dropped


def _framed(span: TrackedSpan, shot: TrackedShot) -> Framed:
    return Framed(span.mesh_px, shot.followed.hair, shot.scan.width, shot.scan.height)


def merge_spans(dropped: Sequence[DroppedSpan]) -> list[DroppedSpan]:
    """Spans by source and time, those that follow on each other for one reason as one."""
    merged: list[DroppedSpan] = []
    for span in sorted(dropped, key=lambda span: (span.source, span.start)):
        last = merged[-1] if merged else None
        if last and (last.source, last.reason, last.stop) == (span.source, span.reason, span.start):
            merged[-1] = replace(last, stop=span.stop)
        else:
            merged.append(span)
    return merged
