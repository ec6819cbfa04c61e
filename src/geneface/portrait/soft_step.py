"""The step of `prepare_portrait` that follows torso and hair; skips what is there already, as those in `steps` do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from geneface.geometry.pose import HeadTrack
from geneface.io.tensors import TensorFile, save_tensors
from geneface.portrait.photometric import luminance
from geneface.portrait.portrait import SOFT_NAME, segment_path
from geneface.portrait.segments import Segment
from geneface.portrait.soft import follow_soft
from geneface.portrait.steps import Preparation
from geneface.types import Camera, FloatArray


def follow_soft_parts(prep: Preparation, segments: Sequence[Segment], track: HeadTrack) -> None:
    """How torso and hair move by themselves: soft.safetensors, without tensors if nothing of them is seen."""
    path = prep.work.out / SOFT_NAME
    if path.exists():
        return
    files = [TensorFile(segment_path(prep.work.out, segment.name)) for segment in segments]
    starts = np.cumsum([0, *(segment.span.frames for segment in segments)])

    def read(frame: int) -> tuple[FloatArray, FloatArray]:
        number = int(np.searchsorted(starts, frame, side="right")) - 1
        row = frame - int(starts[number])
        picture, masks = (files[number].rows(name, row, row + 1)[0] for name in ("frames", "masks"))
        return luminance(picture), masks.astype(np.float32) / 255

    label = np.repeat(np.arange(len(segments)), [segment.span.frames for segment in segments])
    trusted = ~np.concatenate([segment.heldout_flags for segment in segments])
    camera = Camera(track.focal, prep.size, prep.size)
    progress = partial(prep.progress, "follow torso and hair")
    parts = follow_soft(read, track.pose, track.neutral, trusted, label, camera, progress)
    found = {name: {"points": part.points, "moved": part.moved} for name, part in parts.items()}
    save_tensors(path, {f"{name}.{kind}": array for name, part in found.items() for kind, array in part.items()})
