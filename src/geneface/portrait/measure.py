"""The step that cuts out every frame that is used: picture and person matte. Runs in worker processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geneface.analysis.tracker import open_segmenter, opencv
from geneface.io.store import save_tensors
from geneface.portrait.chunks import ChunkTask, chunk_path, missing_chunks
from geneface.portrait.crops import Square
from geneface.types import ByteArray

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
                matte = np.round(segmenter.matte(resize(crop, matte_px)) * 255).astype(np.uint8)
                mattes.append(resize(matte, task.size))
                frames.append(resize(crop, task.size))
            save_tensors(chunk_path(task.folder, chunk), {"frames": np.stack(frames), "matte": np.stack(mattes)})
            done += 1
    return done


def resize(image: ByteArray, size: int) -> ByteArray:
    """Resize a square picture: area mean when it shrinks, cubic when it grows."""
    cv2 = opencv()
    image = np.ascontiguousarray(image)
    if image.shape[0] == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_CUBIC)
