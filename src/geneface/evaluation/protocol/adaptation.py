"""What adaptation to the person gained: the generic model and the adapted one on seconds that neither was fitted to.

Both pass through everything that an avatar's video does before rendering; the generic motion is put on the person's
neutral face. Lips are compared in the head frame, in face widths, as in the table of motion from speech.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from geneface.evaluation.metrics.lips import LipClip, face_width, lip_figures
from geneface.evaluation.protocol.speech import predict_span
from geneface.evaluation.schema import Figure, MetricRow, MetricTable, missing
from geneface.evaluation.subjects import EvaluatedAvatar, ReferencePortrait, Span, heldout_spans
from geneface.geometry.landmarks import KEYPOINTS
from geneface.portrait.manifest import LITTLE_HELDOUT_SECONDS
from geneface.types import VIDEO_RATE_HZ, MotionTrack, ProgressFn, no_progress

ADAPTATION_KEYS = (
    "opening_correlation",
    "width_correlation",
    "opening_amplitude_ratio",
    "offset_frames",
    "lip_landmark_distance",
)
GENERIC, ADAPTED = "generic model", "adapted to the person"
NO_ADAPTATION = "the avatar is not adapted to the person"
TOO_LITTLE = f"under {LITTLE_HELDOUT_SECONDS:g} s are held out: it can't be told"
SPREAD = 0.05
"""Correlations of the opening over a few seconds that differ by no more count as equal."""

_SHORT_SPAN_SECONDS = 1.0
"""On average; clips of three seconds hold out .6 s each. A correlation within less is mostly chance."""


def adaptation_table(
    avatar: EvaluatedAvatar,
    portrait: ReferencePortrait,
    adapted: Sequence[MotionTrack] | None = None,
    progress: ProgressFn = no_progress,
) -> MetricTable:
    """Lips of both models on all held-out spans.

    Args:
        adapted: the avatar's own motion of each of `heldout_spans`, if it has been made already.
    """
    spans = heldout_spans(portrait.segment, portrait.heldout)
    seconds = _seconds(spans)
    if seconds < LITTLE_HELDOUT_SECONDS:
        figures = {name: missing(ADAPTATION_KEYS, TOO_LITTLE) for name in (GENERIC, ADAPTED)}
    else:
        own = _figures(portrait, spans, _predict(avatar, portrait, spans, progress) if adapted is None else adapted)
        generic = avatar.unadapted()
        if generic is None:
            figures = {GENERIC: own, ADAPTED: missing(ADAPTATION_KEYS, NO_ADAPTATION)}
        else:
            bare = _figures(portrait, spans, _predict(generic, portrait, spans, progress))
            figures = {GENERIC: bare, ADAPTED: own}
    count = "1 held-out span" if len(spans) == 1 else f"{len(spans)} held-out spans"
    note = (
        f"What adaptation to the person gained: landmarks in the head frame, {count}, {seconds:.1f} s, each scored "
        "alone, then averaged. The generic motion is put on the person's neutral face."
    )
    if seconds >= LITTLE_HELDOUT_SECONDS and _are_short(spans):
        note += f" Spans of {seconds / len(spans):.1f} s say little: they are ends of clips, often silent."
    return MetricTable(
        title="Lips from speech before rendering, on held-out seconds",
        note=note,
        rows=[MetricRow(name=name, role="evaluated", figures=values) for name, values in figures.items()],
    )


def gain_line(table: MetricTable, portrait: ReferencePortrait) -> str:
    """The table in one line of print."""
    generic, adapted = (row.figures for row in table.rows)
    spans = heldout_spans(portrait.segment, portrait.heldout)
    seconds = _seconds(spans)
    if seconds < LITTLE_HELDOUT_SECONDS:
        # Rounded down: 2.96 s are not "3.0 s, under 3 s".
        shown = math.floor(10 * seconds) / 10
        least = f"{LITTLE_HELDOUT_SECONDS:g} s"
        return f"adaptation: {shown:.1f} s are held out, under {least} it can't be told what it gained"
    if all(item.reason == NO_ADAPTATION for item in adapted.values()):
        return f"adaptation: none, {NO_ADAPTATION}"

    def gain(key: str, decimals: int) -> str:
        return f"{_short(generic[key], decimals)} -> {_short(adapted[key], decimals)}"

    doubt = f" (in spans of {seconds / len(spans):.1f} s, which say little)" if _are_short(spans) else ""
    return (
        f"lips from speech on {seconds:.1f} held-out seconds{doubt}, generic -> adapted: "
        f"opening r {gain('opening_correlation', 2)}, width r {gain('width_correlation', 2)}, "
        f"distance {gain('lip_landmark_distance', 4)} of the face's width, "
        f"amplitude {gain('opening_amplitude_ratio', 2)}"
    )


def lips_verdict(table: MetricTable, portrait: ReferencePortrait) -> str:
    """How well the lips follow held-out speech, and whether adaptation helped, in plain words."""
    before, after = (row.figures["opening_correlation"] for row in table.rows)
    if after.reason == NO_ADAPTATION:
        if before.value is None:
            return f"the lips can't be judged: {before.reason}"
        return f"lips from speech follow the recording at r {_short(before, 2)}, with no adaptation to the person"
    if after.value is None:
        return (
            "too little is held out to judge the lips"
            if after.reason == TOO_LITTLE
            else (f"the lips can't be judged: {after.reason}")
        )
    found = f"lips from speech follow the recording at r {_short(after, 2)} (1 is perfect)"
    if before.value is not None:
        gain = after.value - before.value
        word = "better than" if gain > SPREAD else "worse than" if gain < -SPREAD else "about as well as"
        found += f", {word} before adaptation to the person ({_short(before, 2)})"
    if _are_short(heldout_spans(portrait.segment, portrait.heldout)):
        found += ", in spans too short to say much"
    return found


def loss_warning(table: MetricTable) -> str | None:
    """One sentence if the adapted lips follow the held-out speech clearly worse than the generic ones."""
    before, after = (row.figures["opening_correlation"] for row in table.rows)
    if before.value is None or after.value is None or before.value - after.value <= SPREAD:
        return None
    return (
        "adapted to the person, the lips follow held-out speech worse than the generic model's (opening r "
        f"{_short(before, 2)} -> {_short(after, 2)}): prepare a longer video in which the person speaks"
    )


def _seconds(spans: Sequence[Span]) -> float:
    return sum(span.stop - span.start for span in spans) / VIDEO_RATE_HZ


def _are_short(spans: Sequence[Span]) -> bool:
    return _seconds(spans) < len(spans) * _SHORT_SPAN_SECONDS


def _predict(
    avatar: EvaluatedAvatar, portrait: ReferencePortrait, spans: Sequence[Span], progress: ProgressFn
) -> list[MotionTrack]:
    predicted = []
    for done, span in enumerate(spans, start=1):
        predicted.append(predict_span(avatar, portrait, span))
        progress("what adaptation gained", done, len(spans))
    return predicted


def _figures(portrait: ReferencePortrait, spans: Sequence[Span], predicted: Sequence[MotionTrack]) -> dict[str, Figure]:
    tracked = MotionTrack(portrait.landmarks, portrait.pose)
    width = float(face_width(portrait.neutral[list(KEYPOINTS)]))
    clips = [
        LipClip(tracked.points[span.start : span.stop] / width, motion.points / width)
        for span, motion in zip(spans, predicted, strict=True)
    ]
    figures = lip_figures(clips)
    return {key: figures[key] for key in ADAPTATION_KEYS}


def _short(item: Figure, decimals: int) -> str:
    """.58 for 0.58, as correlations are written."""
    if item.value is None:
        return "n/a"
    text = f"{item.value:.{decimals}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
