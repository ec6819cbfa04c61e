"""How far the sound of each stretch of frames is from its picture: which are measured together, and what is told of it.

A file that is long enough has an offset, and perhaps a drift, of its own; short files are taken as recorded alike. A
stretch that is sure of another offset by itself, as after a cut, has that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.sync_offset import UNKNOWN, Agreement, SoundOffset, bears_out, fit_offset, fit_runs
from geneface.portrait.lips_asked import LipListener
from geneface.types import VIDEO_RATE_HZ, Waveform

LONG_SOURCE_FRAMES = 15 * VIDEO_RATE_HZ
"""Sources at least this long get an offset of their own; shorter ones are taken as recorded alike and share one."""
UNSURE, TOGETHER = "whether the sound fits the lips can't be told", "sound and picture are together"

RunFrames = tuple[int, int, NDArray[np.floating]]
"""Source, first frame, meshes [f, 478, 3] in pixels of a stretch of tracked frames."""


def run_offsets(
    sounds: Sequence[Waveform | None], runs: Sequence[RunFrames], listener: LipListener | None = None
) -> list[SoundOffset]:
    """The sound's offset of each run; `UNKNOWN` where its source has no sound that is used.

    Args:
        sounds: of each source.
        listener: networks that are loaded already.
    """
    offsets = [UNKNOWN] * len(runs)
    heard = [(index, sounds[source]) for index, (source, _, _) in enumerate(runs)]
    known = [(index, sound) for index, sound in heard if sound is not None]
    if not known:
        return offsets
    meshes, starts = [runs[index][2] for index, _ in known], [runs[index][1] for index, _ in known]
    agreements = (listener or LipListener()).agreements(meshes, starts, [sound for _, sound in known])
    for members in _groups([runs[index] for index, _ in known]):
        may_drift = len({runs[known[member][0]][0] for member in members}) == 1
        found = fit_runs([agreements[member] for member in members], may_drift=may_drift)
        for member, offset in zip(members, found, strict=True):
            offsets[known[member][0]] = offset
        if not may_drift:
            sources = {member: runs[known[member][0]][0] for member in members}
            _leave_strangers(offsets, {known[m][0]: (sources[m], agreements[m]) for m in members})
    return offsets


def _leave_strangers(offsets: list[SoundOffset], members: Mapping[int, tuple[int, Sequence[Agreement]]]) -> None:
    """Of files that share an offset, those whose own lips contradict it (another's voice, say) keep what they tell.

    Args:
        members: run -> source and its windows.
    """
    for source in {source for source, _ in members.values()}:
        own = [index for index, (of, _) in members.items() if of == source]
        windows = [window for index in own for window in members[index][1]]
        if any(offsets[index].confident and not bears_out(windows, offsets[index]) for index in own):
            alone = fit_offset(windows)
            for index in own:
                offsets[index] = alone


def _groups(runs: Sequence[RunFrames]) -> list[list[int]]:
    """Which runs are measured together: those of a long source, and those of all short ones."""
    lengths: dict[int, int] = {}
    for source, _, mesh_px in runs:
        lengths[source] = lengths.get(source, 0) + len(mesh_px)
    groups: dict[int, list[int]] = {}
    for index, (source, _, _) in enumerate(runs):
        groups.setdefault(source if lengths[source] >= LONG_SOURCE_FRAMES else -1, []).append(index)
    return list(groups.values())


@dataclass(frozen=True)
class RunOffset:
    """The offset of a stretch of frames [start, stop) of a source."""

    source: int
    start: int
    stop: int
    offset: SoundOffset

    @property
    def frames(self) -> int:
        return self.stop - self.start


def describe_source(runs: Sequence[RunOffset], deed: str) -> list[str]:
    """What is to be said of one source's sound, in sentences; what most of it has comes first.

    Args:
        deed: what happens to sound that is late: "corrected", "left so".
    """
    members: dict[SoundOffset, list[RunOffset]] = {}
    for run in runs:
        members.setdefault(run.offset, []).append(run)
    said: list[str] = []
    for offset, own in sorted(members.items(), key=lambda item: -sum(run.frames for run in item[1])):
        text = _describe(offset, own[0].start, own[-1].stop, deed)
        if not said:
            said.append(text)
        else:
            spans = ", ".join(f"{run.start / VIDEO_RATE_HZ:.2f}-{run.stop / VIDEO_RATE_HZ:.2f} s" for run in own)
            said.append(f"in {spans} {text}")
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


def describe_offsets(names: Mapping[int, str], runs: Sequence[RunOffset]) -> dict[str, object]:
    """The manifest's `sound_offset`: one entry if all agree, otherwise one a source, or one a stretch of it."""
    unit = {"unit": "frames the sound is late"}
    distinct = {run.offset for run in runs}
    if len(distinct) == 1:
        return {**unit, **next(iter(distinct)).to_json()}
    sources: dict[str, object] = {}
    for source in dict.fromkeys(run.source for run in runs):
        own = [run for run in runs if run.source == source]
        if len({run.offset for run in own}) == 1:
            sources[names[source]] = own[0].offset.to_json()
        else:
            sources[names[source]] = [
                {"start": run.start / VIDEO_RATE_HZ, "stop": run.stop / VIDEO_RATE_HZ, **run.offset.to_json()}
                for run in own
            ]
    return {**unit, "sources": sources}
