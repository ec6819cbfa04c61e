"""Motion from speech: predicted from held-out sound, against the motion that was tracked there, before any rendering.

The prediction passes through everything that an avatar's video does (encoder, motion model, adaptation, smoothing). The
landmarks are compared in the canonical head frame, so that head motion, which speech does not determine, plays no part.
All held-out spans are used, however few of them are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from geneface.avatar.performance import Performance
from geneface.evaluation.metrics.lip_sync import LIP_SYNC_KEYS, lip_sync_figures
from geneface.evaluation.metrics.lips import LipClip, face_width
from geneface.evaluation.metrics.registry import LIP_KEYS, lip_metrics
from geneface.evaluation.metrics.stability import stability_ratio_figures
from geneface.evaluation.protocol.chunks import shift_words
from geneface.evaluation.protocol.controls import CONTROL_NAMES, DELAY_FRAMES, TRUTH, verdicts
from geneface.evaluation.schema import Figure, MetricRow, MetricTable, Missing, missing
from geneface.evaluation.subjects import EvaluatedAvatar, ReferencePortrait, Span
from geneface.evaluation.tools import Tools
from geneface.geometry.landmarks import KEYPOINTS
from geneface.io.words import Words
from geneface.portrait.manifest import LITTLE_HELDOUT_SECONDS
from geneface.signal.timing import SAMPLES_PER_FRAME
from geneface.types import VIDEO_RATE_HZ, FloatArray, HeadPose, MotionTrack, ProgressFn, Waveform

CONTEXT_FRAMES = 50
"""Sound around a span is given to the encoder too, as it would be in a longer speech."""
MOTION_LIP_KEYS = tuple(key for key in LIP_KEYS if key != "lip_landmark_distance_px")


@dataclass(frozen=True)
class SpokenSpan:
    """One held-out span: truth, prediction, sound."""

    name: str
    reference: MotionTrack
    predicted: MotionTrack
    samples: FloatArray
    """[T] at 16 kHz, from the span's first frame."""
    words: Words | None


def predict_span(avatar: EvaluatedAvatar, portrait: ReferencePortrait, span: Span) -> MotionTrack:
    """Motion of the span from the portrait's sound, as long as the span."""
    first = max(span.segment_start, span.start - CONTEXT_FRAMES)
    last = min(span.segment_stop, span.stop + CONTEXT_FRAMES)
    sound = _samples(portrait, span, first, last)
    motion = avatar.motion(Waveform(sound), Performance(body="drawn"))
    return motion[span.start - first : span.stop - first]


def _samples(portrait: ReferencePortrait, span: Span, first: int, last: int) -> FloatArray:
    samples = portrait.audio(span.segment).samples
    begin = span.segment_start
    return samples[(first - begin) * SAMPLES_PER_FRAME : (last - begin) * SAMPLES_PER_FRAME]


def predict_spans(
    avatar: EvaluatedAvatar,
    portrait: ReferencePortrait,
    tracked: MotionTrack,
    spans: Sequence[Span],
    progress: ProgressFn,
) -> list[SpokenSpan]:
    """Predict every held-out span. `tracked`: the portrait's own motion, [F]."""
    spoken = []
    for done, span in enumerate(spans):
        segment = portrait.segments[span.segment]
        words = shift_words(segment.words, span.start - span.segment_start, span.stop - span.start)
        spoken.append(
            SpokenSpan(
                str(segment.name),
                tracked[span.start : span.stop],
                predict_span(avatar, portrait, span),
                _samples(portrait, span, span.start, span.stop),
                words if segment.words else None,
            )
        )
        progress("speech to motion", done + 1, len(spans))
    return spoken


def motion_table(name: str, spans: Sequence[SpokenSpan], neutral: FloatArray, tools: Tools) -> MetricTable:
    """Lips, sync and jitter of the predicted motion.

    Args:
        name: of the evaluated row.
        neutral: [478, 3] the person's face at rest.
    """
    videos = {
        TRUTH: [span.reference for span in spans],
        name: [span.predicted for span in spans],
        CONTROL_NAMES["late"]: [held_late(span.reference) for span in spans],
        CONTROL_NAMES["still"]: [held_still(span.reference) for span in spans],
    }
    scored = lip_sync_rows(videos, [span.samples for span in spans], videos[TRUTH], neutral, tools)
    width = float(face_width(neutral[list(KEYPOINTS)]))
    rows = []
    for row, motions in videos.items():
        figures = _lips(spans, motions, width) | stability_ratio_figures(videos[TRUTH], motions)
        role = "truth" if row == TRUTH else "evaluated" if row == name else "control"
        rows.append(MetricRow(name=row, role=role, figures=figures | scored[row]))
    seconds = sum(len(span.reference) for span in spans) / VIDEO_RATE_HZ
    note = (
        f"Landmarks and head pose before rendering, in the head frame: {len(spans)} held-out spans, {seconds:.1f} s "
        "of speech, each scored alone, then averaged. The head's pose is the avatar's own here."
    )
    if seconds < LITTLE_HELDOUT_SECONDS:
        note += f" So little speech (under {LITTLE_HELDOUT_SECONDS:g} s) says little about the lips."
    return MetricTable(
        title="Motion from speech, before rendering",
        note=note,
        rows=rows,
        verdicts=verdicts(rows, TRUTH, sum(len(span.reference) for span in spans)),
    )


def _lips(spans: Sequence[SpokenSpan], motions: Sequence[MotionTrack], width: float) -> dict[str, Figure]:
    clips = [
        LipClip(span.reference.points / width, motion.points / width, span.samples, span.words)
        for span, motion in zip(spans, motions, strict=True)
    ]
    figures = lip_metrics(clips)
    return {key: figures[key] for key in MOTION_LIP_KEYS}


def lip_sync_rows(
    videos: Mapping[str, Sequence[MotionTrack]],
    sounds: Sequence[FloatArray],
    truths: Sequence[MotionTrack],
    neutral: FloatArray,
    tools: Tools,
) -> dict[str, dict[str, Figure]]:
    """The lip-sync classifier's figures of each row.

    Args:
        videos: row -> motion of each clip.
        sounds: [T] at 16 kHz of each clip.
        truths: motion of each clip that tells how far this person opens the mouth.
        neutral: [478, 3] the face at rest.
    """
    classifier = tools.lip_sync
    if isinstance(classifier, Missing):
        return {row: missing(LIP_SYNC_KEYS, classifier.reason) for row in videos}
    if not sounds:
        return {row: missing(LIP_SYNC_KEYS, "no held-out frames") for row in videos}
    features = [classifier.encode(samples, len(truth)) for samples, truth in zip(sounds, truths, strict=True)]
    gain = classifier.gain_of([truth.points for truth in truths])
    figures = {}
    for row, motions in videos.items():
        clips = [(motion.points, f) for motion, f in zip(motions, features, strict=True)]
        figures[row] = lip_sync_figures(classifier.score(clips, neutral[list(KEYPOINTS)], gain=gain))
    return figures


def held_late(track: MotionTrack) -> MotionTrack:
    """`DELAY_FRAMES` late; the first frame is held until then."""
    return track[np.maximum(np.arange(len(track)) - DELAY_FRAMES, 0)]


def held_still(track: MotionTrack) -> MotionTrack:
    """The mean face and the mean pose, held."""

    def hold(values: FloatArray) -> FloatArray:
        return np.broadcast_to(values.mean(0, keepdims=True), values.shape)

    return MotionTrack(hold(track.points), HeadPose(hold(track.pose.rotation), hold(track.pose.translation)))
