"""What driven motion looks like, as pictures: each measure at its ends, and the worst second of every motion.

Pictures are cut to the head, so that a bead can be seen. Images are uint8 [H, W, 3] RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geneface.evaluation.protocol.drive import BEYOND, EXPRESSIONS, PERCENTILES, POSES, Drive
from geneface.evaluation.protocol.driven import DrivenScores, draw_regions
from geneface.evaluation.report.page import Picture
from geneface.evaluation.report.sheet import label_bar, resize_image
from geneface.evaluation.subjects import EvaluatedAvatar
from geneface.io.image import write_jpeg
from geneface.types import VIDEO_RATE_HZ, ByteArray, MotionTrack

EXTREMES_FILE, WORST_FILE = "driven_extremes.jpg", "worst_seconds.jpg"
PANEL_PX = 192
_ROW_FRAMES = 5
_MARGIN = 1.5
"""Side of the cut-out in heads: the head of the middle pose, and room to move."""

Cut = tuple[slice, slice]


def driven_pictures(avatar: EvaluatedAvatar, scores: DrivenScores, out_dir: Path) -> list[Picture]:
    """Write both sheets into the folder, as what the page shows."""
    cut = _cut(avatar, scores.drive)
    beyond = f"{100 * BEYOND:.0f} %"
    extremes = Picture(
        "Each measure at its ends",
        out_dir / EXTREMES_FILE,
        f"From left to right: {beyond} of the range below the {PERCENTILES[0]:.0f}st percentile of what was seen, that "
        f"percentile, the middle, the {PERCENTILES[1]:.0f}th percentile, and {beyond} above it.",
    )
    write_jpeg(extremes.path, _extremes(avatar, scores.drive, cut))
    worst = Picture(
        "The worst seconds",
        out_dir / WORST_FILE,
        "All frames of the worst second of all; below, five frames of the worst second of each motion, the worst "
        "motion first. The label says what was worst: a ratio as in the table.",
    )
    write_jpeg(worst.path, _worst(avatar, scores, cut))
    return [extremes, worst]


def _extremes(avatar: EvaluatedAvatar, drive: Drive, cut: Cut) -> ByteArray:
    rows = []
    for name in (*EXPRESSIONS, *POSES):
        columns = [
            (f"-{100 * BEYOND:.0f}%", drive.end(name, False)),
            (f"{PERCENTILES[0]:.0f}%", drive.end(name, False, 0.0)),
            ("middle", drive.middle[name]),
            (f"{PERCENTILES[1]:.0f}%", drive.end(name, True, 0.0)),
            (f"+{100 * BEYOND:.0f}%", drive.end(name, True)),
        ]
        track = drive.motion({name: np.array([value for _, value in columns])})
        labels = [f"{name} {label}" for label, _ in columns]
        rows.append(_row(avatar, track, range(len(columns)), labels, cut))
    return np.concatenate(rows)


def _worst(avatar: EvaluatedAvatar, scores: DrivenScores, cut: Cut) -> ByteArray:
    found = [(scores.worst_second(number), motion) for number, motion in enumerate(scores.motions)]
    # A face that can't be measured does not count as worse than one that can.
    found.sort(key=lambda entry: -np.nan_to_num(entry[0].excess))
    second, motion = found[0]
    frames = range(second.start, min(second.start + VIDEO_RATE_HZ, len(motion.track)))
    labels = [f"{motion.name} {index}" for index in frames]
    rows = [
        _row(avatar, motion.track, frames[i : i + _ROW_FRAMES], labels[i : i + _ROW_FRAMES], cut)
        for i in range(0, len(frames), _ROW_FRAMES)
    ]
    for second, motion in found:
        last = min(second.start + VIDEO_RATE_HZ, len(motion.track)) - 1
        shown = np.linspace(second.start, last, _ROW_FRAMES).round().astype(int).tolist()
        label = f"{motion.name}: {second.measure.replace('_', ' ')} {second.ratio:.2f}"
        rows.append(_row(avatar, motion.track, shown, [label, *[str(index) for index in shown[1:]]], cut))
    return np.concatenate(rows)


def _row(
    avatar: EvaluatedAvatar, track: MotionTrack, frames: Sequence[int], labels: Sequence[str], cut: Cut
) -> ByteArray:
    """Up to five labelled panels side by side, filled up with black."""
    panels = [
        np.concatenate([label_bar(label, PANEL_PX), resize_image(frame.to_uint8()[cut], PANEL_PX, PANEL_PX)])
        for frame, label in zip(avatar.drawn(track[np.asarray(frames)]), labels, strict=True)
    ]
    panels += [np.zeros_like(panels[0])] * (_ROW_FRAMES - len(panels))
    return np.concatenate(panels, axis=1)


def _cut(avatar: EvaluatedAvatar, drive: Drive) -> Cut:
    """A square around the head of the middle pose."""
    image, regions = next(draw_regions(avatar, drive.motion({"opening": np.array([drive.middle["opening"]])})))
    height, width = image.shape[:2]
    rows, columns = np.flatnonzero(regions.head.any(1)), np.flatnonzero(regions.head.any(0))
    if not len(rows):
        return slice(0, height), slice(0, width)
    side = min(int(_MARGIN * max(np.ptp(rows), np.ptp(columns))) + 1, height, width)
    top = int(np.clip((rows[0] + rows[-1] - side) // 2, 0, height - side))
    left = int(np.clip((columns[0] + columns[-1] - side) // 2, 0, width - side))
    return slice(top, top + side), slice(left, left + side)
