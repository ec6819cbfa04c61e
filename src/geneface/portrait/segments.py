"""Which frames end up in the portrait, under which name, with which sound, and which are held out. Pure functions.

Frames count at 25 Hz from a source's first picture.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.sync_offset import SoundOffset
from geneface.portrait.manifest import DroppedSpan
from geneface.portrait.plan import NO_SOUND_HERE, dropped
from geneface.portrait.scan import SourceScan
from geneface.portrait.tracks import TrackedSpan, heldout_starts
from geneface.signal.sound import covered_frames
from geneface.types import Waveform


@dataclass(frozen=True)
class Segment:
    """A span of frames that stays, with all that is decided about it."""

    name: str
    span: TrackedSpan
    sound_shift: float
    """Frames by which the sound is late at the span's first frame."""
    sound_drift_ppm: float
    """How much later it becomes with time, in millionths."""
    heldout: tuple[int, int] | None
    """Frames [start, stop) of the span that training must not see; they end with the span."""

    @property
    def training_frames(self) -> int:
        """How many of the span's frames, from its start, training may see."""
        return self.heldout[0] if self.heldout else self.span.frames

    @property
    def heldout_flags(self) -> NDArray[np.bool_]:
        """[f] True where held out."""
        flags = np.zeros(self.span.frames, bool)
        if self.heldout:
            flags[self.heldout[0] : self.heldout[1]] = True
        return flags


def plan_segments(
    scans: Sequence[SourceScan],
    spans: Sequence[TrackedSpan],
    sounds: Sequence[Waveform | None],
    offsets: Sequence[SoundOffset],
) -> tuple[list[Segment], list[DroppedSpan]]:
    """Take from all spans what has sound once the sound is moved by its offset; name it and divide it.

    Args:
        sounds: of each source.
        offsets: of each span.
    """
    # Each scene can be trained alone: each has frames of its own to be measured on.
    heldout = {
        scene: heldout_starts([span for span in spans if span.scene == scene], len(scans))
        for scene in {span.scene for span in spans}
    }
    names = segment_names([scan.path for scan in scans], [span.source for span in spans])
    segments: list[Segment] = []
    rest: list[DroppedSpan] = []
    for span, name, offset in zip(spans, names, offsets, strict=True):
        sound = sounds[span.source]
        if sound is None:
            continue
        start, stop = (round(frame - offset.shift(frame)) for frame in _own_sound(span, offset, spans, offsets, sound))
        kept = span.cut(start, stop)
        end = kept.start + kept.frames
        for first, last in ((span.start, kept.start), (end, span.start + span.frames)):
            if last > first:
                rest.append(dropped(scans[span.source], first, last, NO_SOUND_HERE))
        if kept.frames:
            first = int(np.clip(heldout[span.scene][span.source] - kept.start, 0, kept.frames))
            held = (first, kept.frames) if first < kept.frames else None
            segments.append(Segment(name, kept, offset.shift(kept.start), offset.shift_ppm, held))
    return number_scenes(segments), rest


def number_scenes(segments: Sequence[Segment]) -> list[Segment]:
    """The same segments, their scenes numbered from 1: those with more frames first."""
    frames: dict[int, int] = {}
    for segment in segments:
        frames[segment.span.scene] = frames.get(segment.span.scene, 0) + segment.span.frames
    order = sorted(frames, key=lambda scene: (-frames[scene], scene))
    number = {scene: index + 1 for index, scene in enumerate(order)}
    return [replace(one, span=replace(one.span, scene=number[one.span.scene])) for one in segments]


def main_framing(segments: Sequence[Segment]) -> int:
    """The framing of scene 1 with the most frames."""
    frames: dict[int, int] = {}
    for segment in segments:
        if segment.span.scene == 1:
            frames[segment.span.framing] = frames.get(segment.span.framing, 0) + segment.span.frames
    return max(frames, key=lambda framing: (frames[framing], -framing))


def _own_sound(
    span: TrackedSpan,
    offset: SoundOffset,
    spans: Sequence[TrackedSpan],
    offsets: Sequence[SoundOffset],
    sound: Waveform,
) -> tuple[int, int]:
    """Frames [start, stop) of the sound that may belong to a span's pictures.

    Where shots of a file have offsets of their own, its sound was cut with its pictures: beyond the next shot's first
    picture stands that shot's sound.
    """
    start, stop = covered_frames(sound)
    for other, own in zip(spans, offsets, strict=True):
        if other.source == span.source and own != offset:
            if other.start >= span.start + span.frames:
                stop = min(stop, other.start)
            elif other.start + other.frames <= span.start:
                start = max(start, other.start + other.frames)
    return start, stop


def source_stems(paths: Sequence[str]) -> list[str]:
    """A unique name for each source: the file's, numbered where it repeats."""
    stems = [re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(path).stem).strip("._") or "video" for path in paths]
    return [stem if stems.count(stem) == 1 else f"{stem}-{index:03d}" for index, stem in enumerate(stems)]


def segment_names(paths: Sequence[str], sources: Sequence[int]) -> list[str]:
    """A unique file name for each span: that of its source, numbered where a source has several spans."""
    stems = source_stems(paths)
    counts: dict[int, int] = {}
    names = []
    for source in sources:
        number = counts.get(source, 0)
        counts[source] = number + 1
        names.append(stems[source] if list(sources).count(source) == 1 else f"{stems[source]}_{number:02d}")
    return names
