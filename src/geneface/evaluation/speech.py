"""Speech to lips: motion predicted from held-out sound, against the motion that was tracked there.

The prediction goes the whole way an avatar's video does (encoder, motion model, person's post-net, smoothing). The
landmarks are compared in the canonical head frame, so that head motion, which speech does not determine, plays no part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from geneface.evaluation.jitter import stability_ratio_figures
from geneface.evaluation.likeness import CONTROL_DELAY_FRAMES
from geneface.evaluation.lips import face_width, lip_figures
from geneface.evaluation.report import LipCurve
from geneface.evaluation.schema import Figure, MetricRow, MetricTable
from geneface.evaluation.subjects import EvaluatedAvatar, ReferencePortrait, Span, heldout_spans
from geneface.geometry.landmarks import KEYPOINTS, lip_opening
from geneface.types import SPEECH_RATE_HZ, VIDEO_RATE_HZ, HeadPose, LandmarkTrack, MotionTrack, ProgressFn, Waveform

CONTEXT_FRAMES = 50
"""Sound around a span is given to the encoder too, as it would be in a longer speech."""
_MAX_CURVES = 6
_SAMPLES_PER_FRAME = SPEECH_RATE_HZ // VIDEO_RATE_HZ


@dataclass(frozen=True)
class SpeechResult:
    """Result of `measure_speech`."""

    lips: MetricTable
    stability: MetricTable
    curves: list[LipCurve]


def cut(motion: MotionTrack, start: int, stop: int) -> MotionTrack:
    """Frames start .. stop - 1."""
    return MotionTrack(LandmarkTrack(motion.landmarks.points[start:stop]), motion.pose[start:stop])


def predict_span(avatar: EvaluatedAvatar, portrait: ReferencePortrait, span: Span) -> MotionTrack:
    """Motion of the span from the portrait's sound, as long as the span."""
    first = max(span.segment_start, span.start - CONTEXT_FRAMES)
    last = min(span.segment_stop, span.stop + CONTEXT_FRAMES)
    samples = portrait.audio(span.segment).samples
    sound = samples[
        (first - span.segment_start) * _SAMPLES_PER_FRAME : (last - span.segment_start) * _SAMPLES_PER_FRAME
    ]
    return cut(avatar.motion(Waveform(sound)), span.start - first, span.stop - first)


def measure_speech(
    avatar: EvaluatedAvatar, portrait: ReferencePortrait, tracked: MotionTrack, *, progress: ProgressFn
) -> SpeechResult:
    """Predict every held-out span and compare with `tracked`, the portrait's own motion [F]."""
    spans = heldout_spans(portrait.segment, portrait.heldout)
    references = [cut(tracked, span.start, span.stop) for span in spans]
    predictions = []
    for done, span in enumerate(spans):
        predictions.append(predict_span(avatar, portrait, span))
        progress("speech to lips", done + 1, len(spans))
    width = float(face_width(portrait.neutral[list(KEYPOINTS)]))
    delay = CONTROL_DELAY_FRAMES
    controls = {
        f"ground truth, {delay} frames late": [
            (cut(track, delay, len(track)), cut(track, 0, len(track) - delay)) for track in references
        ],
        "still face": [(track, _still(track)) for track in references],
    }
    evaluated = list(zip(references, predictions, strict=True))

    def lips(pairs: Sequence[tuple[MotionTrack, MotionTrack]]) -> dict[str, Figure]:
        return lip_figures([(a.landmarks.points / width, b.landmarks.points / width) for a, b in pairs])

    def stability(pairs: Sequence[tuple[MotionTrack, MotionTrack]]) -> dict[str, Figure]:
        return stability_ratio_figures([a for a, _ in pairs], [b for _, b in pairs])

    def rows(score: Callable[[Sequence[tuple[MotionTrack, MotionTrack]]], dict[str, Figure]]) -> list[MetricRow]:
        first = MetricRow(name=avatar.name, role="evaluated", figures=score(evaluated))
        return [
            first,
            *(MetricRow(name=name, role="control", figures=score(pairs)) for name, pairs in controls.items()),
        ]

    seconds = sum(len(track) for track in references) / VIDEO_RATE_HZ
    note = f"Held-out spans: {len(spans)}, {seconds:.1f} s of speech, each scored alone, then averaged."
    return SpeechResult(
        MetricTable(title="Speech to lips", note=note, rows=rows(lips)),
        MetricTable(title="Stability of the motion", note=note, rows=rows(stability)),
        [
            LipCurve(
                str(portrait.segments[span.segment].name),
                lip_opening(reference.landmarks.points) / width,
                lip_opening(prediction.landmarks.points) / width,
            )
            for span, (reference, prediction) in list(zip(spans, evaluated, strict=True))[:_MAX_CURVES]
        ],
    )


def _still(track: MotionTrack) -> MotionTrack:
    """The mean face and the mean pose, held."""

    def hold(values: np.ndarray) -> np.ndarray:
        return np.broadcast_to(values.mean(0, keepdims=True), values.shape)

    return MotionTrack(
        LandmarkTrack(hold(track.landmarks.points)), HeadPose(hold(track.pose.rotation), hold(track.pose.translation))
    )
