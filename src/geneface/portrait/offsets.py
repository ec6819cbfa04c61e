"""How far the sound of each span of frames is from its picture: which are measured together, and what is reported.

A file that is long enough has an offset, and perhaps a drift, of its own; short files are taken as recorded alike, and
each may be a fraction of a frame off what they share. A span that is sure of another offset by itself, as after a cut,
has that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.sync_offset import UNKNOWN, Agreement, SoundOffset, bears_out, fit_near, fit_offset, fit_spans
from geneface.portrait.lips_asked import LipListener
from geneface.types import VIDEO_RATE_HZ, Waveform

LONG_SOURCE_FRAMES = 15 * VIDEO_RATE_HZ
"""Sources at least this long get an offset of their own; shorter ones are taken as recorded alike, to a
fraction of a frame."""
UNSURE, TOGETHER = "whether the sound fits the lips can't be told", "sound and picture are together"

SpanFrames = tuple[int, int, NDArray[np.floating]]
"""Source, first frame, meshes [f, 478, 3] in pixels of a span of tracked frames."""


def span_offsets(
    sounds: Sequence[Waveform | None], spans: Sequence[SpanFrames], listener: LipListener | None = None
) -> list[SoundOffset]:
    """The sound's offset of each span; `UNKNOWN` where its source has no sound that is used.

    Args:
        sounds: of each source.
        listener: networks that are loaded already.
    """
    offsets = [UNKNOWN] * len(spans)
    heard = [(index, sounds[source]) for index, (source, _, _) in enumerate(spans)]
    known = [(index, sound) for index, sound in heard if sound is not None]
    if not known:
        return offsets
    meshes, starts = [spans[index][2] for index, _ in known], [spans[index][1] for index, _ in known]
    agreements = (listener or LipListener()).agreements(meshes, starts, [sound for _, sound in known])
    for members in _groups([spans[index] for index, _ in known]):
        may_drift = len({spans[known[member][0]][0] for member in members}) == 1
        found = fit_spans([agreements[member] for member in members], may_drift=may_drift)
        for member, offset in zip(members, found, strict=True):
            offsets[known[member][0]] = offset
        if not may_drift:
            sources = {member: spans[known[member][0]][0] for member in members}
            _tell_apart(offsets, {known[m][0]: (sources[m], agreements[m]) for m in members})
    return offsets


def _tell_apart(offsets: list[SoundOffset], members: Mapping[int, tuple[int, Sequence[Agreement]]]) -> None:
    """Of files that share an offset, each is moved to where its own lips are, near by.

    Those whose lips contradict the offset (another's voice, say) keep their own.

    Args:
        members: span -> source and its windows.
    """
    shared = Counter(offsets[index] for index in members).most_common(1)[0][0]
    for source in {source for source, _ in members.values()}:
        own = [index for index, (of, _) in members.items() if of == source]
        windows = [window for index in own for window in members[index][1]]
        if any(offsets[index].confident and not bears_out(windows, offsets[index]) for index in own):
            alone = fit_offset(windows)
        elif shared.confident and windows and all(offsets[index] == shared for index in own):
            alone = fit_near(windows, shared)
        else:
            continue
        for index in own:
            offsets[index] = alone


def _groups(spans: Sequence[SpanFrames]) -> list[list[int]]:
    """Which spans are measured together: those of a long source, and those of all short ones."""
    lengths: dict[int, int] = {}
    for source, _, mesh_px in spans:
        lengths[source] = lengths.get(source, 0) + len(mesh_px)
    groups: dict[int, list[int]] = {}
    for index, (source, _, _) in enumerate(spans):
        groups.setdefault(source if lengths[source] >= LONG_SOURCE_FRAMES else -1, []).append(index)
    return list(groups.values())


@dataclass(frozen=True)
class SpanOffset:
    """The offset of a span of frames [start, stop) of a source."""

    source: int
    start: int
    stop: int
    offset: SoundOffset

    @property
    def frames(self) -> int:
        """Its length."""
        return self.stop - self.start


def describe_source(spans: Sequence[SpanOffset], deed: str) -> list[str]:
    """What the user is told of one source's sound, in sentences; what holds for most of it comes first.

    Args:
        deed: what happens to sound that is late: "corrected", "left so".
    """
    members: dict[SoundOffset, list[SpanOffset]] = {}
    for span in spans:
        members.setdefault(span.offset, []).append(span)
    said: list[str] = []
    for offset, own in sorted(members.items(), key=lambda item: -sum(span.frames for span in item[1])):
        text = _describe(offset, own[0].start, own[-1].stop, deed)
        if not said:
            said.append(text)
        else:
            times = ", ".join(f"{span.start / VIDEO_RATE_HZ:.2f}-{span.stop / VIDEO_RATE_HZ:.2f} s" for span in own)
            said.append(f"in {times} {text}")
    return said


def _describe(offset: SoundOffset, start: int, stop: int, deed: str) -> str:
    sure = f"confidence {offset.confidence:.2f}"
    if not offset.confident:
        return f"{UNSURE} ({sure}): it is left as it is"
    first, last = offset.shift(start), offset.shift(stop)
    if not first and not last:
        return f"{TOGETHER} ({sure})"
    if offset.drift_ppm:
        return f"the sound is {_frames_late(first)} at first and {_frames_late(last)} in the end ({deed}; {sure})"
    return f"the sound is {_frames_late(first)} ({deed}; {sure})"


def _frames_late(frames: float) -> str:
    count = f"{abs(frames):.1f}".removesuffix(".0")
    unit = "frame" if count == "1" else "frames"
    milliseconds = round(abs(frames) * 1000 / VIDEO_RATE_HZ)
    return f"{count} {unit} ({milliseconds} ms) {'late' if frames > 0 else 'early'}"


def describe_offsets(names: Mapping[int, str], spans: Sequence[SpanOffset]) -> dict[str, object]:
    """The manifest's `sound_offset`: one entry if all agree, otherwise one a source, or one a span of it."""
    unit = {"unit": "frames the sound is late"}
    distinct = {span.offset for span in spans}
    if len(distinct) == 1:
        return {**unit, **next(iter(distinct)).to_json()}
    sources: dict[str, object] = {}
    for source in dict.fromkeys(span.source for span in spans):
        own = [span for span in spans if span.source == source]
        if len({span.offset for span in own}) == 1:
            sources[names[source]] = own[0].offset.to_json()
        else:
            sources[names[source]] = [
                {"start": span.start / VIDEO_RATE_HZ, "stop": span.stop / VIDEO_RATE_HZ, **span.offset.to_json()}
                for span in own
            ]
    return {**unit, "sources": sources}
