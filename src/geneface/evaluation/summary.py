"""What a training says of its own result within seconds: does a blink move the mouth, does the face break up, what did
adaptation to the person gain, and does the lower face fit into a recorded picture?

A fifth of the driven frames that `evaluate` draws, and no tracker: enough to say in words that a face breaks, too
little for a figure that is quoted. The lips from speech are those of an evaluation, on all held-out seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from geneface.evaluation.metrics.blinks import blink_table
from geneface.evaluation.metrics.registry import used_definitions
from geneface.evaluation.protocol.adaptation import adaptation_table, gain_line, lips_verdict, loss_warning
from geneface.evaluation.protocol.driven import DrivenScores, demo_sentence, driven_table, measure_driven
from geneface.evaluation.protocol.pasted import few_pasted, pasted_line
from geneface.evaluation.protocol.speech import predict_span
from geneface.evaluation.report.write import software_versions
from geneface.evaluation.schema import EvaluationReport
from geneface.evaluation.subjects import EvaluatedAvatar, ReferencePortrait, heldout_spans
from geneface.types import ProgressFn, no_progress

VISIBLE_BELOW_DB = 40.0
"""A blink that changes the lower face by more can be seen; from 50 dB on nothing can."""
SPECKLE_LIMIT = 1.1
DOTS_LIMIT = 1.25
"""Above the ground truth's own worst second. Faces that hold together: up to 1.16; with beads in plain sight: from
1.27."""
_STEP = 5


@dataclass(frozen=True)
class TrainingSummary:
    """The figures and what they mean."""

    report: EvaluationReport
    verdict: str
    """One line in plain words, by the same limits as the warnings."""
    lines: tuple[str, ...]
    warnings: tuple[str, ...]


def summarise_training(
    avatar: EvaluatedAvatar, portrait: ReferencePortrait, progress: ProgressFn = no_progress
) -> TrainingSummary:
    """Blinks, driven motion, lips from speech, and the lower face pasted into held-out frames, of an avatar that has
    just been trained on the portrait."""
    sentence = demo_sentence()
    blinks = blink_table(avatar, sentence)
    scores = measure_driven(avatar, portrait, sentence, step=_STEP, progress=progress)
    spans = heldout_spans(portrait.segment, portrait.heldout)
    predicted = [predict_span(avatar, portrait, span) for span in spans]
    gain = adaptation_table(avatar, portrait, predicted, progress)
    tables = {"blink": blinks, "driven": driven_table(avatar.name, scores), "adaptation": gain}
    pasted = few_pasted(avatar, portrait, spans, predicted)
    if pasted is not None:
        tables["pasted"] = pasted
    report = EvaluationReport(
        subject=avatar.name,
        reference="its own portrait, when it was trained",
        tables=tables,
        definitions=used_definitions(tables),
        versions=software_versions(),
        # The same training leaves the same file: nothing here depends on the machine.
        machine={},
    )
    blink = blinks.rows[0].figures["blink_lower_face_psnr"]
    lines = (*_lines(blink.value, scores), gain_line(gain, portrait))
    if pasted is not None:
        lines += (pasted_line(pasted),)
    loss = loss_warning(gain)
    warnings = _warnings(blink.value, scores) + (() if loss is None else (loss,))
    verdict = f"{_face_verdict(blink.value, scores)}; {lips_verdict(gain, portrait)}"
    return TrainingSummary(report, verdict, lines, warnings)


def _lines(blink: float | None, scores: DrivenScores) -> tuple[str, ...]:
    name, dots = scores.worst("face_dots")
    _, speckle = scores.worst("speckle")
    shown = "it does not blink" if blink is None else f"{blink:.1f} dB (above 50 dB nothing can be seen)"
    return (
        f"lower face under a blink: {shown}",
        f"driven beyond the recording, worst second: speckle {speckle:.2f}, dots in the face {dots:.2f} times the "
        f"ground truth's ({name})",
    )


def _face_verdict(blink: float | None, scores: DrivenScores) -> str:
    """Whether the face holds together."""
    faults = []
    if any(scores.worst_second(number).excess > DOTS_LIMIT for number in range(len(scores.motions))):
        faults.append("the face breaks up beyond what was recorded")
    elif scores.worst("speckle")[1] > SPECKLE_LIMIT:
        faults.append("the head is speckled")
    if blink is not None and blink < VISIBLE_BELOW_DB:
        faults.append("blinks move the mouth")
    return " and ".join(faults) or "no breaking up seen"


def _warnings(blink: float | None, scores: DrivenScores) -> tuple[str, ...]:
    """One sentence for each way in which the face breaks."""
    found = []
    if blink is not None and blink < VISIBLE_BELOW_DB:
        found.append(
            f"blinks move the mouth and chin ({blink:.1f} dB): render with --blink off, or prepare a longer video in "
            "which the person blinks"
        )
    seconds = [(scores.worst_second(number), motion.name) for number, motion in enumerate(scores.motions)]
    dots = [(second.excess, second, name) for second, name in seconds if second.excess > DOTS_LIMIT]
    if dots:
        _, worst, name = max(dots, key=lambda entry: entry[0])
        others = sorted({other for _, _, other in dots} - {name})
        found.append(
            f"the face breaks when it is driven beyond the recording: {worst.measure.replace('_', ' ')} "
            f"{worst.ratio:.1f} times the ground truth's in {name!r}"
            + (f", less in {', '.join(map(repr, others))}" if others else "")
            + "; geneface evaluate shows it in pictures"
        )
    speckle = scores.worst("speckle")
    if speckle[1] > SPECKLE_LIMIT and not dots:
        found.append(f"the head is speckled in {speckle[0]!r}: {speckle[1]:.2f} times the ground truth's speckle")
    return tuple(found)
