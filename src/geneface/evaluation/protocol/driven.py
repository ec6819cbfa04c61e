"""A face that is asked for more than its recording showed: does it break up?

Averages over held-out frames look where the renderer was trained. Here the avatar speaks another sentence, under
another head's movement, and each measure of face and pose is driven to the edge of what was seen and beyond (`drive`).
Every frame's speckle and dots (`speckle`) are divided by the median of the ground truth's or, without a portrait, of
the avatar's own speech with open eyes. F frames at 25 Hz.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.performance import Performance
from geneface.evaluation.metrics.blinks import blink_pair
from geneface.evaluation.metrics.speckle import (
    DRIVEN_RATIO_KEYS,
    DRIVEN_RISE_KEYS,
    SPECKLE_MEASURES,
    FaceRegions,
    as_series,
    frame_speckle,
    with_beads,
    worst_window,
)
from geneface.evaluation.protocol.controls import BEADS, TRUTH, verdicts
from geneface.evaluation.protocol.drive import Drive, DrivenMotion, driven_motions, own_motion, seen_motion
from geneface.evaluation.schema import Figure, MetricRow, MetricTable, Role, figure
from geneface.evaluation.subjects import EvaluatedAvatar, ReferencePortrait, evenly_spaced
from geneface.geometry.camera import project
from geneface.geometry.landmarks import OVAL
from geneface.imaging.shapes import pixels_inside_polygon
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.types import VIDEO_RATE_HZ, ByteArray, Camera, FloatArray, MotionTrack, ProgressFn, Waveform, no_progress

_TRUTH_RUNS = 4
_OWN_FRAMES = 50
_ALPHA, _OPAQUE = 127, 0.5
_ALL = "all driven motion"
_ABSENT = "the region is not in the picture"

Series = dict[str, NDArray[np.float64]]
"""Measure -> [F]."""


@dataclass(frozen=True)
class WorstSecond:
    """Where a motion looks worst."""

    measure: str
    start: int
    """Its first frame."""
    ratio: float
    excess: float
    """How far the ratio is above that of the ground truth's own worst second; without one, the ratio itself."""


@dataclass(frozen=True)
class DrivenScores:
    """Speckle and dots of each driven motion, divided by the base."""

    drive: Drive
    motions: tuple[DrivenMotion, ...]
    ratios: tuple[Series, ...]
    """One a motion."""
    step: int
    """Every `step`-th frame was drawn."""
    base: Mapping[str, float]
    """Levels of 255."""
    truth: Series | None
    """The ground truth's, divided likewise; None where the base is the avatar's own speech."""
    beads: Series | None
    """The same frames with beads strewn over them."""

    @property
    def window(self) -> int:
        """Drawn frames in a second."""
        return max(1, VIDEO_RATE_HZ // self.step)

    def worst_second(self, motion: int) -> WorstSecond:
        """The worst second of a motion, in the measure that is furthest above what the ground truth has."""
        worst = WorstSecond(SPECKLE_MEASURES[0], 0, float("nan"), float("nan"))
        for key in SPECKLE_MEASURES:
            start, value = worst_window(self.ratios[motion][key], self.window)
            usual = 1.0 if self.truth is None else worst_window(self.truth[key], self.window)[1]
            if np.isfinite(value) and usual > 0 and not value / usual <= worst.excess:
                worst = WorstSecond(key, start * self.step, value, value / usual)
        return worst

    def worst(self, key: str) -> tuple[str, float]:
        """The motion with the worst second of a measure, and the ratio; nan where the region is never there."""
        seconds = [worst_window(ratios[key], self.window)[1] for ratios in self.ratios]
        known = [(value, motion.name) for value, motion in zip(seconds, self.motions, strict=True) if value == value]
        return (max(known)[1], max(known)[0]) if known else ("", float("nan"))


def demo_sentence() -> Waveform:
    """The bundled sentence, which no avatar was trained on."""
    return read_audio(asset_path("speech", "demo.flac"))


def measure_driven(
    avatar: EvaluatedAvatar,
    portrait: ReferencePortrait | None,
    audio: Waveform,
    *,
    step: int = 1,
    progress: ProgressFn = no_progress,
) -> DrivenScores:
    """Drive the avatar and measure its pictures.

    Args:
        portrait: the one it was trained on; without it, its own speech stands for what was seen.
        audio: a sentence that is not the recording's.
        step: draw only every `step`-th frame.
    """
    speech = avatar.motion(audio, Performance(body="drawn"))
    seen = own_motion(avatar, audio) if portrait is None else seen_motion(portrait)
    motions = driven_motions(seen, speech, blink_pair(avatar, audio).closed)
    if portrait is None:
        calm = avatar.motion(audio, Performance(blink=False, body="drawn"))
        chosen = evenly_spaced(np.arange(len(calm)), _OWN_FRAMES // step + 1)
        own = [frame_speckle(*shown) for shown in draw_regions(avatar, calm[chosen])]
        base, truth, beads = _medians(as_series(own)), None, None
    else:
        truth, beads = _truth_series(portrait, step)
        base = _medians(truth)
        truth, beads = _divided(truth, base), _divided(beads, base)
    total = sum(-(-len(motion.track) // step) for motion in motions)
    done, ratios = 0, []
    for motion in motions:
        frames = []
        for shown in draw_regions(avatar, motion.track[::step]):
            frames.append(frame_speckle(*shown))
            done += 1
            progress("driven beyond the recording", done, total)
        ratios.append(_divided(as_series(frames), base))
    return DrivenScores(Drive(seen), tuple(motions), tuple(ratios), step, base, truth, beads)


def driven_table(name: str, scores: DrivenScores) -> MetricTable:
    """One row for all driven motion and one for each; with a portrait also the ground truth and the control."""
    own = scores.truth is None
    rows: list[MetricRow] = []

    def add(row: str, role: Role, parts: Sequence[Series]) -> None:
        rows.append(MetricRow(name=row, role=role, figures=_figures(parts, scores.window, own)))

    if scores.truth is not None and scores.beads is not None:
        add(TRUTH, "truth", [scores.truth])
    add(f"{name}, {_ALL}", "evaluated", scores.ratios)
    for motion, ratios in zip(scores.motions, scores.ratios, strict=True):
        add(f"{name}, {motion.name}", "part", [ratios])
    if scores.beads is not None:
        add(BEADS, "control", [scores.beads])
    frames = 0 if scores.truth is None else len(scores.truth[SPECKLE_MEASURES[0]])
    return MetricTable(
        title="Driven beyond the recording",
        note=_note(scores),
        rows=rows,
        verdicts=verdicts(rows, TRUTH, frames, {"beads": BEADS}),
    )


def draw_regions(avatar: EvaluatedAvatar, motion: MotionTrack) -> Iterator[tuple[ByteArray, FaceRegions]]:
    """The frames of a motion over the avatar's plate, and where each shows what."""
    for index, frame in enumerate(avatar.drawn(motion)):
        regions = FaceRegions(
            frame.head_opacity > _OPAQUE,
            _outline(motion.points[index], motion.pose.rotation[index], motion.pose.translation[index], avatar.camera),
            frame.opacity - frame.head_opacity > _OPAQUE,
        )
        yield frame.to_uint8(), regions


def _outline(points: FloatArray, rotation: FloatArray, translation: FloatArray, camera: Camera) -> NDArray[np.bool_]:
    """Pixels inside the outline of the face."""
    return pixels_inside_polygon(project(points[OVAL], rotation, translation, camera), camera.height, camera.width)


def _truth_series(portrait: ReferencePortrait, step: int) -> tuple[Series, Series]:
    """Levels of 255 of the ground truth in a few runs of a second, and of the same frames with beads."""
    rng = np.random.default_rng(0xBEAD)
    truth, beads = [], []
    for index in _truth_frames(portrait, step):
        picture, masks = portrait.frame(index)
        image, head, torso = np.array(picture), masks[..., 0] > _ALPHA, masks[..., 1] > _ALPHA
        pose = portrait.pose
        outline = _outline(portrait.landmarks[index], pose.rotation[index], pose.translation[index], portrait.camera)
        regions = FaceRegions(head, outline, torso)
        truth.append(frame_speckle(image, regions))
        beads.append(frame_speckle(with_beads(image, head | torso, rng), regions))
    return as_series(truth), as_series(beads)


def _truth_frames(portrait: ReferencePortrait, step: int) -> list[int]:
    """Runs of a second inside one segment each, spread over the portrait; held-out frames where there are enough."""
    heldout, segment = np.asarray(portrait.heldout), np.asarray(portrait.segment)
    for chosen in (heldout, np.ones(len(segment), bool)):
        starts = np.flatnonzero(chosen)
        last = starts + VIDEO_RATE_HZ - 1
        starts, last = starts[last < len(segment)], last[last < len(segment)]
        starts = starts[chosen[last] & (segment[starts] == segment[last])]
        if len(starts):
            runs = evenly_spaced(starts, _TRUTH_RUNS).tolist()
            return [frame for start in runs for frame in range(start, start + VIDEO_RATE_HZ, step)]
    return list(range(0, len(segment), step))


def _medians(series: Series) -> dict[str, float]:
    return {
        key: float(np.median(known)) if len(known := v[np.isfinite(v)]) else float("nan") for key, v in series.items()
    }


def _divided(series: Series, base: Mapping[str, float]) -> Series:
    """nan where the base is 0 or not known."""
    return {
        key: values / base[key] if base[key] > 0 else np.full(len(values), np.nan) for key, values in series.items()
    }


def _figures(parts: Sequence[Series], window: int, own: bool) -> dict[str, Figure]:
    """Mean over all frames, and the worst second of any part."""
    keys = iter(DRIVEN_RISE_KEYS if own else DRIVEN_RATIO_KEYS)
    figures: dict[str, Figure] = {}
    for measure in SPECKLE_MEASURES:
        values = np.concatenate([part[measure] for part in parts])
        known = values[np.isfinite(values)]
        seconds = [worst_window(part[measure], window)[1] for part in parts]
        seconds = [value for value in seconds if np.isfinite(value)]
        figures[next(keys)] = figure(float(known.mean()) if len(known) else float("nan"), _ABSENT)
        figures[next(keys)] = figure(max(seconds) if seconds else float("nan"), _ABSENT)
    return figures


def _note(scores: DrivenScores) -> str:
    frames = sum(len(ratios[SPECKLE_MEASURES[0]]) for ratios in scores.ratios)
    base = ", ".join(f"{key.replace('_', ' ')} {scores.base[key]:.3g}" for key in SPECKLE_MEASURES)
    if scores.truth is None:
        return f"{frames} frames. Divided by the medians of its own speech with open eyes (levels of 255: {base})."
    spread = np.nanpercentile(scores.truth["speckle"], [5, 95])
    return (
        f"{frames} frames. Divided by the medians of the ground truth (levels of 255: {base}; the 5th and 95th "
        f"percentile of its own speckle are {spread[0]:.2f} and {spread[1]:.2f})."
    )
