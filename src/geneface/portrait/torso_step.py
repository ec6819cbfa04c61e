"""The step of `prepare_portrait` that follows the torso; skips what is there already, as those in `steps` do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from geneface.geometry.pose import HeadTrack
from geneface.io.tensors import TensorFile, save_tensors
from geneface.portrait.photometric import luminance
from geneface.portrait.portrait import TORSO_NAME, segment_path
from geneface.portrait.segments import Segment
from geneface.portrait.steps import Preparation
from geneface.portrait.torso import follow_torso
from geneface.types import FloatArray


def follow_the_torso(prep: Preparation, segments: Sequence[Segment], track: HeadTrack) -> None:
    """Where the torso is in every frame: torso.safetensors, without points where hardly anything of it is seen."""
    path = prep.work.out / TORSO_NAME
    if path.exists():
        return
    files = [TensorFile(segment_path(prep.work.out, segment.name)) for segment in segments]
    counts = [segment.span.frames for segment in segments]
    starts = np.cumsum([0, *counts])

    def read(frame: int) -> tuple[FloatArray, FloatArray]:
        number = int(np.searchsorted(starts, frame, side="right")) - 1
        row = frame - int(starts[number])
        picture, masks = (files[number].rows(name, row, row + 1)[0] for name in ("frames", "masks"))
        return luminance(picture), masks.astype(np.float32) / 255

    trusted = ~np.concatenate([segment.heldout_flags for segment in segments])
    label = np.repeat(np.arange(len(segments)), counts)
    found = follow_torso(read, track.pose, trusted, label, partial(prep.progress, "follow the torso"))
    nothing = np.zeros((0, 2), np.float32), np.zeros((len(label), 0, 2), np.float32)
    points, moved = (found.points, found.moved) if found else nothing
    save_tensors(path, {"points": points, "moved": moved})
