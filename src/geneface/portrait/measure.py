"""The step that cuts out every frame that is used: picture and person matte. Runs in worker processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geneface.analysis.tracker import open_segmenter
from geneface.imaging.resize import shrink_or_grow
from geneface.io.tensors import save_tensors
from geneface.portrait.chunks import ChunkTask, chunk_path, missing_chunks
from geneface.portrait.crops import Square

_MAX_MATTE_PX = 640
"""Mattes of larger crops are made at this size: the network itself sees 256 pixels."""


@dataclass(frozen=True)
class MeasureTask(ChunkTask):
    """Chunks of one segment. Files hold `frames` [n, S, S, 3] and `matte` [n, S, S]."""

    square: Square
    size: int
    """S, pixels of the stored pictures."""


def measure(task: MeasureTask) -> int:
    """Cut out the chunks of a task that are not there yet; returns their number."""
    square, done = task.square, 0
    matte_px = min(square.side, _MAX_MATTE_PX)
    with open_segmenter() as segmenter:
        for chunk, pictures in missing_chunks(task):
            mattes, frames = [], []
            for is_warm_up, picture in pictures:
                if is_warm_up:
                    continue
                crop = picture[square.y : square.y + square.side, square.x : square.x + square.side]
                matte = np.round(segmenter.matte(shrink_or_grow(crop, matte_px, matte_px)) * 255).astype(np.uint8)
                mattes.append(shrink_or_grow(matte, task.size, task.size))
                frames.append(shrink_or_grow(crop, task.size, task.size))
            save_tensors(chunk_path(task.folder, chunk), {"frames": np.stack(frames), "matte": np.stack(mattes)})
            done += 1
    return done
