"""Films for the report: panels side by side under a label bar, H.264 with sound. Images are uint8 [H, W, 3] RGB, 25 Hz.

A film is stored inside the page, so it is small by construction: at most `FILM_FRAMES` moments, panels at most
`FILM_PANEL_PX` wide, and a coarser quantiser than a rendered video has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from geneface.evaluation.report.sheet import error_map, label_bar, resize_image
from geneface.io.encode import write_video
from geneface.types import VIDEO_RATE_HZ, ByteArray, Waveform

FILM_FRAMES = 10 * VIDEO_RATE_HZ
"""A film ends after these; callers need not make more."""
FILM_PANEL_PX = 256


@dataclass(frozen=True)
class Film:
    """A video that the page shows."""

    title: str
    path: Path
    """An MP4 with H.264."""
    caption: str


def write_film(
    path: Path,
    panels: Iterable[Sequence[ByteArray]],
    titles: Sequence[str],
    sound: Waveform | None,
    *,
    panel_px: int = FILM_PANEL_PX,
    crf: int = 22,
) -> int:
    """Write one film; see `io.encode.write_video` for the file.

    Args:
        panels: the pictures of each moment, one for each title, all of one size; taken one moment at a time.
        titles: what stands over the panels.
        sound: from its own start_seconds, counted from the first moment; None is silent.
        panel_px: wider panels are scaled down to it.
        crf: quality of x264.

    Returns:
        The number of moments written.

    Raises:
        ValueError: a moment has not one panel for each title, or panels differ in size.
        InputError: there are no moments, or the file can't be written.
    """
    frames = (_side_by_side(moment, titles, panel_px) for moment in islice(panels, FILM_FRAMES))
    return write_video(path, frames, sound, crf=crf)


def with_error(panels: Iterable[Sequence[ByteArray]]) -> Iterator[list[ByteArray]]:
    """Add to each moment an error heat map of its last panel against its first (`sheet.error_map`)."""
    for moment in panels:
        yield [*moment, error_map(moment[0], moment[-1])]


def _side_by_side(moment: Sequence[ByteArray], titles: Sequence[str], panel_px: int) -> ByteArray:
    if len(moment) != len(titles):
        raise ValueError(f"a moment has {len(moment)} panels for {len(titles)} titles")
    if len({panel.shape for panel in moment}) != 1:
        raise ValueError(f"panels differ in size: {[panel.shape for panel in moment]}")
    height, width = moment[0].shape[:2]
    if width > panel_px:
        height, width = round(height * panel_px / width), panel_px
    columns = [
        np.concatenate([label_bar(title, width), resize_image(panel, height, width)])
        for panel, title in zip(moment, titles, strict=True)
    ]
    return np.concatenate(columns, axis=1)
