"""A few pasted frames of an avatar that has just been trained: enough for a line of figures, without a tracker.

The lower face is drawn from held-out speech and pasted into the held-out frames themselves, as in `chunks`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geneface.evaluation.drawing import LowerFaces
from geneface.evaluation.metrics.picture import ReferenceFrame
from geneface.evaluation.metrics.psnr import psnr
from geneface.evaluation.metrics.seam import NO_SEAM, seam_regions, seam_steps
from geneface.evaluation.schema import MetricRow, MetricTable, figure
from geneface.evaluation.subjects import EvaluatedAvatar, ReferencePortrait, Span, evenly_spaced
from geneface.types import MotionTrack

PASTED_FRAMES = 24
_KEYS = ("frame_psnr", "head_psnr", "mouth_psnr", "lower_face_psnr", "seam_psnr")
_ALPHA = 127


def few_pasted(
    avatar: EvaluatedAvatar, portrait: ReferencePortrait, spans: Sequence[Span], predicted: Sequence[MotionTrack]
) -> MetricTable | None:
    """Figures of `PASTED_FRAMES` frames spread over the held-out ones; None if the avatar carries no video.

    Args:
        spans: the held-out ones.
        predicted: the avatar's motion from the sound of each.
    """
    if avatar.files.body is None or not spans:
        return None
    tracked, faces = MotionTrack(portrait.landmarks, portrait.pose), LowerFaces(avatar, portrait.camera)
    both = zip(spans, predicted, strict=True)
    rows = [(span.start + i, points) for span, motion in both for i, points in enumerate(motion.points)]
    chosen = evenly_spaced(np.arange(len(rows)), PASTED_FRAMES).tolist()
    values: dict[str, list[float]] = {key: [] for key in _KEYS}
    across = []
    for index, points in (rows[number] for number in chosen):
        picture, masks = portrait.frame(index)
        reference = ReferenceFrame(np.array(picture), masks[..., 0] > _ALPHA, None, portrait.mouth_box[index])
        image, mask = faces.paste(reference.image, tracked[index : index + 1], points, number=index)
        regions = seam_regions(mask)
        found = {"lower_face": regions.lower_face, "seam": regions.seam, **reference.masks}
        for key, of_key in values.items():
            region = found.get(key.removesuffix("_psnr"))
            if region is not None and region.any():
                of_key.append(psnr(reference.image, image, region))
        across.append(seam_steps(reference.image, image, mask).across)
    figures = {key: figure(_mean(of_key), "the region is outside of every frame") for key, of_key in values.items()}
    figures["seam_step"] = figure(float(np.sqrt(_mean(across))), NO_SEAM)
    note = (
        f"{len(chosen)} held-out frames, spread evenly, in which only the lower face is drawn: of whole frame and head "
        "most pixels are real."
    )
    row = MetricRow(name=f"{avatar.name}, pasted, from speech", role="evaluated", figures=figures)
    return MetricTable(title="Pasted into the recording", note=note, rows=[row])


def pasted_line(table: MetricTable) -> str:
    """The table in one line of print."""
    shown = {key: "n/a" if item.value is None else f"{item.value:.1f}" for key, item in table.rows[0].figures.items()}
    return (
        f"lower face pasted into held-out frames, from speech: whole frame {shown['frame_psnr']} dB, head "
        f"{shown['head_psnr']}, mouth {shown['mouth_psnr']}; step of light at the seam {shown['seam_step']} of 255"
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
